"""Tests version 1 and the current version side by side on one table, with traffic."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import pytest

from assistance.routing import CALLBACK, Channel
from tests.faults.fault_injection import Kind
from tests.records import requests
from tests.upgrade.states import POST, STATES, TRAFFIC, State, callback_retrying, delivered, message, queued
from tests.upgrade.world import A_MINUTE, OVERDUE, STAGES, World, world

OLD, NEW = 0, len(STAGES) - 1
MAIL: Final = "sesv2.SendEmail"
PATHS: Final = {
    "step by step": (1, 2, NEW),
    "back from the consumers and from the publishers": (1, OLD, 2, OLD, NEW),
    "back from the API": (NEW, OLD, NEW),
}
"""For each path, the `STAGES` after one another. It begins with version 1, and ends with the current version."""


BY_FALLBACK: Final = {
    "queued": (0, 1),
    "retrying": (0, 1),
    "in doubt": (1, 1),
    "killed after the post": (1, 1),
}
"""Posts and mails for states whose message version 1 can't read after a rollback, so that the fallback delivers."""


@dataclass(frozen=True, slots=True)
class Journey:
    """The result of each request after an upgrade, by the name of its state. `open`: how many are open.

    `arrived`: how many messages about the request have arrived on Slack and by email. `crossed`: how many had when the
    last step of the upgrade began. `webhooks`: how often each of its callbacks arrived, by the callback's id.
    """

    expected: Mapping[str, State]
    arrived: Mapping[str, tuple[int, int]]
    crossed: Mapping[str, tuple[int, int]]
    webhooks: Mapping[str, Counter[str]]
    statuses: Mapping[str, str]
    dead_letters: list[str]
    open: int


@cache
def journey(path: str) -> Journey:
    with world() as system:
        expected = dict(STATES)
        ids = {name: state.reach(system, f"[{name}]") for name, state in STATES.items()}
        system.later(A_MINUTE)
        system.sweep()
        crossed: dict[str, tuple[int, int]] = {}
        for number, stage in enumerate(PATHS[path], 1):
            crossed = _arrived(system, expected)
            system.updated = STAGES[stage]
            if stage == OLD:
                system.settle()
            else:
                system.travel(1)
                system.sweep()
            for kind, state in TRAFFIC.items():
                name = f"{kind}, in step {number}"
                expected[name], ids[name] = state, state.reach(system, f"[{name}]")
                if path == "back from the API" and number == 1 and kind in BY_FALLBACK:
                    expected[name] = replace(state, arrives=BY_FALLBACK[kind])
        system.settle()
        for name, state in expected.items():
            if state.afterwards:
                state.afterwards(system, ids[name])
        for channel in (Channel.SLACK, Channel.EMAIL):
            system.redrive(channel)
        system.settle()
        called = [(json.loads(call.body)["data"]["id"], call.id) for call in system.bot.calls]
        return Journey(
            expected=expected,
            arrived=_arrived(system, expected),
            crossed=crossed,
            webhooks={name: Counter(webhook for about, webhook in called if about == ids[name]) for name in expected},
            statuses=_statuses(system, ids),
            dead_letters=[letter["Body"] for channel in system.dlqs for letter in system.dead_letters(channel)],
            open=system.sweep()["ledger"]["open"],
        )


def _arrived(system: World, expected: Mapping[str, State]) -> dict[str, tuple[int, int]]:
    return {name: system.arrivals(f"[{name}]") for name in expected}


def _statuses(system: World, ids: Mapping[str, str]) -> dict[str, str]:
    items = system.table.scan()["Items"]
    shown = {
        name: requests(system.table).from_items([item for item in items if item["pk"] == ids[name]]) for name in ids
    }
    return {name: request.status if request else "gone" for name, request in shown.items()}


@pytest.mark.parametrize("path", PATHS)
def test_each_request_is_sent_as_often_as_version_1_would_have_sent_it(path: str) -> None:
    found = journey(path)
    assert found.arrived == {name: state.arrives for name, state in found.expected.items()}
    assert set(found.statuses.values()) == {"delivered"}


@pytest.mark.parametrize("path", PATHS)
def test_each_bot_gets_its_callbacks_with_the_same_webhook_id_before_and_after_the_upgrade(path: str) -> None:
    found = journey(path)
    told = {name: [*webhooks.values()] for name, webhooks in found.webhooks.items() if webhooks}
    assert told == {name: [state.told] for name, state in found.expected.items() if state.told}


@pytest.mark.parametrize("path", PATHS)
def test_no_dead_letter_and_no_request_without_a_final_status_remains_after_the_upgrade(path: str) -> None:
    found = journey(path)
    assert found.dead_letters == []
    assert found.open == 0


@pytest.mark.parametrize("path", [path for path, stages in PATHS.items() if OLD in stages])
def test_version_1_finishes_the_requests_that_it_accepted_after_a_rollback(path: str) -> None:
    found = journey(path)
    waiting = {name for name in STATES if found.crossed[name] < found.expected[name].arrives}
    assert waiting <= {name for name, state in STATES.items() if state.may_wait}


