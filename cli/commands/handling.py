"""`assistance take` and `release`: who handles a request."""

from typing import Annotated

import typer

from assistance.platform.clock import timestamp_of
from cli import render, requests, takes
from cli.operations import Json, RequestId, stack_of

app = typer.Typer()


@app.command(epilog='Example: assistance --local take 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f --as "Anna"')
def take(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="The human who handles it: others and the bot see this name.")
    ],
    json: Json = False,
) -> None:
    """Take a request for a human, unless somebody has it."""
    table = stack_of(context).requests()
    taken = takes.take(table, requests.named(table, request_id).request.id, name)
    if json:
        render.print_json({"id": taken.take.id, "by": name, "via": takes.VIA, "at": timestamp_of(taken.take.at)})
    else:
        render.console().print(f"{name} has it now.", markup=False)


@app.command(epilog="Example: assistance --local release 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def release(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Who releases it: the bot is told this name.")
    ] = "an operator",
    json: Json = False,
) -> None:
    """Release a request that somebody has taken, so that another human can take it."""
    table = stack_of(context).requests()
    had = takes.release(table, requests.named(table, request_id).request.id, name)
    if json:
        render.print_json({"released": had})
    else:
        render.console().print(f"{had} no longer has it.", markup=False)
