"""Tests the alarms: they use existing metrics, each outage causes one notification, and each has a runbook section."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assistance import routing
from assistance.domain.record import Status
from assistance.engine import takes
from assistance.engine.heartbeat import EVENT, REQUEST_ID
from assistance.failures import MAX_RETRY_AFTER
from assistance.platform.metrics import Metric
from assistance.routing import CALLBACK, DESTINATIONS, ROUTES, Channel, Destination, Topic
from assistance.store.requests import Requests
from assistance.store.table import Items
from infra.retries import RETRIES, longest
from infra.stages import InvalidConfig, load
from local.slack_server import SlackServer
from tests.command_line import COMMAND
from tests.infra.template import EXTRAS, REAL, VARIANTS, Properties, Template, graphs, synthesized, target, text_of
from tests.integration.cloud import Cloud, cloud, forget
from tests.integration.steps import example, feedback, invoke_email_feedback
from tests.logged_metrics import Series, emitted
from tests.receiver import Receiver

ROOT = Path(__file__).parents[2]
ROUTED = routing.named(ROUTES.values())
WATCHED = [*(variant for variant in VARIANTS if variant != "dev"), "takes"]
RUNBOOK = (ROOT / "docs/operations.md").read_text("utf-8")


@pytest.fixture(scope="module", params=WATCHED)
def template(request: pytest.FixtureRequest) -> Template:
    """A stage with alarms."""
    return synthesized(request.param)


class Documented(NamedTuple):
    """The metrics that AWS documents for a namespace, and the resource type that each dimension names."""

    source: str
    metrics: frozenset[str]
    dimensions: frozenset[frozenset[str]]
    names: Mapping[str, str]


def documented(source: str, metrics: str, dimensions: str, **names: str) -> Documented:
    sets = frozenset(frozenset(each.split("+")) for each in dimensions.split())
    return Documented(source, frozenset(metrics.split()), sets, names)


# The documented metrics of standard queues, standard topics, functions, and REST APIs without detailed metrics.
PROVIDERS = {
    "AWS/SQS": documented(
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
        """ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesDelayed ApproximateNumberOfMessagesNotVisible
        ApproximateNumberOfMessagesVisible NumberOfEmptyReceives NumberOfMessagesDeleted NumberOfMessagesReceived
        NumberOfMessagesSent SentMessageSize""",
        "QueueName",
        QueueName="AWS::SQS::Queue",
    ),
    "AWS/SNS": documented(
        "https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html",
        """NumberOfMessagesPublished NumberOfNotificationsDelivered NumberOfNotificationsFailed
        NumberOfNotificationsFilteredOut NumberOfNotificationsFilteredOut-MessageAttributes
        NumberOfNotificationsFilteredOut-MessageBody NumberOfNotificationsFilteredOut-InvalidAttributes
        NumberOfNotificationsFilteredOut-NoMessageAttributes NumberOfNotificationsFilteredOut-InvalidMessageBody
        NumberOfNotificationsRedrivenToDlq NumberOfNotificationsFailedToRedriveToDlq PublishSize""",
        "TopicName",
        TopicName="AWS::SNS::Topic",
    ),
    "AWS/Lambda": documented(
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
        """Invocations Errors DeadLetterErrors DestinationDeliveryFailures Throttles Duration IteratorAge
        PostRuntimeExtensionsDuration ConcurrentExecutions AsyncEventsReceived AsyncEventAge AsyncEventsDropped""",
        "FunctionName FunctionName+Resource FunctionName+Resource+ExecutedVersion",
        FunctionName="AWS::Lambda::Function",
    ),
    "AWS/ApiGateway": documented(
        "https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html",
        "4XXError 5XXError CacheHitCount CacheMissCount Count IntegrationLatency Latency",
        "ApiName ApiName+Stage",
        ApiName="AWS::ApiGateway::RestApi",
        Stage="AWS::ApiGateway::Stage",
    ),
}


class Watched(NamedTuple):
    """A metric. `by`: the alarm or the dashboard's graph that uses it. A dimension's value may be `${a logical id}`."""

    by: str
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def called(logical_id: str) -> str:
    """The name of an alarm, without the parts that the CDK adds to its logical id."""
    return re.sub(r"^Monitoring(.*).{8}$", r"\1", logical_id)


def alarms(template: Template) -> dict[str, Properties]:
    return template.all("AWS::CloudWatch::Alarm")


def watched(template: Template) -> Iterator[Watched]:
    for by, alarm in alarms(template).items():
        dimensions = frozenset((each["Name"], text_of(each["Value"])) for each in alarm["Dimensions"])
        yield Watched(by, alarm["Namespace"], alarm["MetricName"], dimensions)
    for by, (namespace, name, *rest) in graphs(template):
        yield Watched(by, namespace, name, frozenset(zip(rest[::2], rest[1::2], strict=True)))


def all_the_way(running: Cloud) -> None:
    """Deliver requests from the outbox to the channels, to the fallback if needed, and call the bot back."""
    for _ in DESTINATIONS:
        running.produce()
        for channel in DESTINATIONS:
            running.consume_until_quiet(channel)


@contextmanager
def logged() -> Iterator[tuple[Cloud, SlackServer, pytest.MonkeyPatch, StringIO]]:
    """The handlers with a Slack server, in the environment that the patch contains, and with their log."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as log,
        SlackServer(token="xoxb-local", channels=("C0ASSIST",)) as slack,
        cloud(slack.url) as running,
    ):
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running, slack, patch, log


