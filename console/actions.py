"""The console's actions for operators, such as redrive and resend. They call the command line's functions."""

import uuid
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final, TypeAlias

from assistance.routing import Channel
from cli import dead_letter_queues, render, requests, takes
from cli.dead_letter_queues import Outcome
from cli.errors import Failure
from cli.stack import Stack
from console.dead_letters import DeadLetters

PATIENCE_SECONDS: Final = 10
Action: TypeAlias = Callable[[Mapping[str, Any]], Any]


class Actions:
    """Redrives, discards, resends, takes and releases. With an `operator`, writes an audit line for each to stderr."""

    def __init__(self, stack: Stack, dead: DeadLetters, *, operator: str | None = None) -> None:
        self._stack = stack
        self._dead = dead
        self._operator = operator
        self._requests = stack.requests()

    def by_name(self) -> dict[str, Action]:
        """The actions, by the names with which the page calls them. An action gets the JSON body of a call."""
        return {
            "redrive": lambda body: self._process(body, dead_letter_queues.redriver(self._stack), "redriven"),
            "discard": lambda body: self._process(body, dead_letter_queues.discarder(self._stack), "discarded"),
            "resend": self._resend,
            "take": lambda body: self._take(_id(body), _name(body)),
            "release": lambda body: self._release(_id(body), _name(body)),
        }

    def _process(self, body: Mapping[str, Any], act: dead_letter_queues.Act, done: str) -> str:
        ids = frozenset(map(str, body["ids"])) if body.get("ids") is not None else None
        self._audit(done, ids="all" if ids is None else ",".join(sorted(ids)))
        with self._dead.acting:
            outcomes: list[Outcome] = []
            deadline = monotonic() + PATIENCE_SECONDS
            while not outcomes and monotonic() < deadline:
                # Another reader of the queue, such as the reconciler, may hold the dead letters for a moment.
                outcomes = [
                    outcome
                    for queue in self._stack.dlqs()
                    for outcome in dead_letter_queues.process(self._stack, queue, ids, act)
                ]
            self._dead.forget()
        problems = [outcome.problem for outcome in outcomes if outcome.problem]
        return "; ".join([f"{len(outcomes) - len(problems)} {done}", *problems]) + "."

    def _resend(self, body: Mapping[str, Any]) -> str:
        id_, channel = _id(body), Channel(body["channel"])
        if channel not in self._stack.channels():
            raise Failure(f"the stack {self._stack.name} has no channel {channel}")
        act = str(uuid.uuid4())
        self._audit("resend", decision=act, request_id=id_, channel=channel)
        requests.resend(self._requests, id_, channel, act)
        return f"A resend by {channel} is in the outbox."

    def _take(self, id_: str, name: str) -> str:
        self._audit("take", request_id=id_, name=name)
        takes.take(self._requests, id_, name)
        return f"{name} has taken the request."

    def _release(self, id_: str, name: str) -> str:
        self._audit("release", request_id=id_, name=name)
        return f"{takes.release(self._requests, id_, name)} no longer has the request: others can take it."

    def _audit(self, act: str, **members: str) -> None:
        if self._operator:
            render.audit(act, stack=self._stack.name, operator=self._operator, **members)


def _name(body: Mapping[str, Any]) -> str:
    try:
        return takes.name(str(body["name"]))
    except ValueError as error:
        # The page shows only a failure's own words.
        raise Failure(str(error)) from None


def _id(body: Mapping[str, Any]) -> str:
    return requests.canonical(str(body["id"]))
