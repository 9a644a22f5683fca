"""What the page shows, read from where an operator would read it: the table, the queues and who was reached."""

import json
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from assistance.engine.dead_letters import depth
from assistance.history import RequestRecord
from assistance.platform.clock import utc_now
from assistance.routing import CALLBACK, Channel, Lane
from assistance.store.schema import OUTBOX_INDEX
from assistance.text import printable
from cli import render, requests
from cli.stack import Stack as Deployed
from local.console.acts import Acts
from local.stack import Stack

REQUESTS: Final = 25
SHOWN: Final = 30
SINCE: Final = timedelta(hours=6)


def deployed(stack: Stack) -> Deployed:
    """The stack as the operator's command line knows it. Its session is the caller's own: none is thread-safe."""
    return Deployed(stack.name, stack.cloud.new_session(), stack.cloud.url, stack.outputs)


class View:
    """Reads the running stack. One reader at a time."""

    def __init__(self, stack: Stack, acts: Acts) -> None:
        self._stack = stack
        self._acts = acts
        self._deployed = deployed(stack)
        self._requests = self._deployed.requests()
        self._sqs = self._deployed.sqs()
        self._lanes: tuple[Lane, ...] = (*self._deployed.channels(), CALLBACK)
        self._routes = json.loads(self._deployed.environment("api")["ROUTES"])
        self._lock = threading.Lock()

    def document(self) -> dict[str, Any]:
        """All that there is to see at this moment."""
        with self._lock:
            now = utc_now()
            found = requests.listed(
                self._requests,
                since=now - SINCE,
                before=now + timedelta(minutes=1),
                statuses=frozenset(),
                limit=REQUESTS,
            )
            index = self._requests.items.table.scan(IndexName=OUTBOX_INDEX, Select="COUNT")
            dead = {lane: self._dead(lane) for lane in self._lanes}
            return {
                "routes": self._routes,
                "channels": self._lanes,
                "requests": [_request(record) for record in found.records],
                "outbox": index["Count"],
                "queues": {lane: self._queue(lane) for lane in self._lanes},
                "dead": dead,
                "letters": self._acts.dead_letters(sum(dead.values())),
                "slack": self._slack(),
                "teams": self._teams(),
                "mails": [_mail(mail) for mail in self._stack.cloud.sent_mail()[-SHOWN:]],
                "switches": self._acts.switches(),
            }

    def mail(self, message_id: str) -> str | None:
        """The HTML of a mail that was sent. Its links open in a page of their own, as from a mail program."""
        mails = self._stack.cloud.sent_mail()
        page = next((mail["BodyHtml"] for mail in mails if mail["MessageId"] == message_id), None)
        return page and page.replace("<head>", '<head><base target="_blank">', 1)

    def _queue(self, lane: Lane) -> dict[str, int]:
        found = depth(self._sqs, self._deployed.queue_url(lane))
        return {"waiting": found.waiting, "hidden": found.in_flight}

    def _dead(self, lane: Lane) -> int:
        return sum(depth(self._sqs, queue.url).total for queue in self._deployed.dlqs(lane))

    def _slack(self) -> dict[str, Any]:
        server = self._stack.slack.server
        messages = server.messages[-SHOWN:] if server else []
        whispers = list(server.workspace.whispers) if server else []
        shown = [{**each, "whispers": [told for told in whispers if told["ts"] == each["ts"]]} for each in messages]
        return {"here": server is not None, "channel": self._stack.slack.channel, "messages": shown}

    def _teams(self) -> list[dict[str, Any]]:
        posts = enumerate(self._stack.webhooks.received)
        cards = [
            {"id": number, "place": channel.partition("/")[2], "card": _card(body)}
            for number, (channel, body) in posts
            if channel.startswith(Channel.TEAMS)
        ]
        return [each for each in cards if each["card"]][-SHOWN:]


def _card(body: Any) -> Any:  # noqa: ANN401
    """The card in the envelope that the workflow takes, if there is one."""
    match body:
        case {"attachments": [{"content": {"body": [*_], "actions": [*_]} as card}]}:
            return card
    return None


def _request(record: RequestRecord) -> dict[str, Any]:
    document = render.request_document(record, with_description=True)
    return {
        **document,
        "description": printable(document["description"]),
        "channels": record.channels,
        "in_outbox": record.in_outbox,
    }


def _mail(mail: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": mail["MessageId"],
        "from": mail["Source"],
        "to": mail["To"],
        "subject": mail["Subject"],
        "at": mail["Timestamp"],
    }
