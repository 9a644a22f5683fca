"""Assistance requests as Slack messages: one as a message of its own, several as a digest with an entry each.

What a message shows follows from the requests and from who has taken them, so that it can be drawn again later.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

from assistance import facts
from assistance.facts import Fact
from assistance.models import AssistanceRequest, Outgoing
from assistance.routing import Channel
from assistance.slack import blocks
from assistance.slack.blocks import Block, escape, marked, moment, plain
from assistance.text import explain, heading, preview, printable

# https://docs.slack.dev/reference/block-kit/blocks: 50 of them in a message.
MAX_BLOCKS: Final = 50
MAX_MESSAGE_BYTES: Final = 13_000
"""Of all blocks together, by `blocks.size`: below the least that Slack was seen to refuse."""
PREVIEW_CHARACTERS: Final = 120
MAX_NAME_CHARACTERS: Final = 30
"""Of whoever has taken a request."""
METADATA_EVENT: Final = "assistance_request"
DIGEST_EVENT: Final = "assistance_requests"


class Taken(Protocol):
    """Who has taken a request, and when, in milliseconds since 1970."""

    @property
    def by(self) -> str:
        """The name that other humans know."""

    @property
    def at(self) -> int:
        """When."""


class _LongestName:
    by = "\u00e9" * MAX_NAME_CHARACTERS
    at = 0


By = Mapping[str, Taken]
"""Who has taken which request, by its id."""
NOBODY: Final[By] = MappingProxyType({})


def digests(outgoing: Sequence[Outgoing], *, take: bool = False) -> Iterator[list[Outgoing]]:
    """Divide requests into few messages within Slack's limits, the oldest first.

    What is in doubt goes apart: it is looked up first.
    """
    title = blocks.size([blocks.header("x" * blocks.MAX_HEADER_CHARACTERS)])
    for in_doubt in (False, True):
        digest: list[Outgoing] = []
        count, size = 1, title
        for one in sorted(outgoing, key=_age):
            if one.in_doubt is not in_doubt:
                continue
            if one.alone:
                yield [one]
                continue
            # With the button, a digest must have room for who presses it too.
            own = [blocks.DIVIDER, *_entry(one, take=take, taken=_LongestName() if take else None)]
            added = blocks.size(own)
            if digest and (count + len(own) > MAX_BLOCKS or size + added > MAX_MESSAGE_BYTES):
                yield digest
                digest, count, size = [], 1, title
            # No divider comes before the first.
            count, size = count + len(own) - (not digest), size + added
            digest.append(one)
        if digest:
            yield digest


def _age(outgoing: Outgoing) -> tuple[str, str]:
    return outgoing.request.created_at, outgoing.request.id


def payload(outgoing: Outgoing) -> dict[str, str]:
    """What the message's metadata says of a request: https://docs.slack.dev/messaging/message-metadata."""
    resend = {"force": outgoing.resend} if outgoing.resend else {}
    return {"request_id": outgoing.request.id, **resend}


def payloads(message: Mapping[str, Any]) -> list[Any]:
    """What a message's metadata says of the requests that it holds. Any app may have posted it: it may say anything."""
    match message.get("metadata"):
        case {"event_type": event, "event_payload": told} if event == METADATA_EVENT:
            return [told]
        case {"event_type": event, "event_payload": {"requests": list(told)}} if event == DIGEST_EVENT:
            return told
    return []


