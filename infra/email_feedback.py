"""The resources for SES's events about sent mails, such as bounces, and the function that processes them."""

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ses as ses
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.channel import ChannelConsumer
from infra.config import Config
from infra.dead_letters import DeadLetterQueue, FailedEvents
from infra.encryption import on_behalf_of
from infra.python_function import PythonFunction
from infra.table import Table

TIMEOUT = Duration.seconds(30)


class EmailFeedback(Construct):
    """The path of SES's events about the email consumer's mails, such as bounces: SES → SNS topic → function.

    `subscription_dlq` keeps events that SNS could not pass to Lambda, `failures` events that the function could not
    process in three attempts: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        table: Table,
        consumer: ChannelConsumer,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self.subscription_dlq = DeadLetterQueue(self, "SubscriptionDlq", config)
        self.failures = DeadLetterQueue(self, "Failures", config)
        self.function = function = PythonFunction(
            self,
            "Function",
            folder="email_feedback",
            config=config,
            timeout=TIMEOUT,
            # SES causes these invocations, so they belong to no trace of a bot's call. docs/cost.md has their price.
            traced_with=frozenset(),
            environment={
                "TABLE_NAME": table.table_name,
                "EMAIL_DLQ_URL": consumer.dlq.queue_url,
                "ROUTES": config.routes_variable,
            },
        )
        function.configure_async_invoke(on_failure=FailedEvents(self.failures))
        table.grant_items(function, "dynamodb:PutItem", "dynamodb:Query")
        consumer.dlq.grant(function, "sqs:SendMessage")
        topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=key)
        topic.add_subscription(subscriptions.LambdaSubscription(function, dead_letter_queue=self.subscription_dlq))
        # Mails contain a customer's text, so SES must send them with TLS. If a server has no TLS, the mail bounces, and
        # the fallback delivers the request.
        configuration_set = ses.ConfigurationSet(
            self, "ConfigurationSet", tls_policy=ses.ConfigurationSetTlsPolicy.REQUIRE
        )
        configuration_set.add_event_destination(
            "Destination",
            destination=ses.EventDestination.sns_topic(topic),
            events=[
                ses.EmailSendingEvent.BOUNCE,
                ses.EmailSendingEvent.COMPLAINT,
                ses.EmailSendingEvent.DELIVERY,
                ses.EmailSendingEvent.REJECT,
            ],
        )
        name = configuration_set.configuration_set_name
        arn = Stack.of(self).format_arn(service="ses", resource="configuration-set", resource_name=name)
        # The same conditions as in the topic's policy, which the CDK creates:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        key.grant(on_behalf_of(self, "ses.amazonaws.com", arn), "kms:Decrypt", "kms:GenerateDataKey*")
        consumer.function.add_environment("EMAIL_CONFIGURATION_SET", name)
        # SES checks the permission for the configuration set separately from the one for the identity:
        # https://github.com/aws/aws-cdk/issues/34402
        consumer.function.add_to_role_policy(iam.PolicyStatement(actions=["ses:SendEmail"], resources=[arn]))
        CfnOutput(self, "TopicArn", value=topic.topic_arn).override_logical_id("EmailFeedbackTopicArn")
