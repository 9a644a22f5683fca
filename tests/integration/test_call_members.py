"""Tests the fields of a call: each reaches people unchanged, and no format of customer data is refused."""

import json
import re
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, example, given, settings

from api.body import read
from assistance.domain.record import Status
from assistance.models import Customer, Detail, Message
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import request_key
from tests.fuzz_settings import CALL, FUZZED
from tests.integration.cloud import Cloud
from tests.receiver import Receiver

Json = dict[str, Any]
LEAST = {"topic": "sales", "description": "help"}
SAID: Json = {
    "customer": {"name": "Anna Müller", "email": "anna@example.com", "phone": "+41 44 668 18 00"},
    "conversation_url": "https://chat.example.com/c/42",
    "reference": "conversation-42",
}
DETAILS: Json = {"Plan": "Pro", "Seats": 12, "Trial": True}
STORED = SAID | {
    "details": [
        {"label": "Plan", "value": "Pro"},
        {"label": "Seats", "value": "12"},
        {"label": "Trial", "value": "true"},
    ]
}


def post(stack: Cloud, body: str | bytes, **headers: str) -> Json:
    """Make a call whose body API Gateway passes as text, or as bytes in Base64."""
    return stack.call("POST", "/assistance-requests", body, content_type="application/json", **headers)


def post_members(stack: Cloud, **members: object) -> Json:
    return post(stack, json.dumps(LEAST | members))


def item(stack: Cloud, answer: Json) -> Json:
    assert answer["statusCode"] == 202, answer
    found: Json = stack.table.get_item(Key=request_key(answer["json"]["id"]))["Item"]
    return found


def stored_members(stack: Cloud, answer: Json) -> Json:
    """Return the stored fields of the request, except topic and description."""
    return {name: value for name, value in item(stack, answer).items() if name in STORED}


def errors(answer: Json) -> list[Json]:
    assert answer["statusCode"] == 422, answer
    found: list[Json] = answer["json"]["errors"]
    return found


def test_every_field_of_a_request_is_in_the_message_to_the_channel(stack: Cloud) -> None:
    assert stored_members(stack, post_members(stack, **SAID, details=DETAILS)) == STORED
    assert stack.produce() == []
    [record] = stack.receive(Channel.SLACK)
    request = Message.model_validate_json(record["body"]).request
    assert request.customer == Customer(**SAID["customer"])
    assert request.details == tuple(Detail(**detail) for detail in STORED["details"])
    assert request.optional_members == STORED
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request.id) == "delivered"


@pytest.mark.parametrize(
    ("body", "hashed"),
    [
        (LEAST, "69e29538cd1c6bf81031e0c0fb43fe78f9789fc7469e9bb40bfbbc32bfec24aa"),
        (
            {
                "topic": "pricing",
                "description": "What do 40 seats cost?",
                "callback_url": "https://bot.example.com/ended",
            },
            "512bc0411d4da5faa79567f4f6b4ea400e3caf76d4ad069e2dfcd7e643cce813",
        ),
    ],
)
def test_a_call_without_optional_fields_is_stored_and_hashed_as_in_version_1(
    stack: Cloud, body: Json, hashed: str
) -> None:
    stored = item(stack, post(stack, json.dumps(body)))
    assert stored["payload_hash"] == hashed
    assert not STORED.keys() & stored.keys()


def test_a_message_without_optional_fields_equals_the_message_of_version_1_byte_for_byte(stack: Cloud) -> None:
    stored = item(stack, post_members(stack))
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert record["body"] == (
        f'{{"version":2,"request":{{"id":"{stored["pk"]}","topic":"sales","description":"help",'
        f'"created_at":"{stored["created_at"]}"}},"route":{{"channels":["slack"],"fallback":"email"}},'
        f'"ttl":{stored["ttl"]}}}'
    )


@pytest.mark.parametrize(
    "other",
    [
        {"customer": {"name": "Anna"}},
        {"conversation_url": "https://chat.example.com/c/43"},
        {"reference": "conversation-43"},
        {"details": {"Plan": "Basic"}},
        {"details": {"Trial": True, "Seats": 12, "Plan": "Pro"}},
    ],
)
def test_a_reused_idempotency_key_is_refused_if_any_field_of_the_call_differs(
    stack: Cloud, clock: time_machine.Traveller, other: Json
) -> None:
    said = LEAST | SAID | {"details": DETAILS}
    first = post(stack, json.dumps(said), idempotency_key="key")
    clock.shift(0.001)
    again = post(stack, json.dumps(said), idempotency_key="key")
    changed = post(stack, json.dumps(said | other), idempotency_key="key")
    assert again["multiValueHeaders"]["Idempotent-Replayed"] == ["true"]
    assert again["json"] == first["json"]
    assert changed["json"]["type"] == "urn:assistance:problem:idempotency-key-reused"


