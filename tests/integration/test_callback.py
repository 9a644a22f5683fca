"""Tests callbacks: when they are sent, their content, their signature, their retries and their destinations."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
import time_machine
import trustme

from assistance import routing
from assistance.domain.record import Outcome
from assistance.engine import takes
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.failures import MAX_RETRY_AFTER, http_failure
from assistance.platform.clock import timestamp_of, utc_now
from assistance.routing import CALLBACK, ROUTES, Channel, Route, Topic, routes
from assistance.store.requests import Requests
from assistance.store.schema import OUTBOX_SHARD
from assistance.store.table import Items
from callback_consumer import egress
from callback_consumer.egress import MAX_HEAD_BYTES, Answer, Egress
from callback_consumer.handler import ANSWERS
from callback_consumer.message import sign
from callback_consumer.secret import read
from email_consumer.settings import Settings as EmailSettings
from local.slack_server import SlackServer
from tests.integration.cloud import SIGNING_SECRET, Cloud
from tests.integration.steps import feedback
from tests.receiver import Received, Receiver
from tests.records import item_of, record_of

CALLING = (Path(__file__).parents[2] / "docs/calling.md").read_text("utf-8")
PUBLIC = ["8.8.8.8", "2606:2800::1"]


@pytest.fixture
def bot() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def travel(stack: Cloud) -> None:
    """Invoke the producer and then every consumer, four times over."""
    for _ in range(4):
        stack.produce()
        for destination in stack.queues:
            stack.consume_until_quiet(destination)


def callback_statuses(bot: Receiver) -> list[str]:
    return [call.verified(SIGNING_SECRET)["data"]["status"] for call in bot.calls]


def requests(stack: Cloud) -> Requests:
    return Requests(Items(stack.table))


def error_codes(stack: Cloud) -> list[str]:
    return [each["MessageAttributes"]["error_code"]["StringValue"] for each in stack.dead_letters(CALLBACK)]


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="signing", SecretString=value)


# When callbacks are sent, and their content


def test_the_bot_gets_one_callback_about_a_delivery_and_the_callback_does_not_contain_the_description(
    stack: Cloud, bot: Receiver
) -> None:
    request_id = stack.post("sales", "words of a customer's", bot.url)
    travel(stack)
    [call] = bot.calls
    shown = stack.show(request_id)
    ended_at = shown["deliveries"][0]["delivered_at"]
    assert call.path == "/bot?conversation=42"
    assert call.headers["content-type"] == "application/json"
    assert call.id.startswith(f"{request_id}_delivered_")
    assert call.verified(SIGNING_SECRET) == {
        "type": "assistance_request.delivered",
        "timestamp": ended_at,
        "data": {name: shown[name] for name in ("id", "topic", "status", "created_at", "links")},
    }
    assert shown["status"] == "delivered"
    assert [delivery["channel"] for delivery in shown["deliveries"]] == ["slack"], "a callback is no delivery"


def test_a_request_without_a_callback_url_causes_no_additional_database_write_or_publication(stack: Cloud) -> None:
    stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    assert stack.produce() == []
    assert stack.receive(CALLBACK) == []
    assert {item["sk"] for item in stack.table.scan()["Items"]} == {"REQUEST", "RECORD"}


def test_the_bot_gets_a_callback_about_each_take_and_release(stack: Cloud, bot: Receiver) -> None:
    request_id = stack.post("sales", "words of a customer's", bot.url)
    travel(stack)
    taken = takes.take(requests(stack), request_id, "t1", by="Anna", via="slack").take
    travel(stack)
    assert stack.show(request_id)["taken"] == {"at": timestamp_of(taken.at), "by": "Anna", "via": "slack"}
    takes.release(requests(stack), request_id, "t1", by="an operator", via="operator")
    travel(stack)
    assert "taken" not in stack.show(request_id)
    said = [call.verified(SIGNING_SECRET) for call in bot.calls]
    assert [each["type"].removeprefix("assistance_request.") for each in said] == ["delivered", "taken", "released"]
    assert said[1]["timestamp"] == timestamp_of(taken.at)
    assert said[1]["data"] == said[0]["data"] | {
        "taken": {"at": timestamp_of(taken.at), "by": "Anna", "via": "slack"},
    }
    assert said[2]["data"]["released"].items() >= {"by": "an operator", "via": "operator"}.items()
    assert len({call.id for call in bot.calls}) == 3


@pytest.mark.parametrize("published", [True, False])
def test_a_callback_about_a_take_before_the_first_attempt_shows_the_status_that_the_api_shows(
    stack: Cloud,
    bot: Receiver,
    published: bool,  # noqa: FBT001
) -> None:
    request_id = stack.post("sales", "help", bot.url)
    if published:
        stack.produce()
    shown = stack.status(request_id)
    takes.take(requests(stack), request_id, "t1", by="Anna", via="operator")
    takes.release(requests(stack), request_id, "t1", by="Anna", via="operator")
    stack.produce()
    stack.consume_until_quiet(CALLBACK)
    assert callback_statuses(bot) == [shown]


def test_the_bot_gets_only_the_release_callback_if_a_take_is_released_before_its_callback_was_sent(
    stack: Cloud, bot: Receiver
) -> None:
    request_id = stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    takes.take(requests(stack), request_id, "t1", by="Anna", via="slack")
    takes.release(requests(stack), request_id, "t1", by="Anna", via="slack")
    travel(stack)
    types = {call.verified(SIGNING_SECRET)["type"] for call in bot.calls}
    assert types == {"assistance_request.delivered", "assistance_request.released"}


def test_the_bot_gets_a_callback_about_a_failure_only_after_the_fallback_has_failed_too(
    stack: Cloud, slack: SlackServer, bot: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.fail("error", error="is_archived")
    stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    stack.produce()
    assert stack.receive(CALLBACK) == [], "it is on its way by email"
    monkeypatch.setenv("EMAIL_SENDER", "unverified@example.com")
    EmailSettings.read.cache_clear()
    travel(stack)
    assert callback_statuses(bot) == ["failed"]


def test_the_bot_gets_another_callback_with_a_new_id_after_a_redrive(
    stack: Cloud, slack: SlackServer, bot: Receiver
) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("pricing", callback_url=bot.url)
    travel(stack)
    feedback(stack, "bounce", request_id)
    travel(stack)
    assert callback_statuses(bot) == ["delivered", "failed"]
    slack.fail("none")
    stack.redrive(Channel.SLACK)
    travel(stack)
    assert callback_statuses(bot) == ["delivered", "failed", "delivered"]
    assert len({call.id for call in bot.calls}) == 3
    times = [json.loads(call.body)["timestamp"] for call in bot.calls]
    assert times == sorted(times), "a receiver may order them by it"


@pytest.fixture(params=[Channel.SLACK, None])
def fallback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Routes in which the topic pricing has Slack as its fallback, or no fallback."""
    chosen = {**ROUTES, Topic.PRICING: Route((Channel.EMAIL,), request.param)}
    with patch.object(routing, "ROUTES", chosen):
        routes.cache_clear()
        yield
    routes.cache_clear()


