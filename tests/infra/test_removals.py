"""Tests the list of what a deployment would remove from a stack."""

from deployment.removals import removed
from tests.infra.template import Template, synthesized


def taken(before: str, after: str) -> list[str]:
    return removed(synthesized(before).document, synthesized(after).document)


def test_a_removed_channel_is_one_line_and_the_operators_subscription_another() -> None:
    found = taken("production", "one channel")
    assert found[0] == "the channel email, with its queue, its secret and its alarms"
    assert "the subscription of ops@company.io, which gets the alarms" in found
    assert not [line for line in found[1:] if "Email" in line]


def test_every_alarm_to_be_removed_is_named(production: Template) -> None:
    found = taken("production", "nothing")
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    assert sum(len(production.all(kind)) for kind in kinds) == sum("the alarm " in x or "the page " in x for x in found)
    assert "the alarm SlackDeadLetters" in found


def test_additions_and_changes_are_not_listed() -> None:
    assert not taken("production", "production")
    assert not taken("staging", "takes")


def test_a_removed_queue_secret_and_table_are_named() -> None:
    found = removed(
        synthesized("everything").document, {"Resources": {}, "Outputs": synthesized("everything").document["Outputs"]}
    )
    assert {"the table Table, with every request", "the secret SlackConsumerToken, with its value"} <= set(found)


def test_the_key_of_a_removed_webhook_is_not_shown() -> None:
    hook = {
        "Type": "AWS::SNS::Subscription",
        "Properties": {"Endpoint": "https://events.company.io/integration/s3cret/enqueue"},
    }
    assert removed({"Resources": {"Page": hook}}, {}) == [
        "the subscription of events.company.io, which gets the alarms"
    ]
