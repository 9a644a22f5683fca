"""What every consumer is told by its environment, and the deployed consumer that follows from it."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeAlias

# Ahead of pydantic: where that is loaded, it loads a pydantic model of every kind of event.
import aws_lambda_powertools.utilities.batch  # noqa: F401
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import NonNegativeInt, PositiveInt

from assistance import aws
from assistance.delivery import Consumer
from assistance.environment import Environment
from assistance.observability import logger
from assistance.requests import Requests
from assistance.routing import Lane, RetryPolicy
from assistance.together import Send, Together
from assistance.unforeseen import without_messages

Handler: TypeAlias = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class ConsumerSettings(Environment):
    """Read once, at first use. Delays are in seconds."""

    table_name: str
    queue_url: str
    dlq_url: str
    retention_days: PositiveInt
    retry_attempts: PositiveInt
    retry_first_delay: NonNegativeInt
    retry_max_delay: NonNegativeInt
    retry_doubt_delay: NonNegativeInt


def consumer(channel: Lane, send: Send | Together, *, prepare: Callable[[], object]) -> Handler:
    """The Lambda handler that delivers a channel's queue by `send`.

    `prepare` makes what `send` uses before several threads do, which would wait for one another.
    """

    @cache
    def deployed() -> Consumer:
        settings = ConsumerSettings.read()
        prepare()
        return Consumer(
            channel=channel,
            send=send,
            requests=Requests(aws.table(settings.table_name)),
            sqs=aws.when_used(aws.sqs),
            queue_url=settings.queue_url,
            dlq_url=settings.dlq_url,
            retry=RetryPolicy(
                settings.retry_attempts,
                settings.retry_first_delay,
                settings.retry_max_delay,
                settings.retry_doubt_delay,
            ),
            retention=timedelta(days=settings.retention_days),
        )

    @logger.inject_lambda_context(log_event=False)
    @without_messages()
    def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        return deployed().handle(event, context)

    return lambda_handler
