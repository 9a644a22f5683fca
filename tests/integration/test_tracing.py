"""A call that X-Ray samples is one trace from the bot to the queue, whatever is published beside it."""

import json
from typing import Any

import pytest

from assistance import tracing
from assistance.routing import Channel
from stream_producer import handler as stream_producer
from tests.integration.cloud import Cloud

TRACE = "Root=1-6925f5a0-{:024x};Parent=53995c3f42cd8ad8;Sampled=1"
# As Lambda gives it: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
GIVEN = TRACE + ";Lineage=1:a87bd80c:0"


@pytest.fixture
def published(stack: Cloud) -> list[tuple[str | None, list[str]]]:
    """The trace header of each call that publishes, and the descriptions that it carries."""
    calls: list[tuple[str | None, list[str]]] = []

    def look(request: Any, **_: object) -> None:  # noqa: ANN401
        entries = [value for name, value in request.data.items() if name.endswith(".Message")]
        header = request.headers.get("X-Amzn-Trace-Id")
        calls.append((header, [json.loads(entry)["request"]["description"] for entry in entries]))

    stream_producer.publisher().sns.meta.events.register("request-created.sns.PublishBatch", look)
    return calls


def test_a_sampled_call_is_published_with_its_own_header_and_the_others_together(
    stack: Cloud, published: list[tuple[str | None, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", GIVEN.format(number) if number in {2, 4} else "")
        stack.post("sales", f"request {number}")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    assert stack.produce() == []
    others = [f"request {number}" for number in range(7) if number not in {2, 4}]
    expected = [(None, others), *((TRACE.format(number), [f"request {number}"]) for number in (2, 4))]
    assert sorted(published, key=str) == sorted(expected, key=str)
    assert len(stack.receive(Channel.SLACK)) == 7


def test_a_call_without_a_trace_is_published_in_the_producer_s_own(
    stack: Cloud, published: list[tuple[str | None, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.post("sales")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "stream_producer")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE.format(9))
    assert stack.produce() == []
    assert [header for header, _ in published] == [TRACE.format(9)]


@pytest.mark.parametrize(
    "header",
    ["", "Root=1-6925f5a0-" + "0" * 24, TRACE.format(1).replace("Sampled=1", "Sampled=0"), "Root=x;Parent=y;Sampled=1"],
)
def test_what_is_not_sampled_leaves_nothing_in_the_table(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
    request_id = stack.post("sales")
    [record] = stack.stream_records()
    assert "trace" not in record["dynamodb"]["NewImage"]
    assert stack.produce([record]) == []
    assert stack.status(request_id) == "published"


@pytest.mark.parametrize("damaged", ["x\r\nX-Evil: 1", 5, None, TRACE.format(1) + "\n"])
def test_a_damaged_header_is_not_sent(damaged: object) -> None:
    assert tracing.valid(damaged) is None