def compose(outgoing: Sequence[Outgoing], *, take: bool = False, taken: By = NOBODY) -> dict[str, Any]:
    """The arguments of `chat.postMessage` for these requests: text, blocks, and the metadata by which to find them.

    `take`: whether a request has a button by which a human takes it. `taken`: who has, in the place of the button.
    """
    shown = sorted(outgoing, key=_age)
    if len(shown) == 1:
        [one] = shown
        text, drawn = _notification(one.request), _message(one, take=take, taken=taken.get(one.request.id))
        metadata: dict[str, Any] = {"event_type": METADATA_EVENT, "event_payload": payload(one)}
    else:
        text, drawn = _title(shown), _digest(shown, take=take, taken=taken)
        # A payload holds strings, numbers, objects and lists of objects.
        metadata = {"event_type": DIGEST_EVENT, "event_payload": {"requests": [payload(one) for one in shown]}}
    return {
        "text": escape(text),
        # https://docs.slack.dev/reference/methods/chat.postMessage: a notification shows `text` without markup too.
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
    """How many there are of which topic, as far as a header has room for it."""
    counts = Counter(heading(one.request.topic) for one in shown).most_common()
    for named in range(len(counts), 0, -1):
        rest = sum(count for _, count in counts[named:])
        topics = [f"{count} {topic}" for topic, count in counts[:named]] + [f"{rest} others"] * bool(rest)
        title = f"{len(shown)} new requests: {', '.join(topics)}"
        if len(escape(title)) <= blocks.MAX_HEADER_CHARACTERS:
            return title
    return f"{len(shown)} new requests"


def _message(outgoing: Outgoing, *, take: bool, taken: Taken | None) -> list[Block]:
    """One request. Its facts are shortened if Slack would refuse them all, and say so; its description never is."""
    drawn: list[Block] = []
    for told in facts.shorter(outgoing.request):
        drawn = _with(told, outgoing, take=take, taken=taken)
        if blocks.size(drawn) <= MAX_MESSAGE_BYTES and len(drawn) <= MAX_BLOCKS:
            break
    return drawn


def _with(told: Sequence[Fact], outgoing: Outgoing, *, take: bool, taken: Taken | None) -> list[Block]:
    request, notes = outgoing.request, explain(outgoing)
    url = facts.conversation(request)
    buttons = ([blocks.opens(url)] if url else []) + ([_press(outgoing, taken)] if take or taken else [])
    small = [marked(moment(_accepted(request))), plain(request.id)]
    if request.reference:
        small.append(plain(escape(f"Reference: {printable(request.reference)}")))
    return [
        blocks.header(f"New {heading(request.topic).lower()} request"),
        *([blocks.context(*(plain(escape(note)) for note in notes))] if notes else []),
        *_description(request, expand=True),
        *blocks.in_sections(blocks.fields(told)),
        *([{"type": "section", "text": marked(_taken(taken))}] if taken else []),
        *([blocks.actions(*buttons)] if buttons else []),
        blocks.context(*small),
    ]


def _description(request: AssistanceRequest, **style: bool) -> list[Block]:
    return [
        {"type": "section", "text": plain(piece), **style} for piece in blocks.split(printable(request.description))
    ]


def _digest(shown: Sequence[Outgoing], *, take: bool, taken: By) -> list[Block]:
    drawn = [blocks.header(_title(shown))]
    for one in shown:
        divider = [blocks.DIVIDER] if len(drawn) > 1 else []
        drawn += [*divider, *_entry(one, take=take, taken=taken.get(one.request.id))]
    return drawn


def _entry(outgoing: Outgoing, *, take: bool, taken: Taken | None) -> list[Block]:
    """One block, unless it has too much to say. What we say of it is the first field: no customer can feign it.

    A block has room for one button. If that is for taking the request, a link opens the conversation.
    """
    request, url = outgoing.request, facts.conversation(outgoing.request)
    drawn, texts, more = _description(request), [marked(_about(request, taken))], []
    texts += [plain(escape(note)) for note in explain(outgoing)]
    if take or taken:
        drawn[-1]["accessory"] = _press(outgoing, taken)
    if url and (take or taken):
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


def _about(request: AssistanceRequest, taken: Taken | None) -> str:
    """The topic, the time, the customer, the id and who has taken it: one text, for each more takes of the limit."""
    # A name has its label: one that reads "Taken by Anna" must not look like a line of ours.
    customer = [
        blocks.link(it.href, it.text) if it.href else f"From {it.text}"
        for it in facts.contacts(request)
        if _fits_in_a_line(it)
    ]
    first = [escape(heading(request.topic)), moment(_accepted(request))]
    lines = [first, [_taken(taken)] if taken else [], customer, [request.id]]
    return "\n".join(" · ".join(line) for line in lines if line)


def _fits_in_a_line(fact: Fact) -> bool:
    """Whether readers see what it is without a label, and Slack shows it as it is."""
    return fact.href is not None or (fact.label == "Name" and blocks.no_markup(fact.text))


def _press(outgoing: Outgoing, taken: Taken | None) -> Block:
    """The button by which a human takes the request, or releases it."""
    button = blocks.releases if taken else blocks.takes
    return button(outgoing.request.id, outgoing.delivery or Channel.SLACK)


def _taken(taken: Taken) -> str:
    at = datetime.fromtimestamp(taken.at / 1_000, UTC)
    return f"Taken by {escape(preview(taken.by, MAX_NAME_CHARACTERS))}, {moment(at, day=False)}"


def _accepted(request: AssistanceRequest) -> datetime:
    return datetime.fromisoformat(request.created_at)
