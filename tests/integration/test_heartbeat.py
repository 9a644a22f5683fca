"""Tests the hourly heartbeat check of each channel: it finds defects without requests, and sends people no message."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from assistance.engine import heartbeat
from assistance.engine.heartbeat import EVENT, REQUEST_ID
from assistance.errors import PermanentFailure, RateLimited
from assistance.routing import Channel, routes
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import emails, example, invoke_email_feedback, raising
from tests.logged_metrics import emitted
from tests.logs import logging_everything

Beat = Callable[[Channel], list[str] | None]


@pytest.fixture
def beat(stack: Cloud, capsys: pytest.CaptureFixture[str]) -> Iterator[Beat]:
    """Returns a function that runs the heartbeat check of a channel, checks its metrics, and returns its findings.

    With each mail the consumer sets the metric of SES's reports to 0; without it CloudWatch would use older values.
    """

    def beats(channel: Channel) -> list[str] | None:
        routes.cache_clear()
        capsys.readouterr()
        found: list[str] | None = stack.handler(f"{channel}_consumer")({EVENT: True}, stack.context)["broken"]
        measured = {series.label: values for series, values in emitted(capsys.readouterr().out).items()}
        reports = {"MailFeedback email": [0]} if channel is Channel.EMAIL and found == [] else {}
        assert measured == ({} if found is None else reports | {f"Unreachable {channel}": [int(bool(found))]})
        return found

    yield beats
    routes.cache_clear()


def route(monkeypatch: pytest.MonkeyPatch, channel: Channel, place: str | None = None) -> None:
    where = {"where": {channel: place}} if place else {}
    monkeypatch.setenv("ROUTES", json.dumps({"sales": {"channels": [channel], "fallback": None, **where}}))


def test_the_heartbeat_check_of_a_working_channel_succeeds_without_sending_a_message_to_people(
    beat: Beat, slack: SlackServer
) -> None:
    assert beat(Channel.SLACK) == []
    assert slack.messages == []
    assert beat(Channel.EMAIL) == []
    [mail] = emails()
    assert "heartbeat" in mail


def test_the_heartbeat_check_detects_a_revoked_slack_token(beat: Beat, slack: SlackServer) -> None:
    slack.fail("error", error="token_revoked")
    assert beat(Channel.SLACK) == ["token_revoked"]


def test_the_heartbeat_check_detects_a_secret_without_a_usable_slack_token(beat: Beat) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="slack-token", SecretString="\n")
    assert beat(Channel.SLACK) == ["slack_token_unavailable"]


def test_the_heartbeat_check_covers_exactly_the_slack_channels_that_routes_use(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    route(monkeypatch, Channel.SLACK, "C0GONE")
    assert beat(Channel.SLACK) == ["C0GONE: channel_not_found"]
    route(monkeypatch, Channel.SLACK)
    assert beat(Channel.SLACK) == []
    monkeypatch.setenv("SLACK_CHANNEL", "by-name")
    forget()
    assert beat(Channel.SLACK) == [], "Slack finds a channel by its id only"


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "rate_limited", "retry_after": 1}])
def test_the_heartbeat_check_reports_no_defect_if_the_provider_does_not_respond(
    beat: Beat, slack: SlackServer, fault: dict[str, Any]
) -> None:
    slack.fail(**fault)
    assert beat(Channel.SLACK) is None


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (RateLimited("ratelimited"), ["C0GONE: channel_not_found"]),
        (PermanentFailure("token_revoked"), ["C0GONE: channel_not_found", "token_revoked"]),
    ],
)
def test_the_heartbeat_check_reports_a_defect_found_before_the_provider_stopped_responding(
    failure: Exception, found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def check() -> Iterator[str]:
        yield "C0GONE: channel_not_found"
        raise failure

    assert heartbeat.run(Channel.SLACK, check) == {"broken": found}
    measured = {series.label: values for series, values in emitted(capsys.readouterr().out).items()}
    assert measured == {"Unreachable slack": [1]}


def test_the_heartbeat_check_logs_a_defect_found_before_an_unforeseen_error() -> None:
    def check() -> Iterator[str]:
        yield "C0GONE: channel_not_found"
        raise ZeroDivisionError

    with logging_everything() as log, pytest.raises(ZeroDivisionError):
        heartbeat.run(Channel.SLACK, check)
    assert "C0GONE: channel_not_found" in log.getvalue()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("MessageRejected", ["MessageRejected"]),
        ("AccountSuspendedException", ["AccountSuspendedException"]),
        ("SendingPausedException", ["SendingPausedException"]),
        ("AccessDeniedException", ["AccessDeniedException"]),
        ("InternalFailure", None),
        ("TooManyRequestsException", None),
    ],
)
def test_the_heartbeat_check_detects_an_ses_account_that_may_not_send(
    beat: Beat, code: str, found: list[str] | None
) -> None:
    def refuse(_: str) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "SendEmail")

    with raising(refuse, "SendEmail"):
        assert beat(Channel.EMAIL) == found


def test_the_heartbeat_check_detects_an_unusable_teams_secret_without_sending_a_card(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    route(monkeypatch, Channel.TEAMS)
    boto3.client("secretsmanager").put_secret_value(SecretId="teams", SecretString="http://plain.example.com")
    assert beat(Channel.TEAMS) == ["sales: teams_secret_unavailable"]
    boto3.client("secretsmanager").put_secret_value(SecretId="teams", SecretString="https://hooks.example.com/x")
    forget()
    assert beat(Channel.TEAMS) == []


@pytest.mark.parametrize("event", ["delivery", "bounce"])
def test_an_ses_event_about_the_mail_of_a_heartbeat_check_is_counted_and_changes_no_request(
    stack: Cloud, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke_email_feedback(stack, json.dumps(example(event, REQUEST_ID, "heartbeat")))
    assert {it.label: sum(values) for it, values in emitted(capsys.readouterr().out).items()} == {
        "MailFeedback email": 1
    }
    assert stack.table.scan()["Items"] == []
    assert stack.dead_letters(Channel.EMAIL) == []
