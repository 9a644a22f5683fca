"""Tests that the local Slack server and the local webhooks refuse callers without their secrets."""

import pytest

from local import http
from local.slack import new_token
from local.slack_server import SlackServer
from local.slack_workspace import FAULTS
from local.take_page_proxy import TakePageProxy
from local.webhooks import Webhooks
from teams_consumer.message import compose
from tests.receiver import Receiver
from tests.sample_requests import ID, request, to_send

CHANNEL = "C0TEST"
DEEP = b"[" * 60_000


def test_the_control_interface_of_the_local_slack_server_refuses_callers_without_the_secret() -> None:
    with SlackServer(token="xoxb-test", channels=(CHANNEL,)) as slack:
        slack.workspace.call("chat.postMessage", "xoxb-test", {"channel": CHANNEL, "text": "a customer's words"})
        for control in (
            "/_control",
            "/_control/",
            "/_control/guessed",
            slack.control_url.removeprefix(slack.origin)[:-1],
        ):
            for path in ("messages", "fault"):
                answer = http.call("GET", f"{slack.origin}{control}/{path}")
                assert answer.json == {"ok": False, "error": "not_authed"}
            assert http.call("PUT", f"{slack.origin}{control}/fault", body={"kind": "drop"}).status == 404
        assert slack.workspace.fault == {"kind": "none"}
        assert [one["text"] for one in http.call("GET", f"{slack.control_url}/messages").json] == ["a customer's words"]


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind != "none"])
def test_calls_without_the_token_do_not_consume_an_injected_fault_of_the_local_slack_server(kind: str) -> None:
    with SlackServer(token="xoxb-test", channels=(CHANNEL,)) as slack:
        slack.fail(kind, times=1)
        for headers, error in (({}, "not_authed"), ({"Authorization": "Bearer xoxb-guessed"}, "invalid_auth")):
            answer = http.call("POST", f"{slack.url}auth.test", body={}, headers=headers)
            assert answer.json == {"ok": False, "error": error}
        assert slack.workspace.fault == {"kind": kind, "times": 1}


def test_every_run_of_the_local_stack_has_different_secrets() -> None:
    assert new_token() != new_token()
    with SlackServer(token="xoxb-test", channels=()) as one, SlackServer(token="xoxb-test", channels=()) as other:
        assert one.control_url.removeprefix(one.origin) != other.control_url.removeprefix(other.origin)
    with Webhooks() as first, Webhooks() as second:
        assert first.address("teams").split("/")[3] != second.address("teams").split("/")[3]


def test_a_local_webhook_accepts_only_calls_to_its_secret_url() -> None:
    with Webhooks() as webhooks:
        address = webhooks.address("teams")
        origin = "/".join(address.split("/")[:3])
        for path in ("/teams", "/guessed/teams", "/", "//teams"):
            assert http.call("POST", origin + path, body={"text": "forged"}).status == 404
        assert http.call("POST", address, body={"text": "real"}).status == 202
        assert [(post.channel, post.body) for post in webhooks.received] == [("teams", {"text": "real"})]


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b'{"title": "Help", "priority": 5, "parts": [{"message": "one"}, "two"]}', ["Help", "one", "two"]),
        ("Grüße, no JSON".encode(), ["Grüße, no JSON"]),
        (b"\xff{", ["\ufffd{"]),
        (DEEP, [DEEP.decode()]),
    ],
)
def test_a_local_webhook_shows_all_strings_of_a_json_post_and_the_whole_body_of_any_other_post(
    body: bytes, texts: list[str]
) -> None:
    with Webhooks() as webhooks:
        assert http.call("POST", webhooks.address("ntfy"), body=body).status == 202
        assert list(webhooks.texts("")) == [("ntfy", texts)]


