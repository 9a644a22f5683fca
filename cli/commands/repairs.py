"""`assistance heartbeat`, `secrets`, `failures` and `items`: repairs that the runbook describes."""

import sys
from contextlib import suppress
from decimal import Decimal
from json import dumps
from types import NoneType
from typing import Annotated, Final

import typer

from assistance.domain import transitions
from assistance.engine.heartbeat import EVENT
from assistance.errors import Unreadable
from assistance.platform.clock import timestamp_of
from assistance.platform.secret import MAX_AGE_SECONDS
from assistance.routing import Channel
from assistance.store.items import Item
from assistance.store.requests import ERASED, RequestGone, Requests
from assistance.store.schema import LEDGER, PARTITION_KEY, PROGRESS, RECORD, REQUEST, SORT_KEY
from cli import failed_events as failures_
from cli import hints, render
from cli import secrets as secrets_
from cli.errors import Failure
from cli.failed_events import Source, Unread
from cli.options import CommandGroup, Json, WithDescription, Yes, at_a_terminal, confirm, stack_of

app = typer.Typer()
secrets = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Tokens and keys that the Lambda functions use: list or store them."
)
failures = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Events that a function could not process: list, retry or discard them. SOURCE: 'stream' (stream producer) "
    "or 'email_feedback' (SES's events about mails).",
)
items = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Damaged items of the table, which no function can read: show or delete.",
)
app.add_typer(secrets, name="secrets")
app.add_typer(failures, name="failures")
app.add_typer(items, name="items")

OneOf = Annotated[
    Source,
    typer.Argument(
        metavar="SOURCE",
        help="stream: events of the table's stream that the stream producer could not process. "
        "email_feedback: events of SES about sent mails that the email feedback could not process.",
    ),
]


def _key(text: str) -> str:
    """Parse a partition key. Raises `typer.BadParameter` for an empty one, such as an unset variable."""
    if not text:
        raise typer.BadParameter("the key is empty: pass a complete id, as the log line has it")
    return text


ItemKey = Annotated[
    str, typer.Argument(metavar="KEY", parser=_key, help="The item's partition key. For a request, this is its id.")
]
_TITLES: Final = {Source.STREAM: "the stream producer", Source.EMAIL_FEEDBACK: "the email feedback"}
_TYPES: Final = {str: "string", Decimal: "number", bool: "boolean", dict: "map", NoneType: "null"}
_RECONCILERS: Final = frozenset({LEDGER, PROGRESS})


@app.command(epilog="Example: assistance --local heartbeat slack")
def heartbeat(
    context: typer.Context,
    channel: Annotated[Channel, typer.Argument(metavar="CHANNEL", help=f"One of {', '.join(Channel)}.")],
    json: Json = False,
) -> None:
    """Let a channel's consumer check its provider and its settings now, as it does every hour.

    No human gets a message. The email consumer sends a mail to SES's mailbox simulator.
    """
    stack = stack_of(context)
    if channel not in stack.channels():
        raise Failure(f"the stack {stack.name} has no channel {channel}: it has {', '.join(stack.channels())}")
    broken = stack.invoke(f"{channel}_consumer", {EVENT: True})["broken"]
    if json:
        render.print_json({"channel": channel, "broken": broken})
    if broken is None:
        raise Failure(
            f"the provider of {channel} does not answer: '{hints.command('logs', f'{channel}_consumer')}' says why"
        )
    if broken:
        raise Failure(f"{channel} can't deliver ({', '.join(broken)}): docs/failures.md explains each code")
    if not json:
        render.console().print(f"{channel}: the check found no problem.")


@secrets.command("list", epilog="Example: assistance --local secrets list")
def list_secrets(context: typer.Context, json: Json = False) -> None:
    """List the names of the secrets. 'doctor' checks whether the functions can use their values."""
    found = secrets_.names(stack_of(context))
    if json:
        render.print_json(found)
    else:
        render.table("Secrets", ("name", "arn"), found.items())