@pytest.mark.parametrize(("stage", "other"), [(OLD, 1), (1, OLD)], ids=["version 1 sends", "this version sends"])
def test_a_duplicate_message_waits_while_a_consumer_of_the_other_version_sends(stage: int, other: int) -> None:
    with world() as system:
        request_id = queued(system, "[once]")
        system.enqueue(Channel.SLACK, message(system, request_id))
        system.updated = STAGES[stage]
        first, second = system.receive(Channel.SLACK)
        duplicates, refused = [second], list[str]()

        def meanwhile(call: str) -> None:
            while call == POST and duplicates:
                system.updated = STAGES[other]
                refused.extend(system.consume(Channel.SLACK, [duplicates.pop()]))
                system.updated = STAGES[stage]

        system.injector.outage = meanwhile
        with system.injector.invocation():
            assert system.consume(Channel.SLACK, [first]) == []
        assert refused == [second["messageId"]]
        assert system.arrivals("[once]") == (1, 0)


def test_a_mail_that_version_1_sends_while_the_updated_slack_consumer_writes_the_record_is_not_sent_again() -> None:
    with world() as system:
        request_id = queued(system, "[both]", "both")
        posts, mails = system.receive(Channel.SLACK), system.receive(Channel.EMAIL)

        def meanwhile(call: str) -> None:
            if call == MAIL and system.updated != STAGES[1]:
                system.updated = STAGES[1]
                assert system.consume(Channel.SLACK, posts) == []

        system.injector.outage = meanwhile
        with system.injector.invocation():
            assert system.consume(Channel.EMAIL, mails) == []
        system.updated = STAGES[-1]
        system.settle()
        assert (system.status(request_id), system.arrivals("[both]")) == ("delivered", (1, 1))


def test_a_mail_that_bounces_a_second_time_after_the_upgrade_fails_the_request() -> None:
    with world() as system:
        request_id = queued(system, "[mail]", "mailed")
        system.attempt(Channel.EMAIL, request_id)
        system.bounce(request_id)
        system.redrive(Channel.EMAIL)
        system.later(A_MINUTE)
        system.attempt(Channel.EMAIL, request_id)
        system.updated = STAGES[NEW]
        system.later(A_MINUTE)
        system.bounce(request_id)
        assert (system.status(request_id), system.arrivals("[mail]")) == ("failed", (0, 2))
        assert len(system.dead_letters(Channel.EMAIL)) == 1


def test_a_resent_mail_of_version_1_that_bounces_only_after_the_upgrade_fails_the_request() -> None:
    with world() as system:
        request_id = queued(system, "[mail]", "mailed")
        system.attempt(Channel.EMAIL, request_id)
        system.bounce(request_id)
        system.enqueue(Channel.EMAIL, message(system, request_id, force=str(uuid.uuid4())))
        system.attempt(Channel.EMAIL, request_id)
        assert system.status(request_id) == "delivered"
        system.updated = STAGES[NEW]
        system.later(A_MINUTE)
        system.bounce(request_id)
        assert (system.status(request_id), system.arrivals("[mail]")) == ("failed", (0, 2))
        assert len(system.dead_letters(Channel.EMAIL)) == 2


def test_a_bot_gets_the_callback_that_version_1_retried_although_its_message_gets_lost() -> None:
    with world() as system:
        request_id = callback_retrying(system, "[lost]")
        system.later(A_MINUTE)
        system.lose(CALLBACK, request_id)
        system.updated = STAGES[-1]
        system.later(A_MINUTE)
        system.sweep()
        system.later(OVERDUE)
        assert system.sweep()["ledger"]["lost"] == [request_id]
        system.travel(2)
        assert system.dead_letters(CALLBACK) == []
        assert [json.loads(call.body)["type"] for call in system.bot.calls] == ["assistance_request.delivered"] * 2
        assert len({call.id for call in system.bot.calls}) == 1


def resend(system: World, request_id: str) -> None:
    system.enqueue(Channel.SLACK, message(system, request_id, force=str(uuid.uuid4())))


def resend_without_an_answer(system: World, request_id: str) -> None:
    resend(system, request_id)
    system.slack.fail("drop", times=1)
    system.attempt(Channel.SLACK, request_id)


def resend_whose_consumer_dies(system: World, request_id: str) -> None:
    resend(system, request_id)
    system.killed(Channel.SLACK, request_id, POST, Kind.CRASH_AFTER)


def resend_without_an_answer_before_another(system: World, request_id: str) -> None:
    resend_without_an_answer(system, request_id)
    resend(system, request_id)
    system.attempt(Channel.SLACK, request_id)
    assert system.arrivals("[one]") == (3, 0)


@pytest.mark.parametrize(
    ("send", "arrives"),
    [
        (resend_without_an_answer, 2),
        (resend_whose_consumer_dies, 2),
        (resend_without_an_answer_before_another, 3),
    ],
)
def test_a_resend_of_version_1_that_is_in_doubt_is_searched_for_before_it_is_sent_again(
    send: Callable[[World, str], None], arrives: int
) -> None:
    with world() as system:
        request_id = delivered(system, "[one]")
        send(system, request_id)
        system.updated = STAGES[-1]
        system.settle()
        assert (system.arrivals("[one]"), system.dead_letters(Channel.SLACK)) == ((arrives, 0), [])
