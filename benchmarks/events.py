"""An event for each function, and the environment that the functions are told."""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from assistance.models import AssistanceRequest, Message, RouteThen
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import ROUTES, Topic
from benchmarks.answers import MESSAGE_ID, expires, request_item

DESCRIPTION = "A quote for 40 seats"


def environment(url: str, *, slack_api_url: str = "http://127.0.0.1/", table: str = "table") -> dict[str, str]:
    """What the functions read, and the credentials of nobody."""
    return {
        "AWS_ENDPOINT_URL": url,
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
        "SLACK_TOKEN_SECRET": "arn:aws:secretsmanager:us-east-1:000000000000:secret:slack",
        "SLACK_CHANNEL": "C0ASSIST",
        "SLACK_API_URL": slack_api_url,
        "EMAIL_SENDER": "bot@example.com",
        "EMAIL_RECIPIENTS": '["sales@example.com"]',
        "EMAIL_CONFIGURATION_SET": "feedback",
    }


def http(method: str, path: str, body: str | None = None) -> dict[str, Any]:
    """A call as API Gateway hands it over, as far as anything reads it."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": "6f0c1d9e"}
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": path, "path": path, "httpMethod": method, "identity": {"apiKeyId": "bot"}},
        "body": body,
        "isBase64Encoded": False,
    }


def accept() -> dict[str, Any]:
    """A bot's call."""
    return http("POST", "/assistance-requests", json.dumps({"topic": "sales", "description": DESCRIPTION}))


def read() -> dict[str, Any]:
    """A bot's question how far its request has come."""
    return http("GET", f"/assistance-requests/{uuid.UUID(int=0)}")


def stream(count: int = 1) -> dict[str, Any]:
    """New outbox entries, from the table's stream."""
    now = timestamp(utc_now())
    return {
        "Records": [
            {"dynamodb": {"SequenceNumber": str(number), "NewImage": request_item(str(uuid.UUID(int=number)), now)}}
            for number in range(count)
        ]
    }


def queue(topic: Topic, count: int = 1) -> dict[str, Any]:
    """Messages from a channel's queue."""
    now = timestamp(utc_now())
    route = RouteThen(channels=ROUTES[topic].channels, fallback=ROUTES[topic].fallback)
    requests = [
        AssistanceRequest(id=str(uuid.UUID(int=number)), topic=topic, description=DESCRIPTION, created_at=now)
        for number in range(count)
    ]
    return {
        "Records": [
            {
                "messageId": request.id,
                "receiptHandle": "handle",
                "body": Message(request=request, route=route, ttl=expires(now)).model_dump_json(),
                "attributes": {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": "1545082649183"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
                "awsRegion": "us-east-1",
            }
            for request in requests
        ]
    }


def feedback() -> dict[str, Any]:
    """SES's word that a mail has arrived."""
    mail = {"messageId": MESSAGE_ID, "tags": {"request_id": [str(uuid.UUID(int=0))]}}
    delivered = {"timestamp": timestamp(utc_now() - timedelta(seconds=1))}
    event = {"eventType": "Delivery", "mail": mail, "delivery": delivered}
    return {"Records": [{"Sns": {"MessageId": MESSAGE_ID, "Message": json.dumps(event)}}]}


EVENTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "api": accept,
    "stream_producer": stream,
    "reconciler": dict,
    "slack_consumer": lambda: queue(Topic.SALES),
    "email_consumer": lambda: queue(Topic.PRICING),
    "email_feedback": feedback,
}

BATCHES: Mapping[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "`stream_producer`, 100 records": ("stream_producer", lambda: stream(100)),
    "`slack_consumer`, 25 messages": ("slack_consumer", lambda: queue(Topic.SALES, 25)),
    "`email_consumer`, 10 messages": ("email_consumer", lambda: queue(Topic.PRICING, 10)),
}
"""Full batches, by what they are called: the function, and its event."""
