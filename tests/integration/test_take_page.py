"""Tests taking a request with the link in a mail or a card.

The first person takes it, and nobody can without a link.
"""

import html
import importlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistance.domain.record import MAX_TAKES, Handled
from assistance.engine.links import Link, token
from assistance.platform.secret import CHANGED_SECONDS
from assistance.routing import Channel, routes
from assistance.store.items import Item
from assistance.store.table import Items
from cli import takes as operators
from local.slack_server import SlackServer
from tests.fuzz_settings import FUZZED
from tests.integration.cloud import Cloud, forget, http_event
from tests.integration.resources import create_secret
from tests.integration.steps import emails
from tests.logs import logging_everything
from tests.memory_table import MOST_BYTES
from tests.meter import size
from tests.receiver import Receiver
from tests.records import delivery_of, item_of, record_of, requests

PAGE = "https://api.example.com/assistance/take/"
KEY = "k" * 44
FORM = "application/x-www-form-urlencoded"
ROUTES = {
    "support": {"channels": ["email", "teams"], "fallback": None},
    "all": {"channels": ["slack", "email", "teams"], "fallback": None},
    "sales": {"channels": ["email"], "fallback": None},
}


@pytest.fixture
def workflow() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def deployed(stack: Cloud, workflow: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROUTES", json.dumps(ROUTES))
    monkeypatch.setenv("TEAMS_LOOPBACK", "true")
    monkeypatch.setenv("TAKE_PAGE", PAGE)
    monkeypatch.setenv("TAKE_SECRET", create_secret("take", KEY))
    boto3.client("secretsmanager").put_secret_value(SecretId="teams", SecretString=workflow.url)
    forget()
    yield
    routes.cache_clear()


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="take", SecretString=value)
    forget()


def delivered(stack: Cloud, topic: str = "sales", **said: Any) -> str:  # noqa: ANN401
    """Create a request that email and Teams, if in its route, have delivered. `said`: further fields of the call."""
    body = json.dumps({"topic": topic, "description": "CANARY of a customer", **said})
    answer = stack.call("POST", "/assistance-requests", body, Content_Type="application/json")
    request_id = str(answer["json"]["id"])
    stack.produce()
    for channel in (Channel.EMAIL, Channel.TEAMS):
        stack.consume_until_quiet(channel)
    return request_id


def links_in(text: str) -> set[str]:
    """The tokens of the take links in a message."""
    return set(re.findall(re.escape(PAGE) + r"([A-Za-z0-9_-]+)", text))


def mailed() -> str:
    """The token of the take link in the newest mail."""
    [found] = links_in(emails()[-1])
    return found


def visit(stack: Cloud, link: str, method: str = "GET", body: str | None = None, **headers: str) -> dict[str, Any]:
    event = http_event(method, f"/take/{link}", body, **headers)
    answer: dict[str, Any] = stack.handler("take_page")(event, stack.context)
    return answer


def press(stack: Cloud, link: str, name: str = "", **fields: str) -> dict[str, Any]:
    return visit(stack, link, "POST", urlencode({"name": name, **fields}), Content_Type=FORM)


def fields(answer: dict[str, Any]) -> dict[str, str]:
    """Return the hidden fields of the page's form."""
    return dict(re.findall('type="hidden" name="([^"]+)" value="([^"]*)"', answer["body"]))


def page_text(answer: dict[str, Any]) -> str:
    """Return the visible text of the page."""
    main = answer["body"].partition("<main>")[2]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", main)).split())


def test_opening_the_link_in_a_mail_only_shows_the_request_and_clicking_the_button_takes_the_request(
    stack: Cloud,
) -> None:
    request_id = delivered(stack, reference="T-42")
    for method in ("GET", "HEAD", "GET"):
        shown = visit(stack, mailed(), method)
        assert shown["statusCode"] == 200
        assert "Nobody has this request" in page_text(shown)
    assert "Sales request" in page_text(shown)
    assert "T-42" in page_text(shown)
    assert "CANARY" not in shown["body"], "whoever gets hold of the link reads nothing of the customer"
    assert "taken" not in stack.show(request_id)
    taken = press(stack, mailed(), " Anna  Keller ")
    assert (taken["statusCode"], "You have it" in page_text(taken)) == (200, True)
    assert {k: v for k, v in stack.show(request_id)["taken"].items() if k != "at"} == {
        "by": "Anna Keller", "via": "email",
    }  # fmt: skip


