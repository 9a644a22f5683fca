"""`assistance take`, `release` and `erase`: what people do with a request."""

from typing import Annotated

import typer

from assistance.platform.clock import timestamp_of
from cli import erasure, render, requests, takes
from cli.errors import Failure
from cli.options import Json, RequestId, Yes, confirm, stack_of

app = typer.Typer()


def _name(text: str) -> str:
    """Parse a person's name. Raises `typer.BadParameter` for a name that `takes.name` refuses."""
    try:
        return takes.name(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command(epilog='Example: assistance --local take 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f --as "Anna"')
def take(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[
        str,
        typer.Option(
            "--as",
            parser=_name,
            metavar="NAME",
            help="The person who takes the request. Others and the bot see the name.",
        ),
    ],
    json: Json = False,
) -> None:
    """Take a request in a person's name. Fails if somebody has taken it already."""
    stack = stack_of(context)
    table = stack.requests()
    id_ = requests.find(table, request_id).request.id
    render.audit("take", request_id=id_, name=name, operator=stack.operator_or_unknown())
    taken = takes.take(table, id_, name)
    if json:
        render.print_json({"id": taken.take.id, "by": name, "via": takes.VIA, "at": timestamp_of(taken.take.at)})
    else:
        render.console().print(f"{name} has taken the request.", markup=False)


@app.command(epilog="Example: assistance --local release 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def release(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[
        str,
        typer.Option(
            "--as", parser=_name, metavar="NAME", help="The person who releases the request. The bot gets this name."
        ),
    ] = "an operator",
    json: Json = False,
) -> None:
    """Release a request that somebody has taken, so that another person can take it."""
    stack = stack_of(context)
    table = stack.requests()
    id_ = requests.find(table, request_id).request.id
    render.audit("release", request_id=id_, name=name, operator=stack.operator_or_unknown())
    had = takes.release(table, id_, name)
    if json:
        render.print_json({"released": had})
    else:
        render.console().print(f"{had} no longer has the request: others can take it.", markup=False)


@app.command(epilog="Example: assistance --local erase 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def erase(context: typer.Context, request_id: RequestId, yes: Yes = False, json: Json = False) -> None:
    """Erase the texts of a request for good, from the table and the dead letters. Asks first.

    It erases the description, the customer, the conversation, the reference and the details, and keeps statuses, times,
    attempts and takes. It lists the places that it can't erase. The request must be delivered or have failed: a message
    on its way would still contain the texts.
    """
    stack = stack_of(context)
    table = stack.requests()
    record = requests.find(table, request_id)
    id_ = record.request.id
    confirm(
        f"Erase the texts of request {id_} ({record.request.topic}, {record.status}) of {stack.title} for good?",
        yes=yes,
    )
    render.audit("erase", request_id=id_, operator=stack.operator_or_unknown())
    erased = erasure.erase(stack, table, id_)
    if json:
        render.print_json(erased.document())
    else:
        render.erased(erased)
    if erased.problems:
        raise Failure(
            f"not all dead letters are deleted ({'; '.join(erased.problems)}): run the command again in a minute"
        )
