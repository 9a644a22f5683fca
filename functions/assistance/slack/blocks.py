"""Slack's blocks: texts that show what was typed, as it was typed, and the limits that Slack sets.

The limits of each block are under https://docs.slack.dev/reference/block-kit/blocks, such as …/blocks/section-block,
and the kinds of text at https://docs.slack.dev/reference/block-kit/composition-objects/text-object.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from assistance.facts import Fact
from assistance.ids import is_request_id
from assistance.text import is_blank

Block: TypeAlias = dict[str, Any]

MAX_TEXT_CHARACTERS: Final = 3_000
MAX_FIELD_CHARACTERS: Final = 2_000
MAX_FIELDS: Final = 10
MAX_HEADER_CHARACTERS: Final = 150
TAKE: Final = "take"
RELEASE: Final = "release"
"""The `action_id`s by which Slack tells of a press."""
DIVIDER: Final[Block] = {"type": "divider"}
# Nothing in Slack's markup is made of these: no emphasis, emoji, mention, channel or URL.
_NO_MARKUP: Final = re.compile(r"[^\W_](?:[^\W_]|[ ,'\u2019-])*")
_MARKUP: Final = re.compile(r"[*~`:]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_CHARACTERS: Final = 125


class Shown(NamedTuple):
    """A request in a message, and the delivery that the message made."""

    request_id: str
    delivery: str


def size(blocks: Iterable[Block]) -> int:
    """About how much the blocks take of what all blocks of a message may have together.

    Slack refuses more as `msg_blocks_too_long`, and documents neither the limit nor how it counts. One of its engineers
    speaks of the characters of the texts and of a buffer for each block; measured are 13,172 to 13,297 characters, of
    which a divider takes 125: https://github.com/slackapi/bolt-js/issues/2509. Others measured about 13,200, of which a
    header takes about 100, and 12,000 Chinese characters are no more than as many Latin ones. What a button or a field
    takes besides its texts, nobody has measured.
    """
    return sum(_BLOCK_CHARACTERS + _characters(block) for block in blocks)


def _characters(part: Any) -> int:  # noqa: ANN401
    match part:
        case str():
            return len(part.encode("utf-16-le", "surrogatepass")) // 2
        case dict():
            return sum(_characters(each) for name, each in part.items() if name != "type")
        case list():
            return sum(map(_characters, part))
    return 0


def escape(text: str) -> str:
    """Escape the three characters that Slack gives a meaning in every kind of text, so that `<!channel>` pings nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def split(text: str, limit: int = MAX_TEXT_CHARACTERS) -> list[str]:
    """The text, escaped, in pieces no longer than the limit: no escape is cut in two, nothing visible is lost."""
    pieces = [""]
    for character in text:
        escaped = escape(character)
        if len(pieces[-1]) + len(escaped) > limit:
            pieces.append("")
        pieces[-1] += escaped
    # Slack refuses an empty text, and does not document whether it takes a blank one.
    return [piece for piece in pieces if not is_blank(piece)] or ["\ufffd"]


def plain(escaped: str) -> Block:
    """A text that Slack shows as it is: `*40*` does not turn bold, and without `emoji` no `:)` becomes a picture."""
    return {"type": "plain_text", "text": escaped, "emoji": False}


def marked(mrkdwn: str) -> Block:
    """A text with markup of ours, such as links and times. Beside it stands no text but one with `no_markup`.

    Without `verbatim` Slack also makes links and mentions out of words, such as the name @here.
    """
    return {"type": "mrkdwn", "text": mrkdwn, "verbatim": True}


def no_markup(text: str) -> bool:
    """Whether Slack shows the text as it is beside markup of ours."""
    return _NO_MARKUP.fullmatch(text) is not None


def name(text: str) -> str:
    """A colleague's name in a text that is `marked`: what Slack would take for emphasis or an emoji is left out."""
    return escape(_MARKUP.sub("", text))


def link(url: str, text: str) -> str:
    """A link in a text that is `marked`. Neither a URL of ours nor one that we trust has a `|` or a `>`."""
    return f"<{escape(url)}|{escape(text)}>"


def moment(at: datetime, *, day: bool = True) -> str:
    """A time in the zone of whoever reads it: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    shown, old_clients = ("{date_short_pretty}, {time}", "%Y-%m-%d %H:%M") if day else ("{time}", "%H:%M")
    return f"<!date^{int(at.timestamp())}^{shown}|{at.astimezone(UTC):{old_clients}} UTC>"


def header(title: str) -> Block:
    """The title, in large letters."""
    return {"type": "header", "text": plain(escape(title))}


def context(*texts: Block) -> Block:
    """Small print."""
    return {"type": "context", "elements": list(texts)}


def actions(*buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(buttons)}


def fields(facts: Iterable[Fact]) -> list[Block]:
    """A text for each fact, with its label in bold where that can't be mistaken for anything that was typed.

    One that is longer than a field continues in the next.
    """
    found = []
    for fact in facts:
        if fact.href:
            found.append(marked(f"*{escape(fact.label)}*\n{link(fact.href, fact.text)}"))
        elif no_markup(fact.label) and no_markup(fact.text):
            found.append(marked(f"*{fact.label}*\n{fact.text}"))
        else:
            found += [plain(piece) for piece in split(f"{fact.label}\n{fact.text}", MAX_FIELD_CHARACTERS)]
    return found


def in_sections(texts: Sequence[Block]) -> list[Block]:
    """The texts as fields, in as few sections as hold them."""
    starts = range(0, len(texts), MAX_FIELDS)
    return [{"type": "section", "fields": list(texts[start : start + MAX_FIELDS])} for start in starts]


def opens(url: str) -> Block:
    """The button that opens the customer's conversation.

    Slack also tells the app that it was pressed, if the app has an interactivity URL, and wants that acknowledged:
    https://docs.slack.dev/reference/block-kit/block-elements/button-element. A URL may have 3,000 characters.
    """
    return {"type": "button", "text": plain("Open conversation"), "action_id": "open_conversation", "url": url}


def takes(request_id: str, delivery: str) -> Block:
    """The button by which a human takes the request. Its value says which, and by which message."""
    return _button("I'll take it", TAKE, request_id, delivery)


def releases(request_id: str, delivery: str) -> Block:
    """The button by which whoever took the request releases it."""
    return _button("Release", RELEASE, request_id, delivery)


def pressed(value: str) -> Shown | None:
    """The request in the value of such a button; None if it holds something else."""
    request_id, _, delivery = value.partition(" ")
    return Shown(request_id, delivery) if is_request_id(request_id) and delivery else None


def requests_in(blocks: Iterable[Any]) -> Iterator[Shown]:
    """The requests of a message, by its buttons."""
    for block in blocks:
        match block:
            case {"accessory": element}:
                elements = [element]
            case {"elements": list(elements)}:
                pass
            case _:
                continue
        for element in elements:
            match element:
                case {"type": "button", "action_id": "take" | "release", "value": str(value)} if found := pressed(
                    value
                ):
                    yield found


def _button(text: str, action: str, request_id: str, delivery: str) -> Block:
    # Many buttons share a message's limit: what Slack takes for granted is left out.
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "text": label, "action_id": action, "value": f"{request_id} {delivery}"}
