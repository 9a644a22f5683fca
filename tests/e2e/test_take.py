"""Tests on the running stack that a call with all fields reaches people, and that one person takes the request."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from local import http
from local.slack_server import signed
from local.slack_workspace import Json, buttons
from local.wait import until
from tests.e2e.bot import ARRIVAL_SECONDS, Bot
from tests.e2e.conftest import bot_of, running
from tests.receiver import Receiver

ROUTES = {
    "sales": {"channels": ["slack", "email", "teams"], "fallback": None},
    "support": {"channels": ["slack"], "fallback": None},
    "pricing": {"channels": ["slack"], "fallback": "email", "escalate_after": 1},
}
SAID: dict[str, Any] = {
    "customer": {"name": "Anna Example", "email": "anna@example.org", "phone": "+49 30 1234567"},
    "conversation_url": "https://app.example.com/conversations/42",
    "reference": "chat-17",
    "details": {"Plan": "Pro", "Seats": 40, "Trial": False},
}
SEEN = ("Does *40* fit?", "Anna Example", "anna@example.org", "+49 30 1234567", "chat-17", "Pro", "40", "false")
RACERS = [f"racer-{number}" for number in range(20)]


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with running(tmp_path_factory.mktemp("taken"), routes=json.dumps(ROUTES)) as runner:
        yield bot_of(runner)


@pytest.fixture(scope="module", autouse=True)
def waiting(bot: Bot) -> dict[str, str]:
    """Two delivered requests to take within a minute, while other tests run: `anna`, which Anna takes, and `nobody`."""
    ids = {whose: bot.post("pricing", f"for {whose}") for whose in ("anna", "nobody")}
    for request_id in ids.values():
        bot.until_status(request_id, "delivered")
    bot.press("anna", ids["anna"])
    return ids


def message_of(bot: Bot, request_id: str) -> Json:
    """The Slack message with a button for the request. Its metadata can't identify it, since an update removes them."""
    [message] = [each for each in bot.everything_on_slack() if request_id in values(each)]
    return message


def values(message: Json) -> dict[str, str]:
    """The `action_id` of each request's button in the message, by the request's id."""
    return {button["value"].split()[0]: button["action_id"] for button in buttons(message)}


def cards(bot: Bot, request_id: str) -> list[str]:
    """The request's cards in Teams, as JSON."""
    panes = bot.console("GET", "/api/state").json["panes"]
    found = [json.dumps(post["card"]) for pane in panes if pane["channel"] == "teams" for post in pane["posts"]]
    return [card for card in found if request_id in card]


def test_every_field_of_a_request_is_shown_in_slack_email_and_teams(bot: Bot) -> None:
    request_id = bot.post("sales", "Does *40* fit?", SAID)
    shown = bot.until_status(request_id, "delivered")
    assert (shown["reference"], "customer" in shown) == ("chat-17", False)
    [mail] = bot.mails(request_id)
    [card] = cards(bot, request_id)
    arrived = {
        "slack": json.dumps(message_of(bot, request_id)["blocks"]),
        "text": mail["BodyText"],
        "html": mail["BodyHtml"],
        "teams": card.replace("\\\\", ""),
    }
    for where, text in arrived.items():
        assert [each for each in SEEN if each not in text] == [], where
        assert SAID["conversation_url"] in text, where
    assert mail["Subject"] == "[Sales] Does *40* fit?"
    for where in ("slack", "html", "teams"):
        assert "mailto:anna@example.org" in arrived[where]
        assert "tel:+49301234567" in arrived[where]


def test_the_first_person_who_clicks_takes_the_request_and_the_bot_and_a_second_person_are_notified(bot: Bot) -> None:
    with Receiver() as receiver:
        request_id = bot.post("support", "Who helps?", {"callback_url": receiver.url, "reference": "chat-18"})
        bot.until_status(request_id, "delivered")
        assert values(message_of(bot, request_id)) == {request_id: "take"}
        bot.press("anna", request_id)
        bot.press("ben", request_id, "take")
        until("the bot has got both callbacks", ARRIVAL_SECONDS, lambda: True if len(receiver.calls) > 1 else None)
    message, [whisper] = message_of(bot, request_id), bot.ephemeral_messages()
    assert "Taken by @anna" in json.dumps(message)
    assert values(message) == {request_id: "release"}
    assert whisper == {"ts": message["ts"], "user": "ben", "text": "@anna has this request."}
    taken = bot.show(request_id)["taken"]
    assert (taken["by"], taken["via"]) == ("@anna", "slack")
    callbacks = {
        call["type"]: call["data"] for call in (each.verified(callback_secret(bot)) for each in receiver.calls)
    }
    assert set(callbacks) == {"assistance_request.delivered", "assistance_request.taken"}
    about = callbacks["assistance_request.taken"]
    assert (about["id"], about["reference"], about["taken"]) == (request_id, "chat-18", taken)


