"""Alarms on accepting and publishing requests, on the reconciler's checks, and on takes."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns

from assistance.platform.metrics import Metric
from infra.alarms.factory import FIVE_MINUTES, MINUTE, AlarmFactory, Alarms
from infra.api import Api
from infra.reconciler import Reconciler
from infra.slack_interactions import SlackInteractions
from infra.stream_producer import StreamProducer
from infra.take_page import TakePage

# The metrics that SNS emits for a message without attributes, or with invalid attributes, that a filter needs:
# https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
_FILTERED_OUT: Final = ("NoMessageAttributes", "InvalidAttributes")
_ERROR_RATE: Final = 0.05
_REFUSAL_RATE: Final = 0.5
_REFUSALS: Final = 10
_FIFTEEN_MINUTES: Final = Duration.minutes(15)
# One late request may be an exception. If requests are late in three periods of six hours, the event source is probably
# disabled. The long time lets the alarm work in a stage with few requests, too.
_LATE_PERIODS: Final = 3
_LATE_MINUTES: Final = 360
_SLOW_MS: Final = 5_000
_ITERATOR_AGE_MS: Final = 300_000


def of_the_api(alarms: AlarmFactory, api: Api) -> Alarms:
    """Create the alarms on the API: refused requests, errors, latency, and its function's errors and throttles."""
    stage = api.rest.deployment_stage
    # The average of the metric 5XXError is the share of calls with an error:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    rate = stage.metric_server_error(period=FIVE_MINUTES, statistic=cloudwatch.Stats.AVERAGE)
    # The metric 4XXError also counts calls without a key, which anybody can make and API Gateway refuses. So use the
    # function's own metric: it counts only calls with a valid key.
    refused, refusals = (
        cloudwatch.Metric(
            namespace=alarms.namespace,
            metric_name=Metric.REFUSED,
            dimensions_map={"service": "api"},
            period=_FIFTEEN_MINUTES,
            statistic=statistic,
        )
        for statistic in (cloudwatch.Stats.AVERAGE, cloudwatch.Stats.SUM)
    )
    # Calls without a key also lower the share of 5XXError. This metric counts only POSTs with a valid key.
    errored = cloudwatch.Metric(
        namespace=alarms.namespace,
        metric_name=Metric.ERRORED,
        dimensions_map={"service": "api"},
        period=FIVE_MINUTES,
        statistic=cloudwatch.Stats.AVERAGE,
    )
    p99 = stage.metric_latency(period=FIVE_MINUTES, statistic=cloudwatch.Stats.percentile(99))
    return [
        alarms.add(
            "ApiRefusalRate", refused, _REFUSAL_RATE,
            "Within a quarter of an hour the API refused more than half of the requests with a valid key (4xx): a bot "
            "sends wrong requests.",
        ),
        alarms.add(
            "ApiRefusals", refusals, _REFUSALS,
            "The API refused more than ten requests with a valid key (4xx). Pages only together with ApiRefusalRate.",
            section="ApiRefusalRate",
        ),
        alarms.add(
            "ApiErrorRate", rate, _ERROR_RATE,
            "The API answers more than one call in twenty with 5xx. Read the api function's log: is the table "
            "throttled?",
            times=2, of=3,
        ),
        alarms.add(
            "ApiFunctionErrorRate", errored, _ERROR_RATE,
            "The api function answers with 5xx more than one in twenty requests that have a valid key. Read its log: "
            "is the table throttled?",
            times=2, of=3, section="ApiErrorRate",
        ),
        alarms.add(
            "ApiLatency", p99, _SLOW_MS,
            "One call in a hundred takes more than 5 s. Compare the function's duration with the table's latency.",
            times=2, of=3,
        ),
        *alarms.add_for_function("Api", api.function),
    ]  # fmt: skip


