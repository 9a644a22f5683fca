"""`assistance dead-letters`: list, show, redrive, discard."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.progress import Progress

from assistance.routing import DESTINATIONS
from cli import dead_letter_queues, delivered_channels, render
from cli.dead_letter_queues import Act, Found, QueuedDeadLetter
from cli.delivered_channels import DeliveredChannels
from cli.options import CommandGroup, Json, WithDescription, Yes, confirm, stack_of
from cli.stack import Stack

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Messages that a channel could not deliver: list, show, redrive (send to their queue again) or discard them.",
    epilog="Example: assistance --local dead-letters list",
)

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="The id of a request or a message, or at least its first 8 characters, as 'list' shows it.",
    ),
]
if TYPE_CHECKING:
    Destination: TypeAlias = str
else:
    # Typer takes the choices from an enum.
    Destination = StrEnum("Destination", {name.upper(): str(name) for name in DESTINATIONS})
OneChannel = Annotated[Destination | None, typer.Option("--channel", help="Only dead letters of this channel.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters; with --channel, all of that channel.")]


@app.command("list", epilog="Example: assistance --local dead-letters list --channel slack")
def list_(context: typer.Context, channel: OneChannel = None, json: Json = False) -> None:
    """List the dead letters of all channels, oldest first, and which channels have delivered their requests anyway.

    Kind 'delivery': the channel's consumer gave up. Kind 'subscription': SNS could not pass the message to the
    channel's queue. Delivered by 'no channel': nobody has received the request. The command removes nothing.
    """
    stack = stack_of(context)
    found = dead_letter_queues.find(stack, stack.dlqs(channel))
    delivered = _delivered_channels(stack, found.dead_letters)
    if json:
        render.print_json([render.dead_letter_document(letter, delivered) for letter in found.dead_letters])
    elif found.dead_letters:
        render.dead_letters(found.dead_letters, delivered)
        render.note_error_codes(letter.dead_letter.reason for letter in found.dead_letters)
    elif not found.hidden:
        render.note("There are no dead letters.")
    _note_hidden(found)


@app.command(epilog="Example: assistance --local dead-letters show 2f9d41c0")
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of a request or a message, or its beginning.")],
    with_description: WithDescription = False,
    json: Json = False,
) -> None:
    """Show a dead letter, the reason why the delivery failed, and the attempts to deliver its request."""
    stack = stack_of(context)
    chosen = dead_letter_queues.select(dead_letter_queues.find(stack, stack.dlqs()), [id_])
    request_id = chosen[0].dead_letter.request_id
    record = stack.requests().get(request_id) if request_id else None
    if json:
        request = record and render.request_document(record, with_description=with_description)
        documents = [render.dead_letter_document(letter, _delivered_channels(stack, chosen)) for letter in chosen]
        render.print_json({"dead_letters": documents, "request": request})
        return
    render.dead_letters(chosen, _delivered_channels(stack, chosen))
    if record:
        render.request(record, with_description=with_description)
        render.note_error_codes(letter.dead_letter.reason for letter in chosen)
    else:
        render.note("The table does not hold the request of this dead letter: it has expired, or its id can't be read.")


@app.command(epilog="Example: assistance --local dead-letters redrive --all --channel slack")
def redrive(
    context: typer.Context,
    ids: Ids = None,
    *,
    channel: OneChannel = None,
    all_: All = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send dead letters to their channel's queue again: those named by ID, or --all.

    If that channel or the fallback has delivered the request meanwhile, the consumer does not send it again.
    Unreadable dead letters stay. Those of expired requests stay too, because no consumer would send them.
    """
    stack = stack_of(context)
    chosen = _chosen(stack, ids, channel, all_=all_)
    if all_ and chosen:
        confirm(f"Redrive {_counted(chosen)}?", yes=yes)
    _audit(stack, "redrive dead letters", chosen, channel, all_=all_)
    _process(stack, chosen, dead_letter_queues.redriver(stack), "redriven", all_=all_, json=json)


@app.command(epilog="Example: assistance --local dead-letters discard 2f9d41c0")
def discard(
    context: typer.Context,
    ids: Ids = None,
    *,
    channel: OneChannel = None,
    all_: All = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete dead letters for good: those named by ID, or --all.

    After that, only 'assistance resend' can still deliver their requests by that channel.
    """
    stack = stack_of(context)
    chosen = _chosen(stack, ids, channel, all_=all_)
    if chosen:
        if not json:
            render.dead_letters(chosen, _delivered_channels(stack, chosen))
        confirm(f"Delete {_counted(chosen)} for good?", yes=yes)
    _audit(stack, "discard dead letters", chosen, channel, all_=all_)
    _process(stack, chosen, dead_letter_queues.discarder(stack), "discarded", all_=all_, json=json)


def _chosen(stack: Stack, ids: list[str] | None, channel: str | None, *, all_: bool) -> list[QueuedDeadLetter]:
    if bool(ids) == all_:
        raise typer.BadParameter("Either name dead letters by ID, as 'dead-letters list' shows them, or pass --all.")
    found = dead_letter_queues.find(stack, stack.dlqs(channel))
    if ids:
        return dead_letter_queues.select(found, ids)
    _note_hidden(found)
    return found.dead_letters


def _audit(stack: Stack, act: str, chosen: list[QueuedDeadLetter], channel: str | None, *, all_: bool) -> None:
    """Print who redrives or discards which dead letters; nothing if there are none."""
    if chosen:
        ids = f"all of {channel}" if all_ and channel else "all" if all_ else ", ".join(each.id for each in chosen)
        render.audit(act, ids=ids, operator=stack.operator_or_unknown())


def _process(stack: Stack, chosen: list[QueuedDeadLetter], act: Act, done: str, *, all_: bool, json: bool) -> None:
    if not chosen:
        if json:
            render.print_json({done: 0, "problems": []})
        render.note("There are no dead letters.")
        return
    succeeded, problems, met = 0, list[str](), set[str]()
    console = render.console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Working", total=len(chosen))
        for queue in dict.fromkeys(letter.queue for letter in chosen):
            here = frozenset(letter.id for letter in chosen if letter.queue == queue)
            # The command has read only a part of a longer queue: there, `None` processes all dead letters. In a shorter
            # queue, those that have arrived since stay, because nobody has seen them.
            ids = None if all_ and len(here) >= dead_letter_queues.MAX_READ else here
            for outcome in dead_letter_queues.process(stack, queue, ids, act):
                met.add(outcome.dead_letter.id)
                progress.advance(task)
                if outcome.problem:
                    problems.append(f"{outcome.dead_letter.id}: {outcome.problem}")
                else:
                    succeeded += 1
    problems += [f"{each.id}: no longer there, or another reader holds it" for each in chosen if each.id not in met]
    render.counted(done, succeeded, problems, "skipped", json=json)


def _delivered_channels(stack: Stack, found: list[QueuedDeadLetter]) -> DeliveredChannels:
    return delivered_channels.read(stack.requests(), (each.dead_letter.request_id for each in found))


def _counted(chosen: list[QueuedDeadLetter]) -> str:
    at_least = "at least " if len(chosen) >= dead_letter_queues.MAX_READ else ""
    return f"{at_least}{len(chosen)} dead letter{'' if len(chosen) == 1 else 's'}"


def _note_hidden(found: Found) -> None:
    if found.beyond:
        render.note(f"There are about {found.beyond} more dead letters: redrive or discard some of these first.")
    if found.hidden:
        render.note(
            f"Another reader holds about {found.hidden} more dead letters, so they can't be read now. "
            "Run the command again in half a minute."
        )
