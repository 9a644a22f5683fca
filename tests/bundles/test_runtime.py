"""Tests each bundle under AWS's Lambda runtime client with an event as AWS sends it.

Moto's HTTP server replaces AWS.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from assistance.engine.outbox import message_for
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import CALLBACK, DESTINATIONS, Channel, Destination, Topic
from local.slack_server import SlackServer
from tests.bundles.runtime import invoke
from tests.fixtures import documented
from tests.infra.template import Template, synthesized, text_of
from tests.integration.cloud import RETENTION, SIGNING_SECRET, Cloud, cloud, http_event
from tests.integration.steps import emails, sent
from tests.receiver import Receiver
from tests.records import record_of, requests

TEXT = "A quote for 40 seats"
CALL = json.dumps({"topic": "sales", "description": TEXT})
Invoke = Callable[[str, object], Any]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer(token="xoxb-local", channels=("C0ASSIST",)) as server:
        yield server


@pytest.fixture
def stack(slack: SlackServer, aws: str) -> Iterator[Cloud]:
    with cloud(slack.url) as running:
        yield running


@pytest.fixture(scope="session")
def template() -> Template:
    return synthesized("every channel")


@pytest.fixture
def run(stack: Cloud, aws: str, template: Template, local: Mapping[str, Path], client: Path) -> Invoke:
    def run(folder: str, event: object) -> Any:  # noqa: ANN401
        _, function = template.function(folder)
        channel: Destination = next(
            (destination for destination in DESTINATIONS if folder == f"{destination}_consumer"), Channel.EMAIL
        )
        known = {**stack.environment, "QUEUE_URL": stack.queues[channel], "DLQ_URL": stack.dlqs[channel]}
        declared = function["Environment"]["Variables"]
        bundle = local[folder]
        answer, imported = invoke(
            bundle,
            client,
            function["Handler"],
            event,
            {
                # Only the variables that the stack declares, with the names of the resources in this test.
                **{name: known.get(name) or text_of(value) for name, value in declared.items()},
                # What Lambda adds: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_SESSION_TOKEN": "testing",
                "AWS_LAMBDA_FUNCTION_NAME": folder,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "LAMBDA_TASK_ROOT": str(bundle),
                "TZ": ":UTC",
                "AWS_ENDPOINT_URL": aws,
            },
        )
        packages = {path.stem for path in bundle.iterdir() if path.suffix in {"", ".py"}} - {"__pycache__"}
        assert packages <= imported, f"needless in the bundle of {folder}: {packages - imported}"
        return answer

    return run


def accepted(
    stack: Cloud, topic: Topic, age: timedelta = timedelta(0), callback_url: str | None = None
) -> AssistanceRequest:
    request = AssistanceRequest(
        id="0199f3c2-0000-7000-8000-000000000000",
        topic=topic,
        description=TEXT,
        created_at=timestamp(utc_now() - age),
        callback_url=callback_url,
    )
    requests(stack.table).accept(request, payload_hash="hash", retention=RETENTION)
    return request


def stream_event(stack: Cloud) -> dict[str, Any]:
    event = documented("dynamodb_stream")
    [record] = stack.stream_records()
    del event["Records"][1:]
    event["Records"][0]["dynamodb"] |= {
        name: record["dynamodb"][name] for name in ("Keys", "NewImage", "SequenceNumber")
    }
    return event


def queue_event(
    stack: Cloud, channel: Destination, request: AssistanceRequest, delivery: str | None = None
) -> dict[str, Any]:
    body = message_for(request, record_of(stack.table, request.id), delivery).model_dump_json()
    stack.sqs.send_message(QueueUrl=stack.queues[channel], MessageBody=body)
    event = documented("sqs")
    [record] = stack.receive(channel)
    event["Records"][0] |= {name: record[name] for name in ("messageId", "receiptHandle", "body")}
    return event


def delivery(stack: Cloud, request: AssistanceRequest, channel: Channel) -> tuple[str, str | None]:
    record = requests(stack.table).get(request.id)
    assert record
    [found] = [each for each in record.deliveries if each.channel is channel]
    return found.status, found.last_error


def queued(stack: Cloud, channel: Channel) -> list[str]:
    return [json.loads(record["body"])["request"]["description"] for record in stack.receive(channel)]


def test_the_api_stores_a_request_and_answers_202(run: Invoke, stack: Cloud) -> None:
    answer = run("api", http_event("POST", "/assistance-requests", CALL, Content_Type="application/json"))
    assert answer["statusCode"] == 202
    record = requests(stack.table).get(json.loads(answer["body"])["id"])
    assert record
    assert (record.request.topic, record.request.description, record.unpublished) == (Topic.SALES, TEXT, True)


def test_the_stream_producer_publishes_the_requests_in_a_dynamodb_stream_event(run: Invoke, stack: Cloud) -> None:
    request = accepted(stack, Topic.SALES)
    assert run("stream_producer", stream_event(stack)) == {"batchItemFailures": []}
    assert queued(stack, Channel.SLACK) == [TEXT]
    record = requests(stack.table).get(request.id)
    assert record
    assert record.published_at


def test_the_slack_consumer_posts_to_slack(run: Invoke, stack: Cloud, slack: SlackServer) -> None:
    request = accepted(stack, Topic.SALES)
    event = queue_event(stack, Channel.SLACK, request)
    assert run("slack_consumer", event) == {"batchItemFailures": []}
    [message] = slack.messages
    assert TEXT in json.dumps(message)
    assert delivery(stack, request, Channel.SLACK) == ("delivered", None)


@pytest.mark.parametrize("channel", Channel)
def test_the_consumer_of_each_channel_moves_an_unreadable_message_to_the_dead_letter_queue(
    run: Invoke, stack: Cloud, channel: Channel
) -> None:
    stack.sqs.send_message(QueueUrl=stack.queues[channel], MessageBody="no json")
    event = documented("sqs")
    [record] = stack.receive(channel)
    event["Records"][0] |= {name: record[name] for name in ("messageId", "receiptHandle", "body")}
    assert run(f"{channel}_consumer", event) == {"batchItemFailures": []}
    assert len(stack.dead_letters(channel)) == 1


def test_the_callback_consumer_calls_the_bots_callback_url(run: Invoke, stack: Cloud) -> None:
    with Receiver() as bot:
        request = accepted(stack, Topic.SALES, callback_url=bot.url)
        assert run("slack_consumer", queue_event(stack, Channel.SLACK, request)) == {"batchItemFailures": []}
        [end] = record_of(stack.table, request.id).callbacks
        event = queue_event(stack, CALLBACK, request, delivery=end.name)
        assert run("callback_consumer", event) == {"batchItemFailures": []}
        [call] = bot.calls
    assert call.verified(SIGNING_SECRET)["data"]["status"] == "delivered"


def test_the_email_consumer_sends_a_mail_and_the_email_feedback_function_records_the_mails_bounce(
    run: Invoke, stack: Cloud
) -> None:
    request = accepted(stack, Topic.PRICING)
    event = queue_event(stack, Channel.EMAIL, request)
    assert run("email_consumer", event) == {"batchItemFailures": []}
    [mail] = emails()
    assert TEXT in mail
    assert delivery(stack, request, Channel.EMAIL) == ("delivered", None)

    bounce = documented("ses/bounce")
    bounce["mail"]["messageId"] = sent(stack, request.id)
    bounce["mail"]["tags"]["request_id"] = [request.id]
    event = documented("sns")
    event["Records"][0]["Sns"]["Message"] = json.dumps(bounce)
    assert run("email_feedback", event) is None
    assert delivery(stack, request, Channel.EMAIL) == ("failed", "bounce_permanent")
    assert len(stack.dead_letters(Channel.EMAIL)) == 1


def test_the_reconciler_publishes_a_request_that_was_missing_from_the_dynamodb_stream(
    run: Invoke, stack: Cloud
) -> None:
    accepted(stack, Topic.SALES, age=timedelta(hours=1))
    answer = run("reconciler", documented("scheduler"))
    assert (answer["outbox"]["published"], answer["ledger"]["open"]) == (1, 1)
    assert queued(stack, Channel.SLACK) == [TEXT]
