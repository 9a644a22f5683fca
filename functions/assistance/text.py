"""Customers' text is untrusted wherever it is shown."""

import re

# Control characters but tab and newline, and what Unicode says is no character at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with line ends made uniform and what no channel can show replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
