"""Tests the API: every call gets a response, and the error for an invalid one describes every mistake."""

import json
import uuid
from typing import Any
from urllib.parse import urljoin

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.calls import MAX_BODY_BYTES
from assistance.models import MAX_DESCRIPTION_CHARACTERS
from assistance.routing import CALLBACK, Channel, Topic
from assistance.store.requests import request_key
from tests.integration.cloud import Cloud, http_event
from tests.logs import logging_everything

VALID = json.dumps({"topic": "sales", "description": "help"})
JSON = {"content_type": "application/json"}
SAMPLED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def post(stack: Cloud, body: str | bytes | None, **headers: str) -> dict[str, Any]:
    return stack.call("POST", "/assistance-requests", body, **(headers or JSON))


def stored(stack: Cloud) -> int:
    return len(stack.table.scan()["Items"])


def assert_problem(answer: dict[str, Any], status: int, slug: str) -> None:
    assert answer["statusCode"] == status
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/problem+json"]
    problem = answer["json"]
    assert problem["type"] == f"urn:assistance:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug"),
    [
        (VALID, {"content_type": "text/plain"}, 415, "unsupported-media-type"),
        (VALID, {"x": "y"}, 415, "unsupported-media-type"),
        ("{", JSON, 400, "not-json"),
        ("", JSON, 400, "not-json"),
        (None, JSON, 400, "not-json"),
        ("[]", JSON, 422, "invalid-request"),
        ("null", JSON, 422, "invalid-request"),
        ('{"topic": "sales"}', JSON, 422, "invalid-request"),
        ('{"topic": "sales", "description": " \\n "}', JSON, 422, "invalid-request"),
        ('{"topic": "sales", "description": "\\u202e \\u202c"}', JSON, 422, "invalid-request"),
        ('{"topic": "sales", "description": "\\u200b\\ufeff\\u3164"}', JSON, 422, "invalid-request"),
        ('{"topic": "sales", "description": ["help"]}', JSON, 422, "invalid-request"),
        ('{"topic": "weather", "description": "x"}', JSON, 422, "invalid-request"),
        (json.dumps({"topic": "sales", "description": "x" * 4_001}), JSON, 422, "invalid-request"),
        (json.dumps({"topic": "sales", "description": "x" * MAX_BODY_BYTES}), JSON, 413, "content-too-large"),
        (VALID, {**JSON, "idempotency_key": ""}, 422, "invalid-request"),
        (VALID, {**JSON, "idempotency_key": "x" * 256}, 422, "invalid-request"),
    ],
)
def test_an_invalid_call_gets_a_problem_document_and_stores_nothing(
    stack: Cloud, body: str | None, headers: dict[str, str], status: int, slug: str
) -> None:
    assert_problem(post(stack, body, **headers), status, slug)
    assert stored(stack) == 0


def test_the_error_for_malformed_json_states_the_position_of_the_mistake(stack: Cloud) -> None:
    answer = post(stack, '{"topic": "sales",\n "description": "It says "hello""}', **JSON)
    assert_problem(answer, 400, "not-json")
    assert "(line 2, column 27)" in answer["json"]["detail"]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_the_error_for_a_constant_of_javascript_names_it(stack: Cloud, constant: str) -> None:
    answer = post(stack, f'{{"topic": "sales", "description": "help", "details": {{"price": {constant}}}}}', **JSON)
    assert_problem(answer, 400, "not-json")
    assert f"({constant} is no JSON value)" in answer["json"]["detail"]


def test_the_error_for_a_value_of_a_wrong_type_names_the_allowed_types(stack: Cloud) -> None:
    answer = post(stack, json.dumps(json.loads(VALID) | {"details": {"a": {"b": 1}}}))
    detail = "Input should be a string, number or boolean"
    assert answer["json"]["errors"] == [{"pointer": "#/details/a", "detail": detail}]


def test_the_error_for_an_invalid_call_names_every_invalid_field(stack: Cloud) -> None:
    answer = post(stack, '{"topic": "weather", "description": ""}')
    assert answer["json"]["errors"] == [
        {"pointer": "#/topic", "detail": "Input should be 'sales' or 'pricing'"},
        {"pointer": "#/description", "detail": "String should have at least 1 character"},
    ]