def of_the_outbox(alarms: AlarmFactory, topic: sns.Topic, producer: StreamProducer, reconciler: Reconciler) -> Alarms:
    """Create the alarms on publishing: the outbox, the producer and the topic."""
    config = alarms.config
    return [
        alarms.add(
            "OldestUnpublishedAge", reconciler.measured("OldestUnpublishedAge"),
            config.grace_seconds + 60 * (config.reconcile_interval_minutes + 5),
            "Requests wait in the outbox: SNS or the table refuses them. Read the producer's and the reconciler's "
            "logs. Nothing is lost.",
        ),
        alarms.add(
            "StreamIteratorAge",
            producer.function.metric(
                "IteratorAge", period=FIVE_MINUTES, statistic=cloudwatch.Stats.MAXIMUM
            ),
            _ITERATOR_AGE_MS,
            "The stream producer is five minutes behind the table's stream; the reconciler publishes instead. Read the "
            "log of stream_producer.",
        ),
        *(
            alarms.add(
                f"DroppedFor{reason}",
                topic.metric(
                    f"NumberOfNotificationsFilteredOut-{reason}", period=MINUTE, statistic=cloudwatch.Stats.SUM
                ),
                0,
                "SNS dropped a message without a channel in its attributes: find out who else publishes to the topic.",
                section="Dropped",
            )
            for reason in _FILTERED_OUT
        ),
        *alarms.add_for_function("StreamProducer", producer.function),
    ]  # fmt: skip


def of_the_stream(alarms: AlarmFactory, reconciler: Reconciler) -> Alarms:
    """Create the alarm on requests that the reconciler published because the stream producer had not."""
    late = reconciler.measured("PublishedLate", cloudwatch.Stats.SUM)
    return [
        alarms.add(
            "PublishedLate", late, 0,
            "The reconciler publishes requests that the stream producer should have published. 'assistance doctor' "
            "says whether the event source of stream_producer is disabled.",
            times=_LATE_PERIODS, of=max(_LATE_PERIODS, int(_LATE_MINUTES // late.period.to_minutes())),
        )
    ]  # fmt: skip


def of_the_ledger(alarms: AlarmFactory, reconciler: Reconciler) -> Alarms:
    """Create the alarms on the reconciler, and on late, lost, stuck and unreadable requests that its sweeps find."""
    config = alarms.config
    return [
        alarms.add(
            # The reconciler emits it at the end of every sweep, so silence means that none has finished.
            "ReconcilerSilent", reconciler.measured("OldestOpenAge", cloudwatch.Stats.SAMPLE_COUNT), 1,
            "The reconciler has not finished a sweep for a while. Read its log. Is its schedule enabled?",
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD, times=3, of=3,
            missing=cloudwatch.TreatMissingData.BREACHING,
        ),
        alarms.add(
            # The time that the channel and then the fallback need to give up, plus the time in their queues.
            "OldestOpenAge", reconciler.measured("OldestOpenAge"),
            2 * config.longest_delays + config.overdue_seconds,
            "A request is neither delivered nor failed for too long. 'assistance ledger' says where open requests are.",
        ),
        alarms.add(
            "LedgerBehind", reconciler.measured("LedgerBehind"), config.overdue_seconds,
            "The reconciler can't inspect all requests in time, because too many are open. It does not notice if one "
            "of the newest is lost.",
        ),
        alarms.add(
            "LostRequests", reconciler.measured("LostRequests"), 0,
            "The messages of requests were in no queue; the reconciler has published them again. Find out who purged a "
            "queue.",
        ),
        alarms.add(
            "StuckDeliveries", reconciler.measured("StuckDeliveries"), 0,
            "A consumer died during an attempt, and no consumer has tried again. Read the consumer's log.",
        ),
        alarms.add(
            "UnreadableItems", reconciler.measured("UnreadableItems"), 0,
            "The table holds items that the functions can't read. The reconciler's log names them: find out who "
            "wrote them.",
        ),
        *alarms.add_for_function("Reconciler", reconciler.function),
    ]  # fmt: skip


def of_the_humans(
    alarms: AlarmFactory, reconciler: Reconciler, takers: Sequence[SlackInteractions | TakePage]
) -> Alarms:
    """Create the alarms on requests that nobody takes in time, and on the functions of `takers`, which store takes."""
    return [
        alarms.add(
            # Each sweep counts the requests whose time limit has passed since the previous sweep.
            "UntakenRequests", reconciler.measured("UntakenRequests", cloudwatch.Stats.SUM), 0,
            "Nobody has taken a request within its route's escalate_after. 'assistance list --untaken' shows it.",
        ),
        *(alarm for taker in takers for alarm in alarms.add_for_function(taker.node.id, taker.function)),
    ]  # fmt: skip
