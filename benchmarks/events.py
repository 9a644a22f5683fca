"""An event for each Lambda function, and the functions' environment variables."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier

from assistance.models import AssistanceRequest, Message, StoredRoute
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import ROUTES, Topic
from assistance.slack import blocks
from benchmarks.fake_services import (
    CALLBACK,
    CALLING_BACK,
    CREATED_AT,
    KEY,
    MAILED,
    MESSAGE_ID,
    POSTED,
    POSTED_AS,
    SLACK_PATH,
    callback_url,
    expires,
    request_item,
)

DESCRIPTION = "A quote for 40 seats"


def environment(url: str, *, slack_api_url: str = "http://127.0.0.1/", table: str = "table") -> dict[str, str]:
    """The functions' environment variables, with invalid credentials. `url`: the server that answers for AWS."""
    arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"
    return {
        "AWS_ENDPOINT_URL": url,
        # If this variable is set, our functions let botocore skip the validation of parameters.
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": "assistance",
        "POWERTOOLS_METRICS_NAMESPACE": "assistance",
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TABLE_NAME": table,
        "TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:topic",
        "QUEUE_URL": f"{url}/000000000000/queue",
        "DLQ_URL": f"{url}/000000000000/dlq",
        "EMAIL_DLQ_URL": f"{url}/000000000000/dlq",
        "QUEUES": json.dumps({"slack": {"queue": "queue", "dlqs": []}, "email": {"queue": "queue", "dlqs": []}}),
        "GRACE_SECONDS": "60",
        "OVERDUE_SECONDS": "900",
        "RETENTION_DAYS": "90",
        "RETRY_ATTEMPTS": "6",
        "RETRY_FIRST_DELAY": "5",
        "RETRY_MAX_DELAY": "900",
        "RETRY_DOUBT_DELAY": "30",
        "SLACK_TOKEN_SECRET": f"{arn}slack",
        "SLACK_SIGNING_SECRET": f"{arn}signing",
        "RESPONSE_ORIGIN": url,
        "TAKE_SECRET": f"{arn}take",
        "TAKE_PAGE": f"{url}/take/",
        "TEAMS_SECRET": f"{arn}teams",
        "CALLBACK_SECRET": f"{arn}callback",
        "SLACK_CHANNEL": "C0ASSIST",
        "SLACK_API_URL": slack_api_url,
        "EMAIL_SENDER": "bot@example.com",
        "EMAIL_RECIPIENTS": '["sales@example.com"]',
        "EMAIL_CONFIGURATION_SET": "feedback",
    }


def http(
    method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None, **parameters: str
) -> dict[str, Any]:
    """A call as an event from API Gateway, with the members that the functions read. `parameters`: of the path."""
    headers = dict(headers or {"Content-Type": "application/json", "Idempotency-Key": "6f0c1d9e"})
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {"resourcePath": path, "path": path, "httpMethod": method, "identity": {"apiKeyId": "bot"}},
        "body": body,
        "isBase64Encoded": False,
    }


def accept() -> dict[str, Any]:
    """The event of a bot's call with a new request."""
    return http("POST", "/assistance-requests", json.dumps({"topic": "sales", "description": DESCRIPTION}))


def read() -> dict[str, Any]:
    """The event of a bot's call for the status of a request."""
    return http("GET", f"/assistance-requests/{uuid.UUID(int=0)}")


def stream(count: int = 1) -> dict[str, Any]:
    """An event with so many new outbox entries, from the table's stream."""
    now = timestamp(utc_now())
    return {
        "Records": [
            {"dynamodb": {"SequenceNumber": str(number), "NewImage": request_item(str(uuid.UUID(int=number)), now)}}
            for number in range(count)
        ]
    }


def queue(topic: Topic, count: int = 1, route: StoredRoute | None = None) -> dict[str, Any]:
    """An event with so many messages from a channel's queue. `route`: that of the requests; None means the topic's."""
    now = timestamp(utc_now())
    route = route or StoredRoute(channels=ROUTES[topic].channels, fallback=ROUTES[topic].fallback)
    requests = [
        AssistanceRequest(id=str(uuid.UUID(int=number)), topic=topic, description=DESCRIPTION, created_at=now)
        for number in range(count)
    ]
    return _received([Message(request=request, route=route, ttl=expires(now)) for request in requests])


