"""Tests tracing: a sampled call whose request is published alone is one X-Ray trace from the bot to the queue."""

import json
from typing import Any

import pytest

from assistance.platform import tracing
from stream_producer import handler as stream_producer
from tests.integration.cloud import Cloud

TRACE = "Root=1-6925f5a0-{:024x};Parent=53995c3f42cd8ad8;Sampled=1"
# The format in which Lambda passes it: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
GIVEN = TRACE + ";Lineage=1:a87bd80c:0"


@pytest.fixture
def published(stack: Cloud) -> list[tuple[str | None, list[str]]]:
    """For each call of SNS so far, its trace header, and the descriptions of the requests that it publishes."""
    calls: list[tuple[str | None, list[str]]] = []

    def note_call(request: Any, **_: object) -> None:  # noqa: ANN401
        entries = [value for name, value in request.data.items() if name.endswith(".Message")]
        header = request.headers.get("X-Amzn-Trace-Id")
        calls.append((header, [json.loads(entry)["request"]["description"] for entry in entries]))

    stream_producer.publisher().sns.meta.events.register("request-created.sns.PublishBatch", note_call)
    return calls


@pytest.mark.parametrize("together", [1, 2])
def test_a_request_published_alone_continues_the_x_ray_trace_of_its_api_call(
    stack: Cloud,
    published: list[tuple[str | None, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    together: int,
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", GIVEN.format(1))
    for number in range(together):
        stack.post("sales", f"request {number}")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    assert stack.produce() == []
    assert published == [(TRACE.format(1), [f"request {number}" for number in range(together)])]


@pytest.mark.parametrize("traced", [{0}, {3}, set(range(20))])
def test_a_batch_of_requests_is_published_without_an_x_ray_trace_and_without_extra_aws_calls(
    stack: Cloud,
    published: list[tuple[str | None, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    traced: set[int],
) -> None:
    for number in range(20):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", GIVEN.format(number) if number in traced else "")
        stack.post("sales", f"request {number}")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    assert stack.produce() == []
    assert [(header, len(entries)) for header, entries in published] == [(None, 10)] * 2


def test_a_request_stored_without_a_trace_id_is_published_in_the_stream_producers_x_ray_trace(
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
def test_an_api_call_not_sampled_by_x_ray_stores_no_trace_id_in_the_table(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
    request_id = stack.post("sales")
    [record] = stack.stream_records()
    assert "trace" not in record["dynamodb"]["NewImage"]
    assert stack.produce([record]) == []
    assert stack.status(request_id) == "published"


@pytest.mark.parametrize("damaged", ["x\r\nX-Evil: 1", 5, None, TRACE.format(1) + "\n"])
def test_a_malformed_x_ray_trace_header_is_ignored(damaged: object) -> None:
    assert tracing.valid(damaged) is None
