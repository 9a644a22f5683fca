"""The simulated system, the invariants at any time, and the state that must be reached in the end."""

import functools
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Final
from unittest.mock import patch

import time_machine

from assistance.domain.record import End, Handled, Handling
from assistance.engine.dead_letters import request_id_in
from assistance.engine.delivery import Consumer
from assistance.platform.clock import timestamp
from assistance.platform.observability import logger
from assistance.routing import CALLBACK, DESTINATIONS, Channel, routes
from assistance.store.table import PROGRESS_KEY
from local.slack_server import SlackServer
from reconciler.new_requests import SECOND_CHECK_AFTER
from tests.faults.aws import ACCOUNT, MAX_RECEIVE_COUNT, REGION, VISIBILITY, Memory, Moto
from tests.faults.fault_injection import FaultInjector, injected_faults
from tests.faults.humans import LINK_KEY, Humans
from tests.faults.sequential_executor import InTurn
from tests.faults.statuses import FORWARD
from tests.faults.system import ENVIRONMENT, REQUEST, START, Accepted, requests
from tests.integration.cloud import cloud, forget
from tests.integration.resources import create_secret
from tests.receiver import Receiver

NOT_ARRIVED: Final = {"bounce_permanent", "complaint", "reject"}
FINAL: Final = {"delivered", "failed"}


