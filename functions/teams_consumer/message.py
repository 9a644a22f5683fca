"""An assistance request as an Adaptive Card, in the envelope that the workflow's trigger takes.

https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
"""

import json
from typing import Any, Final, TypeAlias

from assistance.models import Outgoing
from assistance.text import explain, printable

Json: TypeAlias = dict[str, Any]

MAX_BYTES: Final = 28_000
"""Of a message, about: https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions. The
longest description is 16 KB in UTF-8, or in UTF-16, so that none is ever cut. With JSON's escapes it could be 48 KB."""
CONTENT_TYPE: Final = "application/vnd.microsoft.card.adaptive"
# What Teams shows: https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference
VERSION: Final = "1.4"


def compose(outgoing: Outgoing) -> bytes:
    """The body of the call."""
    request = outgoing.request
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "body": [
            _text(f"New {request.topic} request", size="Large", weight="Bolder"),
            _text(printable(request.description)),
            *(
                _text(note, size="Small", isSubtle=True)
                for note in (f"{request.id} · {request.created_at}", *explain(outgoing))
            ),
        ],
        "msteams": {"width": "Full"},
    }
    message = {"type": "message", "attachments": [{"contentType": CONTENT_TYPE, "content": card}]}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _text(text: str, **style: object) -> Json:
    """Text as it is. A TextBlock would make links, lists and emphasis out of what a customer typed, a TextRun does not.

    https://learn.microsoft.com/adaptive-cards/create/textfeatures. A mention takes an entity beside the text,
    and there is none.
    """
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
