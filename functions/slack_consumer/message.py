"""An assistance request as a Slack message."""

from typing import Any, Final

from assistance.models import Outgoing
from assistance.text import explain, printable

# https://docs.slack.dev/reference/block-kit/blocks/section-block
MAX_BLOCK_CHARACTERS: Final = 3_000
METADATA_EVENT: Final = "assistance_request"


def escape(text: str) -> str:
    """Escape the three characters that Slack gives a meaning, so that `<!channel>` pings nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def split(text: str, limit: int = MAX_BLOCK_CHARACTERS) -> list[str]:
    """The text, escaped, in pieces no longer than the limit: nothing is cut off, and no escape is cut in two."""
    pieces = [""]
    for character in text:
        escaped = escape(character)
        if len(pieces[-1]) + len(escaped) > limit:
            pieces.append("")
        pieces[-1] += escaped
    return pieces


def payload(outgoing: Outgoing) -> dict[str, str]:
    """The metadata by which the message can be found again: https://docs.slack.dev/messaging/message-metadata."""
    force = {"force": outgoing.force} if outgoing.force else {}
    return {"request_id": outgoing.request.id, **force}


def compose(outgoing: Outgoing) -> dict[str, Any]:
    """The arguments of `chat.postMessage`: text, blocks and metadata.

    `verbatim` keeps Slack from making links, channel names or mentions out of what the customer typed.
    """
    request = outgoing.request
    title = f"New {request.topic} request"
    description = [
        {"type": "section", "text": {"type": "mrkdwn", "text": piece, "verbatim": True}}
        for piece in split(printable(request.description))
    ]
    notes = [f"{request.id} · {request.created_at}", *explain(outgoing)]
    return {
        "text": title,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            *description,
            {"type": "context", "elements": [{"type": "mrkdwn", "text": note, "verbatim": True} for note in notes]},
        ],
        "metadata": {"event_type": METADATA_EVENT, "event_payload": payload(outgoing)},
        "unfurl_links": False,
        "unfurl_media": False,
    }