def test_the_second_person_sees_who_has_taken_the_request_and_when(stack: Cloud) -> None:
    request_id = delivered(stack)
    press(stack, mailed(), "Anna")
    for answer in (press(stack, mailed(), "Ben"), visit(stack, mailed())):
        assert re.search(r"Taken by Anna , since \d+ \w+ \d{4}, \d\d:\d\d UTC", page_text(answer))
        assert "<form" not in answer["body"]
    assert stack.show(request_id)["taken"]["by"] == "Anna"


def test_submitting_the_form_again_shows_that_the_same_person_has_the_request(stack: Cloud) -> None:
    delivered(stack)
    [id_] = re.findall('name="press" value="([^"]+)"', visit(stack, mailed())["body"])
    for _ in range(2):
        assert "You have it" in page_text(press(stack, mailed(), "Anna", press=id_))
    assert "Taken by Anna" in page_text(press(stack, mailed(), "Ben"))


def test_only_the_person_who_took_the_request_can_release_it_on_the_take_page(stack: Cloud) -> None:
    request_id = delivered(stack, callback_url="http://127.0.0.1:9/told")
    taken = press(stack, mailed(), "Anna", press="a" * 32)
    [own] = re.findall('name="release" value="([^"]+)"', taken["body"])
    for other in (visit(stack, mailed()), press(stack, mailed(), "Ben")):
        assert 'name="release"' not in other["body"]
        assert own not in other["body"], "whoever reads it could release what Anna has"
    for guess in ("b" * 32, "", "link."):
        assert "Taken by Anna" in page_text(visit(stack, mailed(), "POST", f"release={guess}x", Content_Type=FORM))
    assert stack.show(request_id)["taken"]["by"] == "Anna"
    for _ in range(2):
        released = visit(stack, mailed(), "POST", f"release={own}", Content_Type=FORM)
        assert "Nobody has this request" in page_text(released)
    assert "taken" not in stack.show(request_id)
    told = [each.cause for each in record_of(stack.table, request_id).callbacks if isinstance(each.cause, Handled)]
    assert [each.how for each in told] == ["taken", "released"]
    # If the browser submits the form of the first take again, nobody takes the request.
    assert "Nobody has this request" in page_text(press(stack, mailed(), "Anna", press="a" * 32))
    assert "You have it" in page_text(press(stack, mailed(), "Ben"))
    assert "Taken by Ben" in page_text(visit(stack, mailed(), "POST", f"release={own}", Content_Type=FORM))


def test_the_callback_about_a_release_on_the_take_page_names_the_person_who_had_the_request(stack: Cloud) -> None:
    request_id = delivered(stack, callback_url="http://127.0.0.1:9/told")
    [own] = re.findall('name="release" value="([^"]+)"', press(stack, mailed(), "Anna")["body"])
    visit(stack, mailed(), "POST", f"release={own}", Content_Type=FORM)
    told = [each.cause for each in record_of(stack.table, request_id).callbacks if isinstance(each.cause, Handled)]
    assert [(each.how, each.by, each.via) for each in told] == [
        ("taken", "Anna", "email"), ("released", "Anna", "email"),
    ]  # fmt: skip


def test_a_script_with_a_link_can_only_take_and_release_so_often_that_the_record_stays_small(stack: Cloud) -> None:
    request_id, longest = delivered(stack, callback_url="http://127.0.0.1:9/told"), "\U0001f600" * 60
    for number in range(MAX_TAKES + 1):
        taken = press(stack, mailed(), longest, press=f"{number:032x}")
        assert ('name="release"' in taken["body"]) is (number < MAX_TAKES - 1), "a button that works, or none"
        released = visit(stack, mailed(), "POST", f"release={number:032x}", Content_Type=FORM)
        assert released["statusCode"] == 200
    assert f"Taken by {longest}" in page_text(released), "the last one keeps it"
    assert f"Taken by {longest}" in page_text(press(stack, mailed(), "Ben"))
    assert len(record_of(stack.table, request_id).takes) == MAX_TAKES
    assert size(item_of(stack.table, request_id)) < MOST_BYTES / 4, "room for the deliveries that follow"
    operators.release(requests(stack.table), request_id, "an operator")
    taken = press(stack, mailed(), "Ben")
    assert "You have it" in page_text(taken)
    assert "Only an operator can release it now." in page_text(taken)


