"""Email addresses and domains as SES takes them: ASCII, the domain in Punycode.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html. Non-ASCII domains are refused, not
converted: converters disagree on some letters, and the mail would reach somebody else.
"""

from collections.abc import Iterable

from assistance import contact

_PUNYCODE = "SES takes ASCII only, so write the domain in Punycode (xn--…)"


def address(value: str) -> str:
    """The address. Raises a `ValueError` if SES would refuse it."""
    if contact.mailto(value):
        return value
    local, _, _ = value.rpartition("@")
    if value.isascii():
        raise ValueError("this is not an email address")
    raise ValueError(_PUNYCODE if local.isascii() else "SES takes ASCII only before the @")


def addresses(values: Iterable[str]) -> None:
    """Raise a `ValueError` that names the first one that SES would refuse."""
    for value in values:
        try:
            address(value)
        except ValueError as error:
            raise ValueError(f"{value!r}: {error}") from None


def domain(value: str | None) -> str | None:
    """The domain, in lower case. Raises a `ValueError` if no address can be at it."""
    if value is None or contact.mailto(f"a@{value}"):
        return value and value.lower()
    raise ValueError("this is not a domain like your.org" if value.isascii() else _PUNYCODE)
