"""Tests ambiguous calls and messages: no two parsers read different requests from the same input."""

import base64
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assistance.engine import dead_letters
from assistance.errors import TableUnavailable
from assistance.models import Message
from assistance.platform import dynamodb
from assistance.routing import Channel
from email_feedback.events import MalformedEvent
from email_feedback.feedback import NotYetRecorded
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, http_event
from tests.integration.steps import example as ses_event
from tests.integration.steps import invoke_email_feedback

SAMPLED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALID = '{"topic": "sales", "description": "help"}'
ENCODED = base64.b64encode(VALID.encode()).decode()
FIRST, SECOND = "0199f3c2-5d1e-7000-8000-5d5c9b6f3a10", "0199f3c2-5d1e-7000-8000-5d5c9b6f3a11"


def with_member(member: str) -> str:
    return f"{VALID[:-1]}, {member}}}"


# Bodies with the one status that each must get.
BODIES: dict[str, tuple[str, int]] = {
    "topic twice": (with_member('"topic": "pricing"'), 422),
    "topic twice, with one value": (with_member('"topic": "sales"'), 422),
    "topic twice, once escaped": (with_member('"t\\u006fpic": "pricing"'), 422),
    "description twice": (with_member('"description": "x"'), 422),
    "callback_url twice": (with_member('"callback_url": null, "callback_url": null'), 422),
    "an unknown member twice": (with_member('"x": 1, "x": 2'), 202),
    "topic again inside an unknown member": (with_member('"x": {"topic": "pricing", "topic": ""}'), 202),
    "topic in another letter case": (with_member('"Topic": "pricing"'), 202),
    "NaN": (with_member('"x": NaN'), 400),
    "Infinity": (with_member('"x": [-Infinity]'), 400),
    "an integer beyond every machine's": (with_member(f'"x": {"9" * 4_000}'), 202),
    "an integer beyond the parser's": (with_member(f'"x": {"9" * 20_000}'), 202),
    "a float beyond the largest": (with_member('"x": 1e999'), 202),
    "deep nesting": (with_member(f'"x": {"[" * 100}{"]" * 100}'), 202),
    "nesting beyond the parser's": (with_member(f'"x": {"[" * 10_000}{"]" * 10_000}'), 400),
    "a byte order mark": ("\ufeff" + VALID, 202),
    "two byte order marks": ("\ufeff\ufeff" + VALID, 400),
    "a null byte behind": (VALID + "\x00", 400),
    "a second document behind": (VALID + VALID, 400),
    "a comment": (VALID + " // x", 400),
    "a lone surrogate": (VALID.replace("help", "\ud800"), 400),
    "a lone surrogate, escaped, in an unknown name": (with_member('"\\ud800": 1'), 202),
    "UTF-16": (VALID.encode("utf-16").decode("latin-1"), 400),
    "single quotes": (VALID.replace('"', "'"), 400),
    "a form": ("topic=sales&description=help", 400),
    "an array with the object": (f"[{VALID}]", 422),
    "a string with the object": (json.dumps(VALID), 422),
    "base64 without its flag": (ENCODED, 400),
}
# Members of the event that differ from those of a valid call, and the one status that each must get.
K1, K2 = "Idempotency-Key", "idempotency-key"
JSON_TYPE = {"Content-Type": "application/json"}
EVENTS: dict[str, tuple[dict[str, Any], int]] = {
    "base64, flagged": ({"body": ENCODED, "isBase64Encoded": True}, 202),
    "no base64, flagged": ({"isBase64Encoded": True}, 400),
    "base64 with something behind": ({"body": ENCODED + "==AAAA", "isBase64Encoded": True}, 400),
    "base64 with something between": ({"body": ENCODED[:8] + "!\n" + ENCODED[8:], "isBase64Encoded": True}, 400),
    "base64 of half a byte": ({"body": ENCODED[:-3], "isBase64Encoded": True}, 400),
    "no headers": ({"headers": None, "multiValueHeaders": None}, 415),
    "no list of headers": ({"multiValueHeaders": None}, 202),
    "only the list of headers": ({"headers": None}, 202),
    "a list of types": ({"headers": {"Content-Type": "application/json, text/plain"}}, 415),
    "the type, then another": ({"multiValueHeaders": {"Content-Type": ["application/json", "text/plain"]}}, 415),
    "another type, then the type": ({"multiValueHeaders": {"Content-Type": ["text/plain", "application/json"]}}, 415),
    "types that disagree by letter case": ({"headers": {"content-type": "text/plain", **JSON_TYPE}}, 415),
    "the type in the parameter of another": ({"headers": {"Content-Type": "text/plain; x=application/json"}}, 415),
    "a charset, which JSON has not": ({"headers": {"Content-Type": "application/json; charset=utf-16"}}, 202),
    "a type with a null byte": ({"headers": {"Content-Type": "application/json\x00"}}, 415),
    "keys in two letter cases": ({"headers": {**JSON_TYPE, K1: "one", K2: "two"}}, 422),
    "one key in two letter cases": ({"headers": {**JSON_TYPE, K1: "one", K2: "one"}}, 202),
    "two keys": ({"multiValueHeaders": {K1: ["one", "two"]}}, 422),
    "one key twice": ({"multiValueHeaders": {K1: ["one", "one"]}}, 202),
    "keys that the two forms of headers disagree on": (
        {"headers": {**JSON_TYPE, K1: "one"}, "multiValueHeaders": {K1: ["two"]}},
        422,
    ),
    "a list of keys": ({"headers": {**JSON_TYPE, K1: "one, two"}}, 202),
    "a key with a null byte": ({"headers": {**JSON_TYPE, K1: "one\x00"}}, 422),
    "a key with a line end": ({"headers": {**JSON_TYPE, K1: "one\ntwo"}}, 422),
    "a key with a lone surrogate": ({"headers": {**JSON_TYPE, K1: "\ud800"}}, 422),
    "another method in a header": ({"headers": {**JSON_TYPE, "X-HTTP-Method-Override": "GET"}}, 202),
    "another path in a header": ({"headers": {**JSON_TYPE, "X-Original-URL": "/health"}}, 202),
    "another resource": ({"resource": "/health"}, 202),
    "another path in the context": ({"requestContext": http_event("POST", "/health")["requestContext"]}, 202),
    "path parameters": ({"pathParameters": {"id": FIRST}}, 202),
    "a topic in the query": ({"queryStringParameters": {"topic": "pricing"}}, 202),
    "no body": ({"body": None}, 400),
}
# Ways to write the path of a request, with `{}` for its id, and whether the request may be shown.
PATHS: dict[str, bool] = {
    "/assistance-requests/{}": True,
    "/assistance-requests/{}/": True,
    "/assistance-requests/{}/x": False,
    "/assistance-requests//{}": False,
    "/assistance-requests%2f{}": False,
    "/assistance-requests/%2f{}": False,
    "/assistance-requests/{}%00": False,
    "/assistance-requests/{}\x00": False,
    "/assistance-requests/{}\ud800": False,
    "/assistance-requests/..%2f{}": False,
    "/assistance-requests/../assistance-requests/{}": False,
    "/assistance-requests/{},{}": False,
    "/assistance-requests/{}?x=/health": False,
    "/health/../assistance-requests/{}": False,
    "//assistance-requests/{}": False,
    "/ASSISTANCE-REQUESTS/{}": False,
}


