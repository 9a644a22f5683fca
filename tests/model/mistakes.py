"""Bugs that a developer could introduce into the domain code. The model checker must detect each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from assistance.domain import record, takes, transitions
from tests.model.core import core_of


class Mistake(NamedTuple):
    """A piece of the domain's source code, and the wrong code that replaces it."""

    module: ModuleType
    right: str
    wrong: str


MISTAKES: Final = {
    "an attempt that died leaves no doubt": Mistake(
        record, "return self.in_doubt or self.outcome is Outcome.UNKNOWN", "return self.in_doubt"
    ),
    "an attempt that failed in doubt leaves no doubt": Mistake(
        record, "return self.in_doubt or self.outcome is Outcome.UNKNOWN", "return self.outcome is Outcome.UNKNOWN"
    ),
    "the first doubt alone counts": Mistake(record, "elif attempt.may_have_arrived:", "elif not found:"),
    "a mail that came back still counts as delivered": Mistake(
        record, "return self.outcome if self.returned_at is None else Outcome.FAILED", "return self.outcome"
    ),
    "a request that failed on one channel waits for the other": Mistake(
        record,
        "if any(attempt.lasting is Outcome.FAILED for delivery in mine for attempt in delivery.attempts)",
        "if all(delivery.final for delivery in mine)",
    ),
    "a redrive that delivers on one channel takes the failure back": Mistake(
        record,
        "if any(attempt.lasting is Outcome.FAILED for delivery in mine for attempt in delivery.attempts)",
        "if any(delivery.final is Outcome.FAILED for delivery in mine)",
    ),
    "a claim that the SDK repeats is refused": Mistake(transitions, "if delivery.holds(attempt):", "if False:"),
    "a lock stops nobody": Mistake(transitions, "is_busy = delivery.is_locked(now) or any(", "is_busy = any("),
    "a fallback does not look whether a human has the request": Mistake(
        transitions,
        "if stands_in and (record.reached(delivery.destination) or not record.wants_fallback):",
        "if False:",
    ),
    "a fallback does not wait for a redrive": Mistake(
        transitions, "return other.final is Outcome.FAILED and other.is_locked(now)", "return False"
    ),
    "a redrive does not wait for the fallback": Mistake(
        transitions, "return may_arrive and bool(delivery.final)", "return False"
    ),
    "a redrive does not wait for a resend": Mistake(
        transitions, "return may_arrive and (delivery.kind is Kind.FALLBACK or bool(delivery.final))", "return False"
    ),
    "what was sent is dropped when the claim has passed on": Mistake(
        transitions,
        "    mine = next((each for each in delivery.attempts if each.id == attempt), Attempt(attempt, now))",
        "    if not delivery.holds(attempt):\n        return record\n    mine = delivery.attempts[-1]",
    ),
    "doubt does not settle before the next attempt": Mistake(
        transitions, "locked_until=settles if over.doubts else 0", "locked_until=0"
    ),
    "a fallback does not search for the message of an escalation in doubt": Mistake(
        transitions, "{each.kind, delivery.kind} == {Kind.FALLBACK, Kind.ESCALATION}", "False"
    ),
    "a failure has no fallback": Mistake(
        transitions, "if destination and own_failed and fallback is None and record.erased_at is None:", "if False:"
    ),
    "a mail that came back has no second fallback": Mistake(
        transitions,
        "record.wants_fallback and not before.wants_fallback:",
        "record.wants_fallback and before.delivery(FALLBACK) is None:",
    ),
    "a fallback is redriven for a channel that has delivered": Mistake(
        transitions,
        "(record.reached(delivery.destination) or not record.wants_fallback):",
        "record.reached(delivery.destination):",
    ),
    "the bot gets only one callback": Mistake(transitions, "if told[-1:] == [record.status]:", "if told:"),
    "the bot gets the same callback again": Mistake(transitions, "if told[-1:] == [record.status]:", "if False:"),
    "a callback gets the time of a clock that is slow": Mistake(
        transitions, "return max(now, 1 + max(earlier, default=0))", "return now"
    ),
    "the bot gets a callback before the request has ended": Mistake(transitions, " or not record.has_ended:", ":"),
    "a dead letter found late overrules an attempt under way": Mistake(
        transitions,
        "if delivery is None or delivery.final or delivery.is_locked(now):",
        "if delivery is None or delivery.final:",
    ),
    "a mark takes what has entered the outbox since": Mistake(
        transitions,
        "left = tuple(entry for entry in record.outbox if entry not in done)",
        "names = {entry.delivery for entry in done}\n"
        "    left = tuple(entry for entry in record.outbox if entry.delivery not in names)",
    ),
    "an attempt that exhausts the budget is made": Mistake(
        transitions, "    if _is_exhausted(delivery, limit):", "    if False:"
    ),
    "a fallback that is wanted again keeps the attempts that it had used": Mistake(
        record, "Outcome.FAILED} or attempt.at < self.wanted_since:", "Outcome.FAILED}:"
    ),
    "a fallback that is wanted again names the channel that failed first": Mistake(
        transitions, "wanted(record, replace(fallback, cause=cause), now)", "wanted(record, fallback, now)"
    ),
    "what is erased is sent all the same": Mistake(
        transitions, "if record.erased_at is not None and delivery.kind is not Kind.CALLBACK:", "if False:"
    ),
    "what is erased is resent": Mistake(transitions, "if record.erased_at is not None:\n        return None", ""),
    "what is erased goes to its fallback": Mistake(
        record,
        "return self.erased_at is None and not self.reached(self.fallback)",
        "return not self.reached(self.fallback)",
    ),
    "what is erased gets a fallback": Mistake(
        transitions, "own_failed and fallback is None and record.erased_at is None:", "own_failed and fallback is None:"
    ),
    "a request is erased while it is on its way": Mistake(takes, "if record.unfinished or any(", "if any("),
    "what was cancelled reads as being sent": Mistake(
        transitions, "(_marked_unneeded(record, delivery, now) if nobody_sends_it else record)", "record"
    ),
    "what an erasure stops reads as being sent": Mistake(
        transitions, "{Refused.NOT_NEEDED, Refused.ERASED}", "{Refused.NOT_NEEDED}"
    ),
    "what was cancelled is due once it is published": Mistake(
        transitions, "and _refusal(record, each, now) is not Refused.NOT_NEEDED", ""
    ),
    "what is published again reads as being sent": Mistake(
        transitions,
        "_ended_by(each, now) if each.name == name else each for each in record.deliveries",
        "each for each in record.deliveries",
    ),
    "a resend does not wait for a redrive": Mistake(transitions, "if is_expected(each, now))", "if False)"),
    "a second human takes over": Mistake(takes, "if counts := record.taken or earlier:", "if counts := earlier:"),
    "a take that the SDK repeats after its release takes again": Mistake(
        takes, "if counts := record.taken or earlier:", "if counts := record.taken:"
    ),
    "a take does not prove that its message has arrived": Mistake(
        takes, "    record = arrived(record, delivery, take_id, result, now=now, place=place)\n", ""
    ),
    "a release that the SDK repeats ends a later take": Mistake(
        takes, "if taken is None or taken.id != take_id:", "if taken is None:"
    ),
    "the escalation is claimed although a human has taken the request": Mistake(
        transitions, "if delivery.kind is Kind.ESCALATION and not record.wants_escalation:", "if False:"
    ),
    "a request that a human has taken is escalated": Mistake(
        record,
        "return self.escalate_at if self.taken is None and self.status is Status.DELIVERED else None",
        "return self.escalate_at if self.status is Status.DELIVERED else None",
    ),
    "a request is escalated by every sweep": Mistake(takes, "    record = replace(record, escalate_at=None)\n", ""),
    "the fallback does not wait for an escalation": Mistake(
        transitions,
        "case (Kind.FALLBACK, Kind.ESCALATION) | (Kind.ESCALATION, Kind.FALLBACK):",
        "case Kind.FALLBACK, Kind.ESCALATION:",
    ),
    "nobody notices that a callback gets lost": Mistake(
        record, "return (*self.unfinished, *(each for each in latest if each.final is None))", "return self.unfinished"
    ),
    "the callback of a take hides the end": Mistake(
        record,
        "return tuple(each for each in self.callbacks if isinstance(each.cause, Handled) is of_takes)",
        "return self.callbacks",
    ),
}


