"""Tests `assistance erase`."""

import json

from assistance.routing import Channel
from assistance.store.requests import request_key
from tests.cli.steps import Operator
from tests.integration.steps import example

SECRETS = ("Anna", "0301234", "chat.example.com", "ref-7", "Blue")
SAID = {
    "topic": "sales",
    "description": "Call Anna",
    "customer": {"name": "Anna", "phone": "0301234"},
    "conversation_url": "https://chat.example.com/7",
    "reference": "ref-7",
    "details": {"Colour": "Blue"},
}


def accepted(operator: Operator) -> str:
    headers = {"Content_Type": "application/json"}
    answer = operator.cloud.call("POST", "/assistance-requests", json.dumps(SAID), **headers)
    assert answer["statusCode"] == 202, answer
    return str(answer["json"]["id"])


def failed(operator: Operator) -> str:
    """Create a request whose Slack delivery failed with a dead letter, and which the fallback delivered."""
    operator.slack.fail("error", error="is_archived")
    request_id = accepted(operator)
    operator.cloud.produce()
    operator.deliver()
    operator.cloud.produce()
    operator.deliver(Channel.EMAIL)
    operator.slack.fail("none")
    return request_id


def stored_texts(operator: Operator) -> str:
    """Everything in the table and in the dead-letter queues."""
    letters = [each["Body"] for each in operator.cloud.dead_letters(Channel.SLACK)]
    return json.dumps([operator.cloud.table.scan()["Items"], letters], default=str)


def test_an_erasure_removes_the_customers_texts_and_keeps_the_delivery_history(operator: Operator) -> None:
    request_id = failed(operator)
    before = operator.cloud.show(request_id)
    assert all(secret in stored_texts(operator) for secret in SECRETS)
    erased = operator.json("erase", request_id, "--yes")
    assert (erased["dead_letters"], erased["problems"]) == (1, [])
    assert [(each["channel"], bool(each["message"])) for each in erased["sent"]] == [("email", True)]
    assert not any(secret in stored_texts(operator) for secret in SECRETS)
    after = operator.cloud.show(request_id)
    assert after == {name: value for name, value in before.items() if name != "reference"}


def test_the_erase_command_names_the_failures_queue_that_may_still_contain_the_text_of_a_mail(
    operator: Operator,
) -> None:
    request_id = failed(operator)
    assert "subject" in example("bounce", request_id, "mail")["mail"]["commonHeaders"]
    erased = operator.json("erase", request_id, "--yes")
    assert any("EmailFeedbackFailures" in each for each in erased["out_of_reach"])


def test_the_erase_command_names_the_queue_that_may_still_contain_a_redriven_message(operator: Operator) -> None:
    request_id = failed(operator)
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    erased = operator.json("erase", request_id, "--yes")
    [message] = operator.cloud.receive(Channel.SLACK)
    assert SECRETS[0] in message["body"]
    assert any("redrive" in each for each in erased["out_of_reach"])


def test_an_erased_request_is_neither_redriven_nor_resent(operator: Operator) -> None:
    request_id = failed(operator)
    [letter] = operator.cloud.dead_letters(Channel.SLACK)
    operator.make_messages_visible()
    assert operator.run("erase", request_id, "--yes").exit_code == 0
    operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[Channel.SLACK], MessageBody=letter["Body"])
    operator.run("dead-letters", "redrive", request_id)
    operator.deliver()
    assert operator.posted("Anna") == 0
    resent = operator.run("resend", request_id, "--channel", "slack", "--yes")
    assert (resent.exit_code, "somebody has erased" in resent.stderr, "operator" in resent.stderr) == (1, True, False)


def test_an_erased_request_is_shown_without_texts_and_its_idempotency_key_creates_no_new_request(
    operator: Operator,
) -> None:
    headers = {"Content_Type": "application/json", "Idempotency_Key": "chat-7"}
    answer = operator.cloud.call("POST", "/assistance-requests", json.dumps(SAID), **headers)
    request_id = answer["json"]["id"]
    operator.cloud.produce()
    operator.deliver()
    assert operator.run("erase", request_id, "--yes").exit_code == 0
    shown = operator.cloud.call("GET", f"/assistance-requests/{request_id}")
    assert (shown["statusCode"], shown["json"]["status"], "reference" in shown["json"]) == (200, "delivered", False)
    repeated = operator.cloud.call("POST", "/assistance-requests", json.dumps(SAID), **headers)
    assert (repeated["statusCode"], repeated["json"]["type"]) == (422, "urn:assistance:problem:idempotency-key-reused")
    operator.cloud.produce()
    operator.deliver()
    assert operator.posted("Call Anna") == 1


def test_a_request_without_a_final_status_cannot_be_erased(operator: Operator) -> None:
    request_id = accepted(operator)
    refused = operator.run("erase", request_id, "--yes")
    assert (refused.exit_code, "still on its way, so nothing was erased" in refused.stderr) == (1, True)
    assert operator.cloud.table.get_item(Key=request_key(request_id))["Item"]["description"] == "Call Anna"


def test_the_erase_command_needs_confirmation_and_can_be_repeated(operator: Operator) -> None:
    request_id = failed(operator)
    assert operator.run("erase", request_id).exit_code == 1
    first = operator.json("erase", request_id, "--yes")
    assert operator.json("erase", request_id, "--yes") == first | {"dead_letters": 0}
    assert "its texts are deleted" in operator.run("status", request_id).stdout