@pytest.mark.usefixtures("fallback")
def test_two_status_changes_to_delivered_and_failed_in_the_same_millisecond_cause_two_callbacks(
    stack: Cloud, slack: SlackServer, bot: Receiver
) -> None:
    slack.fail("error", error="is_archived")
    with time_machine.travel(utc_now(), tick=False):
        request_id = stack.post("pricing", callback_url=bot.url)
        travel(stack)
        feedback(stack, "bounce", request_id)
        travel(stack)
    assert callback_statuses(bot) == ["delivered", "failed"]


def test_the_bot_gets_another_callback_when_a_redrive_delivers_a_mail_again_that_had_bounced(
    stack: Cloud, slack: SlackServer, bot: Receiver
) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("pricing", callback_url=bot.url)
    travel(stack)
    feedback(stack, "bounce", request_id)
    travel(stack)
    stack.redrive(Channel.EMAIL)
    travel(stack)
    assert callback_statuses(bot) == ["delivered", "failed", "delivered"]


def test_a_late_callback_reports_the_status_at_the_time_of_its_creation(
    stack: Cloud, slack: SlackServer, bot: Receiver
) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("pricing", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.EMAIL)
    stack.produce()
    late = stack.receive(CALLBACK)
    delivered_at = stack.show(request_id)["deliveries"][0]["delivered_at"]
    feedback(stack, "bounce", request_id)
    assert stack.consume(CALLBACK, late) == []
    assert callback_statuses(bot) == ["delivered"]
    assert bot.calls[0].verified(SIGNING_SECRET)["timestamp"] == delivered_at
    travel(stack)
    assert stack.consume(CALLBACK, late) == []
    assert callback_statuses(bot) == ["delivered", "failed"]
    assert len({call.id for call in bot.calls}) == 2


