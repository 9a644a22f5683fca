"""Tests the metrics in the logs of the real handlers."""

from collections.abc import Callable
from datetime import timedelta
from threading import Barrier
from typing import NoReturn

import boto3
import pytest
from botocore.exceptions import ClientError

from assistance.platform import metrics
from assistance.platform.metrics import Metric, Tally
from assistance.routing import Channel
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud
from tests.integration.steps import feedback, mailed, raising
from tests.logged_metrics import emitted

Count = Callable[[], dict[str, float]]
BATCH = 10


@pytest.fixture
def count(capsys: pytest.CaptureFixture[str]) -> Count:
    """Returns a function that sums up each metric emitted since the last call, but not the times until delivery."""

    def sums() -> dict[str, float]:
        found = emitted(capsys.readouterr().out)
        assert all(value >= 0 for values in found.values() for value in values)
        return {
            series.label: sum(values) for series, values in found.items() if series.name != Metric.ACCEPTED_TO_DELIVERED
        }

    return sums


def test_the_metrics_count_a_request_once_when_accepted_published_and_delivered(
    stack: Cloud, count: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    for topic in ("sales", "pricing"):
        stack.post(topic)
    assert count() == {"Accepted sales": 1, "Accepted pricing": 1, "Refused api": 0, "Errored api": 0}
    records = stack.stream_records()
    stack.produce(records)
    assert count() == {"Published slack sales": 1, "Published email pricing": 1}
    stack.consume_until_quiet(Channel.SLACK)
    found = {series.label: len(values) for series, values in emitted(capsys.readouterr().out).items()}
    assert found == {"Attempts slack sales": 1, "Delivered slack sales": 1, "AcceptedToDelivered slack sales": 1}
    stack.produce(records)
    stack.consume_until_quiet(Channel.SLACK)
    assert count() == {"Published slack sales": 1, "Published email pricing": 1}, "a duplicate delivers nothing"


def test_the_metrics_count_a_replayed_call_separately_from_a_new_request(stack: Cloud, count: Count) -> None:
    for _ in range(3):
        stack.post("sales", Idempotency_Key="same")
    assert count() == {"Accepted sales": 1, "Replayed sales": 2, "Refused api": 0, "Errored api": 0}


def test_the_metrics_count_refused_requests_and_5xx_responses_separately_and_leave_out_status_calls(
    stack: Cloud, count: Count
) -> None:
    stack.post("sales")
    for body in ("no JSON", '{"topic": "sales"}'):
        assert stack.call("POST", "/assistance-requests", body, Content_Type="application/json")["statusCode"] >= 400
    stack.call("GET", "/assistance-requests/unknown")
    with raising(unavailable, "PutItem"):
        answer = stack.call(
            "POST", "/assistance-requests", '{"topic": "sales", "description": "x"}', Content_Type="application/json"
        )
        assert answer["statusCode"] == 503
    assert count() == {"Accepted sales": 1, "Refused api": 2, "Errored api": 1}


def unavailable(operation: str) -> NoReturn:
    raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, operation)


def test_the_reconciler_emits_a_metric_with_the_number_of_unpublished_requests(stack: Cloud, count: Count) -> None:
    def swept(later: timedelta) -> float:
        stack.reconcile(later)
        [late] = [value for label, value in count().items() if label.startswith("PublishedLate ")]
        return late

    for description in ("one", "two"):
        stack.post("sales", description)
    assert swept(timedelta(minutes=2)) == 2
    assert swept(timedelta(minutes=2)) == 0
    stack.post("sales", "the stream still has time")
    assert swept(timedelta(0)) == 0


def test_the_metrics_of_an_outage_are_the_attempts_one_failed_delivery_and_one_fallback_delivery(
    stack: Cloud, slack: SlackServer, count: Count
) -> None:
    slack.fail("status", status=503)
    stack.post("sales")
    stack.produce()
    count()
    stack.consume_until_quiet(Channel.SLACK)
    assert count() == {"Attempts slack sales": 3, "Failed slack": 1, "Failed slack sales": 1}
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    assert count() == {"Published email sales": 1, "Attempts email sales": 1, "Delivered email sales": 1}


def test_a_rate_limited_post_is_not_counted_as_an_attempt(stack: Cloud, slack: SlackServer, count: Count) -> None:
    stack.post("sales")
    stack.produce()
    count()
    slack.fail("status", status=429)
    stack.consume(Channel.SLACK)
    assert count() == {}


def test_the_metrics_count_an_attempt_although_it_did_not_reach_the_provider(stack: Cloud, count: Count) -> None:
    stack.post("sales")
    stack.produce()
    count()
    token = stack.environment["SLACK_TOKEN_SECRET"]
    boto3.client("secretsmanager").put_secret_value(SecretId=token, SecretString="not a token")
    stack.consume(Channel.SLACK)
    assert count() == {"Attempts slack sales": 1}


def test_the_metrics_count_an_unreadable_message_as_a_failed_delivery_of_its_channel(
    stack: Cloud, count: Count
) -> None:
    stack.post("sales")
    stack.produce()
    (record,) = stack.receive(Channel.SLACK)
    count()
    stack.consume(Channel.SLACK, [{**record, "body": "no json"}])
    assert count() == {"Failed slack": 1}


def test_the_metrics_count_each_of_ten_parallel_attempts(
    stack: Cloud, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(BATCH):
        stack.post("sales")
    stack.produce()
    count()
    together = Barrier(BATCH, timeout=30)
    add = Tally.add

    def all_at_once(tally: Tally, metric: Metric, value: float = 1, **where: str) -> None:
        together.wait()
        add(tally, metric, value, **where)

    monkeypatch.setattr(Tally, "add", all_at_once)
    stack.consume(Channel.SLACK)
    assert count() == {"Attempts slack sales": BATCH, "Delivered slack sales": BATCH}


def test_a_request_is_delivered_although_its_metric_cannot_be_written(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_NAMESPACE")
    request_id = stack.post("sales")
    assert stack.produce() == []
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1
    assert "metrics were lost" in caplog.messages


@pytest.mark.parametrize("times", [1, 100, 250])
def test_a_metric_emitted_with_any_number_of_values_keeps_its_dimensions(
    times: int, count: Count, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "assistance")
    tally = Tally()
    for _ in range(times):
        tally.add(Metric.PUBLISHED, channel=Channel.SLACK, topic="sales")
    tally.emit()
    assert count() == {"Published slack sales": times}
    assert not recwarn.list


def test_a_line_of_metrics_that_cannot_be_written_leaves_nothing_in_the_next_line(
    count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "assistance")
    for value in (1, "no number", 2):
        tally = Tally()
        tally.add(Metric.PUBLISHED, value=3, channel=Channel.SLACK, topic="sales")
        tally.add(Metric.PUBLISHED, value=value, channel=Channel.SLACK, topic="sales")  # type: ignore[arg-type]
        tally.emit()
    metrics.measure(Metric.REPLAYED, topic="pricing")
    assert count() == {"Published slack sales": 3 + 1 + 3 + 2, "Replayed pricing": 1}


def test_the_metrics_count_a_bounce_as_a_failed_delivery_but_not_as_a_failed_attempt_of_the_channel(
    stack: Cloud, count: Count
) -> None:
    request_id = mailed(stack)
    count()
    feedback(stack, "bounce", request_id)
    assert count() == {"Failed email pricing": 1}
