"""Customers' text is untrusted wherever it is shown."""

import re
from collections.abc import Mapping
from typing import Final

from assistance.models import Outgoing
from assistance.routing import Channel

# Some channels break a line at line and paragraph separators, and others don't show these at all.
_LINE_ENDS: Final = re.compile("\r\n|[\r\u2028\u2029]")
# Embeddings, overrides and isolates show text in another order than it is typed in: `invoice \u202egnp.exe` reads
# `invoice exe.png`. Text of either direction reads correctly without them, by its letters and marks such as U+200F.
# https://www.unicode.org/reports/tr9/#Explicit_Directional_Embeddings
# Soft hyphens, word joiners, invisible operators and byte order marks split words that readers see whole.
_REMOVED: Final = re.compile("[\u00ad\u202a-\u202e\u2060-\u2069\ufeff]")
# Readers see nothing of these. Honest text has some of them between its letters. Unicode's Default_Ignorable_Code_Point
# below U+10000, and the blank of Braille: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_SEEN: Final = re.compile(rf"[^\s{INVISIBLE}\U000e0100-\U000e01ef]")
# Control characters but tab and newline, deprecated format characters, interlinear annotations, tags, noncharacters,
# formats of shorthand and music, and variation selectors after another one. Tags are invisible text, except in a flag
# such as Scotland's: https://www.unicode.org/reports/tr51/#valid-emoji-tag-sequences. A character has one selector;
# several hide text: https://www.unicode.org/Public/UCD/latest/ucd/StandardizedVariants.txt
_UNPRINTABLE: Final = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u206a-\u206f\ufff0-\ufffb\ufffe\uffff]"
    "|[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    "|(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)

_FAILED: Final[Mapping[Channel, str]] = {
    Channel.SLACK: "the Slack message could not be posted",
    Channel.EMAIL: "the email could not be delivered",
    Channel.TEAMS: "the Teams message could not be posted",
}


def is_blank(text: str) -> bool:
    """Whether a reader of the text would see nothing."""
    return not _SEEN.search(_clean(text))


def printable(text: str) -> str:
    """The text as every channel and terminal can show it: in the order in which it was typed, and with nothing hidden.

    Line ends become newlines, controls that reorder text and invisible parts of words are removed, and other controls
    become U+FFFD, as does a text that would show nothing. Joiners (U+200C, U+200D) and marks of direction (U+200E,
    U+200F, U+061C) stay: honest text needs them.
    """
    shown = _clean(text)
    # No channel takes a blank text. White space alone hides nothing.
    return shown if _SEEN.search(shown) or not text.strip() else "\ufffd"


def _clean(text: str) -> str:
    shown = _REMOVED.sub("", _LINE_ENDS.sub("\n", text))
    return _UNPRINTABLE.sub(lambda found: found[1] or "\ufffd", shown)


def heading(topic: str) -> str:
    """The topic's name as a heading: `by_all_means` is "By all means"."""
    return printable(topic).replace("_", " ").replace("-", " ").capitalize()


def one_line(text: str) -> str:
    """The text on one line: whatever it holds looks like no line of ours."""
    return " ".join(printable(text).split())


def preview(text: str, characters: int) -> str:
    """The start of the text on one line, with an ellipsis where it goes on."""
    line = one_line(text)
    return line if len(line) <= characters else f"{line[: characters - 1].rstrip()}…"


def explain(outgoing: Outgoing) -> list[str]:
    """Sentences that tell the reader why the request comes on this channel, or comes again."""
    sentences = []
    if outgoing.fallback:
        channel, error = outgoing.fallback.failed_channel, printable(outgoing.fallback.error)
        failed = _FAILED.get(channel, f"the {channel.capitalize()} message could not be sent")
        sentences.append(f"Sent here because {failed} ({error}).")
    if outgoing.untaken:
        minutes = outgoing.untaken.minutes
        over = f"the time to take it ({minutes} minute{'s' * (minutes > 1)}) is over"
        # It may have been taken and released before.
        sentences.append(f"Sent here because nobody is handling it, and {over}.")
    if outgoing.resend:
        sentences.append("Sent again: an operator has asked for it.")
    return sentences
