"""Serves the console of the local stack."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cli import hints
from cli.stack import Stack as Deployed
from console.actions import Actions as Operators
from console.reader import Reader
from console.search import Query
from console.server import Site
from console.server import serving as served
from local.console.actions import Actions
from local.console.panes import mail, panes
from local.stack import Stack

POLL_MS = 500


@contextmanager
def serving(stack: Stack) -> Iterator[str]:
    """Serve this stack's console while the context is entered. The value is the console's address, with its token."""
    hints.remember("--local")
    reader = Reader(deployed(stack), texts=True)
    # Reader and actions get separate sessions, because boto3's sessions are not thread-safe.
    acts, channels = Actions(stack, deployed(stack)), reader.stack.channels()

    def state(given: Mapping[str, str]) -> dict[str, Any]:
        found = reader.state(given)
        return {
            **found,
            # Without a search, the list shows these requests anyway: read them once.
            "moving": reader.newest()
            if Query.of(given) != Query() or found["page"] is None
            else found["page"]["requests"],
            "panes": panes(stack, channels),
            "switches": acts.switches(),
        }

    site = Site(
        stage={
            **reader.stage(),
            "local": True,
            "write": True,
            "poll_ms": POLL_MS,
            "api_url": stack.api_url,
            "api_key": stack.api_key,
        },
        state=state,
        request=reader.request,
        acts={**acts.by_name(), **Operators(deployed(stack), reader.dead).by_name()},
        mail=lambda message_id: mail(stack, message_id),
    )
    with served(site) as address:
        yield address


def deployed(stack: Stack) -> Deployed:
    """Convert the running stack to the command line's type `Stack`, with a new boto3 session."""
    return Deployed(stack.name, stack.cloud.new_session(), stack.cloud.url, stack.outputs)
