"""Explains error codes in words, and what an operator does about each.

The kinds come from the tables that the consumers use, so a channel that somebody adds needs no entry here.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from assistance.failures import Kind, Table
from assistance.routing import CALLBACK, Channel

_KINDS: Final = MappingProxyType(
    {
        Kind.PERMANENT: ("refused for good", "Put right what it names, then redrive the dead letter."),
        Kind.TRANSIENT: ("a passing fault", "Nothing to do while attempts are left: each waits longer than the last."),
        Kind.IN_DOUBT: (
            "a passing fault that leaves doubt: the message may have arrived",
            "Nothing to do while attempts are left: where the provider can be asked, the next one asks first.",
        ),
        Kind.RATE_LIMITED: ("turned away, for too much was sent", "Nothing to do: the next attempt waits its turn."),
    }
)
_NOT_FOUND: Final = "The channel is not there, or the bot is not in it"
_TOKEN: Final = ("Slack does not accept the bot's token", "Store a valid token in the stage's secret, then redrive.")
# The codes that operators meet most, and those that no provider's table holds.
_CODES: Final = MappingProxyType(
    {
        "MessageRejected": (
            "SES rejected the mail: a sender, or in the sandbox a recipient, is not verified",
            "Verify the address in SES or leave its sandbox, then redrive.",
        ),
        "account_inactive": _TOKEN,
        "address_not_public": ("the bot's address is a private one", "Have the bot give a public callback_url."),
        "bounce_permanent": ("the mailbox does not exist", "Correct email_recipients, then resend."),
        "bounce_transient": ("the mailbox was full, or refused the mail", "Ask its owner, then resend."),
        "bounce_undetermined": ("the recipient's server returned the mail without a reason", "Resend it."),
        "channel_not_found": (_NOT_FOUND, "Invite the bot, or correct the channel's id, then redrive."),
        "complaint": ("the recipient marked the mail as spam", "Ask the recipient, then resend."),
        "connection_error": ("the connection failed", "Nothing to do while attempts are left."),
        "dead_lettered": ("its consumer died, or never ran, until the queue gave up", "Read its log, then redrive."),
        "dns_error": ("the host's name is unknown", "Check the address."),
        "invalid_auth": _TOKEN,
        "is_archived": ("the Slack channel is archived", "Unarchive it, or route the topic elsewhere, then redrive."),
        "malformed_message": ("no consumer can read the message", "Look at it, then discard it."),
        "not_authed": _TOKEN,
        "not_in_channel": (_NOT_FOUND, "Invite the bot to the channel, then redrive."),
        "reject": ("SES found a virus in the mail", "Look at what the bot said."),
        "slack_token_unavailable": ("the secret holds no token", "Store Slack's token in the stage's secret."),
        "timeout": ("no answer came in time", "Nothing to do while attempts are left."),
        "token_expired": _TOKEN,
        "token_revoked": _TOKEN,
        "unexpected_answer": ("the answer can't be read", "Nothing to do while attempts are left."),
        "unknown_version": ("a later version wrote the message", "Deploy that version again, then redrive."),
    }
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """An error in words. `kind` is none where no table holds the code."""

    code: str
    kind: str | None
    means: str
    to_do: str


def meaning(code: str | None, channel: str | None = None) -> Meaning | None:
    """Explain the code on that channel. None for no code."""
    if code is None:
        return None
    table = next((table for table in tables(channel) if code in table.kinds), None)
    kind = table.kinds[code] if table else _status(code)
    means, to_do = _KINDS[kind] if kind else ("no table knows this code", "Look it up in the consumer's log.")
    if table and code in table.notes:
        means = f"{means}: {table.notes[code]}"
    means, to_do = _CODES.get(code, (means, to_do))
    return Meaning(code, kind, means, to_do)


def _status(code: str) -> Kind | None:
    """Classify an HTTP status that no table names."""
    if not code.startswith("http_"):
        return None
    return Kind.IN_DOUBT if code.startswith("http_5") else Kind.TRANSIENT


@cache
def tables(channel: str | None) -> tuple[Table, ...]:
    """The errors of that channel's provider."""
    return tuple(_tables(channel))


def _tables(channel: str | None) -> Iterator[Table]:
    if channel in set(Channel) and channel != CALLBACK:
        yield from importlib.import_module(f"{channel}_consumer.failures").TABLES