@pytest.fixture(scope="module")
def ours() -> set[Series]:
    """The metrics that the real handlers emit while they process a few requests."""
    staging = synthesized("staging")
    namespaces = {
        function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
        for function in staging.all("AWS::Lambda::Function").values()
    }
    with logged() as (running, slack, patch, log), Receiver() as bot:
        _, reconciler = staging.function("reconciler")
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", *namespaces)
        patch.setenv("POWERTOOLS_SERVICE_NAME", reconciler["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"])
        patch.setenv("TAKE", "true")
        forget()
        for channel in (Channel.SLACK, Channel.EMAIL):
            running.handler(f"{channel}_consumer")({EVENT: True}, running.context)
        invoke_email_feedback(running, json.dumps(example("delivery", REQUEST_ID, "heartbeat")))
        for fault, callback in (("none", bot.url), ("status", "http://127.0.0.1:1/")):
            slack.fail(fault, status=503)
            for topic in Topic:
                running.post(topic, Idempotency_Key=f"{topic} {fault}")
                request_id = running.post(topic, Idempotency_Key=f"{topic} {fault}")
                running.post(topic, callback_url=callback)
                all_the_way(running)
                reached = {each["channel"]: each["status"] for each in running.show(request_id)["deliveries"]}
                if reached.get("email") == "delivered":
                    feedback(running, "bounce", request_id)
                all_the_way(running)
        # Dead-lettered by the consumer. A bounce is dead-lettered by the feedback function.
        running.sqs.send_message(QueueUrl=running.queues[Channel.EMAIL], MessageBody="not ours")
        # As if SNS were still applying a new filter policy.
        destinations: list[Destination] = [*ROUTED, CALLBACK]
        for destination in destinations:
            named = {"channels": {"DataType": "String.Array", "StringValue": "[]"}}
            running.sqs.send_message(QueueUrl=running.queues[destination], MessageBody="", MessageAttributes=named)
            running.consume_until_quiet(destination)
        running.reconcile()
        for topic in Topic:
            takes.measure(takes.take(Requests(Items(running.table)), running.post(topic), "t1", by="Anna", via="slack"))
    return set(emitted(log.getvalue()))


