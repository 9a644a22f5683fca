"""The whole system, in the order in which a request travels it."""

from typing import Any

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.email_consumer import EmailConsumer
from infra.email_feedback import EmailFeedback
from infra.encryption import ServicesKey, aws_managed_sns_key
from infra.monitoring import Monitoring
from infra.reconciler import Reconciler
from infra.slack_consumer import SlackConsumer
from infra.stream_producer import StreamProducer
from infra.table import Table

CONSUMERS = {Channel.SLACK: SlackConsumer, Channel.EMAIL: EmailConsumer}


class AssistanceStack(Stack):
    """bot → API → table → stream → producer → topic → a queue and a consumer for each channel."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, **kwargs)
        table = Table(self, "Table", config)
        Api(self, "Api", config=config, table=table)
        topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=aws_managed_sns_key(self))
        key = ServicesKey(self, "ServicesKey", config)
        producer = StreamProducer(self, "StreamProducer", config=config, table=table, topic=topic)
        dlqs = {"StreamFailures": (producer.failures, "The stream gave up publishing; the reconciler takes over.")}
        consumers: dict[Channel, ChannelConsumer] = {}
        for channel in Channel:
            name = channel.capitalize()
            consumers[channel] = consumer = CONSUMERS[channel](
                self, f"{name}Consumer", config=config, table=table, topic=topic
            )
            dlqs[f"{name}DeadLetters"] = (consumer.dlq, f"Requests could not be delivered by {channel}.")
            dlqs[f"{name}SubscriptionDeadLetters"] = (consumer.subscription_dlq, f"SNS can't reach {channel}'s queue.")
        feedback = EmailFeedback(
            self, "EmailFeedback", config=config, table=table, consumer=consumers[Channel.EMAIL], key=key
        )
        dlqs["EmailFeedbackSubscriptionDeadLetters"] = (feedback.subscription_dlq, "SNS can't hand over SES's events.")
        dlqs["EmailFeedbackFailures"] = (feedback.failures, "An event of SES's could not be dealt with.")
        Reconciler(self, "Reconciler", config=config, table=table, topic=topic, consumers=consumers)
        Monitoring(self, "Monitoring", config=config, topic=topic, dlqs=dlqs, key=key)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "TopicArn", value=topic.topic_arn)
