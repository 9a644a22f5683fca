"""Tests the running API with any input: no server error, no lost request, and all customer text is escaped."""

import html
import re
from typing import Any

import pytest
import schemathesis
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from assistance.models import MAX_DESCRIPTION_CHARACTERS
from assistance.text import printable
from infra import openapi
from tests.e2e.bot import Bot

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(max_examples=25, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
API = schemathesis.openapi.from_dict(openapi.document())
OPERATIONS = {found.ok().label: found.ok() for found in API.get_all_operations() if isinstance(found, Ok)}
CLOSING = "</p><script>alert(1)</script>"
PARAGRAPH = re.compile(r'<p dir="auto" style="margin:0;[^"]*">(.*?)</p>', re.DOTALL)


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_api_response_conforms_to_the_openapi_document(bot: Bot, label: str) -> None:
    @BOUNDED
    @given(case=OPERATIONS[label].as_strategy())
    def described(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=bot.stack["api_url"], headers={"x-api-key": bot.stack["api_key"]})
        case.validate_response(response, checks=CHECKS)

    described()


FORM = "application/x-www-form-urlencoded"
TOKEN = {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
ANSWERS = {"responses": {"default": {"description": "Anything but an error of ours."}}}


def form(*names: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in names}
    return {"content": {FORM: {"schema": {"type": "object", "properties": properties}}}}


# People and Slack call these with a signed link or call. The OpenAPI document does not contain them.
INTERACTIVE = schemathesis.openapi.from_dict(
    {
        "openapi": "3.1.0",
        "info": {"title": "What humans call", "version": "1"},
        "paths": {
            "/slack/interactions": {"post": {"requestBody": form("payload"), **ANSWERS}},
            "/take/{token}": {
                "parameters": [TOKEN],
                "get": ANSWERS,
                "post": {"requestBody": form("name", "press"), **ANSWERS},
            },
        },
    }
)
HUMAN_OPERATIONS = {found.ok().label: found.ok() for found in INTERACTIVE.get_all_operations() if isinstance(found, Ok)}


@pytest.mark.parametrize("label", HUMAN_OPERATIONS)
def test_the_take_page_and_the_slack_button_route_refuse_unsigned_calls_with_a_4xx_status(bot: Bot, label: str) -> None:
    @BOUNDED
    @given(case=HUMAN_OPERATIONS[label].as_strategy())
    def refused(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=bot.stack["api_url"])
        case.validate_response(response, checks=[not_a_server_error])
        assert response.status_code in range(400, 500)

    refused()


def post(bot: Bot, topic: str, description: str) -> str | None:
    """The id of the request if the API accepts it, else None."""
    answer = bot.call("POST", "/assistance-requests", {"topic": topic, "description": description})
    assert answer.status in {202, 400, 413, 422}, answer
    return str(answer.json["id"]) if answer.status == 202 else None


def test_a_request_body_that_is_not_utf_8_is_refused_and_a_byte_order_mark_is_ignored(bot: Bot) -> None:
    text = '{"topic": "sales", "description": "café"}'
    refused = bot.call("POST", "/assistance-requests", text.encode("latin-1"))
    assert (refused.status, refused.json["type"]) == (400, "urn:assistance:problem:not-utf-8")
    for body in (text.encode(), text.encode("utf-8-sig")):
        assert bot.call("POST", "/assistance-requests", body).status == 202


def in_slack(message: dict[str, Any], request_id: str) -> str:
    """The description in a Slack message about this request alone, or in its entry of a digest."""
    texts: list[str] = []
    for block in message["blocks"]:
        if block["type"] == "divider":
            texts.clear()
        if block["type"] == "section" and "text" in block:
            assert block["text"]["type"] == "plain_text"
            texts.append(block["text"]["text"])
            if request_id in block.get("fields", [{"text": ""}])[0]["text"]:
                break
    return "".join(texts)


def test_any_customer_text_is_shown_as_plain_text_in_slack_and_email(bot: Bot) -> None:
    accepted: dict[str, tuple[str, str]] = {}

    @settings(BOUNDED, max_examples=10, phases=[Phase.explicit, Phase.generate])
    @given(topic=st.sampled_from(["sales", "pricing"]), description=st.text(st.characters(), min_size=1))
    @example("sales", "<!channel> <@U123> <https://example.com|click> &amp;")
    @example("sales", "\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308")
    @example("sales", "\u202e\u05e9\u05dc\u05d5\u05dd\u2066 \u0645\u0631\u062d\u0628\u0627\u202c")
    @example("sales", "a\x00b\x07c\x1bd\x7fe\ufffe")
    @example("sales", "<" * MAX_DESCRIPTION_CHARACTERS)
    @example("sales", "x" * (MAX_DESCRIPTION_CHARACTERS + 1))
    @example("sales", "\ud800")
    @example("sales", "\u2028")
    @example("pricing", "x\r\nBcc: thief@example.com\r\n\r\n<b>")
    @example("pricing", f"{CLOSING}&lt;'\"")
    @example("pricing", "é" * MAX_DESCRIPTION_CHARACTERS)
    @example("pricing", "\udfff😀")
    @example("pricing", "a\x00\x85\x0b\x0c\x1c")
    def send(topic: str, description: str) -> None:
        if request_id := post(bot, topic, description):
            accepted[request_id] = topic, re.sub("[\ud800-\udfff]", "\ufffd", description.strip())

    send()
    assert len(accepted) >= 9
    for request_id, (topic, description) in accepted.items():
        bot.until_status(request_id, "delivered")
        if topic == "sales":
            [message] = bot.messages(request_id)
            shown = in_slack(message, request_id)
            assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown)
            assert re.match(r"Sales: |\d+ new sales requests$", message["text"])
        else:
            [mail] = bot.mails(request_id)
            assert mail["Subject"].startswith("[Pricing] ")
            assert not re.search(r"[\x00-\x1f]", mail["Subject"])
            assert mail["To"] == ["team@example.com"]
            [shown] = PARAGRAPH.findall(mail["BodyHtml"])
            shown = shown.replace("<br>", "\n").replace("&nbsp;", " ")
            assert "<" not in shown
            assert mail["BodyText"].startswith(printable(description))
        assert html.unescape(shown) == printable(description)
