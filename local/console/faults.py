"""A switch for each channel that makes its provider slow, fail or refuse."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from assistance.routing import Channel
from cli.errors import Failure
from local import ses_faults, webhooks
from local.stack import Stack

Fault: TypeAlias = dict[str, Any]

# The states of a provider that the page offers, and for each the fault to switch on in the local Slack server.
SLACK: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "fine": {"kind": "none"},
        # Shorter than the consumer's timeout, and long enough to kill the consumer's process during the call.
        "slow": {"kind": "slow", "seconds": 6},
        "rate_limited": {"kind": "rate_limited", "retry_after": 5},
        "failing": {"kind": "status", "status": 503},
        "refusing": {"kind": "error", "error": "is_archived"},
    }
)
EMAIL: Final[Mapping[str, Fault]] = MappingProxyType(
    {"fine": {"kind": "none"}, **{kind: {"kind": kind} for kind in ses_faults.FAULTS if kind != "none"}}
)
WEBHOOK: Final[Mapping[str, Fault]] = MappingProxyType(
    {"fine": {"kind": "none"}, **{kind: {"kind": kind} for kind in webhooks.FAULTS if kind != "none"}}
)


@dataclass(frozen=True, slots=True)
class Switch:
    """The switch of one channel's provider: the possible faults, a function that sets one, and the current one."""

    faults: Mapping[str, Fault]
    fail: Callable[[Fault], None]
    current: Callable[[], Fault]

    def set(self, kind: str) -> None:
        """Switch on the fault with this name; `fine` is no fault. Raises `KeyError` for an unknown name."""
        self.fail(self.faults[kind])

    @property
    def kind(self) -> str | None:
        """The name of the current fault, or None if a script has set a fault that the page does not offer."""
        kind = self.current()["kind"]
        return next((name for name, fault in self.faults.items() if fault["kind"] == kind), None)


def switches(stack: Stack, channels: list[Channel]) -> dict[str, Switch]:
    """A switch for each of these channels, by channel, except for Slack if the stack uses the real Slack."""
    return {channel: switch for channel in channels if (switch := _switch(stack, channel))}


def _switch(stack: Stack, channel: Channel) -> Switch | None:
    if channel == Channel.EMAIL:
        return Switch(
            EMAIL, lambda fault: _fail_ses(stack, fault), lambda: stack.cloud.call("GET", ses_faults.CONTROL).json
        )
    if channel == Channel.SLACK:
        server = stack.slack.server
        return Switch(SLACK, server.workspace.fail, lambda: server.workspace.fault) if server else None
    faults = stack.webhooks.faults
    return Switch(
        WEBHOOK,
        lambda fault: faults.update({channel: fault["kind"]}),
        lambda: {"kind": faults.get(channel, "none")},
    )


def _fail_ses(stack: Stack, fault: Fault) -> None:
    answer = stack.cloud.call("PUT", ses_faults.CONTROL, fault)
    if answer.status != HTTPStatus.OK:
        raise Failure(f"the fault was refused: {answer.status}")
