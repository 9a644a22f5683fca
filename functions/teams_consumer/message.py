"""The Adaptive Card that shows an assistance request, in the JSON document that the workflow's trigger expects.

https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from assistance import facts
from assistance.facts import Fact
from assistance.models import AssistanceRequest, Outgoing
from assistance.text import explain, heading, one_line, printable

Json: TypeAlias = dict[str, Any]

MAX_BYTES: Final = 28_000
"""The approximate limit on a message: https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions.
The longest description takes 16 KB in UTF-8 and in UTF-16, so it always fits. With JSON's escapes it could take 48 KB,
so the message has no escapes."""
CONTENT_TYPE: Final = "application/vnd.microsoft.card.adaptive"
# The version of Adaptive Cards that Teams supports:
# https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference
VERSION: Final = "1.4"

# The characters that have a meaning in Markdown: https://learn.microsoft.com/adaptive-cards/create/textfeatures. A
# backslash escapes them: https://spec.commonmark.org/0.31.2/#backslash-escapes. At the start of a text, a number with a
# dot or a bracket, a plus or a minus begins a list.
_MARKDOWN: Final = re.compile(r"(^\d{1,9}(?=[.)](?: |$)))|[\\`*_\[\]<>&~#!|{]|^[-+](?= |$)")
# Between the braces of a function such as `{{DATE(2026-01-31T09:30:00Z)}}`. Not between all braces: each part takes 29
# characters more, so a description of 4,000 braces would be too large.
_DATE: Final = re.compile(r"(?<=\{)(?=\{(?:DATE|TIME)\([0-9T:-]{19})")


def compose(outgoing: Outgoing, *, take_url: str | None = None) -> bytes:
    """The body of the call to the workflow. `take_url`: the page on which a human takes the request.

    If the card would be too large for Teams, its facts are shortened, and say so. The description is never shortened.
    """
    body = b""
    for shown_facts in facts.shorter(outgoing.request):
        text = json.dumps(_message(outgoing, shown_facts, take_url), ensure_ascii=False, separators=(",", ":"))
        body = text.encode()
        # Microsoft does not say in which encoding it counts the size here. For bots it counts in UTF-16:
        # https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
        if max(len(body), len(text.encode("utf-16-le"))) < MAX_BYTES:
            break
    return body


def _message(outgoing: Outgoing, shown_facts: Sequence[Fact], take_url: str | None) -> Json:
    request, url = outgoing.request, facts.conversation(outgoing.request)
    buttons = [*([("Open conversation", url)] if url else []), *([("I'll take it", take_url)] if take_url else [])]
    small = [request.id, *([f"Reference: {one_line(request.reference)}"] if request.reference else [])]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "body": [
            _text(f"New {heading(request.topic).lower()} request", size="Large", weight="Bolder"),
            *(_text(note, isSubtle=True) for note in explain(outgoing)),
            _text(printable(request.description)),
            *([{"type": "FactSet", "facts": list(map(_fact, shown_facts))}] if shown_facts else []),
            _moment(request),
            _text(" · ".join(small), size="Small", isSubtle=True),
        ],
        "actions": [{"type": "Action.OpenUrl", "title": title, "url": address} for title, address in buttons],
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": CONTENT_TYPE, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _text(text: str, **style: object) -> Json:
    """A text that Teams shows as it was typed.

    A TextBlock would turn a customer's characters into links, lists and emphasis; a TextRun does not:
    https://learn.microsoft.com/adaptive-cards/create/textfeatures. The text can't mention anybody either: a mention
    needs an entity beside it. Cards replace `{{DATE(…)}}` by a date, so the two braces go into different runs.
    """
    runs = _DATE.split(text)
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": run, **style} for run in runs]}


def _fact(fact: Fact) -> Json:
    """A line of a FactSet. Teams reads Markdown in its title and value, so both are escaped.

    https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
    """
    value = _escaped(fact.text)
    if fact.href:
        # A parenthesis could end the target of the link: https://spec.commonmark.org/0.31.2/#link-destination
        value = f"[{value}]({fact.href.replace('(', '%28').replace(')', '%29')})"
    return {"title": _escaped(fact.label), "value": value}


def _escaped(text: str) -> str:
    """The text on one line, with a backslash before each character that has a meaning in Markdown."""
    return _MARKDOWN.sub(lambda it: f"{it[1]}\\" if it[1] else f"\\{it[0]}", " ".join(text.split()))


def _moment(request: AssistanceRequest) -> Json:
    """When the request was accepted, which Teams shows in each reader's time zone.

    https://learn.microsoft.com/adaptive-cards/create/textfeatures
    """
    at = f"{datetime.fromisoformat(request.created_at).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "type": "TextBlock",
        "text": f"{{{{DATE({at}, SHORT)}}}}, {{{{TIME({at})}}}}",
        "size": "Small",
        "isSubtle": True,
    }
