"""Tests that the OpenAPI document describes the API as it is."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from api import problems
from api.problems import TYPE_PREFIX, Problem
from assistance.engine import takes
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from infra import openapi
from local.deploy import ROOT
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud
from tests.receiver import Receiver

COMMITTED = ROOT / "functions/api/openapi.json"
DOCUMENT = openapi.document()


def closed() -> dict[str, Any]:
    """The schemas of the OpenAPI document, changed so that they refuse fields that they do not name."""
    schemas: dict[str, Any] = openapi.document()["components"]["schemas"]
    return {name: {**schema, "additionalProperties": False} for name, schema in schemas.items()}


def conforms(body: object, schema: str) -> None:
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": closed()}}
    Draft202012Validator(root, format_checker=FormatChecker()).validate(body)


def answers() -> list[tuple[str, dict[str, Any]]]:
    return [
        (status, answer)
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
    ]


def test_the_committed_openapi_document_equals_the_generated_one() -> None:
    assert COMMITTED.read_text("utf-8") == openapi.text(), "openapi.json is stale: run 'make docs'"


def test_the_document_is_valid_openapi() -> None:
    validate(json.loads(openapi.text()))


def test_every_example_in_the_openapi_document_conforms_to_its_schema() -> None:
    for status, answer in answers():
        for content in answer["content"].values():
            examples = [value["value"] for value in content.get("examples", {}).values()] or [content["example"]]
            for example in json.loads(json.dumps(examples)):
                conforms(example, content["schema"]["$ref"].rpartition("/")[2])
                assert example.get("status") == int(status) or int(status) < 400


def test_the_api_accepts_the_openapi_example_that_contains_every_field(stack: Cloud) -> None:
    operation = DOCUMENT["paths"]["/assistance-requests"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    conforms(example, "Call")
    answer = stack.call("POST", "/assistance-requests", json.dumps(example), content_type="application/json")
    assert answer["statusCode"] == 202
    assert "ignored" not in answer["json"]
    assert example.keys() | {"callback_url"} == closed()["Call"]["properties"].keys()


def test_a_sent_callback_conforms_to_the_openapi_document(stack: Cloud) -> None:
    (operation,) = DOCUMENT["paths"]["/assistance-requests"]["post"]["callbacks"]["event"].values()
    documented = operation["post"]
    for example in documented["requestBody"]["content"]["application/json"]["examples"].values():
        conforms(json.loads(json.dumps(example["value"])), "Event")
    with Receiver() as bot:
        request_id = stack.post("sales", callback_url=bot.url)
        stack.produce()
        stack.consume(Channel.SLACK)
        requests = Requests(Items(stack.table))
        takes.take(requests, request_id, "t1", by="Anna", via="slack")
        takes.release(requests, request_id, "t1", by="an operator", via="operator")
        stack.produce()
        stack.consume_until_quiet(CALLBACK)
    assert bot.calls
    for call in bot.calls:
        conforms(json.loads(call.body), "Event")
        assert {parameter["name"] for parameter in documented["parameters"]} <= set(call.headers)


def test_the_openapi_document_contains_every_error_of_the_api_and_of_api_gateway() -> None:
    from infra.api import _RESPONSES  # noqa: PLC0415 # it starts Node.js

    documented = set(DOCUMENT["components"]["schemas"]["ProblemDocument"]["properties"]["type"]["enum"])
    ours = [
        problems.not_json(),
        problems.not_utf_8(),
        problems.not_found("x"),
        problems.content_too_large(1),
        problems.unsupported_media_type(),
        problems.invalid(),
        problems.idempotency_key_reused(),
        problems.unavailable(),
        problems.internal_error(),
    ]
    made = [
        name
        for name, value in vars(problems).items()
        if getattr(value, "func", getattr(value, "__annotations__", {}).get("return")) is Problem
    ]
    assert len(ours) == len(made), f"a new kind of problem: add it here and to infra/openapi.py: {made}"
    assert {TYPE_PREFIX + problem.slug for problem in ours} <= documented
    assert {TYPE_PREFIX + slug for _, _, slug, _, _ in _RESPONSES} <= documented


@pytest.mark.parametrize(("status", "slug"), [("502", "internal-error"), ("504", "unavailable")])
def test_the_openapi_document_contains_the_5xx_with_which_api_gateway_answers_if_the_function_does_not(
    status: str, slug: str
) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html and
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    from infra.api import _RESPONSES  # noqa: PLC0415 # it starts Node.js

    [(title, detail)] = {
        (title, detail) for _, known, slug_, title, detail in _RESPONSES if (known, slug_) == (None, slug)
    }
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            (content,) = operation["responses"][status]["content"].values()
            example = content["examples"][slug]["value"]
            assert (example["title"], example["detail"]) == (title, detail)
            assert ("Retry-After" in operation["responses"][status].get("headers", {})) == (slug == "unavailable")


def test_the_status_response_for_a_request_with_every_kind_of_event_conforms_to_the_openapi_document(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("drop", times=1)
    request_id = stack.post("sales")
    conforms(stack.show(request_id), "Details")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    stack.consume(Channel.SLACK, [record])
    conforms(stack.show(request_id), "Details")
    slack.fail("error", error="is_archived")
    stack.consume(Channel.SLACK, [record])
    conforms(stack.show(request_id), "Details")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    shown = stack.show(request_id)
    conforms(shown, "Details")
    assert (shown["status"], shown["fallback"]["channel"]) == ("delivered", "email")


@pytest.mark.parametrize(
    ("body", "headers", "schema"),
    [
        ('{"topic": "sales", "description": "help"}', {}, "Accepted"),
        ('{"topic": "sales", "description": "help", "priority": 1}', {}, "Accepted"),
        ('{"topic": 3}', {}, "ProblemDocument"),
        ('{"topic": "sales", "description": "help"}', {"idempotency_key": "é"}, "ProblemDocument"),
        ("{", {}, "ProblemDocument"),
    ],
)
def test_each_response_to_a_post_call_conforms_to_the_openapi_document(
    stack: Cloud, body: str, headers: dict[str, str], schema: str
) -> None:
    answer = stack.call("POST", "/assistance-requests", body, content_type="application/json", **headers)
    conforms(answer["json"], schema)


def test_the_served_api_reference_loads_nothing_from_other_hosts(stack: Cloud) -> None:
    served = stack.fetch("/openapi.json")
    assert served["headers"]["Content-Type"] == "application/json"
    document = json.loads(served["body"])
    assert document == {**DOCUMENT, "servers": [{"url": "."}]}
    page = stack.fetch("/docs")
    assert page["headers"]["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page["headers"]["Content-Security-Policy"]
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", page["body"][: page["body"].index("<script>")])
