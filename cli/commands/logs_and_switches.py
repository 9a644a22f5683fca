"""`assistance logs`, `enable` and `disable`: read logs, and stop or start parts of the stack."""

from dataclasses import asdict
from datetime import timedelta
from functools import partial
from time import monotonic, sleep
from typing import Annotated, Final

import typer

from assistance.platform.clock import utc_now
from assistance.routing import CALLBACK, Channel
from cli import logs as logs_
from cli import render, requests
from cli.dead_letters import Destination
from cli.errors import Failure
from cli.options import Json, Yes, confirm, duration, stack_of
from cli.switches import Part, switch

app = typer.Typer()

# Lambda takes up to a minute to start or stop polling a source.
_PATIENCE_SECONDS: Final = 90
_POLL_SECONDS: Final = 1
OnePart = Annotated[
    Part,
    typer.Argument(
        metavar="PART",
        help="stream: publishing from the table's stream. reconciler: its schedule. consumer: a channel's deliveries. "
        "heartbeat: a channel's hourly check.",
    ),
]
OneDestination = Annotated[
    Destination | None,
    typer.Argument(
        metavar="NAME",
        help=f"For consumer and heartbeat, the channel: {', '.join(Channel)}; for consumer also {CALLBACK}.",
    ),
]


@app.command(epilog="Example: assistance --local logs slack_consumer --since 1h --severe")
def logs(
    context: typer.Context,
    function: Annotated[
        str | None,
        typer.Argument(
            metavar="FUNCTION",
            help="A function's folder in functions/, such as slack_consumer. Default: all functions.",
        ),
    ] = None,
    *,
    since: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="AGE", help="Only lines logged within this time: 90s, 5m, 2h, 7d."),
    ] = "1h",  # type: ignore[assignment] # typer parses it
    request: Annotated[
        str | None,
        typer.Option(metavar="REQUEST_ID", help="Only lines about this request, by default of all functions."),
    ] = None,
    severe: Annotated[bool, typer.Option("--severe", help="Only warnings, errors and time-outs.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="NUMBER", help="Maximum number of lines: the newest ones.")
    ] = 200,
    json: Json = False,
) -> None:
    """Show the functions' logs, oldest first. They never contain customers' texts or secrets.

    The command calls FilterLogEvents of CloudWatch Logs, for which AWS lists no price. A long period takes a while.
    """
    stack = stack_of(context)
    known = sorted(stack.functions())
    if function is not None and function not in known:
        raise Failure(f"there is no function {function}: choose one of {', '.join(known)}")
    about = None if request is None else requests.find(stack.requests(), request).request.id
    found, more = logs_.read(
        stack, [function] if function else known, since=utc_now() - since, containing=about, only_severe=severe,
        limit=limit,
    )  # fmt: skip
    if json:
        render.print_json([asdict(line) for line in found])
    for line in () if json else found:
        render.log_line(line)
    if not found:
        render.note("No line matches. A longer --since includes older lines.")
    if more:
        render.note(f"There are more lines: these are the newest {limit}; see --limit.")


@app.command(epilog="Example: assistance --local enable consumer slack")
def enable(context: typer.Context, part: OnePart, name: OneDestination = None, json: Json = False) -> None:
    """Start a part that 'disable' stopped: the stream, the reconciler, a channel's consumer or its hourly check."""
    _switch(context, part, name, on=True, yes=True, json=json)


@app.command(epilog="Example: assistance --local disable consumer slack")
def disable(
    context: typer.Context, part: OnePart, name: OneDestination = None, yes: Yes = False, json: Json = False
) -> None:
    """Stop a part: the stream, the reconciler, a channel's consumer or its hourly check. Asks first.

    While a part is stopped, the outbox keeps unpublished requests, and a queue keeps its messages for four days. Only
    'enable' starts the part again; a deployment does not.
    """
    _switch(context, part, name, on=False, yes=yes, json=json)


def _switch(context: typer.Context, part: Part, name: str | None, *, on: bool, yes: bool, json: bool) -> None:
    stack = stack_of(context)
    destinations = [*stack.channels(), *(["callback"] if part is Part.CONSUMER else [])]
    if part.of_a_channel != (name is not None) or (name and name not in destinations):
        raise Failure(
            f"name a channel after '{part}': this stack has {', '.join(destinations)}"
            if part.of_a_channel
            else f"pass no NAME with '{part}', because the stack has only one"
        )
    what = f"{part} {name}" if name else str(part)
    verb = "enable" if on else "disable"
    confirm(f"Stop {what} of {stack.title}?", yes=yes)
    render.audit(verb, part=what, operator=stack.operator_or_unknown())
    deadline = monotonic() + _PATIENCE_SECONDS
    before, after = switch(stack, part, name, on=on, wait=partial(_wait, deadline))
    if json:
        render.print_json({"part": what, "before": before, "after": after})
    else:
        render.console().print(f"{what}: {after}" + (", as before." if before == after else f" (was {before})."))
    if after != f"{verb}d":
        raise Failure(f"{what} is still {after} after {_PATIENCE_SECONDS} s: run the command again")


def _wait(deadline: float) -> bool:
    sleep(_POLL_SECONDS)
    return monotonic() < deadline
