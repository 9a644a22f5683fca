"""`assistance console`: serves the console, the web page that `make run` also has, for a deployed stage."""

import threading
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from cli import render
from cli.options import WithDescription, stack_of
from cli.stack import Stack
from console.actions import Actions
from console.cost import Meter
from console.reader import Reader
from console.server import DEFAULT_PORT, Site, serving

POLL_MS: Final = 10_000


def console(
    context: typer.Context,
    *,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Also allow redrive, resend, take, release and discard. Each asks for the stack's name."
        ),
    ] = False,
    with_description: WithDescription = False,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="The port on 127.0.0.1. If it is in use, another one is chosen.")
    ] = DEFAULT_PORT,
) -> None:
    """Serve a web page on 127.0.0.1 with this stack's requests, their history and the dead letters. Ctrl-C stops it.

    While its tab is visible, the page reads every ten seconds with your credentials. It shows what these reads cost.
    """
    stack = stack_of(context)
    with serving(site(stack, write=write, with_description=with_description), port) as address:
        render.note(f"The console of {stack.name}{'' if write else ' (it can only read)'}. Press Ctrl-C to stop it.")
        render.console().print(address, soft_wrap=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            render.note("The console has stopped.")


def site(stack: Stack, *, write: bool, with_description: bool) -> Site:
    """The web page about a stack. `write`: offer actions, too. `with_description`: show the customers' texts, too."""
    meter = Meter(stack.session)
    reader = Reader(stack, texts=with_description)

    def state(given: Mapping[str, str]) -> dict[str, Any]:
        return {**reader.state(given), "cost": meter.document()}

    return Site(
        stage={**reader.stage(), "local": False, "write": write, "poll_ms": POLL_MS},
        state=state,
        request=reader.request,
        acts=Actions(stack, reader.dead, operator=stack.operator_or_unknown()).by_name() if write else {},
        confirm=stack.name,
        start=f"assistance --stack {stack.name} console",
    )