@pytest.mark.parametrize(("channel", "by"), [("email", "somebody by email"), ("teams", "somebody by Teams")])
def test_mails_and_teams_cards_have_different_take_links_and_a_take_names_its_channel(
    stack: Cloud, workflow: Receiver, channel: str, by: str
) -> None:
    request_id = delivered(stack, "support")
    [card] = [link for call in workflow.calls for link in links_in(call.body.decode())]
    links = {"email": mailed(), "teams": card}
    assert links["email"] != links["teams"]
    press(stack, links[channel], " \t")
    taken = stack.show(request_id)["taken"]
    assert (taken["by"], taken["via"]) == (by, channel)


def test_one_of_twenty_simultaneous_takes_by_link_or_slack_button_succeeds_and_the_others_see_that_person(
    stack: Cloud, slack: SlackServer, workflow: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKE", "true")
    monkeypatch.setenv("RESPONSE_ORIGIN", slack.origin)
    monkeypatch.setenv("SLACK_SIGNING_SECRET", create_secret("slack-signing", slack.signing_secret))
    forget()
    request_id = delivered(stack, "all")
    stack.consume_until_quiet(Channel.SLACK)
    [card] = [link for call in workflow.calls for link in links_in(call.body.decode())]
    links, ts = {1: mailed(), 2: card}, slack.messages[-1]["ts"]

    def called_by_slack(body: str, headers: Mapping[str, str]) -> int:
        event = http_event("POST", "/slack/interactions", body, **{k.replace("-", "_"): v for k, v in headers.items()})
        return int(stack.handler("slack_interactions")(event, stack.context)["statusCode"])

    def act(n: int) -> str:
        if link := links.get(n % 3):
            return page_text(press(stack, link, f"human-{n}"))
        # Each person sees the button from before the first take.
        assert slack.press(ts, f"human-{n}", action_id="take") == 200
        said = [each["text"] for each in slack.workspace.ephemeral_messages if each["user"] == f"human-{n}"]
        return said[0] if said else "You have it"

    slack.call_app = called_by_slack
    # The handlers without the recording of calls, which allows only one invocation at a time.
    # DynamoDB makes writes of an item one after another. moto is not thread-safe.
    lock, replace = threading.Lock(), Items.replace

    def alone(items: Items, item: Item, version: int) -> Item | None:
        with lock:
            return replace(items, item, version)

    monkeypatch.setattr(Items, "replace", alone)
    monkeypatch.setattr(stack, "handler", lambda function: vars(Cloud.handler(stack, function))["__wrapped__"])
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(act, range(20)))
    [winner] = [n for n, text in enumerate(told) if "You have it" in text]
    monkeypatch.undo()
    [take] = record_of(stack.table, request_id).takes
    assert take.by.removeprefix("@") == f"human-{winner}"
    others = {f"Taken by {take.by} ,", f"{take.by} has this request."}
    assert sum(any(each in text for each in others) for text in told) == 19