def test_every_metric_used_by_an_alarm_is_emitted_by_this_project_or_documented_by_aws(
    template: Template, ours: set[Series]
) -> None:
    emitted_by_us = {(series.name, series.dimensions) for series in ours}
    for metric in watched(template):
        if metric.namespace == template.stack_name:
            assert (metric.name, metric.dimensions) in emitted_by_us, metric
            continue
        provider = PROVIDERS[metric.namespace]
        assert metric.name in provider.metrics, (metric, provider.source)
        assert {name for name, _ in metric.dimensions} in provider.dimensions, (metric, provider.source)
        for name, value in metric.dimensions:
            assert value in named(template, provider.names[name]), metric


def named(template: Template, kind: str) -> set[str]:
    """Return the valid dimension values for resources of this type: logical ids and given names."""
    resources = template.all(kind)
    given = {value for properties in resources.values() for key, value in properties.items() if key == "Name"}
    return {f"${{{name}}}" for name in resources} | {value for value in given if isinstance(value, str)}


def test_every_metric_that_this_project_emits_is_used_by_an_alarm_or_the_dashboard(ours: set[Series]) -> None:
    staging = synthesized("takes")
    assert {series.namespace for series in ours} == {staging.stack_name}
    assert {series.name for series in ours} >= set(Metric)
    looked_at = {
        (metric.name, metric.dimensions) for metric in watched(staging) if metric.namespace == staging.stack_name
    }
    assert {(series.name, series.dimensions) for series in ours} == looked_at


@pytest.mark.parametrize("calls_back", [False, True])
def test_the_runbook_says_how_many_metrics_a_stage_has_in_a_month_without_failures(calls_back: bool) -> None:  # noqa: FBT001
    with logged() as (running, _, patch, log), Receiver() as bot:
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", "assistance")
        forget()
        for channel in ROUTED:
            running.handler(f"{channel}_consumer")({EVENT: True}, running.context)
        invoke_email_feedback(running, json.dumps(example("delivery", REQUEST_ID, "heartbeat")))
        for topic in Topic:
            running.post(topic, **({"callback_url": bot.url} if calls_back else {}))
        all_the_way(running)
        running.reconcile()
    count = len(emitted(log.getvalue()))
    assert (f"with callbacks {count}." if calls_back else f"two channels has {count} metrics,") in RUNBOOK


def test_the_dashboard_has_a_row_for_every_channel_with_its_topics(template: Template) -> None:
    from infra.dashboard import topics_of  # noqa: PLC0415 # it starts Node.js

    shown = {(title, tuple(parts)) for title, parts in graphs(template)}
    for channel in (destination for destination in DESTINATIONS if destination in {*ROUTED, CALLBACK}):
        for topic in topics_of(channel, ROUTES):
            wanted = ("channel", str(channel), "topic", str(topic))
            names = {parts[1] for title, parts in shown if title.startswith(f"{channel}: ") and parts[2:] == wanted}
            assert names >= {Metric.DELIVERED, Metric.FAILED, Metric.ATTEMPTS, Metric.ACCEPTED_TO_DELIVERED}


def test_the_dashboard_shows_the_topics_of_the_routes_setting_and_a_channel_that_no_route_uses() -> None:
    from infra.dashboard import topics_of  # noqa: PLC0415 # it starts Node.js

    shown = {tuple(parts[1:]) for _, parts in graphs(synthesized("every channel"))}
    for channel in Channel:
        assert (Metric.DELIVERED, "channel", str(channel), "topic", f"by-{channel}") in shown
    config = load({"routes": {"support": {"channels": ["slack"]}}, "channels": "email"})
    assert topics_of(Channel.EMAIL, config.routes) == ("support",)


def test_every_dead_letter_queue_raises_an_alarm(template: Template) -> None:
    alarmed = set()
    for alarm in alarms(template).values():
        if alarm["MetricName"] != "ApproximateNumberOfMessagesVisible" or alarm["Statistic"] != "Maximum":
            continue
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
        # A dead letter is invisible while it is read, so the alarm needs only one of several samples to be positive.
        assert alarm["DatapointsToAlarm"] == 1 < alarm["EvaluationPeriods"]
        (dimension,) = alarm["Dimensions"]
        alarmed.add(target(dimension["Value"]))
    assert alarmed == template.dead_letter_queues()