def call(stack: Cloud, event: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = stack.handler("api")(event, stack.context)
    return answer | {"json": json.loads(answer["body"])}


def requests(stack: Cloud) -> list[dict[str, Any]]:
    return [item for item in stack.table.scan()["Items"] if item["sk"] == "REQUEST"]


def assert_only(stack: Cloud, answer: dict[str, Any], status: int) -> None:
    """Check the status of the response, and that the table contains only this request, or nothing if it was refused."""
    assert answer["statusCode"] == status, answer
    found = [(item["pk"], item["topic"], item["description"]) for item in requests(stack)]
    if status == 202:
        assert found == [(answer["json"]["id"], "sales", "help")]
    else:
        assert answer["json"]["type"].startswith("urn:assistance:problem:")
        assert found == []


@pytest.mark.parametrize("name", BODIES)
def test_a_request_body_that_parsers_could_interpret_differently_is_refused(stack: Cloud, name: str) -> None:
    body, status = BODIES[name]
    event = http_event("POST", "/assistance-requests", body, Content_Type="application/json")
    assert_only(stack, call(stack, event), status)


@pytest.mark.parametrize("name", EVENTS)
def test_an_unusual_api_gateway_event_is_accepted_only_if_it_can_be_read_in_one_way(stack: Cloud, name: str) -> None:
    members, status = EVENTS[name]
    event = http_event("POST", "/assistance-requests", VALID, Content_Type="application/json")
    assert_only(stack, call(stack, event | members), status)


@pytest.mark.parametrize("path", PATHS)
def test_a_status_call_returns_the_request_named_in_the_url_path_or_404(stack: Cloud, path: str) -> None:
    request_id, other = stack.post("sales"), stack.post("sales")
    event = http_event("GET", path.replace("{}", request_id)) | {"pathParameters": {"id": other}}
    answer = call(stack, event)
    if PATHS[path]:
        assert (answer["statusCode"], answer["json"]["id"]) == (200, request_id)
    else:
        assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:assistance:problem:not-found")


VALID_KEYS = {"one", "two", "application/json", "text/plain"}
NO_JSON = {"NaN"}
VALUE = st.sampled_from(["one", "two", "", "application/json", "text/plain", "\ud800"])
HEADERS = st.dictionaries(st.sampled_from([K1, K2, "content-type", "X-Other"]), VALUE, max_size=2)
MEMBERS = st.sampled_from(["topic", "description", "x"])
VALUES = st.sampled_from(['"pricing"', '"help"', "null", "NaN", '{"topic": 1}', "9" * 5_000, '"\\ud800"'])


@SAMPLED
@given(
    headers=HEADERS,
    many=HEADERS,
    members=st.lists(st.tuples(MEMBERS, VALUES), max_size=2),
    encoded=st.booleans(),
)
def test_an_accepted_call_has_exactly_one_value_for_each_header_and_json_field(
    stack: Cloud, headers: dict[str, str], many: dict[str, str], members: list[tuple[str, str]], *, encoded: bool
) -> None:
    body = VALID[:-1] + "".join(f', "{name}": {value}' for name, value in members) + "}"
    sent_body = base64.b64encode(body.encode()).decode() if encoded else body
    event = http_event("POST", "/assistance-requests", sent_body) | {
        "headers": headers | JSON_TYPE,
        "multiValueHeaders": {name: [value] for name, value in many.items()},
        "isBase64Encoded": encoded,
    }
    sent = [*headers.items(), *many.items(), *JSON_TYPE.items()]
    types, keys = ({value for name, value in sent if name.lower() == of} for of in ("content-type", K2))
    one_of_each = len(types) == 1 and len(keys) <= 1 and keys <= VALID_KEYS
    once = all(name == "x" and value not in NO_JSON for name, value in members)
    assert (call(stack, event)["statusCode"] == 202) == (one_of_each and once)


# Messages


def message(request_id: str, **members: object) -> dict[str, Any]:
    request = {"id": request_id, "topic": "sales", "description": "help", "created_at": "2026-01-31T09:30:00.000Z"}
    return {"request": request, **members}


def text(request_id: str, **members: object) -> str:
    return json.dumps(message(request_id, **members))


ENVELOPE = {"Type": "Notification", "MessageId": "sns-1", "TopicArn": "arn:aws:sns:us-east-1:123456789012:topic"}
# Bodies of messages, and the request to which each belongs; None if the body does not say.
MESSAGES: dict[str, tuple[str, str | None]] = {
    "a message": (text(FIRST), FIRST),
    "SNS's envelope": (json.dumps({**ENVELOPE, "Message": text(FIRST)}), FIRST),
    "an envelope in an envelope": (json.dumps({"Message": json.dumps({"Message": text(FIRST)})}), None),
    "a message that is another's envelope": (text(FIRST, Message=text(SECOND)), FIRST),
    "a message with two requests": (f"{text(SECOND)[:-1]}, {text(FIRST)[1:]}", FIRST),
    "an envelope with two messages": (
        f'{{"Message": {json.dumps(text(SECOND))}, "Message": {json.dumps(text(FIRST))}}}',
        FIRST,
    ),
    "deep nesting": ("[" * 10_000, None),
    "half a character": ('"\\ud800"', None),
    "a null byte": (text(FIRST) + "\x00", None),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_delivered_or_dead_lettered_with_the_request_id_in_its_body(
    stack: Cloud, slack: SlackServer, name: str
) -> None:
    body, whose = MESSAGES[name]
    stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert stack.consume(Channel.SLACK, [{**record, "body": body}]) == []
    delivered = {item["pk"] for item in stack.table.scan()["Items"] if item["sk"] == "DELIVERY#slack"}
    letters = {letter["Body"] for letter in stack.dead_letters(Channel.SLACK)}
    assert (delivered, letters) in [({whose}, set()), (set(), {body})]
    assert dead_letters.request_id_in(body) == whose


OTHER_DIGITS = FIRST.replace("0", "\u0660")
IDS = st.sampled_from(
    [OTHER_DIGITS, FIRST, SECOND, f"{{{FIRST}}}", f"urn:uuid:{FIRST}", FIRST.upper(), FIRST.replace("-", ""), "x", ""]
)
BODIES_OF_MESSAGES = st.recursive(
    st.builds(message, IDS) | st.builds(lambda inner: {"Message": json.dumps(inner)}, st.builds(message, IDS)),
    lambda inner: st.builds(lambda outer, within: {**outer, "Message": json.dumps(within)}, inner, inner),
    max_leaves=3,
)


@given(body=BODIES_OF_MESSAGES)
@example(body=message(f"urn:uuid:{FIRST}"))
def test_the_reconciler_finds_in_a_message_the_same_request_id_as_the_consumer_or_no_id(body: dict[str, Any]) -> None:
    read = dead_letters.request_id_in(json.dumps(body))
    try:
        consumed = Message.model_validate_json(json.dumps(body)).request.id
    except ValidationError:
        return
    assert read is None or read == str(UUID(consumed))


# Stream records

OTHER_ITEMS: dict[str, dict[str, Any]] = {
    "the ledger": {"pk": {"S": "LEDGER"}, "sk": {"S": "LEDGER"}},
    "a reopened request": {"pk": {"S": "LEDGER"}, "sk": {"S": f"REOPENED#{FIRST}"}},
    "a callback": {"pk": {"S": FIRST}, "sk": {"S": "CALLBACK#x"}},
    "a delivery on no channel": {"pk": {"S": FIRST}, "sk": {"S": "DELIVERY#pigeon"}},
    "a lease": {"pk": {"S": "LEASE#reconciler"}, "sk": {"S": "LEASE"}},
    "a number for a key": {"pk": {"N": "5"}, "sk": {"S": "REQUEST"}},
    "a number that is none": {"ttl": {"N": "five"}},
    "a number of nothing": {"ttl": {"N": ""}},
    "a set of numbers that are none": {"x": {"NS": ["five"]}},
    "bytes": {"x": {"B": "AAAA"}},
    "two types": {"description": {"S": "x", "N": "5"}},
    "no type": {"description": {}},
    "no notation": {"description": "help"},
    "a fallback that is none": {"fallback": {"M": {"channel": {"S": "pigeon"}}}},
}


@pytest.mark.parametrize("name", OTHER_ITEMS)
def test_an_unusual_stream_record_is_processed_or_reported_as_failed_and_delays_no_other_record(
    stack: Cloud, name: str
) -> None:
    request_id = stack.post("sales")
    [record] = stack.stream_records()
    image = record["dynamodb"]["NewImage"] | OTHER_ITEMS[name]
    other = {**record, "dynamodb": {**record["dynamodb"], "NewImage": image, "SequenceNumber": "13"}}
    failed = stack.produce([other, record])
    assert failed in ([], ["13"])
    assert stack.status(request_id) == "published"
    ids = {json.loads(received["body"])["request"]["id"] for received in stack.receive(Channel.SLACK)}
    assert ids == {request_id}


@given(value=st.fixed_dictionaries({"N": st.text()}) | st.fixed_dictionaries({"NS": st.lists(st.text())}))
def test_any_number_in_dynamodbs_notation_is_parsed_or_refused(value: dict[str, Any]) -> None:
    try:
        dynamodb.plain(value)
    except (TypeError, ValueError):
        return


# SES's events

EVENTS_OF_SES: dict[str, dict[str, Any]] = {
    "another request's id": {"tags": {"request_id": [SECOND]}},
    "two ids": {"tags": {"request_id": [FIRST, SECOND]}},
    "no id": {"tags": {"request_id": []}},
    "an empty id": {"tags": {"request_id": [""]}},
    "the ledger": {"tags": {"request_id": ["LEDGER"]}},
    "an id that is none": {"tags": {"request_id": ["\x00\ufffe#"]}},
    "an id of 3,000 bytes": {"tags": {"request_id": ["x" * 3_000]}},
    "no tags": {"tags": None},
    "another mail": {"messageId": "forged"},
    "no mail": {"messageId": ""},
    "the type in another place": {"eventType": "Delivery"},
}


@pytest.mark.parametrize("kind", ["bounce", "complaint", "reject", "delivery"])
def test_a_forged_ses_event_changes_no_delivery(stack: Cloud, kind: str) -> None:
    request_id = stack.post("pricing")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    before = stack.table.scan()["Items"]
    for name, members in EVENTS_OF_SES.items():
        event = ses_event(kind, request_id, "forged")
        event["mail"] |= members
        # If the function raises, Lambda retries the event twice, and then keeps it for an operator.
        with suppress(MalformedEvent, NotYetRecorded, TableUnavailable):
            invoke_email_feedback(stack, json.dumps(event))
        assert stack.table.scan()["Items"] == before, name
        assert stack.dead_letters(Channel.EMAIL) == [], name


@pytest.mark.parametrize(
    "body", ["", "null", "[" * 10_000, '"\ud800"', '{"eventType": "Bounce", "eventType": "Delivery"}', "{}", "NaN"]
)
def test_input_that_is_not_an_ses_event_is_reported_as_malformed(stack: Cloud, body: str) -> None:
    with pytest.raises(MalformedEvent):
        invoke_email_feedback(stack, body)
