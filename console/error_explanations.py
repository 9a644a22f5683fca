"""Explains error codes, and says what an operator can do about each.

The consumers' tables say whether a code means a permanent or a transient failure, so a new channel needs no entry in
this module.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from assistance.failures import Kind, Table
from assistance.routing import CALLBACK, Channel
from console.notes import NOTES

_KINDS: Final = MappingProxyType(
    {
        Kind.PERMANENT: ("refused for good", "Correct what the code names, then redrive the dead letter."),
        Kind.TRANSIENT: (
            "a temporary failure",
            "Nothing to do while attempts are left; the delay before each is longer than the last.",
        ),
        Kind.IN_DOUBT: (
            "a temporary failure with an unknown result: the message may have arrived",
            "Nothing to do while attempts are left; if the provider supports it, the next one first searches for it.",
        ),
        Kind.RATE_LIMITED: (
            "refused by a rate limit",
            "Nothing to do: the next attempt waits until the limit allows it.",
        ),
    }
)
_NOT_FOUND: Final = "the Slack channel does not exist, or the bot is not a member"
_TOKEN: Final = ("Slack does not accept the bot's token", "Store a valid token in the stage's secret, then redrive.")
# The most frequent codes, and those that are in no consumer's table.
_CODES: Final = MappingProxyType(
    {
        "MessageRejected": (
            "SES rejected the mail: a sender, or in the sandbox a recipient, is not verified",
            "Verify the address in SES or leave its sandbox, then redrive.",
        ),
        "account_inactive": _TOKEN,
        "address_not_public": (
            "the callback_url leads to a private address",
            "Let the bot send a public callback_url.",
        ),
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
        "malformed_message": ("no consumer can read the message", "Read it with 'dead-letters show', then discard it."),
        "not_authed": _TOKEN,
        "not_in_channel": (_NOT_FOUND, "Invite the bot to the channel, then redrive."),
        "reject": ("SES found a virus in the mail", "Check the texts that the bot sent."),
        "slack_token_unavailable": ("the secret holds no token", "Store Slack's token in the stage's secret."),
        "timeout": ("no answer came in time", "Nothing to do while attempts are left."),
        "token_expired": _TOKEN,
        "token_revoked": _TOKEN,
        "unexpected_answer": ("the provider's answer can't be parsed", "Nothing to do while attempts are left."),
        "unknown_version": ("a later version wrote the message", "Deploy that version again, then redrive."),
    }
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """An explained error code. `kind` is None if the code is in no consumer's table."""

    code: str
    kind: str | None
    means: str
    to_do: str


def meaning(code: str | None, channel: str | None = None) -> Meaning | None:
    """Explain an error code. `channel`: the one whose consumer's tables have the code. None if `code` is None."""
    if code is None:
        return None
    table = next((table for table in tables(channel) if code in table.kinds), None)
    kind = table.kinds[code] if table else _status(code)
    means, to_do = _KINDS[kind] if kind else ("an unknown code", "Search for it in the consumer's log.")
    if table and (note := NOTES.get(channel or "", {}).get(code)):
        means = f"{means}: {note}"
    means, to_do = _CODES.get(code, (means, to_do))
    return Meaning(code, kind, means, to_do)


def _status(code: str) -> Kind | None:
    """The kind of failure for an HTTP status that is in no table, such as `http_418`."""
    if not code.startswith("http_"):
        return None
    return Kind.IN_DOUBT if code.startswith("http_5") else Kind.TRANSIENT


@cache
def tables(channel: str | None) -> tuple[Table, ...]:
    """The tables of error codes that the channel's consumer uses. Empty for None and for callbacks."""
    return tuple(_tables(channel))


def _tables(channel: str | None) -> Iterator[Table]:
    if channel in set(Channel) and channel != CALLBACK:
        yield from importlib.import_module(f"{channel}_consumer.failures").TABLES