def named_alarm(template: Template, name: str) -> Properties:
    (alarm,) = (alarm for logical_id, alarm in alarms(template).items() if called(logical_id) == name)
    return alarm


def test_unhandled_dead_letters_notify_the_operator_days_before_the_first_dead_letter_can_expire(
    template: Template,
) -> None:
    queues = template.all("AWS::SQS::Queue")
    kept = {name: queues[name]["MessageRetentionPeriod"] for name in template.dead_letter_queues()}
    # A message that SQS moves to a dead-letter queue keeps the time at which it was sent.
    earlier = max(queue["MessageRetentionPeriod"] for name, queue in queues.items() if name not in kept)
    watched_for_long = set()
    for logical_id, alarm in alarms(template).items():
        if not called(logical_id).endswith("Expire"):
            continue
        (dimension,) = alarm["Dimensions"]
        watched_for_long.add(name := target(dimension["Value"]))
        hours, needed = alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]
        assert (alarm["Period"], alarm["Statistic"], alarm["Threshold"]) == (3_600, "Average", 0.5)
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html: EvaluationPeriods.
        assert hours * alarm["Period"] <= 604_800
        # After an hour without a sample the alarm does not start anew.
        assert 0 < hours - needed <= 6
        assert hours * 3_600 <= kept[name] - earlier - 2 * 86_400
        assert on(template, called(logical_id)) == {"DeadLettersExpiring"}
    # A request whose stream record failed is still in the table.
    failures = next(name for name in kept if "StreamProducer" in name)
    assert watched_for_long == kept.keys() - {failures}


def test_the_runbook_says_when_the_alarm_on_expiring_dead_letters_ends_after_the_queue_is_empty() -> None:
    alarm = named_alarm(synthesized("production"), "SlackDeadLettersExpire")
    # The alarm ends once so many complete hours had no dead letters. The hour in which an operator removed the last one
    # may still count as an hour with dead letters.
    empty = alarm["EvaluationPeriods"] - alarm["DatapointsToAlarm"] + 1
    assert (empty + 1, "The alarm ends at most six hours after that." in RUNBOOK) == (6, True)


def test_the_runbook_says_how_many_slow_calls_raise_the_alarm_on_latency_if_calls_are_few() -> None:
    alarm = named_alarm(synthesized("production"), "ApiLatency")
    # With few calls, the slowest call of a period is its 99th percentile.
    assert (alarm["ExtendedStatistic"], alarm["DatapointsToAlarm"]) == ("p99", 2)
    assert alarm["TreatMissingData"] == "notBreaching"
    assert "one slow call in each of two periods sets this alarm off" in " ".join(RUNBOOK.split())


@pytest.mark.parametrize("variant", ["production", "takes"])
def test_a_stopped_callback_consumer_notifies_the_operator_but_not_before_the_first_retry_delays_have_passed(
    variant: str,
) -> None:
    retry = RETRIES[CALLBACK]
    threshold = named_alarm(synthesized(variant), "CallbackOldestPendingAge")["Threshold"]
    # SQS excludes messages received three times. Before that a Retry-After header may lengthen each delay.
    assert threshold >= sum(retry.ceiling(attempt) + MAX_RETRY_AFTER for attempt in (1, 2))
    assert threshold <= 2 * 3_600 < longest(retry)


def test_a_disabled_stream_event_source_notifies_the_operator_and_one_late_reconciler_run_does_not(
    template: Template,
) -> None:
    alarm = named_alarm(template, "PublishedLate")
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 0)
    assert 1 < alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"]
    # Also on a stage with one request in two hours.
    assert alarm["EvaluationPeriods"] * alarm["Period"] >= 2 * 3_600 * alarm["DatapointsToAlarm"]
    assert on(template, "PublishedLate") == {"RequestsPublishedLate"}


