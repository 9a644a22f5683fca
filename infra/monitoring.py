"""An alarm for each symptom, and a page for each outage.

The alarms notify nobody themselves. Each is part of one page, a composite alarm, which notifies the operators once
however many of its alarms go off. An alarm that merely follows from another one does not count while that one is on.
`docs/operations.md` has a section for each.

The namespace of our own metrics is the stack's name: infra/python_function.py. No alarm uses metric math, which the
local cloud does not deploy.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from assistance.failures import MAX_RETRY_AFTER
from assistance.platform.metrics import Metric
from assistance.routing import CALLBACK, Channel, Destination
from infra.api import Api
from infra.batches import VISIBILITY_TIMEOUTS
from infra.channel import ChannelConsumer
from infra.config import QUEUE_RETENTION_DAYS, Config
from infra.dead_letters import RETENTION_DAYS
from infra.email_feedback import EmailFeedback
from infra.encryption import on_behalf_of
from infra.heartbeat import Heartbeat
from infra.reconciler import Reconciler
from infra.slack_interactions import SlackInteractions
from infra.stream_producer import StreamProducer
from infra.take_page import TakePage

_MINUTE: Final = Duration.minutes(1)
_FIVE_MINUTES: Final = Duration.minutes(5)
# Emitted by SNS when a message has no attributes to filter by, or none that can be read:
# https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
_FILTERED_OUT: Final = ("NoMessageAttributes", "InvalidAttributes")
_ERROR_RATE: Final = 0.05
_REFUSAL_RATE: Final = 0.5
_REFUSALS: Final = 10
_FIFTEEN_MINUTES: Final = Duration.minutes(15)
# A request is late once, by a bad moment. The stream's source is off if it happens again and again: three times in six
# hours, in different periods, so that a stage with few requests shows it too.
_LATE_PERIODS: Final = 3
_LATE_MINUTES: Final = 360
# After so many receives SQS's metric leaves a message out, so these delays are all that it can show of a retry.
_SEEN_DELAYS: Final = 2
# Page this long before the first dead letter can expire: a long weekend.
_NOTICE_DAYS: Final = 3
_HOURS_WAITED: Final = 24 * (RETENTION_DAYS - QUEUE_RETENTION_DAYS - _NOTICE_DAYS)
# CloudWatch or SQS may miss some of these hours: it does not begin anew for that.
_HOURS_MISSED: Final = 4
_SLOW_MS: Final = 5_000
_ITERATOR_AGE_MS: Final = 300_000
_ROLLED_BACK_FOR: Final = frozenset({"RequestsNotAccepted", "RequestsNotPublished", "RequestsUnaccountedFor"})

Alarms = list[cloudwatch.Alarm]


class Monitoring(Construct):
    """The alarms, the pages that they add up to, and the topic that the pages notify."""

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
        self._namespace = Stack.of(self).stack_name
        self._operators = self._operators_topic(config, key)
        self.pages: list[cloudwatch.CompositeAlarm] = []
        self.alarms: Alarms = []

        rate, refusals, *others = self._of_the_api(api)
        self._page(
            "RequestsNotAccepted", "Bots' calls fail or take too long.", [rate, *others],
            along={"ApiRefusalRate": refusals},
        )  # fmt: skip

        unpublished, *others = self._of_the_outbox(topic, producer, reconciler)
        self._page(
            "RequestsNotPublished", "Accepted requests stay behind.", [unpublished, *others],
            section="OldestUnpublishedAge",
        )  # fmt: skip
        self._page(
            "RequestsPublishedLate", "Requests are a minute late or more.", self._of_the_stream(reconciler),
            section="PublishedLate",
        )  # fmt: skip

        late, explains = [unpublished], {}
        for channel, consumer in consumers.items():
            failed, oldest, *others = self._of_the_channel(channel, consumer, reconciler)
            if isinstance(channel, Channel):
                others += self._of_the_heartbeat(channel, heartbeat)
            if feedback and channel is Channel.EMAIL:
                others += self._of_the_function("EmailFeedback", feedback.function)
            says = f"Requests do not get through by {channel}."
            name = f"{channel.capitalize()}NotDelivering"
            title = None if channel == CALLBACK else f"{channel.capitalize()} is not delivering"
            self._page(name, says, [failed, oldest, *others], section="NotDelivering", title=title)
            if isinstance(channel, Channel):
                # The callback keeps no request open.
                late.append(oldest)
            explains[channel] = [failed, oldest]

        self._page(
            "RequestsUnaccountedFor", "Requests are lost, stuck or unreadable, or the reconciler does not check them.",
            self._of_the_ledger(reconciler),
            # A request that is open for too long, or stuck, waits in the outbox or for a channel: an alarm there is on.
            after={"OldestOpenAge": late, "StuckDeliveries": late},
        )  # fmt: skip
        if config.take:
            self._page(
                "RequestsNotTaken", "No human takes requests in time.", self._of_the_humans(reconciler, takers),
                section="UntakenRequests",
            )  # fmt: skip
        self._page(
            "LettersWaiting", "Not urgent: dead letters need attention.",
            self._of_the_dead_letters(producer, consumers, feedback), section="DeadLetters", title="dead letters wait",
            after={
                "StreamFailures": [unpublished],
                **{f"{channel.capitalize()}DeadLetters": alarms for channel, alarms in explains.items()},
            },
        )  # fmt: skip
        self._page(
            "DeadLettersExpiring", "SQS deletes dead letters in a few days.", self._of_the_oldest(consumers, feedback),
            section="Expire",
        )  # fmt: skip
        if config.rollback_minutes is not None:
            # These follow from the functions. A channel's page may follow from its provider, which no rollback mends.
            watched = [page for page in self.pages if page.node.id in _ROLLED_BACK_FOR]
            self._say_when_to_roll_back(config.rollback_minutes, watched)
        CfnOutput(self, "TopicArn", value=self._operators.topic_arn).override_logical_id("OperatorTopicArn")

    def _say_when_to_roll_back(self, minutes: int, pages: Sequence[cloudwatch.CompositeAlarm]) -> None:
        """Print the rollback configuration to pass to CloudFormation. It is no part of a template.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-rollback-triggers.html
        """
        triggers = [{"Arn": page.alarm_arn, "Type": "AWS::CloudWatch::CompositeAlarm"} for page in pages]
        value = {"MonitoringTimeInMinutes": minutes, "RollbackTriggers": triggers}
        output = CfnOutput(self, "Rollback", value=Stack.of(self).to_json_string(value))
        output.override_logical_id("RollbackConfiguration")

    def _operators_topic(self, config: Config, key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(self, "Operators", enforce_ssl=True, master_key=key)
        # The topic's own policy takes the place of the default one, by which CloudWatch may publish:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        # The grant covers the topic's key:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        alarms = Stack.of(self).format_arn(
            service="cloudwatch", resource="alarm", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        topic.grant_publish(on_behalf_of(self, "cloudwatch.amazonaws.com", alarms))
        if config.operator_email:
            topic.add_subscription(subscriptions.EmailSubscription(config.operator_email))
        if config.operator_url:
            # SNS decrypts what it delivers, so the subscriber needs nothing of the topic's key.
            topic.add_subscription(subscriptions.UrlSubscription(config.operator_url))
        return topic

    def _of_the_api(self, api: Api) -> Alarms:
        stage = api.rest.deployment_stage
        # Of 5XXError the average is the rate:
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
        rate = stage.metric_server_error(period=_FIVE_MINUTES, statistic=cloudwatch.Stats.AVERAGE)
        # 4XXError also counts the calls that API Gateway refuses, and anybody can make those. The function counts only
        # the calls with a key that it refuses itself.
        refused, refusals = (
            cloudwatch.Metric(
                namespace=self._namespace,
                metric_name=Metric.REFUSED,
                dimensions_map={"service": "api"},
                period=_FIFTEEN_MINUTES,
                statistic=statistic,
            )
            for statistic in (cloudwatch.Stats.AVERAGE, cloudwatch.Stats.SUM)
        )
        p99 = stage.metric_latency(period=_FIVE_MINUTES, statistic=cloudwatch.Stats.percentile(99))
        return [
            self._alarm(
                "ApiRefusalRate", refused, _REFUSAL_RATE,
                "In a quarter of an hour the API refused more than half of the requests with a key (4xx): a bot sends "
                "wrong requests.",
            ),
            self._alarm(
                "ApiRefusals", refusals, _REFUSALS,
                "The API refuses requests with a key (4xx). Pages only together with ApiRefusalRate.",
                section="ApiRefusalRate",
            ),
            self._alarm(
                "ApiErrorRate", rate, _ERROR_RATE,
                "The API answers more than one call in twenty with 5xx. Read the api function's log: is the table "
                "throttled?",
                times=2, of=3,
            ),
            self._alarm(
                "ApiLatency", p99, _SLOW_MS,
                "One call in a hundred takes more than 5 s. Compare the function's duration with the table's latency.",
                times=2, of=3,
            ),
            *self._of_the_function("Api", api.function),
        ]  # fmt: skip

    def _of_the_outbox(self, topic: sns.Topic, producer: StreamProducer, reconciler: Reconciler) -> Alarms:
        config = self._config
        return [
            self._alarm(
                "OldestUnpublishedAge", reconciler.measured("OldestUnpublishedAge"),
                config.grace_seconds + 60 * (config.reconcile_interval_minutes + 5),
                "Requests wait in the outbox: SNS or the table refuses them. Read the producer's and the reconciler's "
                "logs. Nothing is lost.",
            ),
            self._alarm(
                "StreamIteratorAge",
                producer.function.metric(
                    "IteratorAge", period=_FIVE_MINUTES, statistic=cloudwatch.Stats.MAXIMUM
                ),
                _ITERATOR_AGE_MS,
                "The producer is five minutes behind the table's stream; the reconciler publishes instead. Read the "
                "producer's log.",
            ),
            *(
                self._alarm(
                    f"DroppedFor{reason}",
                    topic.metric(
                        f"NumberOfNotificationsFilteredOut-{reason}", period=_MINUTE, statistic=cloudwatch.Stats.SUM
                    ),
                    0,
                    "SNS dropped a message that names no channel: find out who else publishes to the topic.",
                    section="Dropped",
                )
                for reason in _FILTERED_OUT
            ),
            *self._of_the_function("StreamProducer", producer.function),
        ]  # fmt: skip

    def _of_the_stream(self, reconciler: Reconciler) -> Alarms:
        late = reconciler.measured("PublishedLate", cloudwatch.Stats.SUM)
        return [
            self._alarm(
                "PublishedLate", late, 0,
                "The reconciler publishes requests that the stream should have published: is the event source of "
                "StreamProducer disabled? 'assistance doctor' says so.",
                times=_LATE_PERIODS, of=max(_LATE_PERIODS, int(_LATE_MINUTES // late.period.to_minutes())),
            )
        ]  # fmt: skip

    def _of_the_channel(self, channel: Destination, consumer: ChannelConsumer, reconciler: Reconciler) -> Alarms:
        config, name = self._config, channel.capitalize()
        failed = cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=Metric.FAILED,
            dimensions_map={"channel": channel},
            period=_FIVE_MINUTES,
            statistic=cloudwatch.Stats.SUM,
        )
        retry = config.retry(channel)
        if isinstance(channel, Channel):
            # All back-offs.
            oldest, delays = reconciler.measured(Metric.OLDEST_PENDING_AGE, channel=channel), retry.longest
        else:
            # The ledger knows requests, not callbacks. SQS's own metric leaves out what was received three times:
            # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
            # So of the back-offs it shows the first two, each with a bot's Retry-After.
            oldest = consumer.queue.metric_approximate_age_of_oldest_message(
                period=_FIVE_MINUTES, statistic=cloudwatch.Stats.MAXIMUM
            )
            delays = retry.first(_SEEN_DELAYS) + _SEEN_DELAYS * MAX_RETRY_AFTER
        return [
            self._alarm(
                f"{name}DeliveriesFailed", failed, 0,
                f"The consumer gave deliveries by {channel} up. 'assistance dead-letters list --channel {channel}' "
                "says why.",
                of=3, section="DeliveriesFailed",
            ),
            self._alarm(
                # The delays, and one consumer that was killed.
                f"{name}OldestPendingAge", oldest,
                delays + VISIBILITY_TIMEOUTS * config.consumer_timeout_seconds,
                f"A request has waited for {channel} longer than any back-off. Is the consumer enabled? Does Lambda "
                "throttle it? Does the provider limit its rate?",
                section="OldestPendingAge",
            ),
            *self._of_the_function(f"{name}Consumer", consumer.function),
        ]  # fmt: skip

    def _of_the_heartbeat(self, channel: Channel, heartbeat: Heartbeat) -> Alarms:
        # Twice in a row, so that a provider's bad minute pages nobody. A beat that never came counts as well. Of what
        # is there CloudWatch takes the latest: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
        found = [
            self._alarm(
                f"{channel.capitalize()}Unreachable",
                heartbeat.measured(Metric.UNREACHABLE, channel, cloudwatch.Stats.MAXIMUM), 0,
                f"The hourly heartbeat of {channel} fails, or does not run. Perhaps no request has failed yet. "
                "'assistance doctor' says what is wrong.",
                times=2, of=2, section="Unreachable", missing=cloudwatch.TreatMissingData.BREACHING,
            )
        ]  # fmt: skip
        if channel is Channel.EMAIL:
            found.append(
                self._alarm(
                    "EmailFeedbackSilent", heartbeat.measured(Metric.MAIL_FEEDBACK, channel, cloudwatch.Stats.SUM), 1,
                    "SES does not report on the heartbeat's mails, so it does not report other bounces either. "
                    "'assistance doctor' says whether SES sends, and where it reports.",
                    times=3, of=3, comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                    missing=cloudwatch.TreatMissingData.BREACHING,
                )
            )  # fmt: skip
        for alarm in found:
            # The first beat comes before them, where the scheduler starts at once.
            alarm.node.add_dependency(heartbeat)
        return found

    def _of_the_ledger(self, reconciler: Reconciler) -> Alarms:
        config = self._config
        return [
            self._alarm(
                # The reconciler emits it at the end of every sweep, so silence means that none has finished.
                "ReconcilerSilent", reconciler.measured("OldestOpenAge", cloudwatch.Stats.SAMPLE_COUNT), 1,
                "The reconciler has not finished a sweep for a while. Read its log. Is its schedule enabled?",
                comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD, times=3, of=3,
                missing=cloudwatch.TreatMissingData.BREACHING,
            ),
            self._alarm(
                # Time for the channel and then the fallback to give up, and for the messages before it in the queue.
                "OldestOpenAge", reconciler.measured("OldestOpenAge"),
                2 * config.longest_delays + config.overdue_seconds,
                "A request is neither delivered nor failed for too long. 'assistance ledger' says where open ones are.",
            ),
            self._alarm(
                "LedgerBehind", reconciler.measured("LedgerBehind"), config.overdue_seconds,
                "The reconciler is behind: too many requests are open. It does not notice lost ones among the newest.",
            ),
            self._alarm(
                "LostRequests", reconciler.measured("LostRequests"), 0,
                "Messages were in no queue; the reconciler has published them again. Find out who purged a queue.",
            ),
            self._alarm(
                "StuckDeliveries", reconciler.measured("StuckDeliveries"), 0,
                "An attempt died, and no consumer has tried again. Read the consumer's log.",
            ),
            self._alarm(
                "UnreadableItems", reconciler.measured("UnreadableItems"), 0,
                "The table holds items that the functions can't read. The reconciler's log names them: find out who "
                "wrote them.",
            ),
            *self._of_the_function("Reconciler", reconciler.function),
        ]  # fmt: skip

    def _of_the_humans(self, reconciler: Reconciler, takers: Sequence[SlackInteractions | TakePage]) -> Alarms:
        return [
            self._alarm(
                # Each sweep counts those whose time is over since the last one.
                "UntakenRequests", reconciler.measured("UntakenRequests", cloudwatch.Stats.SUM), 0,
                "Nobody has taken a request within its route's escalate_after. 'assistance list --untaken' shows it.",
            ),
            *(alarm for taker in takers for alarm in self._of_the_function(taker.node.id, taker.function)),
        ]  # fmt: skip

    def _of_the_dead_letters(
        self, producer: StreamProducer, consumers: Mapping[Destination, ChannelConsumer], feedback: EmailFeedback | None
    ) -> Alarms:
        found = []
        for channel, consumer in consumers.items():
            name, look = channel.capitalize(), f"'assistance dead-letters list --channel {channel}' says why."
            given_up = f"Requests could not be delivered by {channel}. {look} Mend the cause, then redrive."
            unreached = f"SNS could not write to {channel}'s queue. {look} Mend it, then redrive."
            found += [
                self._letters(f"{name}DeadLetters", consumer.dlq, given_up, section="DeadLetters"),
                self._letters(
                    f"{name}SubscriptionDeadLetters", consumer.subscription_dlq, unreached,
                    section="SubscriptionDeadLetters",
                ),
            ]  # fmt: skip
        return [
            *found,
            self._letters(
                "StreamFailures", producer.failures,
                "The producer failed on stream records for good; the reconciler publishes them. Read both logs, then "
                "purge the queue.",
            ),
            *(self._of_the_feedback(feedback) if feedback else ()),
        ]  # fmt: skip

    def _of_the_oldest(
        self, consumers: Mapping[Destination, ChannelConsumer], feedback: EmailFeedback | None
    ) -> Alarms:
        """An alarm for each queue whose dead letters exist nowhere else. The table has those of `StreamFailures`.

        SQS's metric of ages won't do. It leaves out messages that were received three times, and each reader of dead
        letters receives them. It counts from the time SQS moved a message, but a message expires by when it was sent.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
        """
        queues: dict[str, sqs.Queue] = {}
        for channel, consumer in consumers.items():
            name = channel.capitalize()
            queues |= {f"{name}DeadLetters": consumer.dlq, f"{name}SubscriptionDeadLetters": consumer.subscription_dlq}
        if feedback:
            queues |= {
                "EmailFeedbackFailures": feedback.failures,
                "EmailFeedbackSubscriptionDeadLetters": feedback.subscription_dlq,
            }
        return [
            self._alarm(
                f"{name}Expire",
                # A reader hides them for a second or two, which the average of an hour does not show.
                queue.metric_approximate_number_of_messages_visible(
                    period=Duration.hours(1), statistic=cloudwatch.Stats.AVERAGE
                ),
                0.5,
                f"This queue has held dead letters for {_HOURS_WAITED // 24} days: see {name}. SQS may delete the "
                f"oldest in {_NOTICE_DAYS} days, and then the alarm ends although nobody has redriven them.",
                times=_HOURS_WAITED - _HOURS_MISSED, of=_HOURS_WAITED, section="Expire",
            )
            for name, queue in queues.items()
        ]  # fmt: skip

    def _of_the_feedback(self, feedback: EmailFeedback) -> Alarms:
        return [
            self._letters(
                "EmailFeedbackFailures", feedback.failures,
                "EmailFeedback failed on an event from SES. Mend the cause, then invoke it with requestPayload.",
            ),
            self._letters(
                "EmailFeedbackSubscriptionDeadLetters", feedback.subscription_dlq,
                "SNS could not hand an event from SES to Lambda. Mend it, then invoke the function with the event.",
                section="EmailFeedbackFailures",
            ),
        ]  # fmt: skip

    def _of_the_function(self, name: str, function: lambda_.Function) -> Alarms:
        return [
            self._alarm(
                f"{name}Errors", function.metric_errors(period=_FIVE_MINUTES, statistic=cloudwatch.Stats.SUM), 0,
                f"Invocations of {name} fail or time out: read its log.",
                times=2, of=3, section="FunctionErrors",
            ),
            self._alarm(
                f"{name}Throttles", function.metric_throttles(period=_FIVE_MINUTES, statistic=cloudwatch.Stats.SUM), 0,
                f"Lambda turns invocations of {name} away: raise the account's concurrency quota.",
                times=2, of=3, section="FunctionThrottles",
            ),
        ]  # fmt: skip

    def _letters(self, name: str, queue: sqs.Queue, says: str, *, section: str | None = None) -> cloudwatch.Alarm:
        # A reader hides a dead letter for a second or two. That may hide it from one sample, but not from three
        # minutes' samples; one sample that shows it is enough.
        visible = queue.metric_approximate_number_of_messages_visible(
            period=_MINUTE, statistic=cloudwatch.Stats.MAXIMUM
        )
        return self._alarm(name, visible, 0, says, of=3, section=section)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        says: str,
        *,
        times: int = 1,
        of: int = 1,
        section: str | None = None,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        """An alarm that is on while `times` of the last `of` periods were out of bounds."""
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=of,
            datapoints_to_alarm=times,
            treat_missing_data=missing,
            alarm_description=self._described(says, section or name),
        )
        self.alarms.append(alarm)
        return alarm

    def _page(
        self,
        name: str,
        says: str,
        alarms: Sequence[cloudwatch.Alarm],
        *,
        after: Mapping[str, Alarms] | None = None,
        along: Mapping[str, cloudwatch.Alarm] | None = None,
        section: str | None = None,
        title: str | None = None,
    ) -> None:
        """Notify the operators once while any of the alarms is on.

        `after`: alarms that do not count while another one is on. `along`: alarms that count only while another is on.
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
            # The subject of the mail. All else is named by CloudFormation: docs/decisions/0087-names-of-pages.md.
            composite_alarm_name=f"assistance {self._config.stage}: {title or _spelt_out(name)}",
            alarm_rule=rule.any_of(*terms),
            alarm_description=self._described(f"{says} See which of its alarms are on.", section or name),
        )
        page.add_alarm_action(actions.SnsAction(self._operators))
        page.add_ok_action(actions.SnsAction(self._operators))
        self.pages.append(page)

    def _described(self, says: str, section: str) -> str:
        # An account may hold several stages: a command from a page's mail names the stage that paged.
        says = says.replace("'assistance ", f"'assistance --stack {Stack.of(self).stack_name} ")
        return f"{says} {self._config.runbook_url}#{section.lower()}"


def _spelt_out(name: str) -> str:
    """`RequestsNotTaken` as a human writes it: `requests not taken`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