def teams(count: int = 1) -> dict[str, Any]:
    """An event with so many messages from the queue of the channel Teams."""
    return queue(Topic.SALES, count, StoredRoute.model_validate({"channels": ["teams"], "fallback": "email"}))


def callbacks(count: int = 1) -> dict[str, Any]:
    """An event with so many messages from the callback's queue, each for a request that is delivered."""
    route = StoredRoute(channels=ROUTES[Topic.PRICING].channels, fallback=ROUTES[Topic.PRICING].fallback)
    requests = [
        AssistanceRequest(
            id=id_, topic=Topic.PRICING, description="", created_at=CREATED_AT, callback_url=callback_url()
        )
        for id_ in CALLING_BACK[:count]
    ]
    return _received(
        [Message(request=request, route=route, ttl=expires(CREATED_AT), delivery=CALLBACK) for request in requests]
    )


def _received(messages: Sequence[Message]) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": message.request.id,
                "receiptHandle": "handle",
                "body": message.model_dump_json(),
                "attributes": {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": "1545082649183"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
    }


def press(origin: str) -> dict[str, Any]:
    """The event of Slack's call after a user has clicked the button to take a request.

    `origin`: the start of the URL at which Slack accepts the function's answer.
    """
    message = {"ts": POSTED_AS, "blocks": [blocks.actions(blocks.takes(POSTED, "slack", taken=False))]}
    action = {"action_id": blocks.TAKE, "action_ts": str(time.time()), "value": f"{POSTED} slack"}
    payload = {
        "type": "block_actions",
        "user": {"id": "U0ANNA", "username": "anna"},
        "message": message,
        "actions": [action],
        "response_url": f"{origin}{SLACK_PATH}actions",
    }
    body, now = urlencode({"payload": json.dumps(payload)}), str(int(time.time()))
    signature = SignatureVerifier(KEY).generate_signature(timestamp=now, body=body)
    headers = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": str(signature)}
    return http("POST", "/slack/interactions", body, headers)


def take() -> dict[str, Any]:
    """The event of a form that a user submits on the take page, after following the link in a mail."""
    from assistance.engine import links  # noqa: PLC0415 # it makes the logger, which reads the environment

    token = links.token(links.Link(MAILED, "email", expires(CREATED_AT)), [KEY.encode()])
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    body = urlencode({"name": "Anna", "press": uuid.uuid4().hex})
    return http("POST", f"/take/{token}", body, headers, token=token)


def feedback() -> dict[str, Any]:
    """SES's event that a mail has been delivered."""
    mail = {"messageId": MESSAGE_ID, "tags": {"request_id": [MAILED]}}
    delivered = {"timestamp": timestamp(utc_now() - timedelta(seconds=1))}
    event = {"eventType": "Delivery", "mail": mail, "delivery": delivered}
    return {"Records": [{"Sns": {"MessageId": MESSAGE_ID, "Message": json.dumps(event)}}]}


Event: TypeAlias = Callable[[str], dict[str, Any]]
"""Makes an event with the current time. Its argument is the URL of the server that answers for AWS and Slack."""
EVENTS: Mapping[str, Event] = {
    "api": lambda _: accept(),
    "stream_producer": lambda _: stream(),
    "reconciler": lambda _: {},
    "slack_consumer": lambda _: queue(Topic.SALES),
    "email_consumer": lambda _: queue(Topic.PRICING),
    "teams_consumer": lambda _: teams(),
    "callback_consumer": lambda _: callbacks(),
    "email_feedback": lambda _: feedback(),
    "slack_interactions": press,
    "take_page": lambda _: take(),
}

BATCHES: Mapping[str, tuple[str, Event]] = {
    "`stream_producer`, 100 records": ("stream_producer", lambda _: stream(100)),
    "`slack_consumer`, 25 messages": ("slack_consumer", lambda _: queue(Topic.SALES, 25)),
    "`email_consumer`, 10 messages": ("email_consumer", lambda _: queue(Topic.PRICING, 10)),
    "`teams_consumer`, 10 messages": ("teams_consumer", lambda _: teams(10)),
    "`callback_consumer`, 10 messages": ("callback_consumer", lambda _: callbacks(10)),
}
"""Full batches, by the name in the results: the function's folder, and the event."""
