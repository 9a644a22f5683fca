"""Tests that no output contains customer data or secrets.

Each field of a call and each secret has a unique marker text, and the output on all paths is searched for these texts.
"""

import base64
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import reload
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import quote

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from botocore.exceptions import ClientError

from assistance.platform import observability
from assistance.store import requests
from assistance.store.schema import REQUEST
from local.slack_server import SlackServer
from slack_consumer import handler as slack_handler
from tests.integration.cloud import Cloud, forget, http_event
from tests.integration.resources import create_secret
from tests.integration.steps import emails, example, invoke_email_feedback, raising, sent
from tests.receiver import Receiver

# A marker text for each field and secret. For a new one add a line here, and use the text in a call.
CANARIES = {
    "description": "canary of the description",
    "customer_name": "canary of the customer's name",
    "customer_email": "canary.of.the.email@example.com",
    "customer_phone": "canary of the phone",
    "conversation_url": "https://chat.example.com/canary-of-the-conversation",
    "label": "canary of a label",
    "value": "canary of a value",
    "callback_path": "canary-of-the-callback-path",
    "callback_query": "canary-of-the-callback-query",
    "idempotency_key": "canary-of-the-idempotency-key",
    "header": "canary-of-a-header",
    "unknown_member": "canary of an unknown member",
    "api_key": "canary-of-the-api-key",
    "slack_token": "xoxb-canary-of-the-slack-token",
    "teams_url": "canary-of-the-teams-url",
    "signing_key": "canary of the key to sign with: 32",
    "slack_signing": "canary-of-the-signing-secret-of-slack",
    "take_key": "canary-of-the-key-that-signs-the-links",
    "session_token": "canary-of-the-session-token",
    "slack_error": "Canary of Slack's error",
    "teams_error": "canary-of-the-error-of-teams",
    "ses_error": "canary of the error of SES",
    "table_error": "canary of the table's error",
    "callback_error": "canary-of-the-bot-s-error",
    "malformed": "canary of a malformed message",
    "address": "canary.of.an.address@example.com",
    "unforeseen": "canary of an unforeseen exception",
}
# Values that the bot chose: only the API may return them, and only to that bot.
ECHOED = {
    "unknown_name": "canary of an unknown name",
    "reference": "canary-of-the-reference",
    "refused_label": "canary of a label that is too long" * 2,
}
SIGNING = base64.b64encode(CANARIES["signing_key"].encode()).decode()
PRESSED = {"X_Slack_Request_Timestamp": "1", "X_Slack_Signature": "v0=0"}
ROUTES = {
    "support": {"channels": ["slack", "teams", "email"], "fallback": None},
    "pricing": {"channels": ["email"], "fallback": "slack"},
}


def spellings(canary: str) -> set[str]:
    encoded = base64.b64encode(canary.encode()).decode().rstrip("=")
    return {canary, quote(canary), json.dumps(canary)[1:-1], encoded}


