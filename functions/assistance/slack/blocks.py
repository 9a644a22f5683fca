"""Slack's blocks, within their limits: https://docs.slack.dev/reference/block-kit/blocks.

The kinds of text in a block: https://docs.slack.dev/reference/block-kit/composition-objects/text-object.
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
TAKE: Final = "take"
RELEASE: Final = "release"
"""`TAKE` and `RELEASE` are the `action_id`s by which Slack reports which button was pressed."""
DIVIDER: Final[Block] = {"type": "divider"}
# Texts of only these characters contain no Slack markup: no emphasis, emoji, mention, channel or URL.
_NO_MARKUP: Final = re.compile(r"[^\W_](?:[^\W_]|[ ,'\u2019-])*")
_MARKUP: Final = re.compile(r"[*~`:]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_CHARACTERS: Final = 125


class ShownRequest(NamedTuple):
    """A request that a message shows, and the name of the delivery that sent the message."""

    request_id: str
    delivery: str


def size(blocks: Iterable[Block]) -> int:
    """Approximately how many characters the blocks use of Slack's limit on all blocks of a message.

    If they use more, Slack refuses the message as `msg_blocks_too_long`. It documents neither the limit nor how it
    counts. Measurements found a limit of 13,172 to 13,297 characters, of which a divider uses 125 and a header about
    100: https://github.com/slackapi/bolt-js/issues/2509. Nobody has measured a button or a field.
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
    """Escape a text for Slack, so that `<!channel>` in it notifies nobody."""
    # https://docs.slack.dev/messaging/formatting-message-text#escaping
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def split(text: str, limit: int = MAX_TEXT_CHARACTERS) -> list[str]:
    """Escape a text, and cut it into pieces of at most `limit` characters, but never inside an escape sequence."""
    pieces, rest = [], escape(text)
    while rest:
        sequence = rest.rfind("&", 0, limit)
        end = sequence if sequence >= 0 and rest.index(";", sequence) >= limit else limit
        pieces.append(rest[:end])
        rest = rest[end:]
    # Slack refuses an empty text, and does not document whether it accepts a blank one.
    return [piece for piece in pieces if not is_blank(piece)] or ["\ufffd"]


def plain(escaped: str) -> Block:
    """A text, escaped already, that Slack shows as it is: `*40*` does not become bold, and `:)` no emoji."""
    return {"type": "plain_text", "text": escaped, "emoji": False}


def marked(mrkdwn: str) -> Block:
    """A text with our markup. Other people's text in it must satisfy `no_markup`, or come from `name` or `link`."""
    # `verbatim` keeps Slack from turning words into links and mentions, such as a customer's name @here.
    return {"type": "mrkdwn", "text": mrkdwn, "verbatim": True}


def no_markup(text: str) -> bool:
    """Whether the text contains nothing that Slack would read as markup."""
    return _NO_MARKUP.fullmatch(text) is not None


def name(text: str) -> str:
    """A colleague's name for use in a `marked` text: without the characters that Slack reads as emphasis or emoji."""
    return escape(_MARKUP.sub("", text))


def link(url: str, text: str) -> str:
    """A link for use in a `marked` text. `url` contains no `|` and no `>`: it is ours or comes from `contact.link`."""
    return f"<{escape(url)}|{escape(text)}>"


def moment(at: datetime, *, day: bool = True) -> str:
    """A time, with the date if `day`, as a text that Slack shows in each reader's time zone."""
    # https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    shown, old_clients = ("{date_short_pretty}, {time}", "%Y-%m-%d %H:%M") if day else ("{time}", "%H:%M")
    return f"<!date^{int(at.timestamp())}^{shown}|{at.astimezone(UTC):{old_clients}} UTC>"


def header(title: str) -> Block:
    """A title in large letters."""
    return {"type": "header", "text": plain(escape(title))}


def context(*texts: Block) -> Block:
    """Texts in small letters."""
    return {"type": "context", "elements": list(texts)}


def actions(*buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(buttons)}


def fields(facts: Iterable[Fact]) -> list[Block]:
    """A text for each fact, or several if it is long. Labels are in bold if neither label nor text contains markup."""
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
    """The texts as fields, in as few section blocks as possible."""
    starts = range(0, len(texts), MAX_FIELDS)
    return [{"type": "section", "fields": list(texts[start : start + MAX_FIELDS])} for start in starts]


def opens(url: str) -> Block:
    """The button that opens the conversation. Slack may report its press, and allows URLs of 3,000 characters."""
    return {"type": "button", "text": plain("Open conversation"), "action_id": "open_conversation", "url": url}


def takes(request_id: str, delivery: str, *, taken: bool) -> Block:
    """The button that takes the request or, if a human has taken it (`taken`), releases it."""
    text, action = ("Release", RELEASE) if taken else ("I'll take it", TAKE)
    # Leave out members that have Slack's default value: a digest has many buttons, and a message's size is limited.
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "text": label, "action_id": action, "value": f"{request_id} {delivery}"}


def parse_value(value: str) -> ShownRequest | None:
    """The request and delivery in the value of a `takes` button. None if the value has another form."""
    request_id, _, delivery = value.partition(" ")
    return ShownRequest(request_id, delivery) if is_request_id(request_id) and delivery else None


def requests_in(blocks: Iterable[Any]) -> Iterator[ShownRequest]:
    """The requests that a message shows, read from its buttons."""
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
                case {"type": "button", "action_id": "take" | "release", "value": str(value)} if found := parse_value(
                    value
                ):
                    yield found
