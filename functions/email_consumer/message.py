"""An assistance request as an email."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assistance import contact, facts
from assistance.facts import Fact
from assistance.models import AssistanceRequest, Outgoing
from assistance.text import explain, heading, one_line, preview, printable
from email_consumer.page import page

if TYPE_CHECKING:
    from mypy_boto3_sesv2.type_defs import EmailContentTypeDef

SUBJECT_CHARACTERS: Final = 60
"""More is cut off in most lists of mails."""


def compose(outgoing: Outgoing, *, take_url: str | None = None) -> "EmailContentTypeDef":
    """The content of a message to SES: subject, text and HTML. `take_url`: where a human takes the request.

    SES builds the MIME parts itself. The subject is on one line, and so is every header.
    """
    request = outgoing.request
    url, told = facts.conversation(request), facts.about(request)
    buttons = [*([("Open conversation", url)] if url else []), *([("I'll take it", take_url)] if take_url else [])]
    notes = [*explain(outgoing), *_small_print(request)]
    title, description = f"New {heading(request.topic).lower()} request", printable(request.description)
    return {
        "Simple": {
            "Subject": {"Data": subject(request), "Charset": "UTF-8"},
            "Body": {
                "Text": {"Data": _text(description, told, buttons, notes), "Charset": "UTF-8"},
                "Html": {"Data": page(title, description, told, buttons, notes), "Charset": "UTF-8"},
            },
            "Headers": [{"Name": "References", "Value": thread(request)}],
        }
    }


def subject(request: AssistanceRequest) -> str:
    """The topic, and how the description begins."""
    topic = f"[{heading(request.topic)}] "
    return topic + preview(request.description, SUBJECT_CHARACTERS - len(topic))


def thread(request: AssistanceRequest) -> str:
    """A reference that only mails about this request have, so that similar requests are separate conversations.

    Gmail puts mails of one subject together unless they refer to different ones:
    https://workspaceupdates.googleblog.com/2019/03/threading-changes-in-gmail-conversation-view.html. `Message-ID` does
    not help: SES writes its own, https://docs.aws.amazon.com/ses/latest/dg/header-fields.html. The domain is one that
    nobody has, since there is no such mail: https://www.rfc-editor.org/rfc/rfc2606#section-2.
    """
    return f"<{request.id}@assistance.invalid>"


def reply_to(request: AssistanceRequest) -> list[str]:
    """Whom an answer to the mail reaches: the customer, if their address is valid."""
    address = contact.mailto(request.customer.email) if request.customer and request.customer.email else None
    return [address] if address else []


def _text(description: str, told: tuple[Fact, ...], buttons: list[tuple[str, str]], notes: list[str]) -> str:
    """The plain text: all that the page says, the description first."""
    about = [f"{one_line(fact.label)}: {one_line(fact.text)}" for fact in told]
    links = [f"{name}: {url}" for name, url in buttons]
    paragraphs = (lines for lines in ([description], about, links, ["--", *notes]) if lines)
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _small_print(request: AssistanceRequest) -> list[str]:
    reference = [f"Reference: {one_line(request.reference)}"] if request.reference else []
    at = datetime.fromisoformat(request.created_at).astimezone(UTC)
    return [f"Request {request.id}, {at.day} {at:%B %Y, %H:%M} UTC", *reference]
