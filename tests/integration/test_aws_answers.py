"""Tests arbitrary responses of AWS or a proxy: each call yields a result, or an error that has a code."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.engine.publisher import Publisher
from assistance.errors import DeliveryError
from assistance.platform import aws, dynamodb
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.routing import Channel
from assistance.store.items import plain
from assistance.store.requests import Requests
from assistance.store.table import Items
from email_consumer import handler as email
from email_consumer.failures import classify
from tests.fuzz_settings import DEEP, FUZZED, JSON, LONG_NUMBER
from tests.integration.cloud import Cloud

STATUSES = st.sampled_from([200, 204, 301, 400, 403, 429, 500, 503])
HEADERS = st.dictionaries(st.just("x-amzn-errortype"), st.text(st.characters(codec="latin-1"), max_size=10))
BODIES = (
    st.binary(max_size=20)
    | JSON.map(json.dumps).map(str.encode)
    | st.sampled_from([DEEP.encode(), LONG_NUMBER.encode(), b"<html>down</html>"])
    | st.builds(
        lambda name, value: json.dumps({name: value}).encode(),
        st.sampled_from(["MessageId", "__type", "code", "Code", "message", "SecretString", "Item"]),
        JSON,
    )
)
# A call of each protocol that the functions use.
CALLS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "SES": (aws.ses, "send_email", {"FromEmailAddress": "a@example.com", "Destination": {}, "Content": {}}),
    "SNS": (aws.sns, "publish_batch", {"TopicArn": "topic", "PublishBatchRequestEntries": []}),
    "SQS": (aws.sqs, "send_message", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/1/queue", "MessageBody": "-"}),
    "Secrets Manager": (aws.secrets, "get_secret_value", {"SecretId": "secret"}),
    "DynamoDB": (lambda: aws.table("table").meta.client, "get_item", {"TableName": "table", "Key": {}}),
}


class Body:
    """The body of a response, as urllib3 returns it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._content


def answering(client: Any, answers: list[tuple[int, dict[str, str], bytes]]) -> Any:  # noqa: ANN401
    """Make the client receive these responses (status, headers, body) in turn. The last one repeats forever."""

    def answer(request: Any, **_: object) -> AWSResponse:  # noqa: ANN401
        status, headers, body = answers[-1] if len(answers) == 1 else answers.pop(0)
        raw: Any = Body(body)
        head: Any = HeadersDict(headers)
        return AWSResponse(request.url, status, head, raw)

    client.meta.events.register_first("before-send", answer)
    return client


