"""The pages: composite alarms that notify the operators, one for each kind of outage.

The alarms of infra/alarms notify nobody. Each belongs to one page, which notifies the operators once, however many of
its alarms go off. An alarm that only follows from another alarm does not count while the other one is on.
`docs/operations.md` has a section for each alarm.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import ArnFormat, CfnOutput, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from assistance.routing import CALLBACK, Channel, Destination
from infra.alarms import channels, dead_letters, requests
from infra.alarms.factory import AlarmFactory, Alarms
from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.email_feedback import EmailFeedback
from infra.encryption import on_behalf_of
from infra.heartbeat import Heartbeat
from infra.reconciler import Reconciler
from infra.slack_interactions import SlackInteractions
from infra.stream_producer import StreamProducer
from infra.take_page import TakePage

_ROLLED_BACK_FOR: Final = frozenset({"RequestsNotAccepted", "RequestsNotPublished", "RequestsUnaccountedFor"})


class Monitoring(Construct):
    """The alarms, the pages that combine them, and the SNS topic that the pages notify."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        api: Api,
        topic: sns.Topic,
        producer: StreamProducer,
        consumers: Mapping[Destination, ChannelConsumer],
        feedback: EmailFeedback | None,
        reconciler: Reconciler,
        heartbeat: Heartbeat,
        takers: Sequence[SlackInteractions | TakePage],
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._alarms = alarms = AlarmFactory(self, config)
        self._operators = self._operators_topic(config, key)
        self.pages: list[cloudwatch.CompositeAlarm] = []
        self.alarms = alarms.created

        rate, refusals, *others = requests.of_the_api(alarms, api)
        self._page(
            "RequestsNotAccepted", "Bots' calls fail or take too long.", [rate, *others],
            along={"ApiRefusalRate": refusals},
        )  # fmt: skip

        unpublished, *others = requests.of_the_outbox(alarms, topic, producer, reconciler)
        self._page(
            "RequestsNotPublished", "Accepted requests are not published to the channels.", [unpublished, *others],
            section="OldestUnpublishedAge",
        )  # fmt: skip
        self._page(
            "RequestsPublishedLate", "Requests are published a minute late or more.",
            requests.of_the_stream(alarms, reconciler),
            section="PublishedLate",
        )  # fmt: skip

        late, explains = [unpublished], {}
        for channel, consumer in consumers.items():
            failed, oldest, *others = channels.of_the_channel(alarms, channel, consumer, reconciler)
            if isinstance(channel, Channel):
                others += channels.of_the_heartbeat(alarms, channel, heartbeat)
            if feedback and channel is Channel.EMAIL:
                # The function fails on purpose if an event of SES comes too early. Lambda's three calls for one event
                # fall into two periods at most.
                others += alarms.add_for_function("EmailFeedback", feedback.function, times=3)
            description = f"Requests are not delivered by {channel}."
            name = f"{channel.capitalize()}NotDelivering"
            title = None if channel == CALLBACK else f"{channel.capitalize()} is not delivering"
            self._page(name, description, [failed, oldest, *others], section="NotDelivering", title=title)
            if isinstance(channel, Channel):
                # Only channels, because a callback that waits does not keep a request open.
                late.append(oldest)
            explains[channel] = [failed, oldest]

        self._page(
            "RequestsUnaccountedFor", "Requests are lost, stuck or unreadable, or the reconciler does not check them.",
            requests.of_the_ledger(alarms, reconciler),
            # If requests wait in the outbox or for a channel, an alarm of that part is on already, and requests that
            # are open or stuck for too long are its consequence.
            after={"OldestOpenAge": late, "StuckDeliveries": late},
        )  # fmt: skip
        if config.take:
            self._page(
                "RequestsNotTaken", "No human takes requests in time.",
                requests.of_the_humans(alarms, reconciler, takers),
                section="UntakenRequests",
            )  # fmt: skip
        self._page(
            "LettersWaiting", "Not urgent: dead letters need attention.",
            dead_letters.of_the_dead_letters(alarms, producer, consumers, feedback),
            section="DeadLetters", title="dead letters wait",
            after={
                "StreamFailures": [unpublished],
                **{f"{channel.capitalize()}DeadLetters": causes for channel, causes in explains.items()},
            },
        )  # fmt: skip
        self._page(
            "DeadLettersExpiring", "SQS deletes dead letters in a few days.",
            dead_letters.of_the_oldest(alarms, consumers, feedback),
            section="Expire",
        )  # fmt: skip
        if config.rollback_minutes is not None:
            # Only pages that a faulty deployment can cause. A channel's page may be caused by its provider, and then a
            # rollback does not help.
            watched = [page for page in self.pages if page.node.id in _ROLLED_BACK_FOR]
            self._output_rollback_configuration(config.rollback_minutes, watched)
        CfnOutput(self, "TopicArn", value=self._operators.topic_arn).override_logical_id("OperatorTopicArn")

    def _output_rollback_configuration(self, minutes: int, pages: Sequence[cloudwatch.CompositeAlarm]) -> None:
        """Add an output with the rollback configuration, which is an argument of a deployment, not part of a template.

        With it, CloudFormation rolls a deployment back if one of the pages goes off within so many minutes.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-rollback-triggers.html
        """
        triggers = [{"Arn": page.alarm_arn, "Type": "AWS::CloudWatch::CompositeAlarm"} for page in pages]
        value = {"MonitoringTimeInMinutes": minutes, "RollbackTriggers": triggers}
        output = CfnOutput(self, "Rollback", value=Stack.of(self).to_json_string(value))
        output.override_logical_id("RollbackConfiguration")

    def _operators_topic(self, config: Config, key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(self, "Operators", enforce_ssl=True, master_key=key)
        # `enforce_ssl` gives the topic a policy, which replaces the default policy that lets CloudWatch publish:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        # This grant also lets CloudWatch use the topic's key:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        alarms = Stack.of(self).format_arn(
            service="cloudwatch", resource="alarm", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        topic.grant_publish(on_behalf_of(self, "cloudwatch.amazonaws.com", alarms))
        if config.operator_email:
            topic.add_subscription(subscriptions.EmailSubscription(config.operator_email))
        if config.operator_url:
            # SNS decrypts messages before it delivers them, so the subscriber needs no access to the topic's key.
            topic.add_subscription(subscriptions.UrlSubscription(config.operator_url))
        return topic

    def _page(
        self,
        name: str,
        description: str,
        alarms: Sequence[cloudwatch.Alarm],
        *,
        after: Mapping[str, Alarms] | None = None,
        along: Mapping[str, cloudwatch.Alarm] | None = None,
        section: str | None = None,
        title: str | None = None,
    ) -> None:
        """Create a page: a composite alarm that is on while any of these alarms is on.

        `after`: by an alarm's name, other alarms; while one of them is on, the alarm does not count. `along`: by an
        alarm's name, another alarm; the alarm counts only while the other one is on too. `section`: the heading in
        docs/operations.md, and `title`: the page's name in the mail, by default both made from `name`.
        """
        rule = cloudwatch.AlarmRule
        on = cloudwatch.AlarmState.ALARM
        terms: list[cloudwatch.IAlarmRule] = []
        for alarm in alarms:
            goes_off: list[cloudwatch.IAlarmRule] = [rule.from_alarm(alarm, on)]
            goes_off += [rule.not_(rule.from_alarm(other, on)) for other in (after or {}).get(alarm.node.id, ())]
            goes_off += [rule.from_alarm(other, on) for name, other in (along or {}).items() if name == alarm.node.id]
            terms.append(rule.all_of(*goes_off) if len(goes_off) > 1 else goes_off[0])
        page = cloudwatch.CompositeAlarm(
            self,
            name,
            # The name is the subject of the mail. Other resources get names from CloudFormation.
            composite_alarm_name=f"assistance {self._config.stage}: {title or _spelt_out(name)}",
            alarm_rule=rule.any_of(*terms),
            alarm_description=self._alarms.with_link(f"{description} See which of its alarms are on.", section or name),
        )
        page.add_alarm_action(actions.SnsAction(self._operators))
        page.add_ok_action(actions.SnsAction(self._operators))
        self.pages.append(page)


def _spelt_out(name: str) -> str:
    """Convert a CamelCase name to words: `RequestsNotTaken` to `requests not taken`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
