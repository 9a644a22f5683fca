"""One attempt at a delivery, which the idempotency utility of Powertools stores in the request's record.

Powertools ensures that only one attempt sends at a time. It calls the methods of `Attempt`, each of which makes one
transition and one write: the claim before the send, and the outcome after it. Powertools' note that the work is
complete and the delivery's new status are the same write, so they can't disagree.
"""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

from assistance.domain import transitions
from assistance.domain.record import Delivery, Record
from assistance.domain.transitions import Claim, Refused
from assistance.engine.decisions import Decision, GaveUp, PutOff, RetryLater, Sent
from assistance.models import AssistanceRequest, Message
from assistance.platform.clock import Clock, epoch_ms, ms_of
from assistance.routing import Destination, RetryPolicy
from assistance.store import legacy
from assistance.store.requests import RequestGone, Requests, Stored, fresh

_LATE_MS: Final = 60_000


class Attempt(BasePersistenceLayer):
    """One attempt at a delivery. Once it has asked for the claim, `claim` holds it, or `refused` says why it has none.

    `request` is the request to send.
    """

    def __init__(
        self,
        requests: Requests,
        message: Message,
        destination: Destination,
        retry: RetryPolicy,
        clock: Clock,
        *,
        remaining_ms: int,
        place: str | None,
        again: bool,
    ) -> None:
        """`remaining_ms`: how long the Lambda function may still run. `again`: SQS has delivered the message before.

        `place`: where on the channel the attempt posts, such as a Slack channel's id; None if it has only one place.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.claim: Claim | None = None
        self.refused: Refused | None = None
        self.request = message.request
        self._requests = requests
        self._message = message
        self._destination = destination
        self._retry = retry
        self._clock = clock
        self._remaining_ms = remaining_ms
        self._place = place
        self._again = again
        self._id = uuid.uuid4().hex
        self._name = message.delivery or str(destination)
        self._stored: Stored | None = None

    @property
    def delivery(self) -> Delivery:
        """The delivery, as this attempt wrote it last. Raises `LookupError` if the attempt has written nothing."""
        found = self._stored.record.delivery(self._name) if self._stored else None
        if found is None:
            raise LookupError("nothing is claimed")
        return found

    @property
    def ttl(self) -> int | None:
        """When the request expires, in seconds since 1970. None until the delivery is claimed."""
        return self._stored.record.ttl if self._stored else None

    def _put_record(self, data_record: DataRecord) -> None:
        """Claim the delivery.

        Raises `IdempotencyItemAlreadyExistsError` if the claim is refused: `self.refused` then says why.
        """
        try:
            stored = self._known()
            self._stored, answer = self._change(self._claimed, stored)
        except RequestGone:
            answer = Refused.UNKNOWN
        if isinstance(answer, Claim):
            self.claim = answer
            return
        self.refused = answer
        status = "INPROGRESS" if answer is Refused.BUSY else "COMPLETED"
        existing = DataRecord(data_record.idempotency_key, status=status)
        raise IdempotencyItemAlreadyExistsError(old_data_record=existing)

    def _known(self) -> Stored:
        """The record. It is read from the table, or computed from the message if this seems to be the first attempt."""
        message = self._message
        if message.version == 1 or message.route is None or message.ttl is None:
            stored = self._requests.read(message.request.id)
            self.request = self._said()
            if ms_of(self.request.created_at) != stored.record.created_at:
                # The id now belongs to a later request, and the message to an expired one. A message of version 1 has
                # no `ttl`, so only this comparison shows that it has expired.
                raise RequestGone
            return stored
        new = fresh(message.request, message.route, message.ttl)
        if new.ttl * 1_000 < self._now():
            raise RequestGone
        # During a rollback, version 1 may have delivered the request of a late message. Version 1 writes other items,
        # so a conditional write of the record would not notice that.
        if self._again or message.delivery or self._now() - new.created_at > _LATE_MS:
            return self._requests.read(message.request.id)
        return Stored(new, new, {})

    def _said(self) -> AssistanceRequest:
        """The request. For a callback of version 1 it is read: such a message does not contain the callback's URL."""
        if not self._message.ended_at:
            return self._message.request
        stored = self._requests.get(self._message.request.id)
        if stored is None:
            raise RequestGone
        return stored.request

    def _claimed(self, before: Record) -> tuple[Record, Claim | Refused]:
        record = before
        if self._message.version == 1:
            record, self._name = legacy.known_to(self._message, self._destination, before)
        delivery = record.delivery(self._name)
        if delivery is not None and delivery.destination != self._destination:
            return before, Refused.UNKNOWN
        now = self._now()
        # The claim outlasts the function by `doubt_delay`: a call to the provider at the very end may arrive later.
        until = now + self._remaining_ms + 1_000 * self._retry.doubt_delay
        after, answer = transitions.claim(
            record, self._name, self._id, now=now, until=until, limit=self._retry.attempts, place=self._place
        )
        return (before if after is record else after), answer

    def save_success(self, data: Any, result: Decision) -> None:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Write the attempt's outcome into the record."""
        self._stored, _ = self._change(partial(self._ended, result), self._stored)

    def _ended(self, end: Decision, record: Record) -> tuple[Record, None]:
        name, attempt, now = self._name, self._id, self._now()
        settles = now + 1_000 * self._retry.doubt_delay
        match end:
            case Sent(result):
                return transitions.sent(record, name, attempt, result, now=now), None
            case PutOff(code, delay, alone):
                due = now + 1_000 * delay
                return transitions.put_off(record, name, attempt, code, now=now, due=due, alone=alone), None
            case RetryLater(code, delay, in_doubt):
                due = now + 1_000 * delay
                how = {"now": now, "due": due, "settles": settles}
                return transitions.retry_later(record, name, attempt, code, in_doubt=in_doubt, **how), None
            case GaveUp(code, in_doubt):
                return transitions.gave_up(
                    record, name, attempt, code, now=now, in_doubt=in_doubt, settles=settles
                ), None

    def _change(self, event: Callable[[Record], tuple[Record, Any]], known: Stored | None) -> tuple[Stored, Any]:
        return self._requests.change(self._message.request.id, event, known)

    def _now(self) -> int:
        return epoch_ms(self._clock())

    def _update_record(self, data_record: DataRecord) -> None:
        """Not used: `save_success` writes the outcome."""

    def _delete_record(self, data_record: DataRecord) -> None:
        """Leave the claim as it is. Powertools calls this if an attempt raised an error, so its outcome is unknown.

        The engine returns every outcome that it knows, also failures, instead of raising it.
        """

    def _get_record(self, idempotency_key: str) -> DataRecord:
        # Powertools does not call this, since the error that `_put_record` raises already contains the stored status.
        raise IdempotencyItemNotFoundError(idempotency_key)