def callback_secret(bot: Bot) -> str:
    secret: str = bot.stack["callback_secret"]
    return secret


def test_one_of_twenty_simultaneous_button_clicks_takes_the_request_and_the_other_people_see_the_taker(
    bot: Bot,
) -> None:
    request_id = bot.post("support", "Who is fastest?")
    bot.until_status(request_id, "delivered")
    with ThreadPoolExecutor(len(RACERS)) as pool:
        list(pool.map(lambda racer: bot.press(racer, request_id, "take"), RACERS))
    winner = bot.show(request_id)["taken"]["by"]
    assert f"Taken by {winner}" in json.dumps(message_of(bot, request_id))
    answers = {each["user"]: each["text"] for each in bot.ephemeral_messages() if each["user"] in RACERS}
    assert answers == dict.fromkeys(set(RACERS) - {winner.removeprefix("@")}, f"{winner} has this request.")


def links(text: str) -> list[str]:
    """The take links in a mail or a card."""
    return re.findall(r'http://127[^"]*/take/[^"]+', text)


def test_exactly_one_of_twenty_people_who_simultaneously_use_the_button_or_a_link_takes_the_request(bot: Bot) -> None:
    request_id = bot.post("sales", "Who is fastest, wherever they are?")
    bot.until_status(request_id, "delivered")
    [mail], [card] = bot.mails(request_id), cards(bot, request_id)
    found = [links(mail["BodyHtml"])[0], links(card)[0]]
    assert len(set(found)) == 2, "each destination has a link of its own"
    assert [http.call("GET", link).status for link in found] == [200, 200]
    assert "taken" not in bot.show(request_id), "nobody has pressed a button"
    known = len(bot.ephemeral_messages())

    def by_link(name: str, link: str) -> str:
        form = urlencode({"name": name, "press": name}).encode()
        answer = http.call("POST", link, body=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, answer
        return answer.body.decode()

    def race(number: int) -> str:
        if number % 3 == 2:
            bot.press(RACERS[number], request_id, "take")
            return ""
        return by_link(RACERS[number], found[number % 3])

    with ThreadPoolExecutor(len(RACERS)) as pool:
        pages = [page for page in pool.map(race, range(len(RACERS))) if page]
    winner = bot.show(request_id)["taken"]["by"]
    assert winner.removeprefix("@") in RACERS
    answers = [each["text"] for each in bot.ephemeral_messages()[known:]]
    assert set(answers) <= {f"{winner} has this request."}
    assert len(answers) == 6 - winner.startswith("@")
    assert sum("You have it" in page for page in pages) == 1 - winner.startswith("@")
    assert sum(f"Taken by <strong>{winner}</strong>" in page for page in pages) == 13 + winner.startswith("@")


def in_one_batch(bot: Bot, channel: str, ids: list[str]) -> None:
    """Invoke the channel's deployed consumer with the messages of these requests in one batch.

    Lambda could do so, but MiniStack's batches have at most ten messages.
    """
    queue = bot.outputs[f"{channel.capitalize()}QueueUrl"]
    found: dict[str, Any] = {}

    def all_received() -> bool | None:
        answer = bot.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"])
        found.update((json.loads(each["Body"])["request"]["id"], each) for each in answer.get("Messages", []))
        return True if found.keys() == set(ids) else None

    until("all messages have been received", ARRIVAL_SECONDS, all_received)
    [consumer] = [
        each for each in bot.lambda_.list_event_source_mappings()["EventSourceMappings"]
        if bot.queue_name(channel) in each["EventSourceArn"]
    ]  # fmt: skip
    records = [
        {
            "messageId": each["MessageId"], "receiptHandle": each["ReceiptHandle"], "body": each["Body"],
            "attributes": each["Attributes"], "messageAttributes": {}, "md5OfBody": each["MD5OfBody"],
            "eventSource": "aws:sqs", "eventSourceARN": consumer["EventSourceArn"], "awsRegion": bot.stack["region"],
        }
        for each in found.values()
    ]  # fmt: skip
    answer = bot.lambda_.invoke(FunctionName=consumer["FunctionArn"], Payload=json.dumps({"Records": records}))
    assert json.load(answer["Payload"]) == {"batchItemFailures": []}
    for record in records:
        bot.sqs.delete_message(QueueUrl=queue, ReceiptHandle=record["receiptHandle"])


def digests(bot: Bot, ids: list[str]) -> list[Json]:
    """The Slack messages that contain these requests."""
    return list({message["ts"]: message for message in (message_of(bot, each) for each in ids)}.values())


def all_values(messages: list[Json]) -> dict[str, str]:
    return {request_id: action for message in messages for request_id, action in values(message).items()}


def test_slack_digests_of_25_requests_show_who_has_taken_each_request(bot: Bot) -> None:
    """Several people click at once, so an update of the message is soon out of date. A digest has about 20 requests."""
    with bot.paused(bot.queue_name("slack")):
        ids = [bot.post("support", f"number {number}") for number in range(25)]
        in_one_batch(bot, "slack", ids)
    before = digests(bot, ids)
    assert max(len(values(message)) for message in before) > 15
    assert all_values(before) == dict.fromkeys(ids, "take")
    takers = {request_id: f"taker-{number}" for number, request_id in enumerate(ids[:-1])}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda taken: bot.press(taken[1], taken[0]), takers.items()))
    after = digests(bot, ids)
    assert len(after) == len(before)
    assert all_values(after) == {**dict.fromkeys(takers, "release"), ids[-1]: "take"}
    drawn = json.dumps(after)
    assert {taker: drawn.count(f"Taken by @{taker},") for taker in takers.values()} == dict.fromkeys(takers.values(), 1)
    assert {each: bot.show(each)["taken"]["by"] for each in takers} == {each: f"@{by}" for each, by in takers.items()}


