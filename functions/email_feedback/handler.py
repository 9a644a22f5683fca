"""Handles the events that SES publishes about mails: bounces, complaints, rejects and deliveries."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.engine.heartbeat import REQUEST_ID
from assistance.errors import TableUnavailable, Unreadable
from assistance.platform import aws
from assistance.platform.clock import ms_of
from assistance.platform.metrics import Metric, measure
from assistance.platform.observability import logger
from assistance.platform.unforeseen import without_messages
from assistance.routing import Channel
from assistance.store.requests import deployed
from email_feedback.events import VALIDATION, MalformedEvent, Other, parse
from email_feedback.feedback import DlqUnavailable, Feedback, NotYetRecorded
from email_feedback.settings import Settings


@cache
def feedback() -> Feedback:
    """The handler of events, with this deployment's table and dead-letter queue."""
    settings = Settings.read()
    return Feedback(deployed(settings.table_name), aws.when_used(aws.sqs), settings.email_dlq_url)


@logger.inject_lambda_context(log_event=False)
@without_messages(MalformedEvent, NotYetRecorded, DlqUnavailable, TableUnavailable, Unreadable)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001
    """Handle an SNS message with one event of SES: https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html."""
    for record in event["Records"]:
        notification = record["Sns"]
        if notification["Message"] == VALIDATION:
            continue
        try:
            parsed = parse(notification["Message"])
        except MalformedEvent as error:
            logger.error("an event of SES can't be parsed", message_id=notification["MessageId"], wrong=str(error))
            raise
        if not isinstance(parsed, Other) and parsed.request_id == REQUEST_ID:
            # It shows that SES's events about other mails arrive too.
            measure(Metric.MAIL_FEEDBACK, channel=Channel.EMAIL)
            continue
        # An event without a time counts as old, so it does not wait for others.
        published_at = ms_of(time) if (time := notification.get("Timestamp")) else 0
        feedback().process(parsed, source_message_id=notification["MessageId"], published_at=published_at)
