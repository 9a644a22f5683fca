"""Reads dead letters for the console.

For each dead letter, the console shows the request, the reason of the failure, whether another channel has delivered
the request, and when SQS deletes the dead letter.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from assistance.errors import Unreadable
from assistance.history import RequestRecord
from assistance.models import Message
from assistance.platform.clock import timestamp_of
from assistance.text import printable
from cli import dead_letter_queues, delivered_channels, render
from cli.dead_letter_queues import QueuedDeadLetter
from cli.stack import Stack
from console.error_explanations import meaning
from console.history import reached

SHOWN: Final = 100
"""Maximum number of dead letters that are shown, oldest first, because these expire first."""


class DeadLetters:
    """The content of the dead-letter queues when they were last read. `texts`: with the requests' descriptions.

    A read hides the dead letters from other readers for a second or two. So a background thread reads the queues again
    only if the number of dead letters has changed, or after a redrive or discard. It reads the table more often, to
    learn what has become of the requests since then.
    """

    def __init__(self, stack: Stack, *, texts: bool) -> None:
        self._stack = stack
        self._texts = texts
        self._requests = stack.requests()
        self._sqs = stack.sqs()
        self._retentions: dict[str, timedelta] = {}
        self._known: int | None = None
        self._found: dict[str, Any] = {"letters": [], "more": 0, "hidden": 0, "was_read": False}
        self._looking = threading.Lock()
        self.acting = threading.Lock()
        """Held during a redrive or discard, because a read would hide the dead letters from it."""

    def document(self, depth: int) -> Mapping[str, Any]:
        """The dead letters as last read, for the page. Starts a new read if `depth`, their number now, has changed."""
        if depth == 0 and self._known in {None, 0}:
            return {"letters": [], "more": 0, "hidden": 0, "was_read": True}
        if depth != self._known:
            self._look(lambda: self._refresh(depth))
        elif unreached := [it for it in self._found["letters"] if it["reached"] and it["reached"].reached != "yes"]:
            self._look(lambda: self._reach(unreached))
        return self._found

    def forget(self) -> None:
        """Let the next call of `document` read the queues again, even if the number of dead letters is the same."""
        self._known = -1

    def _look(self, read: Callable[[], None]) -> None:
        """Run `read` in the background, unless another read is running."""
        if self._looking.acquire(blocking=False):
            threading.Thread(target=self._run, args=(read,), daemon=True).start()

    def _run(self, read: Callable[[], None]) -> None:
        try:
            read()
        finally:
            self._looking.release()

    def _refresh(self, depth: int) -> None:
        with self.acting:
            found = dead_letter_queues.find(self._stack, self._stack.dlqs())
        shown = found.dead_letters[:SHOWN]
        more = len(found.dead_letters) - len(shown) + found.beyond
        documents = [self._letter(letter) for letter in shown]
        self._found = {"letters": documents, "more": more, "hidden": found.hidden, "was_read": True}
        # If another reader held some of them, read again next time.
        self._known = -1 if found.hidden else depth

    def _reach(self, unreached: Sequence[Mapping[str, Any]]) -> None:
        """Read the requests of these dead letters again: meanwhile the fallback may have delivered one of them."""
        found = delivered_channels.readable(self._requests, (str(letter["request_id"]) for letter in unreached))
        records = {record.request.id: record for record in found}
        self._found = {**self._found, "letters": [_updated(letter, records) for letter in self._found["letters"]]}

    def _letter(self, letter: QueuedDeadLetter) -> dict[str, Any]:
        record = self._record(letter)
        message = letter.message
        return {
            **render.dead_letter_document(letter),
            "description": printable(message.request.description) if self._texts and message else None,
            "reference": message.request.reference and printable(message.request.reference) if message else None,
            "error": meaning(letter.dead_letter.reason, letter.queue.channel),
            "why": _why(message),
            "reached": record and reached(record),
            "status": record and record.status,
            "expires_at": timestamp_of(letter.dead_letter.sent_at + self._retention(letter.queue.url)),
        }

    def _record(self, letter: QueuedDeadLetter) -> RequestRecord | None:
        try:
            return self._requests.get(letter.dead_letter.request_id) if letter.dead_letter.request_id else None
        except Unreadable:
            return None

    def _retention(self, url: str) -> int:
        """Return the queue's retention in milliseconds, counted from when a message was sent.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
        """
        if url not in self._retentions:
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
            self._retentions[url] = timedelta(seconds=int(found["Attributes"]["MessageRetentionPeriod"]))
        return self._retentions[url] // timedelta(milliseconds=1)


def _updated(letter: Mapping[str, Any], records: Mapping[str, RequestRecord]) -> Mapping[str, Any]:
    record = records.get(letter["request_id"])
    return {**letter, "reached": reached(record), "status": record.status} if record else letter


def _why(message: Message | None) -> str | None:
    return "resend" if message and (message.force or (message.delivery or "").startswith("resend-")) else None
