"""Checks whether links can be made of a customer's contact details: an email address, a telephone number, a URL.

Each function returns None if it does not trust the text. A channel then shows the text without a link.
"""

import re
from typing import Final
from urllib.parse import urlsplit

# An address is a dot-atom, "@" and a host name, in ASCII: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2. SES
# accepts no other local part, and the domain only in Punycode:
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html. This module does not convert a domain to
# Punycode, since converters disagree on some letters, and a reply to the customer could reach somebody else.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?!\d+$){_LABEL}")
# The limits are in https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1 and, for the whole address, in erratum 1690
# of RFC 3696.
_MAX_LOCAL: Final = 64
_MAX_ADDRESS: Final = 254

# Digits with the separators that people type. E.164 allows 15 digits; the shortest numbers have three.
_NUMBER: Final = re.compile(r"\+?\(?[0-9][0-9 ()./\u00a0\u2010\u2011-]*")
_DIGITS: Final = range(3, 16)

# A URL has a host name that the DNS allows or an IPv6 address, a port, and the characters of a path, query and
# fragment: https://www.rfc-editor.org/rfc/rfc3986#appendix-A. Browsers disagree on other characters, such as the
# backslash. And Slack refuses a message in which a button has an invalid URL.
_URL: Final = re.compile(
    rf"https://(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::[0-9]+)?"
    r"(?:[/?#](?:[a-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9a-f]{2})*)?",
    re.IGNORECASE | re.ASCII,  # without ASCII, [a-z] would also match four letters such as the long s
)


def mailto(address: str) -> str | None:
    """The address itself, if SES documents its form as valid; else None. This does not call SES."""
    local, _, _ = address.rpartition("@")
    if len(address) > _MAX_ADDRESS or len(local) > _MAX_LOCAL or not _ADDRESS.fullmatch(address):
        return None
    return address


def tel(phone: str) -> str | None:
    """The number as it is dialled: digits, after a plus if it is international. None if the text is no number."""
    if not _NUMBER.fullmatch(phone):
        return None
    # In "+49 (0) 30 …" or "0049 (0) 30 …" the zero is dialled only within the country, and then without the prefix.
    number = phone[:1] + phone[1:].replace("(0)", "")
    digits = re.sub(r"\D", "", number)
    return ("+" if number.startswith("+") else "") + digits if len(digits) in _DIGITS else None


def link(url: str) -> str | None:
    """The URL, if it is absolute, uses https, and holds no credentials; else None."""
    if not _URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return url if parts.hostname else None
