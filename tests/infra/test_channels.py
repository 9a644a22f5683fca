"""Tests each channel's subscription, queue and consumer against the routing table."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from assistance.routing import ROUTES, Channel, named
from assistance.store.schema import OUTBOX_SHARD, PARTITION_KEY, REQUEST, SORT_KEY
from infra.retries import RETRIES
from tests.infra.template import VARIANTS, Properties, Template, synthesized, target

DEPLOYED = [*((each, channel) for each in VARIANTS for channel in named(ROUTES.values()))]
DEPLOYED += [("every channel", channel) for channel in Channel]
pytestmark = pytest.mark.parametrize(("variant", "channel"), DEPLOYED)
DAY = 86_400


@pytest.fixture
def template(variant: str) -> Template:
    return synthesized(variant)


def queue_of(template: Template, channel: Channel) -> str:
    return target(template.event_source(f"{channel}_consumer")["EventSourceArn"])


def deployed(template: Template) -> set[str]:
    return {function["Handler"].partition(".")[0] for function in template.all("AWS::Lambda::Function").values()}


def subscription_of(template: Template, channel: Channel) -> Properties:
    (subscription,) = (
        subscription
        for subscription in template.all("AWS::SNS::Subscription").values()
        if subscription["Protocol"] == "sqs" and target(subscription["Endpoint"]) == queue_of(template, channel)
    )
    return subscription


def test_the_filter_policy_of_a_channels_sns_subscription_accepts_exactly_the_messages_for_that_channel(
    template: Template, channel: Channel
) -> None:
    subscription = subscription_of(template, channel)
    assert subscription["FilterPolicy"] == {"channels": [channel]}
    assert subscription.get("FilterPolicyScope", "MessageAttributes") == "MessageAttributes"
    assert subscription["RawMessageDelivery"] is True


def test_the_api_routes_requests_to_a_new_channel_only_after_the_channels_sns_subscription_exists(
    template: Template, channel: Channel
) -> None:
    endpoint = queue_of(template, channel)
    (subscription,) = (
        name
        for name, it in template.all("AWS::SNS::Subscription").items()
        if it["Protocol"] == "sqs" and target(it["Endpoint"]) == endpoint
    )
    api, _ = template.function("api")
    assert subscription in template.resources[api]["DependsOn"], "SNS would drop requests that come before"


def test_messages_that_sns_cannot_deliver_to_a_queue_go_to_a_dead_letter_queue(
    template: Template, channel: Channel
) -> None:
    own = target(subscription_of(template, channel)["RedrivePolicy"]["deadLetterTargetArn"])
    others = {
        target(subscription_of(template, other)["RedrivePolicy"]["deadLetterTargetArn"])
        for other in Channel
        if other is not channel and f"{other}_consumer" in deployed(template)
    }
    assert own not in others | {queue_of(template, channel)}
    assert may_be_sent_to_by_sns(template, own)
    assert may_be_sent_to_by_sns(template, queue_of(template, channel))


def may_be_sent_to_by_sns(template: Template, queue: str) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": "sns.amazonaws.com"}
        and statement["Action"] == "sqs:SendMessage"
        and "Condition" in statement
        for policy in template.all("AWS::SQS::QueuePolicy").values()
        if queue in map(target, policy["Queues"])
        for statement in policy["PolicyDocument"]["Statement"]
    )


def test_each_channels_queue_has_a_separate_dead_letter_queue_with_a_longer_retention(
    template: Template, channel: Channel
) -> None:
    queues = template.all("AWS::SQS::Queue")
    name = queue_of(template, channel)
    redrive = queues[name]["RedrivePolicy"]
    dlq = target(redrive["deadLetterTargetArn"])
    assert redrive["maxReceiveCount"] == 1_000
    assert [other for other, queue in queues.items() if dlq in str(queue.get("RedrivePolicy"))] == [name]
    assert queues[dlq]["MessageRetentionPeriod"] == 14 * DAY > queues[name]["MessageRetentionPeriod"]


def test_each_consumer_gets_the_urls_of_the_queue_and_the_dead_letter_queue_of_its_channel(
    template: Template, channel: Channel
) -> None:
    name = queue_of(template, channel)
    _, function = template.function(f"{channel}_consumer")
    variables = function["Environment"]["Variables"]
    assert target(variables["QUEUE_URL"]) == name
    assert target(variables["DLQ_URL"]) == target(
        template.all("AWS::SQS::Queue")[name]["RedrivePolicy"]["deadLetterTargetArn"]
    )


def test_the_visibility_timeout_is_six_times_the_function_timeout_plus_the_batching_window(
    template: Template, channel: Channel
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    _, function = template.function(f"{channel}_consumer")
    queue = template.all("AWS::SQS::Queue")[queue_of(template, channel)]
    window = template.event_source(f"{channel}_consumer").get("MaximumBatchingWindowInSeconds", 0)
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"] + window


def test_an_event_source_with_batches_larger_than_one_sqs_receive_call_has_a_batching_window(
    template: Template, channel: Channel
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    source = template.event_source(f"{channel}_consumer")
    assert source["BatchSize"] <= 10 or source["MaximumBatchingWindowInSeconds"] >= 1
    # The bodies of a batch fit into one invocation, even if every character is escaped:
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    assert source["BatchSize"] * 48_000 < 6_000_000


def test_consumers_report_failed_batch_items_separately_and_have_a_maximum_concurrency(
    template: Template, channel: Channel
) -> None:
    source = template.event_source(f"{channel}_consumer")
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"]["MaximumConcurrency"] >= 2


def test_the_stream_filter_passes_only_records_of_items_with_an_outbox_entry_for_a_channel(
    template: Template, channel: Channel
) -> None:
    patterns = [f["Pattern"] for f in template.event_source("stream_producer")["FilterCriteria"]["Filters"]]
    entry = {PARTITION_KEY: "id", SORT_KEY: REQUEST, OUTBOX_SHARD: 3, "outbox_channels": [channel]}
    published = {PARTITION_KEY: "id", SORT_KEY: REQUEST, "published_at": "2026-01-01T00:00:00Z"}
    delivery = {PARTITION_KEY: "id", SORT_KEY: f"DELIVERY#{channel}", "status": "sending"}
    assert passes(patterns, record("INSERT", entry))
    assert passes(patterns, record("MODIFY", entry)), "a fallback re-enters the outbox"
    assert not passes(patterns, record("MODIFY", published))
    assert not passes(patterns, record("INSERT", delivery))
    assert not passes(patterns, {"eventName": "REMOVE", "dynamodb": {"Keys": {}}})


def record(event: str, item: Mapping[str, Any]) -> Mapping[str, Any]:
    image = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    return {"eventName": event, "dynamodb": {"NewImage": image}}


def passes(patterns: list[str], event: Mapping[str, Any]) -> bool:
    return any(matches(json.loads(pattern), event) for pattern in patterns)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event passes the filter pattern. The pattern may use nesting, equality, and `exists` on a leaf.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax
    """
    for name, rule in pattern.items():
        value = event.get(name)
        if isinstance(rule, Mapping):
            if not (isinstance(value, Mapping) and matches(rule, value)):
                return False
        elif not any(leaf(condition, value) for condition in rule):
            return False
    return True


def leaf(condition: object, value: object) -> bool:
    if isinstance(condition, Mapping):
        assert set(condition) == {"exists"}, f"teach this test the rule {condition}"
        return (value is not None and not isinstance(value, Mapping)) is condition["exists"]
    return condition == value


def test_each_consumer_gets_the_default_retry_limits_of_its_channel(template: Template, channel: Channel) -> None:
    variables = template.function(f"{channel}_consumer")[1]["Environment"]["Variables"]
    assert variables["RETRY_ATTEMPTS"] == str(RETRIES[channel].attempts)
    assert variables["RETRY_FIRST_DELAY"] == str(RETRIES[channel].first_delay)
