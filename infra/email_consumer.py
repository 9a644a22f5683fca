"""The resource that only the email consumer has: the SES identity of the sender."""

import json

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra import email_sender
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.linter_exceptions import accept, arn
from infra.table import Table


class EmailConsumer(ChannelConsumer):
    """The email consumer and, if `create_email_identity` is true, the SES identity from which it sends."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        super().__init__(
            scope,
            construct_id,
            channel=Channel.EMAIL,
            config=config,
            table=table,
            topic=topic,
            environment={
                "EMAIL_SENDER": config.email_sender,
                "EMAIL_SENDER_NAME": config.email_sender_name,
                "EMAIL_RECIPIENTS": json.dumps(config.email_recipients),
            },
        )
        if config.create_email_identity:
            email_sender.verify(self, config)
        # The permission is limited by the sender's address and not by an identity's ARN: the sender may be verified by
        # its address or its domain, and in the sandbox SES also checks the permission for the recipients' identities
        # (https://github.com/aws/aws-sdk-js/issues/3641).
        # https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html
        self.function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["ses:SendEmail"],
                resources=[Stack.of(self).format_arn(service="ses", resource="identity", resource_name="*")],
                conditions={"StringEquals": {"ses:FromAddress": config.email_sender}},
            )
        )
        accept(
            self,
            f"AwsSolutions-IAM5[Resource::{arn(self, 'ses:identity/*')}]",
            "A condition limits the permission by the sender's address instead.",
        )
