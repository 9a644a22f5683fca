"""Tests the body that docs/calling.md shows for Landbot, with any text in the fields of a conversation."""

import json
import re

import pytest

from assistance.store.requests import request_key
from local.deploy import ROOT
from tests.integration.cloud import Cloud

_, _, SECTION = (ROOT / "docs/calling.md").read_text("utf-8").partition("### Landbot")
(TEMPLATE,) = re.findall(r"^```json\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
FIELDS = {
    "topic": "Sales",
    "description": "A quote, please",
    "name": "Anna Keller",
    "email": "anna@example.com",
    "phone": "+41 44 668 18 00",
    "chat_uuid": "0b6d",
    "id": "42",
}


def sent(stack: Cloud, fields: dict[str, str], template: str = TEMPLATE) -> tuple[int, dict[str, str]]:
    """Make the call whose body is the template with these fields inserted unescaped, and other fields empty.

    Returns the status and the parsed body of the response.
    """
    body = re.sub(r"@\{(\w+)\}", lambda field: fields.get(field[1], ""), template)
    answer = stack.call("POST", "/assistance-requests", body.encode(), content_type="application/json")
    return answer["statusCode"], answer["json"]


def test_every_field_of_a_landbot_conversation_is_stored(stack: Cloud) -> None:
    status, accepted = sent(stack, FIELDS)
    assert (status, "ignored" in accepted) == (202, False)
    item = stack.table.get_item(Key=request_key(accepted["id"]))["Item"]
    assert item["customer"] == {name: FIELDS[name] for name in ("name", "email", "phone")}
    assert item["conversation_url"].endswith(f"/{FIELDS['chat_uuid']}")
    assert item["reference"] == "42"


def test_a_landbot_conversation_with_empty_fields_is_accepted(stack: Cloud) -> None:
    status, accepted = sent(stack, {"topic": "sales", "description": "help"})
    assert status == 202
    assert "customer" not in stack.table.get_item(Key=request_key(accepted["id"]))["Item"]


@pytest.mark.parametrize("text", ["two\nlines", "a\r\nb\tc", "\x00"])
def test_an_unescaped_line_break_in_the_json_body_is_accepted_and_kept(stack: Cloud, text: str) -> None:
    status, accepted = sent(stack, FIELDS | {"description": f"It is {text}."})
    assert status == 202
    assert stack.table.get_item(Key=request_key(accepted["id"]))["Item"]["description"] == f"It is {text}."


@pytest.mark.parametrize("text", ['It says "hello"', "C:\\Users\\"])
def test_an_unescaped_quote_in_the_json_body_gets_400_and_an_escaped_quote_is_accepted(stack: Cloud, text: str) -> None:
    status, problem = sent(stack, FIELDS | {"description": text})
    assert (status, problem["type"]) == (400, "urn:assistance:problem:not-json")
    assert stack.table.scan()["Items"] == []
    escaped = json.dumps(text)[1:-1]
    assert sent(stack, FIELDS | {"description": escaped})[0] == 202


def test_the_body_documented_for_a_second_call_after_a_400_contains_no_customer_text(stack: Cloud) -> None:
    (second,) = re.findall(r"`(\{\"topic\".*?\})`", SECTION)
    assert not {"@{description}", "@{name}"} & set(re.findall(r"@\{\w+\}", second))
    assert sent(stack, FIELDS, second)[0] == 202
