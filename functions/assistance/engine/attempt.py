"""One attempt at a delivery, which the idempotency utility of Powertools stores in the request's record.

One write stores both Powertools' note that the work is complete and the delivery's new status, so they can't disagree.
"""

import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError
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


@dataclass(eq=False)
class Attempt(BasePersistenceLayer):
    """One attempt at a delivery. Once it has asked for the claim, either `claim` is set, or `refused` says why not."""

    requests: Requests
    message: Message
    destination: Destination
    retry: RetryPolicy
    clock: Clock
    remaining_ms: int  # how long the Lambda function may still run
    place: str | None  # where on the channel it posts; None if the channel has only one place
    again: bool  # True if SQS has delivered the message before
    claim: Claim = field(init=False)
    refused: Refused | None = field(default=None, init=False)
    stored: Stored = field(init=False)  # the record as this attempt wrote it last
    id: str = field(default_factory=lambda: uuid.uuid4().hex, init=False)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.request: AssistanceRequest = self.message.request
        self.name = self.message.delivery or str(self.destination)

    @property
    def delivery(self) -> Delivery:
        """The attempt's delivery, in the record that this attempt has last written."""
        return next(each for each in self.stored.record.deliveries if each.name == self.name)

    def _put_record(self, data_record: DataRecord) -> None:
        """Claim the delivery. Raises `IdempotencyItemAlreadyExistsError` if the claim is refused."""
        try:
            self.stored, answer = self.requests.change(self.message.request.id, self._claimed, self._read_or_compute())
        except RequestGone:
            answer = Refused.UNKNOWN
        if isinstance(answer, Claim):
            self.claim = answer
            return
        self.refused = answer
        status = "INPROGRESS" if answer is Refused.BUSY else "COMPLETED"
        existing = DataRecord(data_record.idempotency_key, status=status)
        raise IdempotencyItemAlreadyExistsError(old_data_record=existing)

    def _read_or_compute(self) -> Stored:
        """The record: read from the table, or computed if this seems to be the first attempt. Raises `RequestGone`."""
        message, requests = self.message, self.requests
        if message.version == 1 or message.route is None or message.ttl is None:
            stored = requests.read(message.request.id)
            if message.ended_at:
                # A callback of version 1 does not contain the callback's URL.
                shown = requests.get(message.request.id)
                if shown is None:
                    raise RequestGone
                self.request = shown.request
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
        if self.again or message.delivery or self._now() - new.created_at > _LATE_MS:
            return requests.read(message.request.id)
        return Stored(new, {})

    def _claimed(self, before: Record) -> tuple[Record, Claim | Refused]:
        record = before
        if self.message.version == 1:
            record, self.name = legacy.known_to(self.message, self.destination, before)
        delivery = record.delivery(self.name)
        if delivery is not None and delivery.destination != self.destination:
            return before, Refused.UNKNOWN
        now = self._now()
        # The claim outlasts the function by `doubt_delay`: a call to the provider at the very end may arrive later.
        until = now + self.remaining_ms + 1_000 * self.retry.doubt_delay
        after, answer = transitions.claim(
            record, self.name, self.id, now=now, until=until, limit=self.retry.attempts, place=self.place
        )
        return (before if after is record else after), answer

    def save_success(self, data: Any, result: Decision) -> None:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Write the attempt's outcome into the record."""
        self.stored = self.requests.update(self.message.request.id, partial(self._ended, result), self.stored)

    def _ended(self, end: Decision, record: Record) -> Record:
        name, attempt, now = self.name, self.id, self._now()
        settles = now + 1_000 * self.retry.doubt_delay
        match end:
            case Sent(result, place):
                return transitions.sent(record, name, attempt, result, now=now, place=place)
            case PutOff(code, delay, alone):
                due = now + 1_000 * delay
                return transitions.put_off(record, name, attempt, code, now=now, due=due, alone=alone)
            case RetryLater(code, delay, in_doubt, limited):
                times = {"now": now, "due": now + 1_000 * delay, "settles": settles}
                return transitions.retry_later(record, name, attempt, code, in_doubt=in_doubt, limited=limited, **times)
            case GaveUp(code, in_doubt):
                return transitions.gave_up(record, name, attempt, code, now=now, in_doubt=in_doubt, settles=settles)

    def _now(self) -> int:
        return epoch_ms(self.clock())

    def _update_record(self, data_record: DataRecord) -> None:
        """Not used: `save_success` writes the outcome."""

    def _delete_record(self, data_record: DataRecord) -> None:
        """Leave the claim as it is. Powertools calls this only after an unforeseen error: the outcome is unknown."""

    def _get_record(self, idempotency_key: str) -> DataRecord:
        # Powertools does not call this, since the error that `_put_record` raises already contains the stored status.
        raise NotImplementedError