def test_the_response_to_an_accepted_call_contains_a_link_to_the_status_of_the_request(stack: Cloud) -> None:
    answer = post(stack, json.dumps({"topic": " SALES ", "description": " help "}))
    assert answer["statusCode"] == 202
    body = answer["json"]
    assert body["topic"] == "sales"
    assert body["status"] == "accepted"
    [location] = answer["multiValueHeaders"]["Location"]
    assert urljoin("/stage/assistance-requests", location) == f"/stage{body['links']['self']}"
    shown = stack.call("GET", body["links"]["self"])
    assert shown["statusCode"] == 200
    assert shown["json"] == {**body, "deliveries": []}


def test_the_header_location_is_right_if_the_called_address_ends_with_a_slash(stack: Cloud) -> None:
    event = http_event("POST", "/assistance-requests/", '{"topic": "sales", "description": "x"}')
    event["headers"] = {"Content-Type": "application/json"}
    answer = stack.handler("api")(event | {"resource": "/assistance-requests"}, stack.context)
    [location] = answer["multiValueHeaders"]["Location"]
    self = json.loads(answer["body"])["links"]["self"]
    assert urljoin("/stage/assistance-requests/", location) == f"/stage{self}"


def test_request_ids_created_without_an_idempotency_key_are_ordered_by_time(stack: Cloud) -> None:
    ids = [stack.post("sales") for _ in range(20)]
    assert ids == sorted(ids)


def test_two_calls_with_the_same_idempotency_key_create_one_request(
    stack: Cloud, clock: time_machine.Traveller
) -> None:
    first = post(stack, VALID, **JSON, idempotency_key="k1")
    clock.shift(0.001)
    again = post(stack, VALID, **JSON, idempotency_key="k1")
    assert again["statusCode"] == 202
    assert again["json"] == first["json"]
    assert again["multiValueHeaders"]["Idempotent-Replayed"] == ["true"]
    assert "Idempotent-Replayed" not in first["multiValueHeaders"]
    assert stored(stack) == 1


def test_a_repeated_call_with_the_same_idempotency_key_gets_the_first_response_even_after_the_delivery(
    stack: Cloud,
) -> None:
    first = post(stack, VALID, **JSON, idempotency_key="k1")
    stack.produce()
    assert post(stack, VALID, **JSON, idempotency_key="k1")["json"] == first["json"]
    assert stack.produce() == []


def test_a_reused_idempotency_key_with_a_different_payload_is_refused(stack: Cloud) -> None:
    post(stack, VALID, **JSON, idempotency_key="k1")
    other = post(stack, json.dumps({"topic": "pricing", "description": "help"}), **JSON, idempotency_key="k1")
    assert_problem(other, 422, "idempotency-key-reused")
    assert stored(stack) == 1


def test_the_log_says_why_a_call_is_refused_without_quoting_the_call(stack: Cloud) -> None:
    post(stack, VALID, **JSON, idempotency_key="k1")
    hidden = "hush" * 20
    with logging_everything() as log:
        post(stack, json.dumps({"topic": hidden, "customer": 5, "details": {hidden: "x", f"{hidden}/": "y"}}), **JSON)
        post(stack, json.dumps({"topic": "pricing", "description": hidden}), **JSON, idempotency_key="k1")
        post(stack, json.dumps({"topic": "pricing", "description": hidden}), **JSON, idempotency_key="\u2011")
        post(stack, hidden, **JSON)
        post(stack, hidden, Content_Type="text/plain")
    lines = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    assert [(line["problem"], line["places"]) for line in lines if line.get("message") == "refused"] == [
        ("invalid-request", ["#/customer", "#/description", "#/details", "#/topic"]),
        ("idempotency-key-reused", []),
        ("invalid-request", ["Idempotency-Key"]),
        ("not-json", []),
        ("unsupported-media-type", []),
    ]
    assert "hush" not in log.getvalue()


@pytest.mark.parametrize("request_id", ["0199f3c2-5d1e-7000-8000-5d5c9b6f3a10", "no-uuid", "LEASE#reconciler"])
def test_a_status_call_for_an_unknown_request_gets_404(stack: Cloud, request_id: str) -> None:
    assert_problem(stack.call("GET", f"/assistance-requests/{request_id}"), 404, "not-found")


