"""The email that shows an assistance request."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assistance import contact, facts
from assistance.facts import Fact
from assistance.models import AssistanceRequest, Outgoing
from assistance.text import explain, heading, one_line, preview, printable
from email_consumer.page import page

if TYPE_CHECKING:
    from mypy_boto3_sesv2.type_defs import EmailContentTypeDef

SUBJECT_CHARACTERS: Final = 60  # most mail programs cut a longer subject in their list of mails


def compose(outgoing: Outgoing, *, take_url: str | None = None) -> "EmailContentTypeDef":
    """The mail for SES, with a link to `take_url` if given. Headers are single lines, so customers can't add any."""
    request = outgoing.request
    url, shown_facts = facts.conversation(request), facts.about(request)
    buttons = [*([("Open conversation", url)] if url else []), *([("I'll take it", take_url)] if take_url else [])]
    notes = [*explain(outgoing), *_small_print(request)]
    title, description = f"New {heading(request.topic).lower()} request", printable(request.description)
    return {
        "Simple": {
            "Subject": {"Data": subject(request), "Charset": "UTF-8"},
            "Body": {
                "Text": {"Data": _text(description, shown_facts, buttons, notes), "Charset": "UTF-8"},
                "Html": {"Data": page(title, description, shown_facts, buttons, notes), "Charset": "UTF-8"},
            },
            "Headers": [{"Name": "References", "Value": thread(request)}],
        }
    }


def subject(request: AssistanceRequest) -> str:
    """The mail's subject: the topic and the beginning of the description."""
    topic = f"[{heading(request.topic)}] "
    return topic + preview(request.description, SUBJECT_CHARACTERS - len(topic))


def thread(request: AssistanceRequest) -> str:
    """The value of the `References` header: it is the same in all mails about this request, and in no others.

    Gmail shows mails with the same subject as one conversation, unless their `References` differ:
    https://workspaceupdates.googleblog.com/2019/03/threading-changes-in-gmail-conversation-view.html. A `Message-ID`
    would not help, since SES replaces it: https://docs.aws.amazon.com/ses/latest/dg/header-fields.html.
    No domain ends in `.invalid`: https://www.rfc-editor.org/rfc/rfc2606#section-2.
    """
    return f"<{request.id}@assistance.invalid>"


def reply_to(request: AssistanceRequest) -> list[str]:
    """The address to which a reply to the mail goes: the customer's. Empty if that is missing or invalid."""
    address = contact.mailto(request.customer.email) if request.customer and request.customer.email else None
    return [address] if address else []


def _text(description: str, shown_facts: tuple[Fact, ...], buttons: list[tuple[str, str]], notes: list[str]) -> str:
    """The mail's plain text, with the same content as its HTML. `buttons` has each button's text and URL."""
    about = [f"{one_line(fact.label)}: {one_line(fact.text)}" for fact in shown_facts]
    links = [f"{name}: {url}" for name, url in buttons]
    paragraphs = (lines for lines in ([description], about, links, ["--", *notes]) if lines)
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _small_print(request: AssistanceRequest) -> list[str]:
    reference = [f"Reference: {one_line(request.reference)}"] if request.reference else []
    at = datetime.fromisoformat(request.created_at).astimezone(UTC)
    return [f"Request {request.id}, {at.day} {at:%B %Y, %H:%M} UTC", *reference]
