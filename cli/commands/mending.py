"""`assistance heartbeat`, `secrets`, `failures` and `items`: repairs that the runbook describes."""

import sys
from typing import Annotated, Final

import typer

from assistance.engine.heartbeat import EVENT
from assistance.errors import Unreadable
from assistance.platform.clock import timestamp_of
from assistance.platform.secret import MAX_AGE_SECONDS
from assistance.routing import Channel
from assistance.store.schema import LEDGER, LOOKED, REQUEST, SORT_KEY
from cli import failures as failures_
from cli import hints, render
from cli import secrets as secrets_
from cli.errors import Failure
from cli.failures import Of
from cli.operations import Json, Operations, WithDescription, Yes, at_a_terminal, confirm, stack_of

app = typer.Typer()
secrets = typer.Typer(
    cls=Operations, no_args_is_help=True, help="Tokens and keys of the functions: list and store them."
)
failures = typer.Typer(
    cls=Operations,
    no_args_is_help=True,
    help="Events that the stream's producer or the email feedback could not process: list, retry, discard them.",
)
items = typer.Typer(
    cls=Operations, no_args_is_help=True, help="Items of the table that no function can read: show and delete them."
)
app.add_typer(secrets, name="secrets")
app.add_typer(failures, name="failures")
app.add_typer(items, name="items")

OneOf = Annotated[Of, typer.Argument(metavar="WHOSE", help="stream or email_feedback.")]
ItemKey = Annotated[str, typer.Argument(metavar="KEY", help="The partition key: of a request, its id.")]
_OURS: Final = frozenset({LEDGER, LOOKED})


@app.command(epilog="Example: assistance --local heartbeat slack")
def heartbeat(
    context: typer.Context,
    channel: Annotated[Channel, typer.Argument(metavar="CHANNEL", help="slack, email or teams.")],
    json: Json = False,
) -> None:
    """Let a channel's consumer check its provider and settings now, as it does every hour. Nobody gets a message."""
    stack = stack_of(context)
    if channel not in stack.channels():
        raise Failure(f"the stack {stack.name} has no channel {channel}: it has {', '.join(stack.channels())}")
    broken = stack.invoke(f"{channel}_consumer", {EVENT: True})["broken"]
    if json:
        render.print_json({"channel": channel, "broken": broken})
    if broken is None:
        raise Failure(f"{channel} does not answer: '{hints.command('logs', f'{channel}_consumer')}' says why")
    if broken:
        raise Failure(f"{channel} is broken ({', '.join(broken)}): docs/failures.md says what each code means")
    if not json:
        render.console().print(f"{channel}: nothing is broken.")


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
    name: Annotated[str, typer.Argument(metavar="NAME", help="As 'secrets list' shows it, such as slack-token.")],
    *,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Keep the current key valid, too: for callback, slack-signing and take.")
    ] = False,
    json: Json = False,
) -> None:
    """Store a secret, read from standard input or from a prompt, if its function can use it.

    Functions use it within five minutes, or at once if the current value is unusable.
    """
    stack = stack_of(context)
    typed = typer.prompt("Value (not shown)", hide_input=True, err=True) if at_a_terminal() else sys.stdin.read()
    value = secrets_.checked(stack, name, typed, keep_old=keep_old)
    render.audit("set a secret", secret=name, operator=stack.operator_or_unknown())
    secrets_.store(stack, name, value)
    if json:
        render.print_json({"secret": name, "used_within_seconds": MAX_AGE_SECONDS})
    else:
        render.console().print(
            f"Stored. Functions use it within {MAX_AGE_SECONDS // 60} minutes, "
            "or at once if they can't use the one they have."
        )


@failures.command("list", epilog="Example: assistance --local failures list email_feedback")
def list_failures(context: typer.Context, of: OneOf, json: Json = False) -> None:
    """List the failed events, oldest first. Their content is not shown, since it may name recipients."""
    found = failures_.find(stack_of(context), of)
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
    render.table(f"Failures of {of}", ("id", "reason", "age"), rows)
    if not found:
        render.say("There are none.")


@failures.command(epilog="Example: assistance --local failures retry email_feedback")
def retry(context: typer.Context, of: OneOf, json: Json = False) -> None:
    """Process the failed events again, and delete those that succeed.

    stream: a sweep of the reconciler publishes the requests. email_feedback: the function gets each event again.
    """
    stack = stack_of(context)
    render.audit("retry failures", of=of, operator=stack.operator_or_unknown())
    _tell(list(failures_.retried(stack, of)), "retried", json=json)


@failures.command(epilog="Example: assistance --local failures discard email_feedback")
def discard(context: typer.Context, of: OneOf, yes: Yes = False, json: Json = False) -> None:
    """Delete the failed events for good. Asks first.

    The stream's requests are still in the outbox. Bounces in events of the email feedback are lost.
    """
    stack = stack_of(context)
    confirm(f"Delete what {of} of {stack.title} failed on?", yes=yes)
    render.audit("discard failures", of=of, operator=stack.operator_or_unknown())
    _tell(list(failures_.discarded(stack, of)), "discarded", json=json)


def _tell(dealt: list[failures_.Processed], done: str, *, json: bool) -> None:
    problems = [f"{each.failed.dead_letter.message_id}: {each.problem}" for each in dealt if each.problem]
    if json:
        render.print_json({done: len(dealt) - len(problems), "problems": problems})
    else:
        for problem in problems:
            render.say(problem)
        render.console().print(f"{len(dealt) - len(problems)} {done}, {len(problems)} not.")
    if problems:
        raise typer.Exit(1)


@items.command(epilog="Example: assistance --local items show 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def show(context: typer.Context, key: ItemKey, with_description: WithDescription = False, json: Json = False) -> None:
    """Show the items with that key: each attribute and its type, and values only with --with-description."""
    found = stack_of(context).requests().items.of(key)
    rows = [
        (str(item[SORT_KEY]), name, type(value).__name__, str(value) if with_description else None)
        for item in found
        for name, value in sorted(item.items())
    ]
    columns = ("item", "attribute", "type", "value")
    if json:
        render.print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        render.table("Items", columns, rows)
    else:
        render.say(f"There is no item with the key {key}.")


@items.command(epilog="Example: assistance --local items delete 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def delete(
    context: typer.Context,
    key: ItemKey,
    *,
    only: Annotated[
        str | None, typer.Option(metavar="ITEM", help="Only this item, such as RECORD. Its messages may be sent again.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete the items with that key, for good, if no function can read them. Asks first.

    It never deletes a readable request.
    """
    stack = stack_of(context)
    requests = stack.requests()
    found = [str(item[SORT_KEY]) for item in requests.items.of(key) if only in (None, item[SORT_KEY])]
    if key in _OURS:
        raise Failure(f"{key} is the reconciler's: it mends that by itself")
    if not found:
        raise Failure(f"there is no such item with the key {key}")
    try:
        if requests.get(key) is not None:
            raise Failure(f"request {key} can be read, so nothing was deleted: 'erase' removes what it said")
    except Unreadable as error:
        render.say(f"It can't be read: {error}.")
    if only == REQUEST:
        raise Failure("without its request a record stays open for ever: delete all of them, without --only")
    confirm(f"Delete {', '.join(found)} of {key} in {stack.title} for good?", yes=yes)
    render.audit("delete items", key=key, items=", ".join(found), operator=stack.operator_or_unknown())
    requests.items.delete(key, found)
    if json:
        render.print_json({"deleted": found})
    else:
        render.console().print(f"Deleted: {', '.join(found)}.")
