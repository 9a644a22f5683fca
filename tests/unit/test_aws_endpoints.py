"""Tests that a client of AWS calls the endpoints that botocore chooses, although it asks botocore only once."""

from typing import Any, NoReturn
from unittest.mock import patch

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.regions import EndpointRulesetResolver

from assistance.platform import aws

CALLS: dict[str, tuple[Any, dict[str, dict[str, Any]]]] = {
    "dynamodb": (
        lambda: aws.table("table").meta.client,
        {"get_item": {"TableName": "table", "Key": {}}, "batch_get_item": {"RequestItems": {"table": {"Keys": [{}]}}}},
    ),
    "sns": (aws.sns, {"publish_batch": {"TopicArn": "topic", "PublishBatchRequestEntries": []}}),
    "sqs": (aws.sqs, {"send_message": {"QueueUrl": "https://sqs.example.com/1/queue", "MessageBody": "-"}}),
    "secretsmanager": (aws.secrets, {"get_secret_value": {"SecretId": "secret"}}),
    "sesv2": (aws.ses, {"send_email": {"Destination": {}, "Content": {}}, "get_account": {}}),
}


class Sent(Exception):
    """A client has called this URL."""


def url(client: Any, operation: str, parameters: dict[str, Any]) -> str:  # noqa: ANN401
    """The URL that the client calls for that operation."""

    def stop(request: AWSPreparedRequest, **_: object) -> NoReturn:
        raise Sent(request.url)

    client.meta.events.register_first("before-send", stop, unique_id="stop")
    with pytest.raises(Sent) as sent:
        getattr(client, operation)(**parameters)
    return str(sent.value)


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1", "us-gov-west-1"])
def test_each_call_goes_to_the_endpoint_of_a_plain_client(
    region: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_DEFAULT_REGION": region, "AWS_REGION": region, "AWS_ACCOUNT_ID": "111122223333"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws._session.cache_clear()  # noqa: SLF001
    make, operations = CALLS[service]
    ours, plain = make(), botocore.session.get_session().create_client(service)
    aws._session.cache_clear()  # noqa: SLF001

    expected = {name: url(plain, name, parameters) for name, parameters in operations.items()}
    first = {name: url(ours, name, parameters) for name, parameters in operations.items()}
    with patch.object(EndpointRulesetResolver, "_get_provider_params", side_effect=AssertionError("asked again")):
        second = {name: url(ours, name, parameters) for name, parameters in operations.items()}

    assert expected == first == second