def test_a_button_click_without_slacks_valid_signature_is_refused(bot: Bot) -> None:
    request_id = bot.post("support", "for everybody else")
    bot.until_status(request_id, "delivered")
    message = message_of(bot, request_id)
    payload = {
        "type": "block_actions", "api_app_id": message["app_id"], "user": {"id": "UMALLORY", "username": "mallory"},
        "message": {"ts": message["ts"], "app_id": message["app_id"]},
        "actions": [{**next(buttons(message)), "action_ts": "1"}],
        "response_url": f"{bot.stack['slack_api_url'].removesuffix('/api/')}/actions/none",
    }  # fmt: skip
    url, body = bot.stack["slack_interactions_url"], urlencode({"payload": json.dumps(payload)})
    secret = bot.stack["slack_signing_secret"]
    genuine = signed(body, secret)
    forged = {
        "another secret": (body, signed(body, secret[::-1])),
        "another body": (body.replace("MALLORY", "ANNA"), genuine),
        "no signature": (body, {"Content-Type": genuine["Content-Type"]}),
        "a signature that is too old": (body, signed(body, secret, float(genuine["X-Slack-Request-Timestamp"]) - 301)),
    }
    for what, (sent, headers) in forged.items():
        assert http.call("POST", url, body=sent.encode(), headers=headers).status == 401, what
    assert "taken" not in bot.show(request_id)
    assert http.call("POST", url, body=body.encode(), headers=genuine).status == 200, "what Slack has signed is taken"
    assert bot.show(request_id)["taken"]["by"] == "@mallory"


def test_after_the_time_limit_of_a_minute_only_a_request_that_nobody_has_taken_is_sent_to_the_fallback(
    bot: Bot, waiting: dict[str, str]
) -> None:
    def escalated(shown: dict[str, Any]) -> bool:
        bot.console("POST", "/api/reconcile", {})  # The scheduled reconciler runs once a minute too.
        return len(shown["deliveries"]) > 1

    shown = bot.until(waiting["nobody"], escalated, seconds=150)
    assert [(each["channel"], each.get("escalation")) for each in shown["deliveries"]] == [
        ("slack", None),
        ("email", True),
    ]
    bot.until_queues_are_empty()
    [mail] = bot.mails(waiting["nobody"])
    assert "Sent here because nobody is handling it, and the time to take it (1 minute) is over." in mail["BodyText"]
    assert bot.mails(waiting["anna"]) == []
    assert [each["channel"] for each in bot.show(waiting["anna"])["deliveries"]] == ["slack"]
