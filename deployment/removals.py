"""Lists the resources that a deployment would remove from a stack, so that the deployer can decide."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

KINDS: Final[Mapping[str, str]] = {
    "AWS::CloudWatch::Alarm": "the alarm {}",
    "AWS::CloudWatch::CompositeAlarm": "the composite alarm {}, which notifies the operators",
    "AWS::SQS::Queue": "the queue {}, with its messages",
    "AWS::SecretsManager::Secret": "the secret {}, with its value",
    "AWS::DynamoDB::GlobalTable": "the table {}, with every request",
    "AWS::ApiGateway::RestApi": "the API {}, with the URL that bots call",
    "AWS::ApiGateway::ApiKey": "the API key {}, with which bots call",
    "AWS::ApiGateway::DomainName": "the domain {}, at which bots call",
    "AWS::KMS::Key": "the encryption key {}, without which nobody can read what it has encrypted",
    "AWS::WAFv2::WebACL": "the web ACL {}, which protects the API",
    "AWS::SES::EmailIdentity": "the sender {}, which mails are sent from",
}
_FUNCTION: Final = "AWS::Lambda::Function"
_API: Final = "api.handler.lambda_handler"
_QUEUE: Final = re.compile(r"([A-Z][a-z]+)QueueUrl")
# The hash at the end of the CDK's logical ids.
_HASH: Final = re.compile(r"[0-9A-F]{8}$")


def removed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Describe what a stack loses between two templates: channels, topics, and resources of none of these channels."""
    there, then = before.get("Resources", {}), after.get("Resources", {})
    removed_resources = {name: each for name, each in there.items() if then.get(name, {}).get("Type") != each["Type"]}
    channels = sorted(_channels(before) - _channels(after))
    topics = sorted(_topics(before) - _topics(after))
    return [
        *(f"the channel {channel.lower()}, with its queue, its secret and its alarms" for channel in channels),
        *(f"the topic {topic}, whose requests the API then refuses" for topic in topics),
        *sorted(_others(removed_resources, channels)),
    ]


def _channels(template: Mapping[str, Any]) -> set[str]:
    """The channels in a template, found by the outputs with the URLs of their queues."""
    return {match[1] for output in template.get("Outputs", {}) if (match := _QUEUE.fullmatch(output))}


def _topics(template: Mapping[str, Any]) -> set[str]:
    """The topics in the routes of a template's API; empty if the template has no routes."""
    functions = (it["Properties"] for it in template.get("Resources", {}).values() if it["Type"] == _FUNCTION)
    variables = (it.get("Environment", {}).get("Variables", {}) for it in functions if it["Handler"] == _API)
    return {topic for each in variables if "ROUTES" in each for topic in json.loads(each["ROUTES"])}


def _others(removed_resources: Mapping[str, Any], channels: list[str]) -> Iterator[str]:
    for logical_id, resource in removed_resources.items():
        name = _HASH.sub("", logical_id).removeprefix("Monitoring")
        if name.startswith(tuple(channels)):
            continue
        if resource["Type"] == "AWS::SNS::Subscription":
            yield _subscription(name, resource.get("Properties", {}))
        elif resource["Type"] in KINDS:
            yield KINDS[resource["Type"]].format(name)


def _subscription(name: str, properties: Mapping[str, Any]) -> str:
    endpoint = properties.get("Endpoint")
    if not isinstance(endpoint, str):
        return f"the subscription {name}"
    # Print only the host, because the URL of a paging service may contain a key.
    return f"the subscription of {urlsplit(endpoint).hostname or endpoint}, which gets the alarms"
