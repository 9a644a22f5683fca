"""Checks that email addresses and domains are as SES accepts them: in ASCII, with the domain in Punycode.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html. Domains that are not ASCII are refused
instead of converted, because converters disagree on some letters, and a mail could go to another domain.
"""

from collections.abc import Iterable

from assistance import contact

_PUNYCODE = "SES takes ASCII only, so write the domain in Punycode (xn--…)"


def address(value: str) -> str:
    """Return the address unchanged. Raises `ValueError` if SES would refuse it."""
    if contact.mailto(value):
        return value
    local, _, _ = value.rpartition("@")
    if value.isascii():
        raise ValueError("this is not an email address")
    raise ValueError(_PUNYCODE if local.isascii() else "SES takes ASCII only before the @")


def addresses(values: Iterable[str]) -> None:
    """Check addresses. Raises `ValueError`, with the first address that SES would refuse."""
    for value in values:
        try:
            address(value)
        except ValueError as error:
            raise ValueError(f"{value!r}: {error}") from None


def domain(value: str | None) -> str | None:
    """Return the domain in lower case; None stays None. Raises `ValueError` if no email address can have the domain."""
    if value is None or contact.mailto(f"a@{value}"):
        return value and value.lower()
    raise ValueError("this is not a domain like your.org" if value.isascii() else _PUNYCODE)