def test_an_ses_event_that_comes_before_its_mail_is_recorded_does_not_notify_the_operator(template: Template) -> None:
    alarm = named_alarm(template, "EmailFeedbackErrors")
    # Lambda repeats a failed event after one minute, and again after two more.
    most_periods = 180 // alarm["Period"] + 2
    assert most_periods < alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_only_many_refused_calls_with_an_api_key_at_a_high_rate_notify_the_operator(template: Template) -> None:
    rate, refusals = (named_alarm(template, name) for name in ("ApiRefusalRate", "ApiRefusals"))
    for alarm in (rate, refusals):
        # Counted by the function, since API Gateway refuses calls without an API key before they reach it.
        assert (alarm["Namespace"], alarm["MetricName"]) == (template.stack_name, Metric.REFUSED)
    assert rate["Period"] == refusals["Period"]
    assert (rate["Statistic"], refusals["Statistic"]) == ("Average", "Sum")
    assert refusals["Threshold"] >= 10
    assert on(template, "ApiRefusalRate") == on(template, "ApiRefusals") == set()
    assert on(template, "ApiRefusalRate", "ApiRefusals") == {"RequestsNotAccepted"}


def test_5xx_responses_notify_the_operator_however_many_calls_without_a_key_api_gateway_refuses(
    template: Template,
) -> None:
    # The average of 5XXError is a share of all calls, also of those without a key:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    alarm = named_alarm(template, "ApiFunctionErrorRate")
    assert (alarm["Namespace"], alarm["MetricName"]) == (template.stack_name, Metric.ERRORED)
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Average", named_alarm(template, "ApiErrorRate")["Threshold"])
    assert on(template, "ApiFunctionErrorRate") == {"RequestsNotAccepted"}


def test_every_function_and_every_channel_has_alarms(template: Template) -> None:
    seen = {
        (alarm["MetricName"], target(dimension["Value"]))
        for alarm in alarms(template).values()
        for dimension in alarm["Dimensions"]
        if isinstance(dimension["Value"], dict)
    }
    for function in template.all("AWS::Lambda::Function"):
        assert {("Errors", function), ("Throttles", function)} <= seen
    assert ("IteratorAge", template.function("stream_producer")[0]) in seen
    for channel in ROUTED:
        waits = (Metric.OLDEST_PENDING_AGE, frozenset({("channel", str(channel))}))
        assert waits in {(m.name, m.dimensions) for m in watched(template) if m.by in alarms(template)}


def test_missing_metric_data_raises_only_the_alarms_on_scheduled_functions(template: Template) -> None:
    silence = {called(name) for name, alarm in alarms(template).items() if alarm["TreatMissingData"] == "breaching"}
    ways = {f"{channel.capitalize()}Unreachable" for channel in ROUTED}
    assert silence == {"ReconcilerSilent", "EmailFeedbackSilent", *ways}


# --- pages -------------------------------------------------------------------------------------------------------


def pages(template: Template) -> dict[str, Properties]:
    return template.all("AWS::CloudWatch::CompositeAlarm")


def rule_of(page: Properties) -> str:
    return text_of(page["AlarmRule"])


def on(template: Template, *going_off: str) -> set[str]:
    """The composite alarms that are raised while the alarms with these names are raised."""
    names = [name for name in alarms(template) if called(name) in going_off]
    assert len(names) == len(going_off)
    found = set()
    for name, page in pages(template).items():
        rule = re.sub(r'ALARM\("\$\{(\w+)\}"\)', lambda match: str(match[1] in names), rule_of(page))
        expression = rule.replace("AND", "and").replace("OR", "or").replace("NOT", "not")
        assert re.fullmatch(r"(?:and|or|not|True|False|[() ])+", expression)
        if eval(expression):  # noqa: S307
            found.add(called(name))
    return found