def test_a_take_with_the_link_in_a_mail_proves_that_the_mail_was_delivered(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SES's response gets lost. Without the take, the next attempt would send the mail again."""
    handler = importlib.import_module("email_consumer.handler")
    send, lost = handler.ses().send_email, iter([True])

    def send_and_lose(**call: Any) -> Any:  # noqa: ANN401
        answer = send(**call)
        return {} if next(lost, False) else answer

    monkeypatch.setattr(handler.ses(), "send_email", send_and_lose)
    request_id = str(stack.post("sales"))
    stack.produce()
    stack.consume(Channel.EMAIL)
    assert stack.status(request_id) == "retrying"
    press(stack, mailed(), "Anna")
    assert stack.status(request_id) == "delivered"
    stack.consume_until_quiet(Channel.EMAIL)
    assert len(emails()) == 1


def test_every_invalid_take_link_gets_the_same_response(stack: Cloud) -> None:
    request_id = delivered(stack)
    link = mailed()
    expires = record_of(stack.table, request_id).ttl
    key = KEY.encode()
    others = {
        "empty": "",
        "cut": link[:-1],
        "longer than any": "A" * 5_000,
        "another key": token(Link(request_id, "email", expires), [b"o" * 44]),
        "expired": token(Link(request_id, "email", 1), [key]),
        "a delivery that does not exist": token(Link(request_id, "none", expires), [key]),
        "not ASCII": link[:-1] + "é",
    }
    answers = {what: press(stack, other, "Mallory") for what, other in others.items()}
    assert {what for what, answer in answers.items() if answer != answers["empty"]} == set()
    assert answers["empty"]["statusCode"] == 404
    assert all(visit(stack, other)["statusCode"] == 404 for what, other in others.items() if "delivery" not in what)
    assert "taken" not in stack.show(request_id)


def test_a_take_link_expires_together_with_its_request(stack: Cloud) -> None:
    request_id = delivered(stack)
    assert token(Link(request_id, "email", record_of(stack.table, request_id).ttl), [KEY.encode()]) == mailed()


def test_a_take_link_cannot_take_another_request(stack: Cloud) -> None:
    one = delivered(stack)
    link = mailed()
    other = delivered(stack)
    press(stack, link, "Anna")
    assert ("taken" in stack.show(one), "taken" in stack.show(other)) == (True, False)


def test_the_take_page_of_a_deleted_request_says_that_the_request_no_longer_exists(stack: Cloud) -> None:
    request_id = delivered(stack)
    for sort in ("REQUEST", "RECORD"):
        stack.table.delete_item(Key={"pk": request_id, "sk": sort})
    for answer in (visit(stack, mailed()), press(stack, mailed())):
        assert (answer["statusCode"], "This request is gone" in page_text(answer)) == (410, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": "https://api.example.com"}, 200),
        ({}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "https://example.org"}, 403),
    ],
)
def test_a_form_submitted_from_another_site_is_refused(stack: Cloud, headers: dict[str, str], status: int) -> None:
    request_id = delivered(stack)
    answer = visit(stack, mailed(), "POST", "name=Anna", Content_Type=FORM, **headers)
    assert answer["statusCode"] == status
    assert ("taken" in stack.show(request_id)) is (status == 200)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("name=" + "n" * 5_000, FORM),
        ("&".join("name=n" for _ in range(11)), FORM),
        ('{"name": "Anna"}', "application/json"),
        ("name=Anna", "text/plain"),
    ],
)
def test_a_malformed_form_is_refused(stack: Cloud, body: str, content_type: str) -> None:
    request_id = delivered(stack)
    assert visit(stack, mailed(), "POST", body, Content_Type=content_type)["statusCode"] == 400
    assert "taken" not in stack.show(request_id)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(name=st.text(max_size=100))
def test_a_takers_name_is_shown_as_plain_text_in_one_line_of_at_most_sixty_characters(stack: Cloud, name: str) -> None:
    request_id = delivered(stack)
    answer = press(stack, mailed(), name)
    by = stack.show(request_id)["taken"]["by"]
    assert 1 <= len(by) <= 60
    assert by == " ".join(by.split())
    assert html.escape(by) in answer["body"]
    assert re.findall("<(script|img|a)", answer["body"]) == []


def test_a_takers_long_name_is_truncated_and_its_html_is_escaped(stack: Cloud) -> None:
    delivered(stack)
    answer = press(stack, mailed(), "<script>alert(1)</script>" + "x" * 100)
    assert "<script" not in answer["body"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;xxx" in answer["body"]


def test_the_http_headers_of_the_take_page_forbid_caching_framing_scripts_and_referrers(stack: Cloud) -> None:
    delivered(stack)
    for answer in (visit(stack, mailed()), press(stack, mailed()), visit(stack, "none")):
        headers = answer["headers"]
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy.pop("style-src").startswith("'sha256-")
        assert policy == {
            "default-src": "'none'", "form-action": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'",
        }  # fmt: skip
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "noindex" in headers["X-Robots-Tag"]
        assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_no_log_contains_the_take_link_the_takers_name_or_customer_text(stack: Cloud) -> None:
    with logging_everything() as log:
        delivered(stack)
        link = mailed()
        visit(stack, link)
        for each, name in ((link, "Annabella"), (link, "Benedict"), (link[:-1], "Mallory")):
            press(stack, each, name)
        logged = log.getvalue()
    assert '"taken already"' in logged
    secrets = (link[:-1], "Annabella", "Benedict", "Mallory", "CANARY", KEY)
    assert not [secret for secret in secrets if secret in logged]


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.TEAMS])
def test_no_message_is_sent_until_the_signing_secret_of_take_links_has_a_value(stack: Cloud, channel: Channel) -> None:
    put_secret(" ")
    request_id = stack.post("support")
    stack.produce()
    stack.consume(channel)
    [attempt] = delivery_of(stack.table, request_id, channel).attempts
    assert (attempt.error, attempt.in_doubt) == ("take_secret_unavailable", False)
    put_secret(KEY)
    stack.consume_until_quiet(channel)
    assert delivery_of(stack.table, request_id, channel).attempts[-1].outcome == "delivered"


def test_the_take_page_asks_to_try_again_while_the_signing_secret_has_no_value(stack: Cloud) -> None:
    delivered(stack)
    put_secret(" ")
    assert visit(stack, mailed())["statusCode"] == 503