def test_a_local_webhook_shows_only_the_visible_texts_of_an_adaptive_card() -> None:
    with Webhooks() as webhooks:
        assert http.call("POST", webhooks.address("teams"), body=compose(to_send(request("help")))).status == 202
        [(_, texts)] = webhooks.texts(ID)
        assert "help" in texts
        assert not {"AdaptiveCard", "TextBlock"} & set(texts)


def test_a_local_webhook_with_an_injected_fault_refuses_calls_and_stores_none_of_them() -> None:
    with Webhooks() as webhooks:
        for fault, status in (("failing", 503), ("rate_limited", 429), ("refusing", 410), ("none", 202)):
            webhooks.faults["pager"] = fault
            assert http.call("POST", webhooks.address("pager"), body={"text": fault}).status == status
            assert http.call("POST", webhooks.address("teams"), body={"text": fault}).status == 202
        assert [post.body["text"] for post in webhooks.received if post.channel == "pager"] == ["none"]


def test_a_call_to_a_local_server_with_too_deeply_nested_json_gets_400() -> None:
    with SlackServer(token="xoxb-test", channels=()) as slack:
        assert http.call("PUT", f"{slack.control_url}/fault", body=DEEP).status == 400
        assert http.call("POST", f"{slack.url}auth.test", body=DEEP).status == 400


def test_a_local_slack_button_click_is_parsed_as_json_with_any_content_type_and_other_bodies_get_an_error() -> None:
    with SlackServer(token="xoxb-test", channels=()) as slack:
        press, form = f"{slack.control_url}/press", {"Content-Type": "application/x-www-form-urlencoded"}
        for body, error in (
            (b'{"ts": "1.2", "user": "anna"}', "no_interactivity_url"),
            (b"ts=1.2&user=anna", "the body is not a JSON object"),
            (b"[]", "the body is not a JSON object"),
        ):
            answer = http.call("POST", press, body=body, headers=form)
            assert (answer.status, answer.json) == (400, {"error": error})


def sent(site: str | None = None, origin: str | None = None, mode: str | None = None) -> dict[str, str]:
    """The headers by which a browser says which page makes a request, and how. None: the header is absent."""
    named = {"Sec-Fetch-Site": site, "Origin": origin, "Sec-Fetch-Mode": mode}
    return {name: value for name, value in named.items() if value is not None}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/take/token", sent(), 200),
        ("GET", "/take/token", sent("same-site", mode="navigate"), 200),
        ("GET", "/take/token", sent("cross-site", mode="navigate"), 200),
        ("POST", "/take/token", sent("same-origin", "null", "navigate"), 200),
        ("POST", "/take/token", sent(), 200),
        ("GET", "/take/token", sent("cross-site", mode="no-cors"), 403),
        ("POST", "/take/token", sent("cross-site", "null", "navigate"), 403),
        ("POST", "/take/token", sent("same-site", "null", "navigate"), 403),
        ("POST", "/take/token", sent(origin="null"), 403),
        ("GET", "/assistance-requests", sent("cross-site", mode="navigate"), 403),
        ("GET", "/assistance-requests", sent(), 404),
        ("GET", "/take", sent(), 404),
    ],
)
def test_the_local_proxy_for_the_custom_domain_forwards_only_take_links_to_the_api(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with Receiver() as api, TakePageProxy() as front:
        front.api_url = api.url
        api.answers = [(200, {"x-robots-tag": "noindex"})]
        answer = http.call(method, f"{front.url}{path}", headers=headers)
        assert answer.status == status
        assert len(api.calls) == (status == 200)
        if status == 200:
            assert answer.headers["x-robots-tag"] == "noindex"


def test_the_local_proxy_for_the_custom_domain_refuses_another_host_header_and_works_without_the_api() -> None:
    with TakePageProxy() as front:
        assert http.call("GET", f"{front.url}/take/token", headers={"Host": "evil.example"}).status == 403
        assert http.call("GET", f"{front.url}/take/token").status == 404
        front.api_url = "http://127.0.0.1:1"
        assert http.call("GET", f"{front.url}/take/token").status == 502