def test_an_unsent_callback_is_dropped_after_the_request_has_reached_a_later_final_status(
    stack: Cloud, slack: SlackServer, bot: Receiver
) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("pricing", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.EMAIL)
    stack.produce()
    late = stack.receive(CALLBACK)
    feedback(stack, "bounce", request_id)
    stack.produce()
    stack.consume(Channel.SLACK)
    assert stack.consume(CALLBACK, late) == []
    assert not bot.calls
    travel(stack)
    assert callback_statuses(bot) == ["failed"]


def test_the_reconciler_publishes_a_callback_that_the_stream_producer_did_not_publish(
    stack: Cloud, bot: Receiver
) -> None:
    stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    stack.stream_records()
    assert stack.reconcile(later=timedelta(minutes=5))["outbox"]["published"] == 1
    stack.consume(CALLBACK)
    assert callback_statuses(bot) == ["delivered"]
    assert not [item for item in stack.table.scan()["Items"] if OUTBOX_SHARD in item]
    assert stack.reconcile(later=timedelta(minutes=5))["outbox"]["published"] == 0


def test_a_callback_published_twice_is_sent_once(stack: Cloud, bot: Receiver) -> None:
    stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    records = stack.stream_records()
    assert stack.produce(records) == stack.produce(records) == []
    # One at a time: moto's conditional writes are not atomic.
    for record in stack.receive(CALLBACK):
        stack.consume(CALLBACK, [record])
    assert callback_statuses(bot) == ["delivered"]


# The engine


def test_a_callback_is_retried_with_the_same_webhook_id_and_a_new_signature(stack: Cloud, bot: Receiver) -> None:
    bot.answers = [(500, {}), (302, {"Location": f"http://127.0.0.1:{bot.port}/elsewhere"})]
    request_id = stack.post("sales", callback_url=bot.url)
    travel(stack)
    assert callback_statuses(bot) == ["delivered"] * 3
    assert len({call.id for call in bot.calls}) == 1
    assert {call.path for call in bot.calls} == {"/bot?conversation=42"}, "no redirect is followed"
    [callback] = record_of(stack.table, request_id).callbacks
    assert (callback.final, len(callback.attempts)) == (Outcome.DELIVERED, 3)
    assert stack.status(request_id) == "delivered"