class World:
    """The system, and everything that its functions log, emit or raise."""

    def __init__(self, stack: Cloud, slack: SlackServer, bot: Receiver, teams: Receiver) -> None:
        self.stack, self.slack, self.bot, self.teams = stack, slack, bot, teams
        self.emitted: list[str] = []

    def invoke(self, function: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Call a function. Keep its answer, or of an exception what Lambda logs: type, message, frames, no causes."""
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001
            frames = traceback.format_tb(error.__traceback__)
            self.emitted += [function, type(error).__name__, str(error), *frames]
            return None
        answered = repr(answer)
        for word in ECHOED.values() if function == "api" else ():
            answered = answered.replace(word, "").replace(quote(word), "")
        self.emitted.append(answered)
        return answer

    def post(self, body: dict[str, Any] | None = None) -> None:
        url = f"{self.bot.url.partition('?')[0]}/{CANARIES['callback_path']}?q={CANARIES['callback_query']}"
        call = {
            "topic": "support",
            "description": CANARIES["description"],
            "callback_url": url,
            "customer": {
                "name": CANARIES["customer_name"],
                "email": CANARIES["customer_email"],
                "phone": CANARIES["customer_phone"],
            },
            "conversation_url": CANARIES["conversation_url"],
            "reference": ECHOED["reference"],
            "details": {CANARIES["label"]: CANARIES["value"]},
            ECHOED["unknown_name"]: CANARIES["unknown_member"],
        }
        headers = {
            "Content_Type": "application/json",
            "Idempotency_Key": CANARIES["idempotency_key"],
            "X_Header": CANARIES["header"],
            "x_api_key": CANARIES["api_key"],
        }
        event = http_event("POST", "/assistance-requests", json.dumps(call | (body or {})), **headers)
        event["requestContext"]["identity"]["apiKey"] = CANARIES["api_key"]
        answer = self.invoke("api", lambda: self.stack.handler("api")(event, self.stack.context))
        if "id" in (accepted := json.loads(answer["body"])):
            path = f"/assistance-requests/{accepted['id']}"
            self.invoke("api", lambda: self.stack.handler("api")(http_event("GET", path), self.stack.context))

    def invoke_functions(self) -> None:
        """Invoke every function that AWS invokes by itself, several times."""
        for _ in range(4):
            self.invoke("stream_producer", self.stack.produce)
            for destination in self.stack.queues:
                self.invoke(destination, lambda destination=destination: self.stack.consume(destination))  # type: ignore[misc]
            self.invoke("reconciler", self.stack.reconcile)
        for function, event in (
            ("slack_interactions", http_event("POST", "/slack/interactions", "payload={}", **PRESSED)),
            ("take_page", http_event("GET", "/take/token")),
        ):
            handler = partial(self.stack.handler(function), event, self.stack.context)
            self.invoke(function, handler)
        for destination in self.stack.queues:
            # An attribute contains the reason. The body contains the request.
            self.emitted += [repr(letter.get("MessageAttributes")) for letter in self.stack.dead_letters(destination)]


def failing(kind: str, status: int, *operations: str) -> Any:  # noqa: ANN401
    """Make AWS answer these operations with the error code `kind`, this status, and a message with a marker text."""

    def fail(operation: str) -> Any:  # noqa: ANN401
        text = CANARIES["ses_error" if operation == "SendEmail" else "table_error"]
        told: Any = {"Error": {"Code": kind, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(told, operation)

    return raising(fail, *operations)


def unforeseen(*_: object, **__: object) -> Any:  # noqa: ANN401
    raise KeyError(CANARIES["unforeseen"], CANARIES["description"])


def happy(world: World, _: ExitStack) -> None:
    world.post()


def providers_refuse(world: World, stack: ExitStack) -> None:
    answer = {
        "ok": False,
        "error": CANARIES["slack_error"],
        "response_metadata": {"messages": [CANARIES["slack_error"]]},
    }
    world.slack.fail("garbled", body=json.dumps(answer))
    world.teams.answers = [(400, {"x-error": CANARIES["teams_error"]})] * 9
    world.bot.answers = [(410, {"x-error": CANARIES["callback_error"]})] * 9
    stack.enter_context(failing("MessageRejected", 400, "SendEmail"))
    world.post()


def providers_are_down(world: World, stack: ExitStack) -> None:
    world.slack.fail("garbled", body=CANARIES["slack_error"])
    world.teams.answers = [b"HTTP/1.1 200 " + CANARIES["teams_error"].encode() + b"\r\n" * 9] * 9
    world.bot.answers = [b"\x00" + CANARIES["callback_error"].encode()] * 9
    stack.enter_context(failing("InternalFailure", 500, "SendEmail"))
    world.post()


def the_table_is_unavailable(world: World, stack: ExitStack) -> None:
    world.post()
    stack.enter_context(
        failing("InternalServerError", 500, "PutItem", "UpdateItem", "GetItem", "Query", "BatchGetItem")
    )
    world.post()


def a_call_is_refused(world: World, _: ExitStack) -> None:
    world.post({"topic": CANARIES["description"]})
    world.post({"description": [CANARIES["description"]]})
    world.post({"customer": {"name": CANARIES["customer_name"] * 9, "email": [CANARIES["customer_email"]]}})
    world.post({"customer": CANARIES["customer_phone"], "reference": [ECHOED["reference"]]})
    world.post({"details": {ECHOED["refused_label"]: CANARIES["value"]}, "conversation_url": [CANARIES["value"]]})
    world.post({"callback_url": f"https://{CANARIES['callback_path']}?{CANARIES['callback_query']}"})
    world.post()
    world.post({"description": CANARIES["description"] * 2})


def messages_are_malformed(world: World, _: ExitStack) -> None:
    world.post()
    body = json.dumps({"request": {"id": {}, "description": CANARIES["description"]}, "x": CANARIES["malformed"]})
    for destination in world.stack.queues:
        world.stack.sqs.send_message(QueueUrl=world.stack.queues[destination], MessageBody=body)
    for record in world.stack.stream_records():
        record["dynamodb"]["NewImage"]["topic"] = {"M": {"x": {"S": CANARIES["malformed"]}}}
        world.invoke("stream_producer", lambda record=record: world.stack.produce([record]))  # type: ignore[misc]
    for text in (
        CANARIES["address"],
        json.dumps({"eventType": "Bounce", "mail": {"destination": [CANARIES["address"]]}}),
    ):
        world.invoke("email_feedback", lambda text=text: invoke_email_feedback(world.stack, text))  # type: ignore[misc]


def a_mail_bounces(world: World, _: ExitStack) -> None:
    world.post({"topic": "pricing"})
    world.invoke_functions()
    [request_id] = {item["pk"] for item in world.stack.table.scan()["Items"] if item["sk"] == "RECORD"}
    event = example("bounce", request_id, sent(world.stack, request_id))
    event["bounce"]["bouncedRecipients"] = [
        {"emailAddress": CANARIES["address"], "diagnosticCode": CANARIES["ses_error"]}
    ]
    event["mail"]["destination"] = [CANARIES["address"]]
    world.invoke("email_feedback", lambda: invoke_email_feedback(world.stack, json.dumps(event)))


def an_exception_is_unforeseen(world: World, stack: ExitStack) -> None:
    world.post()
    for owner, name in (
        (requests.Requests, "accept"),
        (requests.Requests, "get"),
        (slack_handler, "compose"),
    ):
        stack.enter_context(patch.object(owner, name, unforeseen))
    world.post()
    world.invoke("email_feedback", lambda: invoke_email_feedback(world.stack, json.dumps(example("bounce", "x", "y"))))


def the_sdk_raises_an_unforeseen_exception(world: World, stack: ExitStack) -> None:
    world.post({"topic": "pricing"})
    world.invoke_functions()
    [item] = [it for it in world.stack.table.scan()["Items"] if it["sk"] == REQUEST]
    event = json.dumps(example("bounce", item["pk"], sent(world.stack, item["pk"])))
    world.post()
    stack.enter_context(raising(unforeseen, "PublishBatch", "Query", "GetItem", "UpdateItem", "PutItem"))
    world.invoke("email_feedback", lambda: invoke_email_feedback(world.stack, event))


def a_setting_is_missing(world: World, stack: ExitStack) -> None:
    environment = stack.enter_context(pytest.MonkeyPatch.context())
    for name in ("TABLE_NAME", "RETENTION_DAYS"):
        environment.delenv(name)
    forget()
    world.post()


def secrets_are_damaged(world: World, _: ExitStack) -> None:
    store_secrets(
        SLACK=f"{CANARIES['slack_token']}\nx",
        TEAMS=CANARIES["teams_url"],
        SIGNING=f"{SIGNING}!",
        SLACK_SIGNING=f"{CANARIES['slack_signing']}\u2011",
        TAKE=f"{CANARIES['take_key']}\u2011",
    )
    world.post()


def an_unforeseen_exception_quotes_the_secrets(world: World, stack: ExitStack) -> None:
    def fail(*_: object, **__: object) -> Any:  # noqa: ANN401
        names = ("slack_token", "teams_url", "signing_key", "slack_signing", "take_key")
        raise KeyError([CANARIES[name] for name in names])

    stack.enter_context(patch.object(SecretsProvider, "get", fail))
    world.post()


# A debugging option about which Powertools warns.
pytestmark = pytest.mark.filterwarnings("ignore:POWERTOOLS_DEV")

# The paths of a request. Add new ones here.
PATHS = (
    happy,
    providers_refuse,
    providers_are_down,
    the_table_is_unavailable,
    a_call_is_refused,
    messages_are_malformed,
    a_mail_bounces,
    an_exception_is_unforeseen,
    the_sdk_raises_an_unforeseen_exception,
    a_setting_is_missing,
    secrets_are_damaged,
    an_unforeseen_exception_quotes_the_secrets,
)
# Log levels that an operator may set.
LEVELS: dict[str, dict[str, str]] = {
    "INFO": {},
    "DEBUG": {
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
        "POWERTOOLS_LOG_LEVEL": "DEBUG",
        "POWERTOOLS_LOGGER_LOG_EVENT": "true",
        "POWERTOOLS_DEV": "true",
    },
}


def store_secrets(**values: str) -> None:
    for name, value in values.items():
        names = {"SLACK": "slack-token", "TEAMS": "teams", "SIGNING": "signing", "SLACK_SIGNING": "slack-signing"}
        secret = names.get(name, name.lower())
        boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)


@pytest.fixture(params=LEVELS)
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Collects log lines as Lambda does: by a handler on the root logger. Sets the level before it loads the logger."""
    for name, value in LEVELS[request.param].items():
        monkeypatch.setenv(name, value)
    root, written = logging.getLogger(), io.StringIO()
    handler, level, own = logging.StreamHandler(written), root.level, observability.logger.log_level
    root.addHandler(handler)
    root.setLevel(request.param)
    reload(observability)
    observability.logger.setLevel(request.param)
    own_lines = cast("logging.StreamHandler[Any]", observability.logger.registered_handler)
    stream = own_lines.setStream(written)
    yield written
    if stream:
        own_lines.setStream(stream)
    root.removeHandler(handler)
    root.setLevel(level)
    observability.logger.setLevel(own)


@pytest.fixture
def world(lines: io.StringIO, stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("ROUTES", json.dumps(ROUTES))
    monkeypatch.setenv("TEAMS_LOOPBACK", "true")
    with (
        SlackServer(token=CANARIES["slack_token"], channels=("C0ASSIST",)) as slack,
        Receiver() as bot,
        Receiver() as teams,
    ):
        monkeypatch.setenv("SLACK_API_URL", slack.url)
        workflow = f"{teams.url.partition('?')[0]}/{CANARIES['teams_url']}?sig={CANARIES['teams_url']}"
        for variable, name in (("SLACK_SIGNING_SECRET", "slack_signing"), ("TAKE_SECRET", "take_key")):
            monkeypatch.setenv(
                variable, create_secret(variable.lower().replace("_secret", "").replace("_", "-"), CANARIES[name])
            )
        monkeypatch.setenv("TAKE_PAGE", "https://api.example.com/take/")
        store_secrets(SLACK=CANARIES["slack_token"], TEAMS=workflow, SIGNING=SIGNING)
        # The last variable, since an error message may quote the end of the environment.
        monkeypatch.setenv("AWS_SESSION_TOKEN", CANARIES["session_token"])
        forget()
        yield World(stack, slack, bot, teams)
    forget()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_no_log_metric_trace_or_error_contains_customer_text_or_secrets(
    world: World, lines: io.StringIO, capfd: pytest.CaptureFixture[str], path: Callable[[World, ExitStack], None]
) -> None:
    with ExitStack() as broken:
        path(world, broken)
        world.invoke_functions()
    emitted = "\n".join([*world.emitted, lines.getvalue(), *capfd.readouterr()])
    assert '"level"' in emitted
    found = {
        name: emitted[max(emitted.find(spelling) - 300, 0) :][:400]
        for name, canary in (CANARIES | ECHOED).items()
        for spelling in spellings(canary)
        if spelling in emitted
    }
    assert found == {}


def test_the_marker_texts_searched_for_in_logs_do_reach_their_recipients(world: World) -> None:
    world.post()
    world.invoke_functions()
    for received in (json.dumps(world.slack.messages), "".join(emails()), repr(world.teams.calls)):
        assert CANARIES["description"] in received
    assert CANARIES["teams_url"] in world.teams.calls[0].path
    assert f"{CANARIES['callback_path']}?q={CANARIES['callback_query']}" in world.bot.calls[0].path
    world.bot.calls[0].verified(SIGNING)


def test_every_defined_marker_text_is_used_in_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [name for name in CANARIES | ECHOED if source.count(f'"{name}"') + source.count(f"'{name}'") < 2] == []
