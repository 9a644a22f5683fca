"""Makes customers' texts safe to show: they may contain invisible characters, and ones that reorder text."""

import re
from collections.abc import Mapping
from typing import Final

from assistance.domain.record import Kind, StandsInFor, Untaken
from assistance.models import Outgoing
from assistance.routing import Channel

# Some channels break a line at Unicode's line and paragraph separators, and others ignore these.
_LINE_ENDS: Final = re.compile("\r\n|[\r\u2028\u2029]")
# Unicode's embeddings, overrides and isolates change the order in which text is shown: `invoice \u202egnp.exe` looks
# like `invoice exe.png`. Left-to-right and right-to-left texts are shown correctly without them, because of their
# letters and marks such as U+200F.
# https://www.unicode.org/reports/tr9/#Explicit_Directional_Embeddings
# Soft hyphens, word joiners, invisible operators and byte order marks split words invisibly.
_REMOVED: Final = re.compile("[\u00ad\u202a-\u202e\u2060-\u2069\ufeff]")
# Invisible characters: those of Unicode's Default_Ignorable_Code_Point below U+10000, and the Braille blank. Ordinary
# text contains some of them between its letters.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_SEEN: Final = re.compile(rf"[^\s{INVISIBLE}\U000e0100-\U000e01ef]")
# Control characters except tab and newline, deprecated format characters, interlinear annotations, tags, noncharacters,
# format characters of shorthand and music, and a variation selector that follows another one. Tags are invisible text,
# except in a flag such as Scotland's: https://www.unicode.org/reports/tr51/#valid-emoji-tag-sequences. A character can
# have one variation selector; a series of them can hide text:
# https://www.unicode.org/Public/UCD/latest/ucd/StandardizedVariants.txt
_UNPRINTABLE: Final = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u206a-\u206f\ufff0-\ufffb\ufffe\uffff]"
    "|[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    "|(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)

_FAILED: Final[Mapping[str, str]] = {
    Channel.SLACK: "the Slack message could not be posted",
    Channel.EMAIL: "the email could not be delivered",
    Channel.TEAMS: "the Teams message could not be posted",
}


def is_blank(text: str) -> bool:
    """Whether a reader of the text would see nothing."""
    return not _SEEN.search(_clean(text))


def printable(text: str) -> str:
    """The text in a form that every channel and terminal shows in the order in which it was typed, with nothing hidden.

    Line ends become newlines, and other control characters U+FFFD. Characters that reorder text or split words are
    removed. Joiners (U+200C, U+200D) and directional marks stay: ordinary text needs them.
    """
    shown = _clean(text)
    # No channel accepts a blank text. A text of white space alone hides nothing, so it stays.
    return shown if _SEEN.search(shown) or not text.strip() else "\ufffd"


def _clean(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    shown = _REMOVED.sub("", _LINE_ENDS.sub("\n", text))
    return _UNPRINTABLE.sub(lambda found: found[1] or "\ufffd", shown)


def heading(topic: str) -> str:
    """The topic's name as a heading: `by_all_means` is "By all means"."""
    return printable(topic).replace("_", " ").replace("-", " ").capitalize()


def one_line(text: str) -> str:
    """The text on one line, so that no part of it can look like a line of the project's own text."""
    return " ".join(printable(text).split())


def preview(text: str, characters: int) -> str:
    """The start of the text on one line, of at most `characters` characters; with an ellipsis if it is cut."""
    line = one_line(text)
    return line if len(line) <= characters else f"{line[: characters - 1].rstrip()}…"


def explain(outgoing: Outgoing) -> list[str]:
    """Sentences that tell the reader why the request was sent to this channel, or was sent again."""
    sentences = []
    match outgoing.delivery.cause:
        case StandsInFor(channel, error):
            failed = _FAILED.get(channel, f"the {channel.capitalize()} message could not be sent")
            sentences.append(f"Sent here because {failed} ({printable(error)}).")
        case Untaken(minutes):
            over = f"the time to take it ({minutes} minute{'s' * (minutes > 1)}) is over"
            # Don't say that nobody has taken it: somebody may have taken and released it.
            sentences.append(f"Sent here because nobody is handling it, and {over}.")
    if outgoing.delivery.kind is Kind.RESEND:
        sentences.append("Sent again: an operator has asked for it.")
    return sentences
