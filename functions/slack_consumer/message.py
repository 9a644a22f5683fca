"""An assistance request as a Slack message."""

from typing import Any, Final

from assistance.models import AssistanceRequest
from assistance.text import printable

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


def compose(request: AssistanceRequest) -> dict[str, Any]:
    """The arguments of `chat.postMessage`: text, blocks, and metadata by which the message can be found again.

    `verbatim` keeps Slack from making links, channel names or mentions out of what the customer typed.
    """
    title = f"New {request.topic} request"
    description = [
        {"type": "section", "text": {"type": "mrkdwn", "text": piece, "verbatim": True}}
        for piece in split(printable(request.description))
    ]
    return {
        "text": title,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            *description,
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"{request.id} · {request.created_at}", "verbatim": True}],
            },
        ],
        "metadata": {"event_type": METADATA_EVENT, "event_payload": {"request_id": request.id}},
        "unfurl_links": False,
        "unfurl_media": False,
    }