def test_a_take_link_signed_with_the_old_key_works_while_the_secret_contains_that_key(stack: Cloud) -> None:
    delivered(stack)
    put_secret(f"{'n' * 44} {KEY}")
    assert visit(stack, mailed())["statusCode"] == 200
    put_secret("n" * 44)
    assert visit(stack, mailed())["statusCode"] == 404


def test_a_running_take_page_soon_accepts_links_signed_with_a_new_key(stack: Cloud) -> None:
    request_id = delivered(stack)
    assert visit(stack, mailed())["statusCode"] == 200
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        for key, status in (("n" * 44, 200), ("o" * 44, 404)):
            boto3.client("secretsmanager").put_secret_value(SecretId="take", SecretString=key)
            link = token(Link(request_id, "email", 2**40), [key.encode()])
            assert visit(stack, link)["statusCode"] == status
        # Otherwise anybody could make the page read the secret again and again.
        clock.shift(CHANGED_SECONDS + 1)
        assert visit(stack, link)["statusCode"] == 200


def test_a_person_who_clicks_while_the_dynamodb_table_is_unavailable_gets_an_error_message(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(stack)
    monkeypatch.setenv("TABLE_NAME", "none")
    forget()
    assert press(stack, mailed())["statusCode"] == 503


def test_messages_contain_no_take_link_if_takes_are_off(stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAKE_PAGE")
    monkeypatch.delenv("TAKE_SECRET")
    forget()
    delivered(stack)
    assert "/take/" not in emails()[-1]


def test_submitting_an_old_form_does_not_take_a_request_again_that_was_released(stack: Cloud) -> None:
    request_id = delivered(stack)
    [id_] = re.findall('name="press" value="([^"]+)"', visit(stack, mailed())["body"])
    press(stack, mailed(), "Anna", press=id_)
    takes = importlib.import_module("assistance.engine.takes")
    requests = importlib.import_module("take_page.handler").requests()
    takes.release(requests, request_id, f"link.{id_}", by="operator", via="operator")
    answer = press(stack, mailed(), "Anna", press=id_)
    assert "Nobody has this request" in page_text(answer)
    assert "taken" not in stack.show(request_id)
    assert "You have it" in page_text(press(stack, mailed(), "Ben"))


def test_reloading_the_page_that_says_who_has_the_request_does_not_take_the_request_after_its_release(
    stack: Cloud,
) -> None:
    """A browser that reloads the answer to a form sends the form again."""
    request_id = delivered(stack)
    hers, his = fields(visit(stack, mailed())), fields(visit(stack, mailed()))
    own = fields(press(stack, mailed(), "Anna", **hers))["release"]
    assert "Taken by Anna" in page_text(press(stack, mailed(), "Ben", **his))
    visit(stack, mailed(), "POST", f"release={own}", Content_Type=FORM)
    for _ in range(2):
        reloaded = press(stack, mailed(), "Ben", **his)
        assert "Somebody had this request meanwhile, and you have not taken it." in page_text(reloaded)
        assert "Nobody has this request." in page_text(reloaded)
    assert "taken" not in stack.show(request_id)
    assert "You have it" in page_text(press(stack, mailed(), "Ben", **fields(reloaded)))


HEADERS = st.dictionaries(
    st.sampled_from(["Content_Type", "Origin", "Sec_Fetch_Site", "Host"]),
    st.sampled_from([FORM, f"{FORM}; charset=x", "null", "same-origin", "cross-site", ""]) | st.text(max_size=10),
)


@FUZZED
@given(
    link=st.none() | st.text(max_size=100) | st.sampled_from(["..", "%2e%2e", "a/b", "\ud800"]),
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]),
    body=st.none()
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.builds("name={}&press={}".format, st.text(), st.text()),
    headers=HEADERS,
)
def test_any_call_to_the_take_page_gets_an_html_page_and_no_5xx_status(
    stack: Cloud, link: str | None, method: str, body: str | bytes | None, headers: dict[str, str]
) -> None:
    good = token(Link("04fae1bb-0b7f-4f7c-9d1e-2f6f4a1f9a52", "email", 253_402_300_799), [KEY.encode()])
    event = http_event(method, f"/take/{good if link is None else link}", body, **headers)
    answer = stack.handler("take_page")(event, stack.context)
    # The request of the valid link was deleted.
    assert answer["statusCode"] in ({410, 400, 403} if link is None else {404})
    assert answer["body"].startswith("<!doctype html>")
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
