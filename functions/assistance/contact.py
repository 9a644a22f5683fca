"""Finds the usable contact details of a customer: an address to answer, a number to call, a page to open.

Each function returns None for a text that it does not trust. A channel then shows that text as it came, as text.
"""

import re
from typing import Final
from urllib.parse import urlsplit

# A dot-atom and a host name, in ASCII only: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2. SES takes no other
# local part, and a domain only in Punycode: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html.
# We don't convert a domain, since converters disagree on some letters, and the answer would reach somebody else.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?!\d+$){_LABEL}")
# https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1, and errata 1690 of RFC 3696 for the whole address.
_MAX_LOCAL: Final = 64
_MAX_ADDRESS: Final = 254

# Digits with the separators that people type. E.164 allows 15 digits; the shortest numbers have three.
_NUMBER: Final = re.compile(r"\+?\(?[0-9][0-9 ()./\u00a0\u2010\u2011-]*")
_DIGITS: Final = range(3, 16)

# A host name that the DNS can hold or an IPv6 address, a port, and the characters of a path, query and fragment:
# https://www.rfc-editor.org/rfc/rfc3986#appendix-A. Browsers read others, such as the backslash, in different ways, and
# Slack refuses a whole message for a button whose URL is none.
_URL: Final = re.compile(
    rf"https://(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::[0-9]+)?"
    r"(?:[/?#](?:[a-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9a-f]{2})*)?",
    re.IGNORECASE,
)


def mailto(address: str) -> str | None:
    """The address, if mail can be sent to it."""
    local, _, _ = address.rpartition("@")
    if len(address) > _MAX_ADDRESS or len(local) > _MAX_LOCAL or not _ADDRESS.fullmatch(address):
        return None
    return address


def tel(phone: str) -> str | None:
    """The number as a telephone takes it: digits, after a plus if it is international."""
    if not _NUMBER.fullmatch(phone):
        return None
    # "+49 (0) 30 …": people in the country dial the zero, and nobody else does.
    number = phone.replace("(0)", "") if phone.startswith("+") else phone
    digits = re.sub(r"\D", "", number)
    return ("+" if number.startswith("+") else "") + digits if len(digits) in _DIGITS else None


def link(url: str) -> str | None:
    """The URL, if it is absolute, https, and holds no credentials."""
    if not _URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return url if parts.hostname else None
