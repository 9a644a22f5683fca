"""Customers' text is untrusted wherever it is shown."""

import re

from assistance.models import Outgoing

# Control characters but tab and newline, and what Unicode says is no character at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with line ends made uniform and what no channel can show replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def explain(outgoing: Outgoing) -> list[str]:
    """What the reader should know about the way the request has come, in a sentence each."""
    sentences = []
    if outgoing.fallback:
        failed, error = outgoing.fallback.failed_channel, outgoing.fallback.error
        sentences.append(f"This comes by {outgoing.fallback.channel} because delivery by {failed} failed: {error}.")
    if outgoing.force:
        sentences.append("An operator has sent this once more.")
    return sentences