@pytest.mark.parametrize("service", CALLS)
@FUZZED
@given(status=STATUSES, headers=HEADERS, body=BODIES)
@example(200, {}, b"null")
@example(200, {}, b"[]")
@example(200, {}, b"\xff\xfe")
@example(200, {}, DEEP.encode())
@example(200, {}, b"<html>down</html>")
@example(400, {}, b'{"__type": ["a"]}')
@example(400, {}, b'{"code": 5}')
def test_any_response_of_aws_yields_either_a_result_or_an_error_with_a_code(
    clients: dict[str, Any], service: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    client, answers = clients[service]
    answers[:] = [(status, headers, body)]
    _, operation, arguments = CALLS[service]
    try:
        getattr(client, operation)(**arguments)
    except AWS_ERRORS as error:
        code = error_code(error)
    else:
        code = "none"
    assert code.isascii()
    assert code


@pytest.fixture(scope="module")
def clients() -> dict[str, Any]:
    made = {}
    # The SDK's own attempts would wait for one another.
    once = aws.QUICK.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    with patch.object(aws, "QUICK", once):
        for name, (make, _, _) in CALLS.items():
            answers: list[tuple[int, dict[str, str], bytes]] = []
            client = make()
            assert client.meta.config.retries["total_max_attempts"] == 1
            made[name] = (answering(client, answers), answers)
    return made


@pytest.mark.parametrize(
    ("status", "body", "error", "in_doubt"),
    [
        (200, b"null", "unexpected_answer", True),
        (200, b"<html>down</html>", "unexpected_answer", True),
        (200, b"{}", "unexpected_answer", True),
        (200, b'{"MessageId": ["x"]}', "unexpected_answer", True),
        (200, b'{"MessageId": ""}', "unexpected_answer", True),
        (200, DEEP.encode(), "unexpected_answer", True),
        (400, b"[]", "unexpected_answer", True),
        (400, b"{}", "http_400", False),
        (503, b'{"__type": "<b>"}', "http_503", True),
        (403, b'{"code": "a sentence"}', "http_403", False),
    ],
)
def test_sending_a_mail_is_retried_after_an_unreadable_response_of_ses(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, error: str, *, in_doubt: bool
) -> None:
    client = answering(aws.ses(), [(status, {}, body), (200, {}, b'{"MessageId": "mail-1"}')])
    monkeypatch.setattr(email, "ses", lambda: client)
    request_id = stack.post("pricing")
    stack.produce()
    [record] = stack.receive(Channel.EMAIL)
    assert stack.consume(Channel.EMAIL, [record]) == [record["messageId"]]
    assert stack.consume(Channel.EMAIL, [record]) == []
    first, second = stack.show(request_id)["deliveries"][0]["timeline"]
    assert (first["error"], first.get("in_doubt", False), second["outcome"]) == (error, in_doubt, "delivered")


@FUZZED
@given(value=JSON | st.dictionaries(st.sampled_from(["S", "N", "BOOL", "NULL", "M", "L", "SS", "NS", "B"]), JSON))
@example({"N": "1.2.3"})
@example({"NS": [5, None, "x", ["x"]]})
def test_any_value_is_either_parsed_as_dynamodb_json_or_refused(value: object) -> None:
    with suppress(TypeError, ValueError):
        dynamodb.plain(value)


@pytest.mark.parametrize("value", ["text", b"\x00", 1, {"text"}, {1}, {b"\x00"}, [b"\x00"], {"x": {b"\x00"}}])
def test_a_value_parsed_from_dynamodb_json_is_written_back_unchanged(value: object) -> None:
    assert dynamodb.plain(dynamodb.noted(value)) == value


def test_a_base64_value_in_a_stream_record_is_decoded_as_binary_data() -> None:
    assert dynamodb.plain({"M": {"one": {"B": "AAE="}, "some": {"BS": ["AAE="]}}}) == {
        "one": b"\x00\x01",
        "some": {b"\x00\x01"},
    }


@pytest.mark.parametrize("part", [None, 5])
def test_a_set_of_binary_values_with_a_part_of_another_type_is_refused(part: object) -> None:
    with pytest.raises(TypeError):
        dynamodb.plain({"BS": ["AAE=", part]})


@dataclass
class Sns:
    """An SNS client that always returns the same response."""

    answer: dict[str, Any]

    def publish_batch(self, **_: object) -> dict[str, Any]:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Successful": [{}], "Failed": [{}]},
        {"Successful": [{"Id": "1"}, {"Id": "-1"}, {"Id": "x"}, {"Id": ""}], "Failed": [{"Id": "7", "Code": "x"}]},
    ],
)
def test_an_outbox_entry_missing_from_the_sns_response_does_not_count_as_published(
    stack: Cloud, answer: dict[str, Any]
) -> None:
    request_id = stack.post("sales")
    [record] = stack.stream_records()
    sns: Any = Sns(answer)
    publisher = Publisher(sns, "topic", Requests(Items(stack.table)))
    item = publisher.read(plain(record["dynamodb"]["NewImage"]))
    assert publisher.publish([item]) == set(item.publications)
    assert stack.status(request_id) == "accepted"
    sns.answer = {"Successful": [{"Id": "0"}]}
    assert publisher.publish([item]) == set()
    assert stack.status(request_id) == "published"


@FUZZED
@given(response=st.fixed_dictionaries({}, optional={"Error": JSON, "ResponseMetadata": JSON}))
@example({"Error": {"Code": None}})
@example({"Error": {"Code": ["a"]}, "ResponseMetadata": {"HTTPStatusCode": "503"}})
def test_any_aws_error_has_a_code_and_is_classified(response: Any) -> None:  # noqa: ANN401
    error = ClientError({}, "SendEmail")
    error.response = response
    failure = classify(error)
    assert isinstance(failure, DeliveryError)
    assert failure.code == error_code(error)
