"""The worlds that the model checker visits. Each is a request, and how often each kind of fault may happen to it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from assistance.domain.record import Record
from assistance.domain.transitions import first
from tests.model.world import World


def world(
    *channels: str, fallback: str | None, calls_back: bool = False, escalates: bool = False, **troubles: int
) -> World:
    """A request for these channels that was just accepted. `escalates`: the time to take it is already over.

    `troubles`: how often each kind of fault or action may happen, by the field of `World`.
    """
    escalate_at = 0 if escalates else None
    record = first(Record("sales", 0, 0, channels, fallback, calls_back=calls_back, escalate_at=escalate_at))
    return World(record)._replace(**troubles)  # type: ignore[arg-type]


# The smallest world is first.
SMALL: Final[Mapping[str, World]] = MappingProxyType(
    {
        "messages that come twice": world("slack", fallback="email", fault=1, duplicate=2, redrive=1),
        "a worker that records too late": world("slack", fallback="email", duplicate=1, slow=1, fault=1),
        "lost messages and a slow sweep": world("slack", fallback="email", fault=1, lose=1, stale=1, redrive=1),
        "another Slack channel": world("slack", fallback=None, fault=2, crash=1, move=1),
        "two humans": world("slack", fallback=None, take=2, release=1, fault=1),
        "a bot with callbacks about takes": world("slack", fallback=None, calls_back=True, take=1, release=1),
        "an escalation": world("slack", fallback="email", escalates=True, take=1, release=1, fault=1),
        "an escalation that Slack posts": world("email", fallback="slack", escalates=True, take=1, fault=1, crash=1),
        "an escalation without a fallback": world("slack", fallback=None, escalates=True),
        "an escalation and a mail that comes back": world(
            "email", fallback="slack", escalates=True, bounce=1, fault=1, take=1
        ),
        "a take during doubt": world("slack", fallback="email", take=1, fault=1, crash=1, duplicate=1, redrive=1),
        "two channels": world("slack", "email", fallback="teams", fault=1, redrive=1, bounce=1),
        "a request that expires": world("slack", fallback="email", calls_back=True, fault=1, crash=1, expire=1),
        "two channels without a fallback": world("slack", "email", fallback=None, fault=1, redrive=1, resend=1),
        "two channels that fail, and a resend": world("slack", "email", fallback=None, fault=2, redrive=1, resend=1),
        "two crashes in a row": world("slack", fallback="email", crash=2),
        "a fault, a crash and a redrive": world("slack", fallback="email", fault=2, crash=1, redrive=1),
        "a mail that comes back twice": world("email", fallback="slack", bounce=2, redrive=2, resend=1),
        "a fallback that is wanted again": world("email", fallback="slack", bounce=2, resend=1, crash=1),
        "a mail that comes back after both failed": world("email", fallback="slack", fault=2, redrive=2, bounce=1),
        "two channels and a fallback that fails": world("slack", "email", fallback="teams", fault=2, redrive=2),
        "a mail that comes back": world("email", fallback="slack", calls_back=True, bounce=1, redrive=1, fault=1),
        "a resend": world("slack", fallback="email", calls_back=True, fault=1, resend=1, crash=1),
        "a mail of the fallback that comes back": world(
            "slack", fallback="email", fault=1, redrive=1, resend=1, bounce=1
        ),
        "an erasure": world("slack", fallback="email", fault=1, crash=1, redrive=1, resend=1, erase=1),
        "an erasure and a mail that comes back": world(
            "email", fallback="slack", calls_back=True, bounce=1, redrive=1, erase=1
        ),
        "an erasure of what was resent, and a mail that comes back": world(
            "email", fallback="slack", fault=1, resend=1, bounce=1, erase=1
        ),
        "an erasure while a second attempt runs": world(
            "slack", fallback="email", take=1, erase=1, crash=1, slow=1, duplicate=1
        ),
        "an erasure and humans": world("slack", fallback="email", escalates=True, take=1, release=1, erase=1),
        "a channel that fails after another was reached": world(
            "teams", "email", fallback="slack", fault=1, resend=1, bounce=1
        ),
    }
)

EFFECTS: Final = 1_000
"""In how many states of a small world the tests check what each event records. More would take too long."""

LARGE: Final[Mapping[str, World]] = MappingProxyType(
    {
        "two faults": world("slack", fallback="email", calls_back=True, fault=2, crash=1, redrive=1),
        "two channels and two faults": world("slack", "email", fallback="teams", calls_back=True, fault=2, redrive=1),
        "lost messages": world(
            "slack", fallback="email", calls_back=True, fault=1, crash=1, lose=1, stale=1, redrive=1
        ),
        "a mail that comes back, and a resend": world(
            "email", fallback="slack", calls_back=True, bounce=1, crash=1, redrive=1, resend=1
        ),
        "a fallback that is wanted again after two crashes": world(
            "email", fallback="slack", bounce=2, resend=1, crash=2
        ),
        "two crashes": world("slack", fallback="email", fault=2, crash=2, duplicate=1, redrive=1),
        "messages that come twice, and a resend": world(
            "slack", fallback="email", calls_back=True, fault=1, duplicate=2, redrive=1, resend=1
        ),
        "two humans and an escalation": world(
            "slack", fallback="email", escalates=True, fault=1, crash=1, redrive=1, take=2, release=1
        ),
    }
)
"""Worlds with more than 400,000 states together."""

HUGE: Final[Mapping[str, World]] = MappingProxyType(
    {
        "three faults": world("slack", fallback="email", calls_back=True, fault=3, crash=1, redrive=2),
        "two channels": world(
            "slack", "email", fallback="teams", calls_back=True, fault=2, bounce=1, crash=1, redrive=1
        ),
        "another Slack channel": world("slack", fallback=None, calls_back=True, fault=3, crash=2, move=1, redrive=1),
        "everything once": world(
            "slack",
            fallback="email",
            calls_back=True,
            fault=1,
            crash=1,
            duplicate=1,
            redrive=1,
            resend=1,
            lose=1,
            slow=1,
        ),
        "a mail that comes back": world(
            "email", fallback="slack", calls_back=True, fault=1, bounce=2, crash=1, redrive=2, resend=1
        ),
        "a channel that fails after another was reached": world(
            "email", "teams", fallback="slack", calls_back=True, fault=2, resend=1, bounce=1
        ),
        "humans": world(
            "slack", fallback="email", calls_back=True, escalates=True, fault=1, crash=1, redrive=1, take=2, release=1
        ),
    }
)
"""Worlds that only `make soak` checks."""

TRACED: Final[Mapping[str, World]] = MappingProxyType(
    {
        "slack-then-email": world(
            "slack",
            fallback="email",
            calls_back=True,
            fault=4,
            crash=2,
            duplicate=2,
            redrive=2,
            resend=1,
            lose=1,
            slow=1,
        ),
        "email-then-slack": world(
            "email", fallback="slack", calls_back=True, fault=3, crash=1, duplicate=1, redrive=2, resend=1, bounce=2
        ),
        "slack-and-email": world("slack", "email", fallback=None, fault=4, crash=2, lose=2, redrive=2, bounce=1),
        "slack-alone": world("slack", fallback=None, calls_back=True, fault=4, crash=2, move=1, redrive=2, lose=1),
        "expiring": world(
            "slack", fallback="email", calls_back=True, fault=2, crash=2, duplicate=1, redrive=1, resend=1, expire=1
        ),
    }
)
"""The worlds from which sequences of steps are drawn, by topic."""