def test_single_alarms_notify_nobody_and_only_the_composite_alarms_notify_the_operators(template: Template) -> None:
    for name, alarm in alarms(template).items():
        assert not alarm.get("AlarmActions"), name
        # An error rate counts only with many calls.
        both = {"ApiRefusalRate", "ApiRefusals"}
        assert len(on(template, *(both if called(name) in both else {called(name)}))) == 1


def test_every_composite_alarm_notifies_the_operators_when_it_begins_and_when_it_ends(template: Template) -> None:
    for page in pages(template).values():
        for actions in (page["AlarmActions"], page["OKActions"]):
            assert [target(action) for action in actions] == [operators_topic(template)]


@pytest.mark.parametrize(
    ("outage", "page"),
    [
        (["SlackDeliveriesFailed", "SlackOldestPendingAge", "SlackDeadLetters", "OldestOpenAge"], "SlackNotDelivering"),
        (["EmailDeliveriesFailed", "EmailDeadLetters", "EmailConsumerErrors"], "EmailNotDelivering"),
        (["ApiRefusalRate", "ApiRefusals"], "RequestsNotAccepted"),
        (["EmailDeadLetters"], "LettersWaiting"),
        (["SlackDeadLetters", "EmailFeedbackFailures"], "LettersWaiting"),
        (["OldestUnpublishedAge", "StreamProducerErrors", "OldestOpenAge", "StreamFailures"], "RequestsNotPublished"),
    ],
    ids=[
        "Slack is down",
        "SES is down",
        "a bot sends what is refused",
        "an address bounces",
        "nothing is, any more",
        "SNS is down",
    ],
)
def test_one_outage_causes_one_notification(template: Template, outage: list[str], page: str) -> None:
    assert on(template, *outage) == {page}


def test_a_second_outage_notifies_the_operators_while_dead_letters_of_the_first_outage_wait(template: Template) -> None:
    assert on(template, "SlackDeadLetters", "SlackDeliveriesFailed") == {"SlackNotDelivering"}
    assert on(template, "SlackDeliveriesFailed", "EmailDeliveriesFailed") == {
        "SlackNotDelivering", "EmailNotDelivering",
    }  # fmt: skip


def test_an_outage_of_the_dynamodb_table_causes_one_notification_for_each_stopped_function(template: Template) -> None:
    # During the outage the reconciler emits no metrics.
    api = ["ApiErrorRate", "ApiFunctionErrorRate", "ApiErrors", "ApiLatency"]
    producer = ["StreamIteratorAge", "StreamProducerErrors"]
    assert on(template, *api, *producer, "ReconcilerSilent", "ReconcilerErrors") == {
        "RequestsNotAccepted", "RequestsNotPublished", "RequestsUnaccountedFor",
    }  # fmt: skip


# These alarms may be on for days without an outage, for example because one call in twenty fails.
LASTING = ("ApiErrorRate", "ApiRefusalRate", "ApiRefusals", "EmailDeliveriesFailed", "SlackDeliveriesFailed")


@pytest.mark.parametrize(
    ("alarm", "page"),
    [
        ("OldestUnpublishedAge", "RequestsNotPublished"),
        ("ReconcilerSilent", "RequestsUnaccountedFor"),
        ("ReconcilerErrors", "RequestsUnaccountedFor"),
        ("LedgerBehind", "RequestsUnaccountedFor"),
        ("LostRequests", "RequestsUnaccountedFor"),
        ("StuckDeliveries", "RequestsUnaccountedFor"),
        ("UnreadableItems", "RequestsUnaccountedFor"),
        ("OldestOpenAge", "RequestsUnaccountedFor"),
        ("SlackSubscriptionDeadLetters", "LettersWaiting"),
        ("StreamFailures", "LettersWaiting"),
        ("EmailFeedbackFailures", "LettersWaiting"),
    ],
)
def test_a_lasting_alarm_suppresses_only_notifications_about_the_same_cause(
    template: Template, alarm: str, page: str
) -> None:
    assert page in on(template, *LASTING, alarm)
    assert page not in on(template, *LASTING)


