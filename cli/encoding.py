"""Lets a terminal whose encoding is not UTF-8, such as Latin-1, show every text."""

import sys
from io import TextIOWrapper


def replace_unknown_characters() -> None:
    """Let standard output show `?` for each character that its encoding lacks.

    Python would raise a `UnicodeEncodeError`: for our own marks such as ✓, and for a customer's emoji. On standard
    error, Python shows an escape sequence for such a character anyway.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # It is None if it is closed.
        sys.stdout.reconfigure(errors="replace")