@pytest.mark.parametrize(("answer", "attempts"), [((410, {}), 1), ((404, {}), 3), (b"", 3), (b"nonsense\r\n\r\n", 3)])
def test_the_message_of_a_failed_callback_goes_to_the_dead_letter_queue_and_the_request_stays_unchanged(
    stack: Cloud,
    bot: Receiver,
    answer: tuple[int, dict[str, str]] | bytes,
    attempts: int,
) -> None:
    bot.answers = [answer] * 3
    request_id = stack.post("sales", callback_url=bot.url)
    travel(stack)
    assert len(bot.calls) == attempts
    assert error_codes(stack)
    before = stack.show(request_id)
    assert before["status"] == "delivered"
    report = stack.reconcile(later=timedelta(minutes=20))
    assert (report["ledger"]["lost"], report["ledger"]["dead_lettered"], report["ledger"]["open"]) == ([], [], 0)
    assert stack.show(request_id) == before
    bot.answers.clear()
    stack.redrive(CALLBACK)
    travel(stack)
    assert callback_statuses(bot)[-1] == "delivered"
    assert not stack.dead_letters(CALLBACK)


def test_a_response_410_ends_only_the_callback_that_it_answers(stack: Cloud, bot: Receiver) -> None:
    bot.answers = [(410, {})]
    request_id = stack.post("sales", callback_url=bot.url)
    travel(stack)
    takes.take(requests(stack), request_id, "t1", by="Anna", via="slack")
    travel(stack)
    types = [call.verified(SIGNING_SECRET)["type"] for call in bot.calls]
    assert types == ["assistance_request.delivered", "assistance_request.taken"]


def test_a_callback_is_signed_with_both_keys_if_the_signing_secret_contains_two_keys(
    stack: Cloud, bot: Receiver
) -> None:
    another = "whsec_b3RoZXIgd29yZHMgdGhhdCBiZWxvbmcgaW4gbm8gbG9n"
    put_secret(f"{another} {SIGNING_SECRET}")
    stack.post("sales", callback_url=bot.url)
    travel(stack)
    [call] = bot.calls
    assert call.verified(another) == call.verified(SIGNING_SECRET)


@pytest.mark.parametrize("secret", [" ", "no base 64", "c2hvcnQ=", f"{SIGNING_SECRET} whsec_"])
def test_no_callback_is_sent_while_the_signing_secret_has_no_key(stack: Cloud, bot: Receiver, secret: str) -> None:
    put_secret(secret)
    stack.post("sales", callback_url=bot.url)
    travel(stack)
    assert not bot.calls
    assert error_codes(stack) == ["callback_secret_unavailable"]


def test_the_signature_equals_the_example_in_the_standard_webhooks_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/javascript/src/webhook.test.ts
    now, keys = datetime.fromtimestamp(1614265330, UTC), read("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', keys, now)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_the_documented_python_example_verifies_a_callback(
    stack: Cloud, bot: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.post("sales", callback_url=bot.url)
    travel(stack)
    [call] = bot.calls
    (example,) = [block for block in CALLING.split("```python\n")[1:] if "standardwebhooks" in block]
    monkeypatch.setenv("CALLBACK_SECRET", f"whsec_{SIGNING_SECRET}")
    names: dict[str, Any] = {}
    exec(example.split("```")[0], names)  # noqa: S102
    kind, data = names["verified"](call.body, call.headers)
    assert (kind, data["status"]) == ("assistance_request.delivered", "delivered")
    with pytest.raises(names["WebhookVerificationError"]):
        names["verified"](call.body.replace(b"delivered", b"failed"), call.headers)


# The meaning of a response


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (301, {}, TransientFailure, None),
        (400, {}, TransientFailure, None),
        (410, {}, PermanentFailure, None),
        (429, {}, RateLimited, None),
        (429, {"retry-after": "30"}, RateLimited, 30),
        (503, {"retry-after": "99999999"}, TransientFailure, MAX_RETRY_AFTER),
        (503, {"retry-after": "0"}, TransientFailure, 1),
        (503, {"retry-after": "soon"}, TransientFailure, None),
        (503, {"retry-after": "²"}, TransientFailure, None),
    ],
)
def test_the_http_status_of_a_bots_response_is_classified_as_the_standard_webhooks_specification_says(
    status: int, headers: dict[str, str], kind: type[DeliveryError], retry_after: float | None
) -> None:
    failure = http_failure(status, headers, ANSWERS, utc_now())
    assert type(failure) is kind
    assert failure.code == f"http_{status}"
    assert getattr(failure, "retry_after", None) == retry_after