class World(Humans):
    """The simulated system with checks of what its bots and operators see of it."""

    # --- at any time ---------------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Read the status of every request as its bot does, and check the invariants that hold at any time."""
        current = (
            self.aws.streamed(),
            len(self.dead_letters()),
            len(self.bodies(*Channel)),
            len(self.aws.mails()),
            len(self.slack.messages),
            len(self.feedback),
            len(self.accepted),
            len(self.log.getvalue()),
        )
        if current == self.observed:
            return
        self.observed = current
        held = Counter(map(request_id_in, (*self.dead_letters(), *self.bodies(*Channel))))
        # A bounce is recorded first. SES's event is retried until the dead letter is written too.
        bounced = self.requests_with_pending_events()
        mails, posts = self.mails(), self.posts()
        assert all(times == 1 for times in self.untaken.values()), "escalated once"
        for request in self.accepted.values():
            self._moves_forward(request, self.show(request.id))
            if request.status == "failed":
                assert held[request.id] or request.id in bounced, ("failed without a dead letter", request.shown)
            self._sent_once(request, mails, posts)
        log = self.log.getvalue()
        for request in self.accepted.values():
            assert request.description not in log, "a description has been logged"

    def _moves_forward(self, request: Accepted, shown: dict[str, Any]) -> None:
        deliveries = {(each["channel"], _reason(each)): each["status"] for each in shown["deliveries"]}
        now = {REQUEST: shown["status"], **deliveries}
        bounces = _bounces(shown)
        assert bounces <= self.bad_events[request.id], ("more bounces than SES has reported", shown)
        came_back, request.bounces = bounces > request.bounces, bounces
        if came_back:
            request.sent_when_delivered = None
        for what, before in request.statuses.items():
            if came_back and (before, now[what]) == ("delivered", "failed"):
                continue
            if what in now:
                assert now[what] in FORWARD[before], (request.id, what, before, now[what], shown)
            else:
                assert before in {"sending", "retrying"}, (request.id, what, before, shown)
        if shown.get("taken") and shown.get("taken") == request.shown.get("taken"):
            assert _escalated(shown) <= _escalated(request.shown), ("escalated although it is taken", shown)
        request.statuses, request.shown = now, shown

    def _sent_once(self, request: Accepted, mails: Counter[str], posts: Counter[tuple[str, str | None]]) -> None:
        for (id_, decision), times in posts.items():
            if id_ == request.id:
                assert times == 1, (request.id, decision, times)
        allowed = 1 + self.mails_in_doubt[request.id] + len(request.resends) + request.bounces
        assert mails[request.id] <= allowed, (request.id, mails[request.id], allowed)
        if request.resends or self.late:
            return
        sent = mails[request.id] + posts[request.id, None]
        attempts = [attempt for each in request.shown["deliveries"] for attempt in each["timeline"]]
        escalations = sum(each.get("escalation", False) for each in request.shown["deliveries"])
        if not request.bounces and not any(each.get("in_doubt") or each["outcome"] == "sending" for each in attempts):
            most = len(routes()[request.topic].channels) + escalations
            assert sent <= most, ("sent by its own channel and the fallback", request)
        if request.sent_when_delivered is not None:
            again = sent - request.sent_when_delivered
            most = escalations + self.mails_in_doubt[request.id] if escalations else 0
            assert 0 <= again <= most, ("sent again although it was delivered", request.id)
        elif request.status == "delivered":
            request.sent_when_delivered = sent
            assert sent, ("delivered without being sent", request.id)

    def check_accounted(self) -> None:
        """Check that each request is final, tracked by the reconciler, or not yet seen by the reconciler."""
        kept = requests().items.get(PROGRESS_KEY) or {}
        looked_until = str(kept.get("looked_until", ""))
        twice_until = timestamp(datetime.fromisoformat(looked_until) - SECOND_CHECK_AFTER) if looked_until else ""
        for request in self.accepted.values():
            record = requests().read(request.id).record
            created_at = request.shown.get("created_at", "")
            # The callbacks of a request's first minutes are tracked only from its second check on.
            if (record.unfinished and created_at < looked_until) or (record.awaited and created_at < twice_until):
                assert record.due_at is not None, (request.id, looked_until, record)

    # --- in the end ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Invoke the functions as AWS does by itself, until none has anything to do, but at most 20 times each."""
        for _ in range(20):
            self.produce()
            self.bring_feedback()
            self.observe()
            busy = False
            for channel in DESTINATIONS:
                busy = self.consume(channel) or busy
                self.observe()
            self.read_stream()
            if not (busy or self.stream or self.feedback):
                return

    @staticmethod
    def ended(request: Accepted) -> bool:
        """Whether all resends are final, and the request is delivered, or failed on each channel and its fallback."""
        done = {what for what, status in request.statuses.items() if status in FINAL and what != REQUEST}
        if not request.resends <= {resend for _, resend in done}:
            return False
        if request.status == "delivered":
            return True
        wanted = set(routes()[request.topic].channels)
        if "fallback" in request.shown:
            wanted.add(request.shown["fallback"]["channel"])
        return wanted <= {channel for channel, resend in done if not resend}

    def quiet(self) -> bool:
        """Whether no function has any work left."""
        self.observe()
        return not (
            self.stream
            or self.feedback
            or self.late
            or self.aws.has_outbox()
            or self.bodies(*DESTINATIONS)
            or not all(self.ended(request) for request in self.accepted.values())
        )

    def settle(self) -> None:
        """Run until no function has any work left, then check that every request has a final status."""
        for _ in range(60):
            self.turn()
            if self.quiet():
                break
            # Longer than a visibility timeout, a lock or the grace period: the next reconciler run finds the results.
            self.advance(VISIBILITY + 20)
            self.reconcile()
            self.observe()
        assert self.quiet(), [self.show(request_id) for request_id in self.accepted]
        dead = {*map(request_id_in, self.dead_letters()), *self.requests_with_pending_events()}
        for request in self.accepted.values():
            assert request.status in FINAL
            assert request.status == "delivered" or request.id in dead, "failed, and no dead letter tells of it"
            self._called_back(request)

    def _called_back(self, request: Accepted) -> None:
        """Check that the bot got every callback, or that a callback that could not be sent is a dead letter."""
        callbacks = {call.id: json.loads(call.body) for call in self.bot.calls if call.id.startswith(request.id)}
        for id_, body in callbacks.items():
            event = id_.split("_")[1]
            assert event in {body["data"]["status"], *Handling}
            assert body["type"] == f"assistance_request.{event}"
        if not request.called_back:
            assert not callbacks
            return
        record = requests().read(request.id).record
        ends = [each.cause for each in record.callbacks if isinstance(each.cause, End)]
        handled = [each.cause for each in record.callbacks if isinstance(each.cause, Handled)]
        assert ends[-1].status == request.shown["status"]
        assert len(handled) == len(record.takes) + sum(take.released_at is not None for take in record.takes)
        letters = {request_id_in(body) for body in self.bodies(f"{CALLBACK}-dlq", f"{CALLBACK}-subscription-dlq")}
        for event, at in [(ends[-1].status, ends[-1].at), *((last.how, last.at) for last in handled[-1:])]:
            assert f"{request.id}_{event}_{at}" in callbacks or request.id in letters, (event, callbacks, request.shown)


