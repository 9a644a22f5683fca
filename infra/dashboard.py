"""The dashboard with the metrics of the API, of publishing, of each channel and of the reconciler."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from assistance.platform.metrics import Metric
from assistance.routing import CALLBACK, Channel, Destination, Route
from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.email_feedback import EmailFeedback
from infra.monitoring import Monitoring
from infra.reconciler import Reconciler
from infra.slack_interactions import SlackInteractions
from infra.stream_producer import StreamProducer
from infra.take_page import TakePage

_WIDTH: Final = 24
_PERIOD: Final = Duration.minutes(5)
_SUM: Final = cloudwatch.Stats.SUM
_MAXIMUM: Final = cloudwatch.Stats.MAXIMUM
_P50: Final = cloudwatch.Stats.percentile(50)
_P99: Final = cloudwatch.Stats.percentile(99)


def topics_of(channel: Destination, routes: Mapping[str, Route]) -> tuple[str, ...]:
    """The topics whose requests this channel may deliver.

    All topics for the callback, and for a channel that no route names any more: its queue may still hold requests.
    """
    topics = tuple(topic for topic, route in routes.items() if channel in (*route.channels, route.fallback, CALLBACK))
    return topics or tuple(routes)


class Dashboard(Construct):
    """The dashboard: the alarms first, then a row for each part that a request passes, in that order."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        api: Api,
        producer: StreamProducer,
        consumers: Mapping[Destination, ChannelConsumer],
        feedback: EmailFeedback | None,
        reconciler: Reconciler,
        takers: Sequence[SlackInteractions | TakePage],
        monitoring: Monitoring,
    ) -> None:
        super().__init__(scope, construct_id)
        self._namespace = Stack.of(self).stack_name
        self._routes = config.routes
        functions = {
            "Api": api.function,
            "StreamProducer": producer.function,
            **{f"{channel.capitalize()}Consumer": consumer.function for channel, consumer in consumers.items()},
            **({"EmailFeedback": feedback.function} if feedback else {}),
            "Reconciler": reconciler.function,
            **{taker.node.id: taker.function for taker in takers},
        }
        self._dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(12))
        self._add(
            cloudwatch.AlarmStatusWidget(title="Pages", alarms=monitoring.pages, width=6, height=6),
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=monitoring.alarms, width=18, height=6),
        )
        self._add(*self._accepted(api))
        self._add(*self._published(producer, consumers, reconciler))
        for channel, consumer in consumers.items():
            self._add(*self._delivered(channel, consumer))
        if config.take:
            self._add(*self._taken(reconciler))
        self._add(*self._accounted_for(reconciler), self._errors(functions))
        CfnOutput(self, "Name", value=self._dashboard.dashboard_name).override_logical_id("DashboardName")

    def _add(self, *widgets: cloudwatch.IWidget) -> None:
        self._dashboard.add_widgets(*widgets)

    def _accepted(self, api: Api) -> list[cloudwatch.IWidget]:
        stage = api.rest.deployment_stage
        by_topic = [
            self._metric(metric, _SUM, topic=topic)
            for metric in (Metric.ACCEPTED, Metric.REPLAYED)
            for topic in self._routes
        ]
        return [
            _graph("Requests accepted", [*by_topic, self._metric(Metric.REFUSED, _SUM, service="api")], of=3),
            _graph(
                "API calls",
                [
                    stage.metric_count(period=_PERIOD, label="calls"),
                    stage.metric_client_error(period=_PERIOD, label="4xx"),
                    stage.metric_server_error(period=_PERIOD, label="5xx"),
                ],
                of=3,
            ),
            _graph(
                "API latency, ms",
                [stage.metric_latency(period=_PERIOD, statistic=each, label=each) for each in (_P50, _P99)],
                of=3,
            ),
        ]

    def _published(
        self, producer: StreamProducer, consumers: Mapping[Destination, ChannelConsumer], reconciler: Reconciler
    ) -> list[cloudwatch.IWidget]:
        published = [
            self._metric(Metric.PUBLISHED, _SUM, channel=channel, topic=topic)
            for channel in consumers
            for topic in topics_of(channel, self._routes)
        ]
        age = producer.function.metric("IteratorAge", period=_PERIOD, statistic=_MAXIMUM, label="stream, ms behind")
        return [
            _graph("Messages published", published, of=3),
            _graph(
                "Oldest outbox entry, s",
                [reconciler.measured("OldestUnpublishedAge", label="OldestUnpublishedAge")],
                of=3,
            ),
            _graph("Stream", [age, reconciler.measured("PublishedLate", _SUM, label="PublishedLate")], of=3),
        ]

    def _delivered(self, channel: Destination, consumer: ChannelConsumer) -> list[cloudwatch.IWidget]:
        topics = topics_of(channel, self._routes)
        outcomes = [
            self._metric(metric, _SUM, channel=channel, topic=topic)
            for metric in (Metric.DELIVERED, Metric.FAILED, Metric.ATTEMPTS)
            for topic in topics
        ]
        times = [
            self._metric(Metric.ACCEPTED_TO_DELIVERED, statistic, channel=channel, topic=topic)
            for statistic in (_P50, _P99)
            for topic in topics
        ]
        queue = [
            consumer.queue.metric_approximate_number_of_messages_visible(period=_PERIOD, label="waiting"),
            consumer.queue.metric_approximate_number_of_messages_not_visible(period=_PERIOD, label="hidden"),
            consumer.dlq.metric_approximate_number_of_messages_visible(period=_PERIOD, label="dead letters"),
            self._metric(Metric.MISROUTED, _SUM, channel=channel),
        ]
        oldest = (
            self._metric(Metric.OLDEST_PENDING_AGE, _MAXIMUM, channel=channel)
            if isinstance(channel, Channel)
            else consumer.queue.metric_approximate_age_of_oldest_message(period=_PERIOD, statistic=_MAXIMUM)
        )
        return [
            _graph(f"{channel}: deliveries", outcomes, of=4),
            _graph(f"{channel}: accepted to delivered, ms", times, of=4),
            _graph(f"{channel}: messages", queue, of=4),
            _graph(f"{channel}: oldest waiting request, s", [oldest], of=4),
        ]

    def _taken(self, reconciler: Reconciler) -> list[cloudwatch.IWidget]:
        times = [
            self._metric(Metric.ACCEPTED_TO_TAKEN, statistic, topic=topic)
            for statistic in (_P50, _P99)
            for topic in self._routes
        ]
        untaken = reconciler.measured("UntakenRequests", _SUM, label="UntakenRequests")
        return [_graph("Accepted to taken, ms", times, of=2), _graph("Not taken in time", [untaken], of=2)]

    @staticmethod
    def _accounted_for(reconciler: Reconciler) -> list[cloudwatch.IWidget]:
        names = ("OpenRequests", "LostRequests", "StuckDeliveries", "UnreadableItems")
        return [
            _graph("Unfinished requests", [reconciler.measured(name, label=name) for name in names], of=3),
            _graph(
                "Oldest open request, s",
                [reconciler.measured(name, label=name) for name in ("OldestOpenAge", "LedgerBehind")],
                of=3,
            ),
        ]

    @staticmethod
    def _errors(functions: Mapping[str, lambda_.Function]) -> cloudwatch.IWidget:
        errors = [function.metric_errors(period=_PERIOD, label=name) for name, function in functions.items()]
        return _graph("Errors", errors, of=3)

    def _metric(self, metric: Metric, statistic: str, **dimensions: str) -> cloudwatch.Metric:
        qualifier = "" if statistic == _SUM else f" {statistic}"
        return cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=metric,
            dimensions_map=dimensions,
            period=_PERIOD,
            statistic=statistic,
            label=f"{metric} {' '.join(dimensions.values())}{qualifier}",
        )


def _graph(title: str, metrics: Iterable[cloudwatch.IMetric], *, of: int) -> cloudwatch.GraphWidget:
    """Return a graph that is as wide as one of the `of` graphs in a row."""
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_WIDTH // of, height=5)
