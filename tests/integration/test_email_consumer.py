"""Tests the arguments that the email consumer passes to SES."""

import importlib
from email.utils import parseaddr
from typing import Any

import pytest

from tests.integration.cloud import forget
from tests.sample_requests import ANNA, ID, request, to_send


class Ses:
    """A fake SES client that accepts every mail."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def send_email(self, **call: Any) -> dict[str, str]:  # noqa: ANN401
        """Store the arguments of the call."""
        self.calls.append(call)
        return {"MessageId": "mail-1"}


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("", "bot@example.com"),
        ("Assistance", "Assistance <bot@example.com>"),
        ("Sales, Inc.", '"Sales, Inc." <bot@example.com>'),
        ("Verträge", "=?utf-8?b?VmVydHLDpGdl?= <bot@example.com>"),
    ],
)
def test_a_mail_has_a_sender_name_and_the_customers_address_as_reply_to(
    monkeypatch: pytest.MonkeyPatch, name: str, sender: str
) -> None:
    monkeypatch.setenv("EMAIL_SENDER_NAME", name)
    forget()
    handler, ses = importlib.import_module("email_consumer.handler"), Ses()
    monkeypatch.setattr(handler, "ses", lambda: ses)
    assert handler.send(to_send(request(customer=ANNA))) == "mail-1"
    [call] = ses.calls
    assert call["FromEmailAddress"] == sender
    assert parseaddr(sender)[1] == "bot@example.com"
    assert call["ReplyToAddresses"] == ["anna@example.org"]
    assert call["EmailTags"] == [{"Name": "request_id", "Value": ID}]


@pytest.mark.usefixtures("stack")
def test_a_mail_has_no_reply_to_address_if_the_customers_address_is_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler, ses = importlib.import_module("email_consumer.handler"), Ses()
    monkeypatch.setattr(handler, "ses", lambda: ses)
    handler.send(to_send(request()))
    assert ses.calls[0]["ReplyToAddresses"] == []