def _reason(delivery: dict[str, Any]) -> str:
    """What distinguishes the delivery from the original one on its channel: a resend's id, "escalation", or nothing."""
    return delivery.get("resend") or ("escalation" if delivery.get("escalation") else "")


def _escalated(shown: dict[str, Any]) -> int:
    return sum(each["attempts"] for each in shown["deliveries"] if each.get("escalation"))


def _bounces(shown: dict[str, Any]) -> int:
    timelines = [each["timeline"] for each in shown["deliveries"] if each["channel"] == Channel.EMAIL]
    return sum(attempt.get("error") in NOT_ARRIVED for timeline in timelines for attempt in timeline)


def _longest(_: float, longest: float) -> float:
    return longest


@contextmanager
def world(*, moto: bool = False, injector: FaultInjector | None = None) -> Iterator[World]:
    """One simulated system. Consumers and publisher handle one record at a time, so that calls have a fixed order."""
    injector, log, aws = injector or FaultInjector(), io.StringIO(), Moto() if moto else Memory()
    with ExitStack() as stack:
        slack = stack.enter_context(SlackServer(token="xoxb-local", channels=("C0ASSIST",)))
        bot = stack.enter_context(Receiver())
        traveller = stack.enter_context(time_machine.travel(START, tick=False))
        running = stack.enter_context(cloud(slack.url))
        for channel in DESTINATIONS:
            arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{channel}-dlq"
            redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
            running.sqs.set_queue_attributes(
                QueueUrl=running.queues[channel],
                Attributes={"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": redrive},
            )
        slack.signing_secret = "s" * 32
        pressed = {
            "RESPONSE_ORIGIN": slack.origin,
            "SLACK_SIGNING_SECRET": create_secret("slack-signing", slack.signing_secret),
            "TAKE_SECRET": create_secret("take", LINK_KEY),
        }
        stack.enter_context(patch.dict(os.environ, {**running.environment, **ENVIRONMENT, **pressed}))
        one_by_one = functools.partial(Consumer, pool=InTurn, jitter=_longest)
        stack.enter_context(patch("assistance.engine.consumer.Consumer", one_by_one))
        # Each invocation has threads of its own, since it may overlap others, which on AWS run in other processes.
        stack.enter_context(patch("assistance.platform.kept_threads._executor", ThreadPoolExecutor))
        for several in ("assistance.engine.publisher", "assistance.engine.dead_letters", "reconciler.new_requests"):
            stack.enter_context(patch(f"{several}._PARALLEL", 1))
        # Two shards behave like all of them, with a fraction of the calls.
        stack.enter_context(patch("assistance.store.schema.INDEX_SHARDS", 2))
        stack.enter_context(patch("assistance.store.schema.DUE_SHARDS", 2))
        stack.enter_context(_logging_into(log))
        stack.enter_context(injected_faults(injector, aws))
        forget()
        system = World(running, aws, slack, bot, injector, traveller, log)
        injector.later = system.later
        # Otherwise later tests would use these routes too.
        stack.callback(system.deploy, {})
        yield system


@contextmanager
def _logging_into(log: io.StringIO) -> Iterator[None]:
    """Collect the functions' logs: Powertools' logger, and warnings of libraries."""
    root = logging.StreamHandler(log)
    root.setLevel(logging.WARNING)
    logging.getLogger().addHandler(root)
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(log)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(root)
        if before is not None:
            handler.setStream(before)
