"""Tests that the model checker detects each deliberately inserted bug."""

from collections.abc import Mapping
from typing import Final

import pytest

from tests.model.mistakes import MISTAKES, made
from tests.model.walk import walk
from tests.model.worlds import SMALL

SOONEST: Final[Mapping[str, str]] = {
    "an attempt that died leaves no doubt": "two channels",
    "an attempt that failed in doubt leaves no doubt": "a mail that comes back",
    "the first doubt alone counts": "lost messages and a slow sweep",
    "a mail that came back still counts as delivered": "a mail that comes back twice",
    "a request that failed on one channel waits for the other": "lost messages and a slow sweep",
    "a redrive that delivers on one channel takes the failure back": "two channels without a fallback",
    "a claim that the SDK repeats is refused": "two channels",
    "a lock stops nobody": "a worker that records too late",
    "a fallback does not look whether a human has the request": "a worker that records too late",
    "a fallback does not wait for a redrive": "a mail that comes back after both failed",
    "a redrive does not wait for the fallback": "a worker that records too late",
    "a redrive does not wait for a resend": "two channels without a fallback",
    "what was sent is dropped when the claim has passed on": "an escalation",
    "doubt does not settle before the next attempt": "a resend",
    "a fallback does not search for the message of an escalation in doubt": (
        "an escalation and a mail that comes back"
    ),
    "a failure has no fallback": "lost messages and a slow sweep",
    "a mail that came back has no second fallback": "a mail that comes back twice",
    "a fallback is redriven for a channel that has delivered": "a worker that records too late",
    "the bot gets only one callback": "an erasure and a mail that comes back",
    "the bot gets the same callback again": "a bot with callbacks about takes",
    "a callback gets the time of a clock that is slow": "a bot with callbacks about takes",
    "the bot gets a callback before the request has ended": "a mail that comes back",
    "a dead letter found late overrules an attempt under way": "two channels",
    "a mark takes what has entered the outbox since": "a mail that comes back twice",
    "an attempt that exhausts the budget is made": "two crashes in a row",
    "a fallback that is wanted again keeps the attempts that it had used": "an erasure and humans",
    "a fallback that is wanted again names the channel that failed first": (
        "a channel that fails after another was reached"
    ),
    "what is erased is sent all the same": "an erasure",
    "what is erased is resent": "an erasure",
    "what is erased goes to its fallback": "an erasure of what was resent, and a mail that comes back",
    "what is erased gets a fallback": "an erasure and a mail that comes back",
    "a request is erased while it is on its way": "an erasure",
    "what an erasure stops reads as being sent": "an erasure",
    "the escalation is claimed although a human has taken the request": "an erasure and humans",
    "a request that a human has taken is escalated": "an escalation",
    "a request is escalated by every sweep": "an escalation",
    "what was cancelled reads as being sent": "an escalation that Slack posts",
    "what was cancelled is due once it is published": "an escalation",
    "what is published again reads as being sent": "an escalation",
    "a resend does not wait for a redrive": "two channels without a fallback",
    "a second human takes over": "two humans",
    "a take that the SDK repeats after its release takes again": "an escalation",
    "a take does not prove that its message has arrived": "an escalation and a mail that comes back",
    "a release that the SDK repeats ends a later take": "two humans",
    "the fallback does not wait for an escalation": "an escalation and a mail that comes back",
    "nobody notices that a callback gets lost": "a bot with callbacks about takes",
    "the callback of a take hides the end": "a bot with callbacks about takes",
}
"""The world to check first, because it shows the bug after few states. Other worlds may show it too."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_model_checker_detects_each_deliberately_inserted_bug(mistake: str) -> None:
    worlds = sorted(SMALL, key=lambda name: name != SOONEST.get(mistake))
    with made(MISTAKES[mistake]) as core:
        assert any(walk(SMALL[name], core=core).wrong for name in worlds)
