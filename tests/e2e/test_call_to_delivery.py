"""Tests the running stack over HTTP, from a bot's call to the messages in Slack and in the mailbox."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from api.calls import MAX_BODY_BYTES
from local.wait import until
from tests.e2e.bot import ARRIVAL_SECONDS, Bot
from tests.receiver import Receiver

FORWARD = ("accepted", "published", "sending", "retrying", "delivered")
PROBLEM = "application/problem+json"
VALID = {"topic": "sales", "description": "Hello"}


def test_requests_of_both_topics_are_delivered_and_their_status_never_moves_back(bot: Bot) -> None:
    ids = {topic: bot.post(topic, f"about {topic}") for topic in ("sales", "pricing")}
    for request_id in ids.values():
        seen: list[str] = []

        def delivered(shown: dict[str, str], seen: list[str] = seen) -> bool:
            seen.append(shown["status"])
            return seen[-1] == "delivered"

        bot.until(request_id, delivered)
        assert all(FORWARD.index(before) <= FORWARD.index(after) for before, after in pairwise(seen)), seen
    assert (bot.posted()[ids["sales"]], bot.mailed()[ids["sales"]]) == (1, 0)
    assert (bot.posted()[ids["pricing"]], bot.mailed()[ids["pricing"]]) == (0, 1)


def test_the_bot_gets_one_callback_signed_with_the_signing_key_of_the_stack(bot: Bot) -> None:
    secret = bot.secrets.get_secret_value(SecretId=bot.outputs["CallbackSecretArn"])["SecretString"]
    with Receiver() as receiver:
        answer = bot.call("POST", "/assistance-requests", {**VALID, "callback_url": receiver.url})
        assert answer.status == 202, answer
        until("the bot is called back", ARRIVAL_SECONDS, lambda: receiver.calls or None)
        assert bot.show(answer.json["id"])["status"] == "delivered"
        [call] = receiver.calls
    assert call.verified(secret)["data"] == {**answer.json, "status": "delivered"}


@pytest.mark.parametrize(
    ("call", "status", "slug"),
    [
        (("POST", "/assistance-requests", VALID, {"x-api-key": ""}), 403, "forbidden"),
        (("POST", "/assistance-requests", VALID, {"x-api-key": "guessed"}), 403, "forbidden"),
        (("GET", "/nowhere", None, {}), 404, "not-found"),
        (("GET", "/assistance-requests/unknown", None, {}), 404, "not-found"),
        (("POST", "/assistance-requests", b"{", {}), 400, "not-json"),
        (("POST", "/assistance-requests", {"topic": "weather", "description": "x"}, {}), 422, "invalid-request"),
        (("POST", "/assistance-requests", {**VALID, "padding": "x" * MAX_BODY_BYTES}, {}), 413, "content-too-large"),
        (("POST", "/assistance-requests", VALID, {"Content-Type": "text/plain"}), 415, "unsupported-media-type"),
    ],
)
def test_an_invalid_call_gets_a_problem_document_and_stores_nothing(
    bot: Bot, call: tuple[str, str, object, dict[str, str]], status: int, slug: str
) -> None:
    before = bot.stored()
    answer = bot.call(*call)
    assert (answer.status, answer.headers["content-type"]) == (status, PROBLEM), answer
    assert (answer.json["status"], answer.json["type"]) == (status, f"urn:assistance:problem:{slug}")
    assert bot.stored() == before


def test_a_repeated_idempotency_key_creates_one_request_and_one_message(bot: Bot) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: bot.post("sales", "once", Idempotency_Key="order 7"), range(8)))
    [request_id] = ids
    bot.until_status(request_id, "delivered")
    assert bot.post("sales", "once", Idempotency_Key="order 7") == request_id
    reused = bot.call("POST", "/assistance-requests", VALID, {"Idempotency-Key": "order 7"})
    assert reused.json["type"] == "urn:assistance:problem:idempotency-key-reused"
    bot.until_queues_are_empty()
    assert bot.posted()[request_id] == 1


def test_a_call_with_two_different_idempotency_keys_is_refused_and_one_with_the_same_key_twice_is_accepted(
    bot: Bot,
) -> None:
    """The local API passes each value of a repeated header to the function, as API Gateway does."""
    url = urlsplit(bot.stack["api_url"])

    def status(*keys: str) -> int:
        with closing(HTTPConnection(url.hostname or "", url.port)) as connection:
            connection.putrequest("POST", f"{url.path}/assistance-requests")
            own = [("x-api-key", bot.stack["api_key"]), ("Content-Type", "application/json")]
            body = json.dumps(VALID).encode()
            for name, value in (*own, ("Content-Length", str(len(body))), *(("Idempotency-Key", key) for key in keys)):
                connection.putheader(name, value)
            connection.endheaders(body)
            return connection.getresponse().status

    assert (status("order 8", "order 9"), status("order 8", "order 8")) == (422, 202)


def test_each_of_three_hundred_simultaneous_requests_is_delivered_exactly_once(bot: Bot) -> None:
    topics = ["sales", "pricing"] * 150
    with ThreadPoolExecutor(24) as pool:
        ids = list(pool.map(bot.post, topics))
    assert len(set(ids)) == len(topics)
    until(
        "every request has arrived",
        120,
        lambda: True if set(ids) <= bot.posted().keys() | bot.mailed().keys() else None,
    )
    for request_id in ids:
        bot.until_status(request_id, "delivered")
    bot.until_queues_are_empty()
    sales, pricing = set(ids[::2]), set(ids[1::2])
    assert {i: n for i, n in (bot.posted() + bot.mailed()).items() if i in sales | pricing} == Counter(ids)
    assert sales <= bot.posted().keys()
    assert pricing <= bot.mailed().keys()


def test_a_slack_outage_delays_slack_messages_but_no_mails(bot: Bot) -> None:
    bot.fault("status", status=503)
    try:
        sales = bot.post("sales", "during the outage")
        bot.until(sales, lambda shown: any(delivery["attempts"] > 1 for delivery in shown["deliveries"]))
        assert bot.show(sales)["status"] in {"sending", "retrying"}
        bot.until_status(bot.post("pricing", "during the outage"), "delivered")
    finally:
        bot.fault("none")
    bot.until_status(sales, "delivered")
    bot.until_queues_are_empty()
    assert bot.posted()[sales] == 1


def test_a_request_that_slack_permanently_refuses_has_status_failed_until_the_fallback_delivers_it(bot: Bot) -> None:
    bot.fault("error", error="is_archived")
    try:
        with bot.paused(bot.queue_name("email")):
            request_id = bot.post("sales", "to an archived channel")
            shown = bot.until_status(request_id, "failed")
            [delivery] = shown["deliveries"]
            assert (delivery["attempts"], delivery["last_error"]) == (1, "is_archived")
            assert [attempt["outcome"] for attempt in delivery["timeline"]] == ["failed"]
            assert shown["fallback"] == {"channel": "email", "failed_channel": "slack", "error": "is_archived"}
            assert until("the dead letter is there", 10, lambda: bot.dead_letter("slack", request_id)) == "is_archived"
        bot.until_status(request_id, "delivered")
    finally:
        bot.fault("none")
    assert (bot.posted()[request_id], bot.mailed()[request_id]) == (0, 1)


def test_the_scheduled_reconciler_publishes_a_request_that_the_stream_producer_did_not_publish(bot: Bot) -> None:
    with bot.paused(":dynamodb:"):
        request_id = bot.post("sales", "unseen")
        bot.until_status(request_id, "delivered", seconds=150)
    bot.until_queues_are_empty()
    assert bot.posted()[request_id] == 1
