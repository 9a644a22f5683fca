"""Slack messages that show requests: a single one, or a digest, which has an entry for each request."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from assistance import facts
from assistance.domain.record import Take
from assistance.facts import Fact
from assistance.history import RESEND
from assistance.models import AssistanceRequest, Outgoing
from assistance.slack import blocks
from assistance.slack.blocks import Block, escape, marked, moment, plain
from assistance.text import explain, heading, one_line, preview, printable

# A message may have 50 blocks: https://docs.slack.dev/reference/block-kit/blocks.
MAX_BLOCKS: Final = 50
MAX_MESSAGE_CHARACTERS: Final = 13_300
"""The limit on all blocks together, as `blocks.size` counts: below 13,422, the least that Slack was seen to refuse."""
MAX_TITLE_CHARACTERS: Final = 75
"""The longest title of a digest, in characters. A longer one would leave less room for the entries."""
PREVIEW_CHARACTERS: Final = 120
SAME_DAY: Final = timedelta(hours=12)
"""If the request was accepted at most this long before the message is posted, its time is shown without the date."""
MAX_NAME_CHARACTERS: Final = 30  # how much is shown of the name of the human who has taken a request
METADATA_EVENT: Final = "assistance_request"
DIGEST_EVENT: Final = "assistance_requests"


def digests(
    outgoing: Sequence[Outgoing], at: datetime, *, take: bool = False, room: int = MAX_MESSAGE_CHARACTERS
) -> Iterator[list[Outgoing]]:
    """Divide requests into few messages, oldest first. Requests in doubt share no message with other requests.

    `at`: when they are posted. `take`: True if each has a button to take it. `room`: a message's limit in characters.
    """
    style = _style(outgoing, at, take=take, taken={})
    title = blocks.size([blocks.header("x" * MAX_TITLE_CHARACTERS)])
    digest: list[Outgoing] = []
    count, size = 1, title
    for one in sorted(outgoing, key=lambda one: (bool(one.doubts), _age(one))):
        if one.alone:
            yield [one]
            continue
        own = _entry(one, style)
        is_full = count + len(own) > MAX_BLOCKS or size + blocks.size(own) > room
        if digest and (is_full or bool(digest[0].doubts) != bool(one.doubts)):
            yield digest
            digest, count, size = [], 1, title
        count, size = count + len(own), size + blocks.size(own)
        digest.append(one)
    if digest:
        yield digest


def _age(outgoing: Outgoing) -> tuple[str, str]:
    return outgoing.request.created_at, outgoing.request.id


def payload(request_id: str, delivery: str) -> dict[str, str]:
    """The entry for a request in the message's metadata: https://docs.slack.dev/messaging/message-metadata.

    It names the delivery only if that is a resend. So a search finds an escalation in the fallback's message, which
    shows the same request, and the other way round.
    """
    resend = {"force": delivery.removeprefix(RESEND)} if delivery.startswith(RESEND) else {}
    return {"request_id": request_id, **resend}


def payloads(message: Mapping[str, Any]) -> list[Any]:
    """The entries in a message's metadata. Any app may have posted the message, so they may be anything."""
    match message.get("metadata"):
        case {"event_type": event, "event_payload": entry} if event == METADATA_EVENT:
            return [entry]
        case {"event_type": event, "event_payload": {"requests": list(entries)}} if event == DIGEST_EVENT:
            return entries
    return []


