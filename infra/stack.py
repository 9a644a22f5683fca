"""The CloudFormation stack, created in the order in which a request passes through its parts."""

import importlib
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any, TypeAlias, cast

from aws_cdk import CfnOutput, CfnResource, Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel, Destination
from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.dashboard import Dashboard
from infra.domain import Domain
from infra.email_feedback import EmailFeedback
from infra.encryption import ServicesKey, aws_managed_sns_key
from infra.governed import Governed
from infra.heartbeat import Heartbeat
from infra.monitoring import Monitoring
from infra.reconciler import Reconciler
from infra.slack_interactions import SlackInteractions
from infra.stream_producer import StreamProducer
from infra.table import Table
from infra.take_page import TakePage

Updated: TypeAlias = StreamProducer | Reconciler | EmailFeedback | ChannelConsumer | Api | SlackInteractions | TakePage


def consumer_of(destination: Destination) -> Callable[..., ChannelConsumer]:
    """The construct class of a destination, found by name: for `teams` `TeamsConsumer` in `infra/teams_consumer.py`."""
    module = importlib.import_module(f"infra.{destination}_consumer")
    construct: Callable[..., ChannelConsumer] = getattr(module, f"{destination.capitalize()}Consumer")
    return construct


def update_in_order(*groups: Sequence[Updated]) -> None:
    """Let CloudFormation update the functions of each group after those of the previous group.

    With this order, a function that reads a new format of messages or items is updated before the functions that write
    it. So an upgrade during operation loses nothing and sends nothing twice: docs/deployment.md.
    """
    for earlier, later in pairwise(groups):
        for one, other in product(earlier, later):
            resource = cast("CfnResource", other.function.node.default_child)
            resource.add_resource_dependency(cast("CfnResource", one.function.node.default_child))


class AssistanceStack(Stack):
    """The stack: bot → API → table → stream → producer → topic → a queue and a consumer per channel and callback."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, **kwargs)
        table = Table(self, "Table", config)
        api = Api(self, "Api", config=config, table=table)
        if config.domain_name:
            Domain(self, "Domain", config=config, api=api)
        topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=aws_managed_sns_key(self))
        key = ServicesKey(self, "ServicesKey", config)
        producer = StreamProducer(self, "StreamProducer", config=config, table=table, topic=topic)
        consumers: dict[Destination, ChannelConsumer] = {
            destination: consumer_of(destination)(
                self, f"{destination.capitalize()}Consumer", config=config, table=table, topic=topic
            )
            for destination in config.destinations
        }
        email = consumers.get(Channel.EMAIL)
        feedback = (
            EmailFeedback(self, "EmailFeedback", config=config, table=table, consumer=email, key=key) if email else None
        )
        reconciler = Reconciler(self, "Reconciler", config=config, table=table, topic=topic, consumers=consumers)
        publishers: list[StreamProducer | Reconciler | EmailFeedback] = [producer, reconciler]
        publishers += [feedback] if feedback else []
        takers: list[SlackInteractions | TakePage] = []
        if config.take and Channel.SLACK in consumers:
            takers.append(SlackInteractions(self, "SlackInteractions", config=config, table=table, api=api))
        if config.linked:
            linking = [consumers[channel] for channel in config.linked]
            takers.append(TakePage(self, "TakePage", config=config, table=table, api=api, consumers=linking))
        update_in_order([*consumers.values()], publishers, [api, *takers])
        for consumer in consumers.values():
            # SNS drops a message to which nobody has subscribed. So the API must not route to a new channel before the
            # channel's subscription exists.
            api.function.node.add_dependency(consumer.subscription)
        if config.watched:
            heartbeat = Heartbeat(
                self, "Heartbeat", consumers={channel: consumers[channel] for channel in config.deployed}
            )
            monitoring = Monitoring(
                self, "Monitoring", config=config, api=api, topic=topic, producer=producer, consumers=consumers,
                feedback=feedback, reconciler=reconciler, heartbeat=heartbeat, takers=takers, key=key,
            )  # fmt: skip
            Dashboard(
                self, "Dashboard", config=config, api=api, producer=producer, consumers=consumers, feedback=feedback,
                reconciler=reconciler, takers=takers, monitoring=monitoring,
            )  # fmt: skip
        if config.governed:
            Governed(self, "Governed", config=config, key=key)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "TopicArn", value=topic.topic_arn)