@secrets.command("set", epilog="Example: assistance --local secrets set slack-token < token.txt")
def set_secret(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The secret's name from 'secrets list', such as slack-token.")
    ],
    *,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old", help="Also keep the current key valid. Only for the secrets callback, slack-signing and take."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Read a secret's new value from standard input or a prompt, check its format, and store it.

    Running functions use the new value within five minutes, or at once if they can't use the current value.
    """
    stack = stack_of(context)
    try:
        typed = typer.prompt("Value (not shown)", hide_input=True, err=True) if at_a_terminal() else sys.stdin.read()
    except UnicodeDecodeError:
        raise Failure("nothing was stored: the value is not UTF-8") from None
    value = secrets_.check(stack, name, typed, keep_old=keep_old)
    render.audit("set a secret", secret=name, operator=stack.operator_or_unknown())
    secrets_.store(stack, name, value)
    if json:
        render.print_json({"secret": name, "used_within_seconds": MAX_AGE_SECONDS})
    else:
        render.console().print(
            f"Stored. Running functions use the new value within {MAX_AGE_SECONDS // 60} minutes, "
            "or at once if they can't use the previous one."
        )


@failures.command("list", epilog="Example: assistance --local failures list email_feedback")
def list_failures(context: typer.Context, of: OneOf, json: Json = False) -> None:
    """List the failed events of SOURCE, oldest first, without their content, because it may name recipients."""
    found, unread = failures_.find(stack_of(context), of)
    _note_unread(unread)
    if json:
        render.print_json(
            [
                {
                    "id": each.dead_letter.message_id,
                    "reason": each.reason,
                    "sent_at": timestamp_of(each.dead_letter.sent_at),
                }
                for each in found
            ]
        )
        return
    rows = ((each.dead_letter.message_id[:8], each.reason, render.age(each.dead_letter.sent_at)) for each in found)
    render.table(f"Failed events of {_TITLES[of]}", ("id", "reason", "age"), rows)
    if not (found or unread.hidden):
        render.note(f"There are no failed events of {_TITLES[of]}.")


@failures.command(epilog="Example: assistance --local failures retry email_feedback")
def retry(context: typer.Context, of: OneOf, json: Json = False) -> None:
    """Process the failed events of SOURCE again, and delete those that succeed.

    stream: the reconciler publishes the requests from the outbox. email_feedback: the Lambda function is called again
    with each event.
    """
    stack = stack_of(context)
    render.audit("retry failures", of=of, operator=stack.operator_or_unknown())
    unread = Unread()
    _print_results(list(failures_.retry(stack, of, unread)), unread, "retried", json=json)


@failures.command(epilog="Example: assistance --local failures discard email_feedback")
def discard(context: typer.Context, of: OneOf, yes: Yes = False, json: Json = False) -> None:
    """Delete the failed events of SOURCE for good. Asks first.

    stream: no request is lost, because the requests are still in the outbox. email_feedback: the bounces and delivery
    reports in the events are lost.
    """
    stack = stack_of(context)
    confirm(f"Delete the failed events of {of} in the stack {stack.title} for good?", yes=yes)
    render.audit("discard failures", of=of, operator=stack.operator_or_unknown())
    unread = Unread()
    _print_results(list(failures_.discard(stack, of, unread)), unread, "discarded", json=json)


def _note_unread(unread: Unread) -> None:
    if unread.beyond:
        render.note(
            f"There are about {unread.beyond} more failed events. A command reads at most {failures_.MAX_READ} of a "
            "queue: retry or discard some, then run the command again."
        )
    if unread.hidden:
        render.note(
            f"Another reader holds about {unread.hidden} more failed events, so they can't be read now. "
            "Run the command again in half a minute."
        )


def _print_results(dealt: list[failures_.Processed], unread: Unread, done: str, *, json: bool) -> None:
    problems = [f"{each.failed.dead_letter.message_id}: {each.problem}" for each in dealt if each.problem]
    # `counted` exits if there is a problem.
    _note_unread(unread)
    render.counted(done, len(dealt) - len(problems), problems, "failed", json=json)
    if unread.hidden or unread.beyond:
        raise typer.Exit(1)


@items.command(epilog="Example: assistance --local items show 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def show(context: typer.Context, key: ItemKey, with_description: WithDescription = False, json: Json = False) -> None:
    """Show the table's items with this key: each attribute's name and type; with --with-description, also its value."""
    found = stack_of(context).requests().items.of(key)
    rows = [
        (
            str(item[SORT_KEY]),
            name,
            _TYPES.get(type(value), type(value).__name__),
            *([_text(value)] if with_description else []),
        )
        for item in found
        for name, value in sorted(item.items())
    ]
    columns = ("item", "attribute", "type", *(["value"] if with_description else []))
    if json:
        render.print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        render.table("Items", columns, rows)
        if not with_description:
            render.note("The values are hidden, since they may be a customer's words: --with-description shows them.")
    else:
        render.note(f"There is no item with the key {key}: pass a complete id, as the log line has it.")


def _text(value: object) -> str:
    """The value of an attribute: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> int | str:
    """A number without a fraction as an integer; any other value that JSON does not know as a text."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)


def _refuse_harm(requests: Requests, key: str, only: str | None, stored: list[Item]) -> None:
    """Raise `Failure` unless the items that are to be deleted exist, and deleting them mends what can't be read."""
    if key in _RECONCILERS:
        raise Failure(f"the items of {key} belong to the reconciler, which repairs them itself")
    if all(only not in {None, item[SORT_KEY]} for item in stored):
        raise Failure(
            f"there is no such item with the key {key}: {hints.command('items', 'show', key)!r} lists its items"
        )
    try:
        if requests.get(key) is not None:
            raise Failure(f"request {key} can be read, so nothing was deleted: 'assistance erase' removes its texts")
    except Unreadable as error:
        render.note(f"The request can't be read: {error}.")
    if only == REQUEST:
        raise Failure(
            "without the REQUEST item, the RECORD item would stay open for ever: delete all items, without --only"
        )
    if only == RECORD:
        try:
            kept = requests.from_items([item for item in stored if item[SORT_KEY] != RECORD])
        except Unreadable as error:
            # The record says what was sent. Without it the deliveries begin anew once the REQUEST item is repaired.
            raise Failure(
                f"the REQUEST item can't be read ({error}), so nothing was deleted: without the RECORD item, the "
                "messages would be sent again after a repair"
            ) from None
        if kept and kept.request.description == ERASED:
            # Only the record keeps the consumers from sending what is left of the request.
            raise Failure(f"somebody has erased request {key}: delete all items, without --only")


@items.command(epilog="Example: assistance --local items delete 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def delete(
    context: typer.Context,
    key: ItemKey,
    *,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="ITEM", help="Delete only this item, such as RECORD; the request's messages may then be sent again."
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete the table's items with this key for good. Asks first.

    The command refuses to delete a request that the functions can read.
    """
    stack = stack_of(context)
    requests = stack.requests()
    stored = requests.items.of(key)
    found = [str(item[SORT_KEY]) for item in stored if only in (None, item[SORT_KEY])]
    _refuse_harm(requests, key, only, stored)
    confirm(f"Delete {', '.join(found)} of {key} in {stack.title} for good?", yes=yes)
    render.audit("delete items", key=key, items=", ".join(found), operator=stack.operator_or_unknown())
    for sort_key in found:
        requests.items.table.delete_item(Key={PARTITION_KEY: key, SORT_KEY: sort_key})
    if only == RECORD:
        # The reconciler no longer watches a finished request. Without this, it would not send the request again.
        with suppress(RequestGone):
            requests.update(key, transitions.watch)
    if json:
        render.print_json({"deleted": found})
    else:
        render.console().print(f"Deleted: {', '.join(found)}.")
