"""Tests the list of the resources that a deployment would remove from a stack."""

from assistance.routing import Channel
from deployment.removals import removed
from tests.infra.template import Template, synthesized


def taken(before: str, after: str) -> list[str]:
    return removed(synthesized(before).document, synthesized(after).document)


def test_the_list_of_removals_has_one_line_for_a_channel_and_one_for_the_operators_subscription() -> None:
    found = taken("production", "one channel")
    assert found[0] == "the channel email, with its queue, its secret and its alarms"
    assert "the subscription of ops@company.io, which gets the alarms" in found
    assert not [line for line in found[1:] if "Email" in line]


def test_the_list_of_removals_names_every_alarm_to_be_removed(production: Template) -> None:
    found = taken("production", "nothing")
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    assert sum(len(production.all(kind)) for kind in kinds) == sum(
        "the alarm " in x or "the composite alarm " in x for x in found
    )
    assert "the alarm SlackDeadLetters" in found


def test_the_list_of_removals_contains_no_added_or_changed_resources() -> None:
    assert not taken("production", "production")
    assert not taken("staging", "takes")


def test_the_list_of_removals_names_a_removed_queue_a_removed_secret_and_a_removed_table() -> None:
    found = removed(
        synthesized("everything").document, {"Resources": {}, "Outputs": synthesized("everything").document["Outputs"]}
    )
    assert {"the table Table, with every request", "the secret SlackConsumerToken, with its value"} <= set(found)


def test_the_list_of_removals_names_what_bots_need_to_call_and_what_protects_the_api_and_its_logs() -> None:
    # Without the setting api_keys=2, a deployment creates another key with the label 1, and the bots' calls get 403.
    found = taken("everything", "production")
    assert {
        "the API key ApiRestKey2, with which bots call",
        "the domain DomainName, at which bots call",
        "the encryption key GovernedLogsKey, without which nobody can read what it has encrypted",
        "the web ACL ApiFirewallAcl, which protects the API",
    } <= set(found)


def test_the_list_of_removals_names_a_topic_that_the_api_would_no_longer_accept() -> None:
    # Without the setting routes, the API gets the default topics, and answers 422 to bots with others.
    found = taken("every channel", "dev")
    assert {f"the topic by-{channel}, whose requests the API then refuses" for channel in Channel} <= set(found)
    assert not [line for line in found if "topic sales" in line]


def test_the_list_of_removals_does_not_show_the_secret_key_in_the_url_of_a_removed_webhook() -> None:
    hook = {
        "Type": "AWS::SNS::Subscription",
        "Properties": {"Endpoint": "https://events.company.io/integration/s3cret/enqueue"},
    }
    assert removed({"Resources": {"Page": hook}}, {}) == [
        "the subscription of events.company.io, which gets the alarms"
    ]
