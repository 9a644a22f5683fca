"""Assistance requests as Slack messages: one as a message of its own, several as a digest with a block each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from assistance.models import Outgoing
from assistance.text import explain, is_blank, printable

Block: TypeAlias = dict[str, Any]

# https://docs.slack.dev/reference/block-kit/blocks: 50 of them in a message.
MAX_BLOCKS: Final = 50
# https://docs.slack.dev/reference/block-kit/blocks/section-block
MAX_BLOCK_CHARACTERS: Final = 3_000
# All blocks together have a limit that Slack does not document, which answers `msg_blocks_too_long`. Seen are 13,172 to
# 13,297 characters, of which an empty block takes some 110; Slack's own people advise 12,000 and room for the blocks:
# https://github.com/slackapi/bolt-js/issues/2509. Bytes are counted here, since nobody has said that Slack does not.
MAX_DIGEST_BYTES: Final = 12_000
_BLOCK_BYTES: Final = 110
METADATA_EVENT: Final = "assistance_request"
DIGEST_EVENT: Final = "assistance_requests"


def escape(text: str) -> str:
    """Escape the three characters that Slack gives a meaning, so that `<!channel>` pings nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def split(text: str, limit: int = MAX_BLOCK_CHARACTERS) -> list[str]:
    """The text, escaped, in pieces no longer than the limit: no escape is cut in two, nothing visible is lost."""
    pieces = [""]
    for character in text:
        escaped = escape(character)
        if len(pieces[-1]) + len(escaped) > limit:
            pieces.append("")
        pieces[-1] += escaped
    # Slack refuses an empty text, and does not document whether it takes a blank one.
    return [piece for piece in pieces if not is_blank(piece)] or ["\ufffd"]


def digests(outgoing: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Divide requests into few messages within Slack's limits. What is in doubt goes apart: it is looked up first."""
    header = _size(_header(f"{MAX_BLOCKS} new requests"))
    for in_doubt in (False, True):
        digest: list[Outgoing] = []
        blocks, size = 1, header
        for one in outgoing:
            if one.in_doubt is not in_doubt:
                continue
            if one.alone:
                yield [one]
                continue
            own = _entry(one)
            added = sum(_size(block) for block in own)
            if digest and (blocks + len(own) > MAX_BLOCKS or size + added > MAX_DIGEST_BYTES):
                yield digest
                digest, blocks, size = [], 1, header
            digest.append(one)
            blocks, size = blocks + len(own), size + added
        if digest:
            yield digest


def _size(block: Block) -> int:
    return _BLOCK_BYTES + len(json.dumps(block, ensure_ascii=False).encode())


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


def compose(outgoing: Sequence[Outgoing]) -> dict[str, Any]:
    """The arguments of `chat.postMessage` for these requests: text, blocks, and the metadata by which to find them."""
    if len(outgoing) == 1:
        [one] = outgoing
        title, blocks = f"New {one.request.topic} request", _message(one)
        metadata: dict[str, Any] = {"event_type": METADATA_EVENT, "event_payload": payload(one)}
    else:
        title, blocks = f"{len(outgoing)} new requests", [block for one in outgoing for block in _entry(one)]
        # A payload holds strings, numbers, objects and lists of objects.
        metadata = {"event_type": DIGEST_EVENT, "event_payload": {"requests": [payload(one) for one in outgoing]}}
    return {
        "text": escape(title),
        "blocks": [_header(title), *blocks],
        "metadata": metadata,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _header(title: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": title}}


def _description(outgoing: Outgoing) -> list[Block]:
    # `verbatim` keeps Slack from making links, channel names or mentions out of what the customer typed.
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": piece, "verbatim": True}}
        for piece in split(printable(outgoing.request.description))
    ]


def _message(outgoing: Outgoing) -> list[Block]:
    request = outgoing.request
    notes = [f"{request.id} · {request.created_at}", *explain(outgoing)]
    elements = [{"type": "mrkdwn", "text": escape(note), "verbatim": True} for note in notes]
    return [*_description(outgoing), {"type": "context", "elements": elements}]


def _entry(outgoing: Outgoing) -> list[Block]:
    """One block, unless the description is too long for it. What we say of it is a field: no customer can feign it."""
    request = outgoing.request
    blocks = _description(outgoing)
    note = f"{request.topic} · {request.id} · {request.created_at}"
    blocks[-1]["fields"] = [{"type": "plain_text", "text": note}]
    return blocks