def compose(
    outgoing: Sequence[Outgoing],
    at: datetime,
    *,
    take: bool = False,
    taken: Mapping[str, Take] = {},
    room: int = MAX_MESSAGE_CHARACTERS,
) -> dict[str, Any]:
    """The arguments of `chat.postMessage` for these requests: text, blocks, and metadata for the search for them.

    `at`: when they are posted. `take`: True if each has a button by which a human takes it. `taken`, only with `take`:
    the takes that are in force, by the request's id. `room`: the limit on the blocks, as `blocks.size` counts.
    """
    shown, style = sorted(outgoing, key=_age), _style(outgoing, at, take=take, taken=taken)
    entries = [payload(one.request.id, one.delivery.name) for one in shown]
    if len(shown) == 1:
        [one] = shown
        text, drawn = _notification(one.request), _message(one, style)
        metadata: dict[str, Any] = {"event_type": METADATA_EVENT, "event_payload": entries[0]}
    else:
        text, drawn = _title(shown), _digest(shown, style, room)
        # Slack allows only strings, numbers, objects and lists of objects in a payload.
        metadata = {"event_type": DIGEST_EVENT, "event_payload": {"requests": entries}}
    return {
        "text": escape(text),
        # Notifications show `text`, also without markup: https://docs.slack.dev/reference/methods/chat.postMessage.
        "mrkdwn": False,
        "blocks": drawn,
        "metadata": metadata,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _notification(request: AssistanceRequest) -> str:
    name = preview(request.customer.name, PREVIEW_CHARACTERS) if request.customer and request.customer.name else ""
    return ": ".join(filter(None, [heading(request.topic), name, preview(request.description, PREVIEW_CHARACTERS)]))


def _title(shown: Sequence[Outgoing]) -> str:
    """A digest's title: how many requests there are of each topic. Topics that do not fit in are counted as others."""
    counts = Counter(heading(one.request.topic) for one in shown).most_common()
    title = f"{len(shown)} new {counts[0][0].lower()} requests"
    if len(counts) == 1 and len(escape(title)) <= MAX_TITLE_CHARACTERS:
        return title
    for named in range(len(counts), 0, -1):
        rest = sum(count for _, count in counts[named:])
        topics = [f"{count} {topic}" for topic, count in counts[:named]] + [f"{rest} others"] * bool(rest)
        title = f"{len(shown)} new requests: {', '.join(topics)}"
        if len(escape(title)) <= MAX_TITLE_CHARACTERS:
            return title
    return f"{len(shown)} new requests"


@dataclass(frozen=True, slots=True)
class _Style:
    """How a message shows its requests. If a digest is too large for Slack, `dividers` and `taken_ids` are off."""

    at: datetime  # when the message is posted
    take: bool  # True if each request has a button by which a human takes it, or releases it
    taken: Mapping[str, Take]  # the takes that are in force, by the request's id
    has_topics: bool  # True if the requests have several topics, so that each entry names its own, and not the title
    dividers: bool = True  # True if there are lines between the entries
    taken_ids: bool = True  # True if an entry shows the request's id even after a human has taken it


def _style(shown: Sequence[Outgoing], at: datetime, *, take: bool, taken: Mapping[str, Take]) -> _Style:
    return _Style(at, take, taken, has_topics=len({one.request.topic for one in shown}) > 1)


def _message(outgoing: Outgoing, style: _Style) -> list[Block]:
    """The blocks of a message with one request. If they would be too large for Slack, the facts are shortened."""
    drawn: list[Block] = []
    for shown_facts in facts.shorter(outgoing.request):
        drawn = _message_with(shown_facts, outgoing, style)
        if _fits(drawn, MAX_MESSAGE_CHARACTERS):
            break
    return drawn


def _fits(drawn: Sequence[Block], room: int) -> bool:
    return blocks.size(drawn) <= room and len(drawn) <= MAX_BLOCKS


def _message_with(shown_facts: Sequence[Fact], outgoing: Outgoing, style: _Style) -> list[Block]:
    request, notes = outgoing.request, explain(outgoing)
    url, taken = facts.conversation(request), style.taken.get(request.id)
    buttons = ([blocks.opens(url)] if url else []) + ([_take_button(outgoing, style)] if style.take else [])
    small = [marked(moment(_accepted(request))), plain(request.id)]
    if request.reference:
        small.append(plain(escape(f"Reference: {one_line(request.reference)}")))
    return [
        blocks.header(f"New {heading(request.topic).lower()} request"),
        *([blocks.context(*(plain(escape(note)) for note in notes))] if notes else []),
        *_description(request, expand=True),
        *blocks.in_sections(blocks.fields(shown_facts)),
        *([{"type": "section", "text": marked(_taken_by(taken))}] if taken else []),
        *([blocks.actions(*buttons)] if buttons else []),
        blocks.context(*small),
    ]


def _description(request: AssistanceRequest, **style: bool) -> list[Block]:
    return [
        {"type": "section", "text": plain(piece), **style} for piece in blocks.split(printable(request.description))
    ]


def _digest(shown: Sequence[Outgoing], style: _Style, room: int) -> list[Block]:
    """A title and an entry for each request, with dividers if there is room."""
    drawn: list[Block] = []
    for each in (style, replace(style, dividers=False), replace(style, dividers=False, taken_ids=False)):
        drawn = [blocks.header(_title(shown))]
        for one in shown:
            entry = _entry(one, each)
            drawn += [blocks.DIVIDER, *entry] if each.dividers and len(drawn) > 1 else entry
        if _fits(drawn, room):
            break
    return drawn


def _entry(outgoing: Outgoing, style: _Style) -> list[Block]:
    """The blocks of one request in a digest. Its first field is ours, so that no customer's text can pretend to be it.

    A block can have one button. If that button takes the request, a link opens the conversation.
    """
    request, url = outgoing.request, facts.conversation(outgoing.request)
    drawn, texts, more = _description(request), [marked(_about(request, style))], []
    texts += [plain(escape(note)) for note in explain(outgoing)]
    if style.take:
        drawn[-1]["accessory"] = _take_button(outgoing, style)
    if url and style.take:
        link = blocks.link(url, "Open conversation")
        if len(link) <= blocks.MAX_FIELD_CHARACTERS:
            texts.append(marked(link))
        else:
            more.append(blocks.actions(blocks.opens(url)))
    elif url:
        drawn[-1]["accessory"] = blocks.opens(url)
    texts += blocks.fields(
        [*(it for it in facts.contacts(request) if not _fits_in_a_line(it)), *facts.details(request)]
    )
    if request.reference:
        texts += blocks.fields([Fact("Reference", printable(request.reference))])
    drawn[-1]["fields"] = texts[: blocks.MAX_FIELDS]
    return [*drawn, *blocks.in_sections(texts[blocks.MAX_FIELDS :]), *more]


def _about(request: AssistanceRequest, style: _Style) -> str:
    """An entry's first field: topic, when the request was accepted or who has taken it, the customer, and the id."""
    # A customer's name gets the label "From", since a name such as "Taken by Anna" must not look like our own text.
    customer = [
        blocks.link(it.href, it.text) if it.href else f"From {it.text}"
        for it in facts.contacts(request)
        if _fits_in_a_line(it)
    ]
    accepted, taken = _accepted(request), style.taken.get(request.id)
    # The date is shown only for older requests: Slack itself shows when the message was posted.
    when = _taken_by(taken) if taken else moment(accepted, day=style.at - accepted > SAME_DAY)
    first = [*([escape(heading(request.topic))] if style.has_topics else []), when]
    last = [request.id] if style.taken_ids or not taken else []
    return "\n".join(" · ".join(line) for line in (first, customer, last) if line)


def _fits_in_a_line(fact: Fact) -> bool:
    """Whether the fact needs no label to be understood, and contains no markup."""
    return fact.href is not None or (fact.label == "Name" and blocks.no_markup(fact.text))


def _take_button(outgoing: Outgoing, style: _Style) -> Block:
    request_id = outgoing.request.id
    return blocks.takes(request_id, outgoing.delivery.name, taken=request_id in style.taken)


def _taken_by(taken: Take) -> str:
    at = datetime.fromtimestamp(taken.at / 1_000, UTC)
    return f"Taken by {blocks.name(preview(taken.by, MAX_NAME_CHARACTERS))}, {moment(at, day=False)}"


def _accepted(request: AssistanceRequest) -> datetime:
    return datetime.fromisoformat(request.created_at)