def test_a_retry_after_header_may_be_a_date() -> None:
    now = utc_now().replace(microsecond=0)
    failure = http_failure(503, {"retry-after": format_datetime(now + timedelta(minutes=2))}, ANSWERS, now)
    assert isinstance(failure, TransientFailure)
    assert failure.retry_after == 120
    assert http_failure(204, {}, ANSWERS, now) is None


# The connection to the receiver


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Receiver]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("bot.example.com").configure_cert(tls)
    with Receiver(tls) as receiver:
        yield receiver


class Net:
    """Replaces the network: a name resolves to these addresses, and connections to them reach the test's receiver."""

    def __init__(self, authority: trustme.CA, server: Receiver, addresses: list[str]) -> None:
        self.addresses, self.asked, self.called = addresses, list[tuple[str, int]](), list[tuple[str, int]]()
        self.down: set[str] = set()
        self._server = server
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        self.egress = Egress(resolve=self.resolve, connect=self.connect, tls=trusting)

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.addresses

    async def connect(self, address: str, port: int, **secure: Any) -> Any:  # noqa: ANN401
        self.called.append((address, port))
        if address in self.down:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", self._server.port, **secure)

    def post(self, url: str = "https://bot.example.com/hook?a=b") -> Answer:
        return self.egress.post(url, b"{}", {"webhook-id": "1"})


def test_a_callback_connects_to_the_checked_ip_address_and_verifies_the_certificate_of_the_host_name(
    authority: trustme.CA, server: Receiver
) -> None:
    net = Net(authority, server, PUBLIC)
    net.down = {PUBLIC[0]}
    assert net.post().status == 204
    assert net.asked == [("bot.example.com", 443)], "asked once: what DNS says later changes nothing"
    assert net.called == [(address, 443) for address in PUBLIC]
    assert server.calls == [
        Received(
            "/hook?a=b",
            {
                "host": "bot.example.com", "content-type": "application/json", "content-length": "2",
                "user-agent": "assistance", "connection": "close", "webhook-id": "1",
            },
            b"{}",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "private", ["127.0.0.1", "169.254.169.254", "192.88.99.1", "::1", "3fff::1", "::ffff:8.8.8.8", "fe80::1%lo"]
)
def test_a_callback_host_with_at_least_one_private_ip_address_is_not_called(
    authority: trustme.CA, server: Receiver, private: str
) -> None:
    for addresses in ([private], [*PUBLIC, private], []):
        net = Net(authority, server, addresses)
        with pytest.raises(PermanentFailure, match=r"^address_not_public$"):
            net.post()
        assert not net.called
    assert not server.calls


def test_a_deployed_consumer_does_not_call_loopback_addresses(bot: Receiver) -> None:
    with pytest.raises(PermanentFailure, match=r"^address_not_public$"):
        Egress().post(bot.url, b"{}", {})
    assert Egress(loopback=True).post(bot.url, b"{}", {}).status == 204


@pytest.mark.parametrize("url", ["https://other.example.com/", "https://8.8.8.8/"])
def test_a_server_whose_certificate_has_another_host_name_gets_no_callback(
    authority: trustme.CA, server: Receiver, url: str
) -> None:
    with pytest.raises(TransientFailure, match=r"^tls_error$") as failed:
        Net(authority, server, PUBLIC).post(url)
    assert not failed.value.in_doubt
    assert not server.calls


def test_a_server_with_an_untrusted_certificate_gets_no_callback(server: Receiver) -> None:
    with pytest.raises(TransientFailure, match=r"^tls_error$"):
        Net(trustme.CA(), server, PUBLIC).post()
    assert not server.calls


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 " + b"y" * 2 * MAX_HEAD_BYTES, "unexpected_answer"),
        (b"220 smtp.example.com ESMTP\r\n", "unexpected_answer"),
        (b"HTTP/1.1 200 O", "unexpected_answer"),
        (None, "timeout"),
    ],
    ids=["a line without end", "no HTTP", "half an answer", "silence"],
)
def test_the_outcome_of_a_callback_is_unknown_after_a_malformed_or_missing_response(
    authority: trustme.CA, server: Receiver, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, code: str
) -> None:
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", 1 if answer is None else 10)
    server.answers = [answer]
    with pytest.raises(TransientFailure, match=f"^{code}$") as failed:
        Net(authority, server, PUBLIC).post()
    assert failed.value.in_doubt