def test_responses_contain_no_field_of_the_call_except_the_reference_in_the_status(stack: Cloud) -> None:
    with Receiver() as bot:
        accepted = post_members(stack, **SAID, details=DETAILS, callback_url=bot.url)
        stack.produce()
        stack.consume(Channel.SLACK)
        shown = stack.show(accepted["json"]["id"])
        stack.produce()
        [record] = stack.receive(CALLBACK)
        stack.consume(CALLBACK, [record])
        [call] = bot.calls
    told = json.loads(call.body)["data"]
    assert accepted["json"].keys() == {"id", "topic", "status", "created_at", "links"}
    assert told == accepted["json"] | {"status": Status.DELIVERED, "reference": SAID["reference"]}
    assert told.items() <= shown.items()
    for emitted in (json.dumps(shown), call.body.decode(), record["body"]):
        for member in ("customer", "conversation_url", "details", "Anna", "chat.example.com", "Seats"):
            assert member not in emitted


@pytest.mark.parametrize("blank", ["", "  \n", "\u200b", None])
def test_a_blank_field_counts_as_absent(stack: Cloud, blank: str | None) -> None:
    members = dict.fromkeys(("customer", "conversation_url", "reference", "details", "callback_url"), blank)
    assert stored_members(stack, post_members(stack, **members)) == {}
    customer, details = dict.fromkeys(SAID["customer"], blank), {"Plan": blank}
    assert stored_members(stack, post_members(stack, customer=customer, details=details)) == {}
    some = post_members(stack, customer=customer | {"name": "Anna"}, details={"Plan": blank, "Seats": 12})
    assert stored_members(stack, some) == {"customer": {"name": "Anna"}, "details": [{"label": "Seats", "value": "12"}]}


@pytest.mark.parametrize(
    "customer", [{"email": "anna at example"}, {"phone": "call me"}, {"name": "<b>"}, {"email": "a\r\nBcc: b@c.de"}]
)
def test_a_call_with_a_malformed_email_address_or_phone_number_is_accepted(stack: Cloud, customer: Json) -> None:
    assert stored_members(stack, post_members(stack, customer=customer)) == {"customer": customer}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "chat.example.com/c/42", "http://localhost", "@{link}"])
def test_a_call_with_a_malformed_conversation_url_is_accepted(stack: Cloud, url: str) -> None:
    assert stored_members(stack, post_members(stack, conversation_url=url)) == {"conversation_url": url}


def test_numbers_and_booleans_in_text_fields_are_stored_in_json_notation(stack: Cloud) -> None:
    body = (
        '{"topic": "sales", "description": "help", "customer": {"name": true, "phone": 41446681800}, "reference": 42,'
        ' "details": {" Price ": 12.50, "Seats": -0, "Large": 1E400, "Trial": false}}'
    )
    values = {"Price": "12.50", "Seats": "-0", "Large": "1E400", "Trial": "false"}
    assert stored_members(stack, post(stack, body)) == {
        "customer": {"name": "true", "phone": "41446681800"},
        "reference": "42",
        "details": [{"label": label, "value": value} for label, value in values.items()],
    }


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"customer": {"name": "x" * 201}}, "#/customer/name"),
        ({"customer": {"email": "x" * 321}}, "#/customer/email"),
        ({"customer": {"phone": "x" * 51}}, "#/customer/phone"),
        ({"conversation_url": "x" * 2_001}, "#/conversation_url"),
        ({"reference": "x" * 201}, "#/reference"),
        ({"details": {"Plan": "x" * 501}}, "#/details/Plan"),
        ({"details": {"a/b~c d%": "x" * 501}}, "#/details/a~1b~0c%20d%25"),
        ({"details": {"é" * 61: "x"}}, f"#/details/{'%C3%A9' * 61}"),
        ({"details": {str(number): number for number in range(21)}}, "#/details"),
        ({"details": {"Plan": ["Pro"]}}, "#/details/Plan"),
        ({"details": ["Pro"]}, "#/details"),
        ({"customer": "Anna"}, "#/customer"),
        ({"customer": {"name": {"first": "Anna"}}}, "#/customer/name"),
        ({"reference": []}, "#/reference"),
    ],
)
def test_the_error_names_a_field_that_is_too_long_or_has_a_wrong_type(
    stack: Cloud, members: Json, pointer: str
) -> None:
    [error] = errors(post_members(stack, **members))
    assert error["pointer"] == pointer
    assert stack.table.scan()["Items"] == []


def test_every_field_is_accepted_at_its_maximum_length(stack: Cloud) -> None:
    longest = {
        "customer": {"name": "é" * 200, "email": "é" * 320, "phone": "é" * 50},
        "conversation_url": "é" * 2_000,
        "reference": "é" * 200,
    }
    details = {f"{number:02}{'é' * 58}": "é" * 500 for number in range(20)}
    body = json.dumps(LEAST | longest | {"details": details}, ensure_ascii=False)
    stored = stored_members(stack, post(stack, body))
    assert stored == longest | {"details": [{"label": label, "value": value} for label, value in details.items()]}
    stack.produce()
    assert stack.consume(Channel.SLACK) == []


