"""An assistance request as an email."""

import html
from typing import TYPE_CHECKING

from assistance.models import Outgoing
from assistance.text import explain, printable

if TYPE_CHECKING:
    from mypy_boto3_sesv2.type_defs import EmailContentTypeDef


def compose(outgoing: Outgoing) -> "EmailContentTypeDef":
    """The content of a message to SES: subject, text and HTML.

    Nothing that a customer typed is in a header; SES builds the MIME parts itself.
    """
    request = outgoing.request
    description = printable(request.description)
    notes = [f"Request {request.id}, {request.created_at}", *explain(outgoing)]
    text = "\n".join([description, "", "--", *notes, ""])
    page = (
        f"<h2>New {request.topic} request</h2>"
        f'<p style="white-space: pre-wrap">{html.escape(description)}</p>'
        f"<hr><p><small>{'<br>'.join(html.escape(note) for note in notes)}</small></p>"
    )
    return {
        "Simple": {
            "Subject": {"Data": f"New {request.topic} request {request.id}", "Charset": "UTF-8"},
            "Body": {"Text": {"Data": text, "Charset": "UTF-8"}, "Html": {"Data": page, "Charset": "UTF-8"}},
        }
    }