@pytest.mark.parametrize(
    "line",
    [b"no header", b"a header : x", b": x", b"x: \x00", b"\xff: x", b"x: " + b"y" * 2 * MAX_HEAD_BYTES],
    ids=["no colon", "a space", "no name", "a control character", "not ASCII", "without end"],
)
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_the_http_status_determines_the_outcome_of_a_callback_even_if_response_headers_are_malformed(
    authority: trustme.CA, server: Receiver, before: bytes, line: bytes
) -> None:
    for status in (200, 410, 503):
        server.answers = [before + f"HTTP/1.1 {status} X\r\n".encode() + line + b"\r\nRetry-After: 1\r\n\r\n"]
        assert Net(authority, server, PUBLIC).post().status == status


def test_a_callback_reads_the_status_and_headers_of_the_response_and_not_its_body(
    authority: trustme.CA, server: Receiver
) -> None:
    head = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\nRetry-After: 1\r\n\r\n"
    server.answers = [head + b"x" * 100_000]
    assert Net(authority, server, PUBLIC).post() == Answer(200, {"content-length": "1000000000000", "retry-after": "1"})


def test_a_callback_is_retried_if_its_host_name_cannot_be_resolved() -> None:
    def nobody(*_: object) -> list[str]:
        raise socket.gaierror

    for host, resolve in (("bot.example.com", nobody), (f"{'a' * 64}.example.com", egress.resolve)):
        with pytest.raises(TransientFailure, match=r"^dns_error$"):
            Egress(resolve=resolve).post(f"https://{host}/", b"{}", {})


# The API


def test_a_reused_idempotency_key_with_another_callback_url_is_refused(stack: Cloud, bot: Receiver) -> None:
    body = {"topic": "sales", "description": "help"}
    for callback, status in (({"callback_url": bot.url}, 202), ({"callback_url": bot.url}, 202), ({}, 422)):
        answer = stack.call(
            "POST", "/assistance-requests", json.dumps(body | callback), Content_Type="application/json",
            Idempotency_Key="key",
        )  # fmt: skip
        assert answer["statusCode"] == status
    assert answer["json"]["type"].endswith("idempotency-key-reused")


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://169.254.169.254/latest", "URL should name a host that is public"),
        ("https://[3fff:fff::1]/", "URL should name a host that is public"),
        ("https://.ex.com/", "URL should name a host that can be found in the public DNS"),
    ],
)
def test_the_error_for_a_forbidden_callback_url_names_the_field_callback_url(
    stack: Cloud, url: str, detail: str
) -> None:
    body = {"topic": "sales", "description": "help", "callback_url": url}
    answer = stack.call("POST", "/assistance-requests", json.dumps(body), Content_Type="application/json")
    assert answer["statusCode"] == 422
    assert answer["json"]["errors"] == [{"pointer": "#/callback_url", "detail": detail}]


def test_no_callback_is_sent_for_an_expired_request(stack: Cloud, bot: Receiver) -> None:
    request_id = stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    stack.produce()
    stack.table.delete_item(Key={"pk": request_id, "sk": "REQUEST"})
    before = item_of(stack.table, request_id)
    # From the second receive on the consumer reads the record first.
    [record] = stack.receive(CALLBACK)
    assert stack.consume(CALLBACK, [record]) == []
    assert not bot.calls
    assert item_of(stack.table, request_id) == before
