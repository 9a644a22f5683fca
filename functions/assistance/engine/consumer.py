"""The settings that all consumers have, and the Lambda handler of a consumer."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import NonNegativeInt, PositiveInt

from assistance.engine import heartbeat
from assistance.engine.batch_sending import BatchSend, Send
from assistance.engine.delivery import Consumer
from assistance.engine.heartbeat import Check
from assistance.platform import aws
from assistance.platform.environment import Environment
from assistance.platform.observability import logger
from assistance.platform.unforeseen import without_messages
from assistance.routing import Destination, RetryPolicy
from assistance.store import requests


class ConsumerSettings(Environment):
    """A consumer's environment variables, read once, at first use. Delays are in seconds."""

    table_name: str
    queue_url: str
    dlq_url: str
    retry_attempts: PositiveInt
    retry_first_delay: NonNegativeInt
    retry_max_delay: NonNegativeInt
    retry_doubt_delay: NonNegativeInt


def consumer(
    channel: Destination,
    send: Send | BatchSend,
    *,
    prepare: Callable[[], object],
    place: Callable[[str], str | None] = lambda _: None,
    check: Check = lambda: iter(()),
) -> Callable[[dict[str, Any], LambdaContext], dict[str, Any]]:
    """The Lambda handler of a channel's consumer: it delivers the messages of the channel's queue by calling `send`.

    `prepare` creates the objects that `send` uses, before a batch starts its threads. `place` returns where on the
    channel a topic's requests go. The heartbeat runs `check`; without it, it only shows that the function runs.
    """

    @cache
    def deployed() -> Consumer:
        settings = ConsumerSettings.read()
        prepare()
        return Consumer(
            channel=channel,
            send=send,
            requests=requests.deployed(settings.table_name),
            sqs=aws.when_used(aws.sqs),
            queue_url=settings.queue_url,
            dlq_url=settings.dlq_url,
            retry=RetryPolicy(**{item.name: getattr(settings, f"retry_{item.name}") for item in fields(RetryPolicy)}),
            place=place,
        )

    @logger.inject_lambda_context(log_event=False)
    @without_messages()
    def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        if heartbeat.EVENT in event:
            return heartbeat.run(channel, check)
        return deployed().handle(event, context)

    return lambda_handler