@contextmanager
def made(mistake: Mistake) -> Iterator[ModuleType]:
    """Introduce this bug into the domain code within the context. Use the yielded module instead of `transitions`."""
    module, right, wrong = mistake
    source = Path(str(module.__file__)).read_text("utf-8")
    assert source.count(right) == 1, f"this stands {source.count(right)} times in {module.__name__}: {right}"
    with changed(module, source.replace(right, wrong)) as core:
        yield core


@contextmanager
def changed(module: ModuleType, source: str) -> Iterator[ModuleType]:
    """Give the module this source code within the context. Use the yielded module instead of `transitions`."""
    wrong_module = ModuleType(module.__name__)
    exec(compile(source, str(module.__file__), "exec"), vars(wrong_module))  # noqa: S102 # our own
    if module is record:
        with _properties_of(wrong_module):
            yield core_of()
    elif module is takes:
        yield core_of(takes_=wrong_module)
    else:
        yield core_of(wrong_module)


@contextmanager
def _properties_of(wrong_module: ModuleType) -> Iterator[None]:
    """Give the real classes the properties and methods of the changed module's classes within the context.

    Instances of the changed classes themselves would not equal those of the real ones.
    """
    right: dict[tuple[object, str], object] = {}
    for name, wrong_class in vars(wrong_module).items():
        real = getattr(record, name, None)
        if isinstance(wrong_class, FunctionType) and real is not wrong_class and isinstance(real, FunctionType):
            right[record, name] = real
            setattr(record, name, _of_record(wrong_class))
        for attribute, wrong in vars(wrong_class).items() if isinstance(real, type) else ():
            if attribute.startswith("__"):
                continue
            if isinstance(wrong, property) and wrong.fget:
                right[real, attribute] = vars(real)[attribute]
                setattr(real, attribute, property(_of_record(wrong.fget)))
            elif isinstance(wrong, FunctionType):
                right[real, attribute] = vars(real)[attribute]
                setattr(real, attribute, _of_record(wrong))
    try:
        yield
    finally:
        for (real, attribute), original in right.items():
            setattr(real, attribute, original)


def _of_record(function: Callable[..., Any]) -> FunctionType:
    """A copy of the function that uses the globals of the real module `record`."""
    code: CodeType = function.__code__
    return FunctionType(code, vars(record))