def test_the_notification_about_lost_requests_is_never_suppressed(template: Template) -> None:
    for other in {called(name) for name in alarms(template)} - {"LostRequests"}:
        assert "RequestsUnaccountedFor" in on(template, other, "LostRequests"), other


@pytest.mark.parametrize(("channel", "other"), [("Slack", "Email"), ("Email", "Slack")])
def test_the_notification_about_dead_letters_is_suppressed_only_by_alarms_of_the_same_channel(
    template: Template, channel: str, other: str
) -> None:
    for failing in ("DeliveriesFailed", "OldestPendingAge"):
        assert "LettersWaiting" not in on(template, f"{channel}{failing}", f"{channel}DeadLetters")
        assert "LettersWaiting" in on(template, f"{other}{failing}", f"{channel}DeadLetters")


def test_the_subject_of_a_notification_names_the_stage_and_the_problem(template: Template) -> None:
    stage = template.stack_name.removeprefix("assistance-")
    names = [page["AlarmName"] for page in pages(template).values()]
    assert len(set(names)) == len(names)
    assert f"assistance {stage}: Slack is not delivering" in names
    for name in names:
        assert re.fullmatch(rf"assistance {stage}: [A-Z]?[a-z]+( [a-z]+)+", name)
        # A subject of SNS's has 100 characters: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
        assert len(f'ALARM: "{name}" in South America (Sao Paulo)') < 100


def operators_topic(template: Template) -> str:
    return str(template.document["Outputs"]["OperatorTopicArn"]["Value"]["Ref"])


def test_the_operators_get_notifications_by_mail(production: Template) -> None:
    (mail,) = (s for s in production.all("AWS::SNS::Subscription").values() if s["Protocol"] == "email")
    assert (target(mail["TopicArn"]), mail["Endpoint"]) == (operators_topic(production), REAL["operator_email"])


def test_the_operators_get_notifications_at_their_https_address_too(production: Template) -> None:
    assert not [s for s in production.all("AWS::SNS::Subscription").values() if s["Protocol"] == "https"]
    assert load({"operator_url": "https://events.example.com/x/enqueue"}).operator_url
    for wrong in ("http://events.example.com/x", "events.example.com", "https://"):
        with pytest.raises(InvalidConfig, match="begins with https://"):
            load({"operator_url": wrong})


def test_cloudwatch_may_publish_to_the_sns_topic_of_the_operators(template: Template) -> None:
    # A topic with a policy has no default policy any more, which would allow it.
    statements = [
        statement
        for policy in template.all("AWS::SNS::TopicPolicy").values()
        if operators_topic(template) in map(target, policy["Topics"])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert any(
        statement["Effect"] == "Allow" and statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        for statement in statements
    )


# --- the runbook -------------------------------------------------------------------------------------------------


def links(template: Template) -> list[tuple[str, str]]:
    """The page and the section to which each alarm links, also each composite one."""
    both = (*alarms(template).values(), *pages(template).values())
    found = [alarm["AlarmDescription"].rsplit(" ", 1)[1].partition("#") for alarm in both]
    return [(page, section) for page, _, section in found]


def test_every_alarm_has_a_runbook_section_and_every_runbook_section_has_an_alarm(template: Template) -> None:
    sections = [heading.lower() for heading in re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)]
    if "UntakenRequests" not in {metric.name for metric in watched(template)}:
        # Takes are off on this stage.
        sections.remove("untakenrequests")
    assert sorted({section for _, section in links(template)}) == sorted(sections)


def test_every_runbook_section_begins_with_the_impact_and_with_commands_to_paste() -> None:
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    for name, text in sections:
        impact, urgency = r"\*Customer impact\*: .+\n", r"\*Can it wait\?\* .+\n\n"
        commands = r"```sh\n(assistance (?!--).+\n)+```\n"
        assert re.match(impact + urgency + commands, text), name


