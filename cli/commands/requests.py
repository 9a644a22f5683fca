"""`assistance send`, `status`, `watch`, `list` and `resend`: send requests, and show how far their delivery is."""

import sys
import uuid
from datetime import timedelta
from time import monotonic, sleep
from typing import Annotated, Final

import typer

from assistance.domain.record import Status
from assistance.history import RequestRecord
from assistance.platform.clock import utc_now
from assistance.routing import Channel
from cli import hints, render, requests
from cli.errors import Failure
from cli.options import Json, RequestId, WithDescription, Yes, confirm, duration, stack_of
from cli.stack import Stack

app = typer.Typer()
_POLL_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 900


@app.command(epilog="Example: assistance --local status 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def status(
    context: typer.Context, request_id: RequestId, with_description: WithDescription = False, json: Json = False
) -> None:
    """Show one request and every attempt to deliver it."""
    record = requests.find(stack_of(context).requests(), request_id)
    if json:
        render.print_json(render.request_document(record, with_description=with_description))
    else:
        render.request(record, with_description=with_description)
        render.note_error_codes(delivery.last_error for delivery in record.deliveries)


@app.command(epilog='Example: assistance --local send sales "A quote for 40 seats" --watch')
def send(
    context: typer.Context,
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", help="The request's topic. If the topic is unknown, the error lists the valid topics."
        ),
    ],
    description: Annotated[
        str, typer.Argument(metavar="DESCRIPTION", help="The customer's text; '-' reads it from standard input.")
    ],
    *,
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="To repeat a call whose answer got lost, pass the key that its error message names.",
        ),
    ] = None,
    watch_: Annotated[
        bool, typer.Option("--watch", help="Then follow the request as 'assistance watch' does.")
    ] = False,
    json: Json = False,
) -> None:
    """Send a request as a bot does, through the API and with the API key."""
    stack = stack_of(context)
    text = sys.stdin.read() if description == "-" else description
    accepted = requests.send(stack, {"topic": topic, "description": text}, key or str(uuid.uuid4()))
    if watch_:
        _follow(stack, accepted["id"], _PATIENCE_SECONDS, json=json)
    elif json:
        render.print_json(accepted)
    else:
        render.console().print(accepted["id"])


@app.command(epilog="Example: assistance --local watch 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def watch(
    context: typer.Context,
    request_id: RequestId,
    seconds: Annotated[
        int, typer.Option("--timeout", min=1, metavar="SECONDS", help="Maximum time to wait.")
    ] = _PATIENCE_SECONDS,
    json: Json = False,
) -> None:
    """Follow a request: print a line for each event until it is delivered (exit status 0) or has failed (1).

    If a resend of the request is not finished, the command waits for the resend, too.
    """
    _follow(stack_of(context), request_id, seconds, json=json)


def _follow(stack: Stack, request_id: str, seconds: float, *, json: bool) -> None:
    table, deadline = stack.requests(), monotonic() + seconds
    record = requests.find(table, request_id)
    request_id = record.request.id
    if not json:
        render.note(f"Request: {request_id}")

    def pause() -> bool:
        sleep(_POLL_SECONDS)
        return monotonic() < deadline

    def read() -> RequestRecord:
        nonlocal record
        record = requests.find(table, request_id)
        return record

    for step in requests.follow(read, pause):
        render.step(step, json=json)
    if record.status is not Status.DELIVERED:
        last = "has failed" if record.status is Status.FAILED else f"is still {record.status} after {seconds:.0f} s"
        raise Failure(f"the request {last}: '{hints.command('status', request_id)}' shows all its attempts")


@app.command("list", epilog="Example: assistance --local list --status failed --status retrying --since 1d")
def list_(
    context: typer.Context,
    *,
    statuses: Annotated[
        list[Status] | None, typer.Option("--status", help="Only requests with this status; may be repeated.")
    ] = None,
    since: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="AGE", help="Only requests accepted within this time: 90s, 5m, 2h, 7d."),
    ] = "1h",  # type: ignore[assignment] # typer parses it
    older: Annotated[
        timedelta,
        typer.Option(
            "--older-than", parser=duration, metavar="AGE", help="Only requests accepted at least this long ago."
        ),
    ] = "0s",  # type: ignore[assignment] # typer parses it
    untaken: Annotated[bool, typer.Option("--untaken", help="Only requests that nobody has taken.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="NUMBER", help="Maximum number of requests.")] = 50,
    json: Json = False,
) -> None:
    """List requests by status and age, newest first."""
    now = utc_now()
    answer = requests.search(
        stack_of(context).requests(),
        since=now - since,
        before=now - older,
        statuses=frozenset(statuses or ()),
        untaken=untaken,
        limit=limit,
    )
    found = answer.records
    if json:
        render.print_json([render.request_document(record, with_description=False) for record in found])
    elif found:
        render.requests(found)
    else:
        render.note("No request matches. A longer --since includes older requests.")
    for why in answer.unreadable:
        render.note(f"Left out a request that can't be read: {why}.")
    if len(found) == limit:
        render.note(f"These are the newest {limit} requests; there may be more: see --limit.")


@app.command(epilog="Example: assistance --local resend 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f --channel slack")
def resend(
    context: typer.Context,
    request_id: RequestId,
    channel: Annotated[Channel, typer.Option(help="The channel to send it by.")],
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send a request by a channel once more, even if it has been delivered. The message says that it is a repeat.

    Each run of this command sends one message, even if the queue hands it to the consumer twice. 'status' shows the
    resend as a separate delivery. The command refuses while the request, or its fallback, is on its way by the channel.
    """
    stack = stack_of(context)
    if channel not in stack.channels():
        raise Failure(f"the stack {stack.name} has no channel {channel}: it has {', '.join(stack.channels())}")
    table = stack.requests()
    record = requests.find(table, request_id)
    if record.record.erased_at is not None:
        raise requests.erased(record.request.id)
    if is_pending(record, channel):
        raise requests.still_on_its_way(record.request.id, channel)
    own = (each for each in record.deliveries if not (each.resend or each.escalation))
    delivery = next((each for each in own if each.channel == channel), None)
    so_far = delivery.status if delivery else "not tried"
    request_id = record.request.id
    confirm(f"Send request {request_id} ({record.request.topic}) by {channel}? Until now: {so_far}.", yes=yes)
    act = str(uuid.uuid4())
    # Print the audit line first, so that it exists even if the answer from AWS gets lost.
    render.audit("resend", act=act, request_id=request_id, channel=channel, operator=stack.operator_or_unknown())
    requests.resend(table, request_id, channel, act)
    if json:
        render.print_json({"act": act, "request_id": request_id, "channel": channel})
        return
    follow = hints.command("watch", request_id)
    render.console().print(f"Resend {act} by {channel} is in the outbox: '{follow}' follows it.", soft_wrap=True)


def is_pending(record: RequestRecord, channel: Channel) -> bool:
    """Whether the request still has to be delivered by that channel."""
    return any(each.destination == channel for each in record.record.pending)