def test_a_description_of_maximum_length_is_accepted_with_every_character_escaped_in_json(stack: Cloud) -> None:
    body = json.dumps(LEAST | {"description": "😀" * 4_000})
    assert len(body) > 48_000
    assert item(stack, post(stack, body))["description"] == "😀" * 4_000
    stack.produce()
    assert stack.consume(Channel.SLACK) == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ('{"reference": "a", "reference": "b"}', ["#/reference"]),
        ('{"customer": {"name": "a", "name": "b"}}', ["#/customer/name"]),
        ('{"details": {"a/b": 1, "a/b": 2}}', ["#/details/a~1b"]),
        ('{"other": 1, "other": 2, "customer": {"other": 1, "other": 2}}', []),
    ],
)
def test_a_body_that_contains_a_known_json_field_twice_is_refused(stack: Cloud, body: str, pointers: list[str]) -> None:
    answer = post(stack, f"{json.dumps(LEAST)[:-1]}, {body[1:]}")
    found = errors(answer) if pointers else []
    assert found == [{"pointer": pointer, "detail": "must be there once"} for pointer in pointers]


def test_the_202_response_names_unknown_fields_that_were_ignored(stack: Cloud) -> None:
    call = {"priority": 1, "customer": {"name": "Anna", "company": "ACME"}, "Topic": "x"}
    first, again = (post(stack, json.dumps(LEAST | call), idempotency_key="key") for _ in range(2))
    assert first["json"]["ignored"] == ["priority", "Topic", "customer.company"]
    assert again["json"] == first["json"]
    assert "ignored" not in stack.show(first["json"]["id"])


def test_the_202_response_names_a_limited_number_of_ignored_fields_with_short_printable_names(stack: Cloud) -> None:
    names = ["x" * 1_000, "a\x1b[31m", "\u202etopic", *map(str, range(1_000))]
    ignored = post_members(stack, **dict.fromkeys(names, 1))["json"]["ignored"]
    assert ignored[:4] == ["x" * 60, "a\ufffd[31m", "topic", "0"]
    assert len(ignored) == 20


@pytest.mark.parametrize("member", ["description", "reference", "conversation_url"])
def test_a_lone_surrogate_in_a_description_becomes_a_replacement_character(stack: Cloud, member: str) -> None:
    stored = item(stack, post_members(stack, **{member: "a\ud83d b \ude00"}))
    assert stored[member] == "a\ufffd b \ufffd"


def test_a_lone_surrogate_in_a_field_name_or_a_nested_field_becomes_a_replacement_character(stack: Cloud) -> None:
    answer = post_members(stack, **{"customer": {"name": "\ud83d"}, "details": {"\udc00": "\ud800"}, "x\ud800": 1})
    details = [{"label": "\ufffd", "value": "\ufffd"}]
    assert stored_members(stack, answer) == {"customer": {"name": "\ufffd"}, "details": details}
    assert answer["json"]["ignored"] == ["x\ufffd"]


def test_a_byte_order_mark_before_the_json_body_is_ignored(stack: Cloud) -> None:
    text = json.dumps(LEAST | {"description": "café"}, ensure_ascii=False)
    for body in (text, text.encode(), f"\ufeff{text}", f"\ufeff{text}".encode()):
        assert item(stack, post(stack, body))["description"] == "café"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_a_body_that_is_not_utf_8_is_refused_with_a_clear_message(stack: Cloud, encoding: str) -> None:
    body = '{"topic": "sales", "description": "café"}'.encode(encoding)
    answer = post(stack, body)
    assert answer["statusCode"] == 400
    assert answer["json"]["type"] == "urn:assistance:problem:not-utf-8"
    assert answer["json"]["detail"] == "The body is not UTF-8. Send a JSON object encoded in UTF-8."
    assert stack.table.scan()["Items"] == []


@settings(FUZZED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(call=CALL)
@example({"topic": "sales", "description": "help", "details": {"a": "\ud800"}})
def test_any_optional_fields_are_either_accepted_or_named_in_the_error(stack: Cloud, call: Json) -> None:
    body = json.dumps(call)
    answer = post(stack, body)
    if answer["statusCode"] == 400:
        assert re.search(r"not JSON \((NaN|-?Infinity) is no JSON value\)", answer["json"]["detail"])
    elif answer["statusCode"] == 422:
        assert all(error["pointer"].startswith("#/") for error in errors(answer))
    else:
        stack.produce()
        stack.consume_until_quiet(Channel.SLACK)
        assert stack.status(answer["json"]["id"]) == "delivered"


@pytest.mark.parametrize("description", ["4711", "true", "12.50"])
def test_a_numeric_or_boolean_description_is_stored_in_json_notation(description: str) -> None:
    call, _ = read(f'{{"topic": "sales", "description": {description}}}'.encode(), loopback=False)
    assert call.description == description
