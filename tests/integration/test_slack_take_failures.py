"""Tests button clicks while a call to Slack or DynamoDB fails: the take counts and is shown."""

import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from assistance.engine import takes as engine
from assistance.engine.decisions import Sent
from assistance.errors import DeliveryError
from assistance.models import Outgoing
from assistance.routing import Channel
from assistance.store.requests import Requests, Stored
from cli import takes
from cli.errors import Failure
from local.slack_server import SlackServer
from slack_consumer import handler as consumer
from slack_consumer.history_search import find_posted
from slack_interactions import handler, response_url
from tests.integration.cloud import Cloud
from tests.integration.test_slack_take import actions, posted, team
from tests.integration.test_slack_take import press as press_button
from tests.recorded_calls import meanwhile

__all__ = ["team"]


def test_a_button_click_before_the_next_attempt_searches_slacks_history_causes_no_second_post(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The click updates the message, which loses its metadata: a search can't find it, but the take proves the post."""
    team.fail("drop", method="chat.postMessage", times=1)
    [request_id] = posted(stack, "help")
    assert (len(team.messages), stack.status(request_id)) == (1, "retrying")
    presses = list[str]()

    def with_a_press(outgoing: Sequence[Outgoing]) -> dict[Outgoing, Sent | DeliveryError]:
        if not presses:
            presses.append("mallory")
            with meanwhile():
                assert press_button(team, "mallory") == 200
        return find_posted(outgoing)

    monkeypatch.setattr(consumer, "find_posted", with_a_press)
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.show(request_id)["taken"]["by"] == "@mallory"
    assert len(team.messages) == 1


def test_a_request_missing_from_a_batch_read_is_not_shown_as_untaken(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = posted(stack, "one", "two")
    press_button(team, "anna", first)
    assert sorted(actions(team.messages[-1])) == ["release", "take"]
    client = handler.requests().items.table.meta.client
    whole = client.batch_get_item

    def partly(**call: Any) -> dict[str, Any]:  # noqa: ANN401
        answer: dict[str, Any] = dict(whole(**call))
        key = {"pk": first, "sk": "RECORD"}
        for name, items in answer["Responses"].items():
            answer["Responses"][name] = [item for item in items if not key.items() <= item.items()]
            answer["UnprocessedKeys"] = {name: {"Keys": [key]}}
        return answer

    monkeypatch.setattr(client, "batch_get_item", partly)
    assert press_button(team, "ben", second) == 200
    assert "Taken by @anna" in str(team.messages[-1]["blocks"])


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_request_of_a_digest_can_be_taken_although_another_request_of_the_digest_is_missing_or_damaged(
    stack: Cloud, team: SlackServer, how: str
) -> None:
    first, second, _ = posted(stack, "one", "two", "three")
    key = {"pk": first, "sk": "RECORD"}
    if how == "gone":
        stack.table.delete_item(Key=key)
        stack.table.delete_item(Key={"pk": first, "sk": "REQUEST"})
    else:
        item = stack.table.get_item(Key=key)["Item"]
        stack.table.put_item(Item={**item, "record": "no map"})
    assert press_button(team, "anna", second) == 200
    assert stack.show(second)["taken"]["by"] == "@anna"
    assert team.workspace.ephemeral_messages[-1]["text"] == "You have this request."


def test_the_taker_gets_a_private_message_if_slack_does_not_update_the_shared_message(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [request_id] = posted(stack, "help")
    answer = response_url.send

    def refusing(url: str, body: Mapping[str, Any]) -> bool:
        return not body.get("replace_original") and answer(url, body)

    monkeypatch.setattr(response_url, "send", refusing)
    assert press_button(team, "anna") == 200
    assert stack.show(request_id)["taken"]["by"] == "@anna"
    assert team.workspace.ephemeral_messages[-1]["text"] == "You have this request."


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/plain; charset=klingon", b"ok"), ("text/html; charset=utf-8", b"\xff\xfe")]
)
def test_a_button_click_succeeds_although_the_slack_sdk_cannot_parse_slacks_response(
    content_type: str, body: bytes
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        assert not response_url.send(f"http://127.0.0.1:{server.server_address[1]}/x", {"text": "x"})
        server.shutdown()


def test_an_operator_cannot_release_a_request_that_another_person_has_just_taken_and_is_told_who(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [request_id] = posted(stack, "help")
    requests = handler.requests()
    engine.take(requests, request_id, "t1", by="Anna", via="operator")
    read = Requests.read

    def then_others(self: Requests, id_: str) -> Stored:
        found = read(self, id_)
        monkeypatch.setattr(Requests, "read", read)
        engine.release(requests, request_id, "t1", by="Anna", via="operator")
        engine.take(requests, request_id, "t2", by="Ben", via="operator")
        return found

    monkeypatch.setattr(Requests, "read", then_others)
    with pytest.raises(Failure, match="Ben has taken request"):
        takes.release(requests, request_id, "Ops")