def test_the_runbook_link_uses_the_deployers_address_or_the_repository() -> None:
    wanted = VARIANTS["production"]["runbook_url"]
    assert {page for page, _ in links(synthesized("production"))} == {wanted}
    ((page,),) = [{page for page, _ in links(synthesized("staging"))}]
    assert (ROOT / page).is_file()


def test_the_runbook_names_every_composite_alarm_and_every_metric() -> None:
    staging = synthesized("takes")
    for name in pages(staging):
        assert f"`{called(name)}`" in RUNBOOK
    assert all(f"`{metric.name}`" in RUNBOOK for metric in watched(staging) if metric.namespace == staging.stack_name)


def parsed(line: str) -> dict[str, Any]:
    """Parse a command without running it. Returns its parameters. Fails if the command line would refuse it."""
    words = shlex.split(re.sub(r"[\[\]]", "", line), comments=True)[1:]
    command = COMMAND
    context = command.make_context("assistance", words)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])  # noqa: SLF001
        context = command.make_context(name, words, parent=context)
    return dict(context.params)


COMMANDS = sorted(
    {
        command.replace("$channel", "slack")
        for text in (RUNBOOK, (ROOT / "README.md").read_text("utf-8"))
        for command in (
            *re.findall(r"`(assistance [^`\n]+)`", text),
            *re.findall(r"^ *(?:for .* do )?(assistance [^`\n;]+)(?:; done)?$", text, re.MULTILINE),
            *re.findall(r"\$\((assistance [^)\n]+)\)", text),
        )
        if "--install-completion" not in command and "…" not in command
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_line_accepts_every_command_in_the_runbook(line: str) -> None:
    what = parsed(line)
    if folder := what.get("function"):
        assert (ROOT / "functions" / folder / "handler.py").is_file()
    if "output" in line.split():
        assert what["name"] in synthesized("takes").document["Outputs"]


def test_the_runbook_section_on_old_open_requests_lists_every_status_that_an_open_request_may_have() -> None:
    section = RUNBOOK.partition("### OldestOpenAge\n")[2].partition("\n### ")[0]
    [line] = [line for line in section.splitlines() if line.startswith("assistance list ")]
    # While its fallback is on its way, the status of a request is `failed`.
    assert set(parsed(line)["statuses"]) == set(Status) - {Status.DELIVERED}


def test_the_command_line_accepts_every_command_in_an_alarm_description(template: Template) -> None:
    both = (*alarms(template).values(), *pages(template).values())
    commands = [each for alarm in both for each in re.findall(r"'(assistance .*?)'", alarm["AlarmDescription"])]
    assert commands
    for each in commands:
        parsed(each)


def test_every_command_in_an_alarm_description_names_the_stack_of_the_alarm(template: Template) -> None:
    for alarm in (*alarms(template).values(), *pages(template).values()):
        commands = re.findall(r"'(assistance .*?)'", alarm["AlarmDescription"])
        assert all(each.startswith(f"assistance --stack {template.stack_name} ") for each in commands)


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("StreamFailures", "stream"),
        ("EmailFeedbackFailures", "email_feedback"),
        ("EmailFeedbackSubscriptionDeadLetters", "email_feedback"),
    ],
)
def test_an_alarm_on_failed_events_names_the_command_that_retries_them(name: str, failed: str) -> None:
    template = synthesized("production")
    says, command = named_alarm(template, name)["AlarmDescription"], f"failures retry {failed}"
    assert f"'assistance --stack {template.stack_name} {command}'" in says
    assert f"assistance {command}\n" in RUNBOOK


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_a_stage_without_alarms_has_no_metrics_and_no_cloudwatch_resources(variant: str) -> None:
    template = synthesized(variant)
    looked_at = variant not in {"dev", "nothing"}
    assert ("AWS::CloudWatch" in str({resource["Type"] for resource in template.resources.values()})) is looked_at
    for function in template.all("AWS::Lambda::Function").values():
        assert ("POWERTOOLS_METRICS_DISABLED" not in function["Environment"]["Variables"]) is looked_at