def test_a_request_can_be_read_only_with_the_api_key_that_created_it(stack: Cloud) -> None:
    path = f"/assistance-requests/{stack.post('sales', api_key_id='key-a')}"
    unknown = stack.call("GET", f"/assistance-requests/{uuid.uuid4()}", api_key_id="key-b")
    assert_problem(unknown, 404, "not-found")
    for _ in range(2):
        assert stack.call("GET", path, api_key_id="key-a")["statusCode"] == 200
        for other in ("key-b", "key-a2", "KEY-A", ""):
            assert stack.call("GET", path, api_key_id=other) == unknown
        stack.produce()
        stack.consume_until_quiet(Channel.SLACK)


def test_a_request_stored_without_an_api_key_id_can_be_read_with_every_api_key(stack: Cloud) -> None:
    request_id = stack.post("sales", api_key_id="key-a")
    item = stack.table.get_item(Key=request_key(request_id))["Item"]
    stack.table.put_item(Item={name: value for name, value in item.items() if name != "caller"})
    for key in ("key-a", "key-b"):
        assert stack.call("GET", f"/assistance-requests/{request_id}", api_key_id=key)["statusCode"] == 200


def test_the_same_idempotency_key_used_with_two_api_keys_creates_two_requests(
    stack: Cloud, clock: time_machine.Traveller
) -> None:
    first, other = (stack.post("sales", Idempotency_Key="k1", api_key_id=key) for key in ("key-a", "key-b"))
    assert first != other
    clock.shift(0.001)
    again = post(stack, VALID, **JSON, idempotency_key="k1", api_key_id="key-b")
    assert again["json"]["id"] == other
    assert again["multiValueHeaders"]["Idempotent-Replayed"] == ["true"]


def test_the_id_of_an_api_key_is_in_no_message_log_or_response(
    stack: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = stack.post("sales", callback_url="https://bot.example.com/ended", api_key_id="key-a")
    assert stack.table.get_item(Key=request_key(request_id))["Item"]["caller"] == "key-a"
    stack.produce()
    [message] = stack.sqs.receive_message(QueueUrl=stack.queues[Channel.SLACK], VisibilityTimeout=0)["Messages"]
    stack.consume_until_quiet(Channel.SLACK)
    stack.produce()
    [callback] = stack.sqs.receive_message(QueueUrl=stack.queues[CALLBACK])["Messages"]
    shown = stack.call("GET", f"/assistance-requests/{request_id}", api_key_id="key-a")
    assert shown["json"]["status"] == "delivered"
    for emitted in (json.dumps([message, callback, shown]), *capsys.readouterr()):
        assert "key-a" not in emitted


def test_a_call_while_the_dynamodb_table_is_unavailable_gets_503_with_retry_after(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_NAME", "not-there")
    for answer in (post(stack, VALID), stack.call("GET", f"/assistance-requests/{uuid.uuid4()}")):
        assert_problem(answer, 503, "unavailable")
        assert answer["multiValueHeaders"]["Retry-After"]
        assert "not-there" not in answer["body"]


def test_the_health_route_answers_200(stack: Cloud) -> None:
    assert stack.call("GET", "/health")["json"] == {"status": "ok"}


def test_no_log_line_contains_customer_text(stack: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "correct horse battery staple"
    for body in ({"topic": "sales", "description": secret}, {"topic": secret, "description": secret * 200}):
        post(stack, json.dumps(body))
    stack.produce()
    for channel in stack.queues:
        stack.consume_until_quiet(channel)
    assert secret not in "".join(capsys.readouterr())


@SAMPLED
@given(topic=st.sampled_from(Topic), description=st.text(min_size=1, max_size=MAX_DESCRIPTION_CHARACTERS))
def test_every_accepted_description_is_stored_unchanged(stack: Cloud, topic: Topic, description: str) -> None:
    answer = post(stack, json.dumps({"topic": topic, "description": description}, ensure_ascii=False))
    assert answer["statusCode"] in {202, 413, 422}
    if answer["statusCode"] == 202:
        item = stack.table.get_item(Key={"pk": answer["json"]["id"], "sk": "REQUEST"})["Item"]
        assert item["description"] == description.strip()


@SAMPLED
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["topic", "description"]) | st.text(), inner),
    )
)
def test_no_json_body_causes_a_5xx_status(stack: Cloud, body: object) -> None:
    assert post(stack, json.dumps(body))["statusCode"] in {202, 400, 422}


@SAMPLED
@given(body=st.text())
def test_no_text_body_causes_a_5xx_status(stack: Cloud, body: str) -> None:
    assert post(stack, body)["statusCode"] in {400, 413, 422}
