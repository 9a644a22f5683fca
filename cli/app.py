"""`assistance`: the operator's command line.

Exit status: 0 done; 1 not, or not fully, done, and stderr says why; 2 the command was misspelt.
"""

import sys
import uuid
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Annotated, Final

import typer
from rich.progress import Progress

from assistance import ids
from assistance.history import RequestRecord
from assistance.models import Status
from assistance.platform.aws import AWS_ERRORS
from assistance.platform.clock import timestamp_of, utc_now
from assistance.routing import Channel
from assistance.store.requests import Requests
from cli import dead_letters, render, requests, takes
from cli import ledger as ledgers
from cli import slack_manifest as slack_manifests
from cli import smoke as smoke_tests
from cli import stack as stacks
from cli.doctor import examine
from cli.errors import Failure
from cli.findings import State
from cli.operations import Json, Operations, WithDescription, Yes, confirm, duration, stack_of
from cli.stack import Stack

app = typer.Typer(
    cls=Operations,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit status: 0 done, 1 not or not fully done, 2 misspelt. Example: assistance --local dead-letters list",
)
app.add_typer(dead_letters.app, name="dead-letters")

_POLL_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 900
# Longer than a cold start and the reconciler's first sweep together, should the stream be off.
_SMOKE_SECONDS: Final = 240
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID")]


@app.callback()
def main_(
    context: typer.Context,
    stack: Annotated[str, typer.Option(envvar="ASSISTANCE_STACK", help="The CloudFormation stack.")] = "assistance-dev",
    profile: Annotated[str | None, typer.Option(help="The AWS profile, instead of AWS_PROFILE.")] = None,
    region: Annotated[str | None, typer.Option(envvar="AWS_REGION", help="The AWS region.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The stack that 'make run' has running here.")] = False,
) -> None:
    """Operate the assistance stack: send, follow and list requests, deal with dead letters, check the deployment.

    Credentials, region and endpoint come from the ordinary AWS environment variables and profiles.
    """
    if local:
        for name in ("stack", "profile", "region"):
            source = context.get_parameter_source(name)
            if source and source.name == "COMMANDLINE":
                raise typer.BadParameter(f"it takes the stack of 'make run', and no --{name}", param_hint="--local")
    found = stacks.local if local else partial(stacks.deployed, stack, profile=profile, region=region)
    context.obj = found


@app.command(epilog="Example: assistance status 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def status(
    context: typer.Context, request_id: RequestId, with_description: WithDescription = False, json: Json = False
) -> None:
    """Show one request and every attempt to deliver it."""
    record = _record(stack_of(context).requests(), request_id)
    if json:
        render.print_json(render.request_document(record, with_description=with_description))
    else:
        render.request(record, with_description=with_description)


@app.command(epilog='Example: assistance send sales "A quote for 40 seats" --watch')
def send(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="What it is about; an unknown one is answered with those there are.")],
    description: Annotated[str, typer.Argument(help="What the customer wants; '-' reads it from standard input.")],
    *,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="To repeat a call: that of the first.")] = None,
    watch_: Annotated[bool, typer.Option("--watch", help="Then follow it, as 'assistance watch' does.")] = False,
    json: Json = False,
) -> None:
    """Send a request as a bot does, through the API and with its key."""
    stack = stack_of(context)
    text = sys.stdin.read() if description == "-" else description
    accepted = requests.send(stack, {"topic": topic, "description": text}, key or str(uuid.uuid4()))
    if watch_:
        _follow(stack, accepted["id"], _PATIENCE_SECONDS, json=json)
    elif json:
        render.print_json(accepted)
    else:
        render.console().print(accepted["id"])


@app.command(epilog="Example: assistance watch 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def watch(
    context: typer.Context,
    request_id: RequestId,
    seconds: Annotated[int, typer.Option("--timeout", min=1, help="Seconds after which to stop.")] = _PATIENCE_SECONDS,
    json: Json = False,
) -> None:
    """Follow a request, a line for every step, until it is delivered (exit status 0) or has failed (1).

    While a resend of it is on its way, follow that, too.
    """
    _follow(stack_of(context), request_id, seconds, json=json)


def _follow(stack: Stack, request_id: str, seconds: float, *, json: bool) -> None:
    table, deadline = stack.requests(), monotonic() + seconds

    def pause() -> bool:
        sleep(_POLL_SECONDS)
        return monotonic() < deadline

    for step in requests.watched(lambda: _record(table, request_id), pause):
        render.step(step, json=json)
    record = _record(table, request_id)
    if record.status is not Status.DELIVERED:
        last = "it has failed" if record.status is Status.FAILED else f"still {record.status} after {seconds:.0f} s"
        raise Failure(f"{last}: 'assistance status {record.request.id}' shows everything")


@app.command("list", epilog="Example: assistance list --status failed --status retrying --since 1d")
def list_(
    context: typer.Context,
    *,
    statuses: Annotated[list[Status] | None, typer.Option("--status", help="Only these; may be repeated.")] = None,
    since: Annotated[
        timedelta, typer.Option(parser=duration, metavar="AGE", help="Not older: 90s, 5m, 2h, 7d.")
    ] = "1h",  # type: ignore[assignment] # typer parses it
    older: Annotated[timedelta, typer.Option("--older-than", parser=duration, metavar="AGE", help="Older.")] = "0s",  # type: ignore[assignment] # as above
    untaken: Annotated[bool, typer.Option("--untaken", help="Only those that nobody has taken.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """List requests by status and age, newest first."""
    now = utc_now()
    answer = requests.listed(
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
        render.say("There are none. --since looks further back.")
    for why in answer.unreadable:
        render.say(f"Left out, as it can't be read: {why}.")
    if len(found) == limit:
        render.say(f"There may be more: these are the newest {limit}; see --limit.")


@app.command(epilog='Example: assistance take 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f --as "Anna"')
def take(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[str, typer.Option("--as", help="The human who handles it: others and the bot see this name.")],
    json: Json = False,
) -> None:
    """Take a request for a human, unless somebody has it."""
    table = stack_of(context).requests()
    taken = takes.take(table, _record(table, request_id).request.id, name)
    if json:
        render.print_json({"id": taken.take.id, "by": name, "via": takes.VIA, "at": timestamp_of(taken.take.at)})
    else:
        render.console().print(f"{name} has it now.", markup=False)


@app.command(epilog="Example: assistance release 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f")
def release(
    context: typer.Context,
    request_id: RequestId,
    name: Annotated[str, typer.Option("--as", help="Who releases it: the bot is told this name.")] = "an operator",
    json: Json = False,
) -> None:
    """Release a request that somebody has taken, so that another human can take it."""
    table = stack_of(context).requests()
    had = takes.release(table, _record(table, request_id).request.id, name)
    if json:
        render.print_json({"released": had})
    else:
        render.console().print(f"{had} no longer has it.", markup=False)


@app.command(epilog="Example: assistance doctor")
def doctor(context: typer.Context, json: Json = False) -> None:
    """Check what a deployment leaves to people: tokens, scopes, senders, subscriptions, what is switched on."""
    findings = []
    for finding in examine(stack_of(context)):
        findings.append(finding)
        if not json:
            render.finding(finding)
    if json:
        render.print_json([asdict(finding) for finding in findings])
    bad = [finding for finding in findings if finding.state is not State.OK]
    if bad:
        raise Failure(f"{len(bad)} of {len(findings)} checks did not pass")


@app.command(epilog="Example: assistance smoke --timeout 60")
def smoke(
    context: typer.Context,
    seconds: Annotated[int, typer.Option("--timeout", min=1, help="Seconds after which to stop.")] = _SMOKE_SECONDS,
    json: Json = False,
) -> None:
    """Send a request per topic that says it is a test, and watch it until humans have it (exit status 0) or not (1).

    Each must arrive on its own channels: a delivery by the fallback does not pass.
    """
    stack, deadline = stack_of(context), monotonic() + seconds

    def pause() -> bool:
        sleep(_POLL_SECONDS)
        return monotonic() < deadline

    results = []
    for result in smoke_tests.run(stack, pause):
        results.append(result)
        if not json:
            render.smoke(result)
    if json:
        render.print_json([asdict(result) for result in results])
    bad = [result.topic for result in results if result.problem]
    if bad:
        raise Failure(
            f"{len(bad)} of {len(results)} topics did not pass: 'assistance doctor' says what is missing, "
            "'assistance status' shows a request; mend that, and run this again"
        )


@app.command(epilog="Example: assistance resend 019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f --channel slack")
def resend(
    context: typer.Context,
    request_id: RequestId,
    channel: Annotated[Channel, typer.Option(help="Where to send it.")],
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send a request once more, although it has been delivered. 'status' shows the resend as a delivery of its own.

    Each run is an act of its own, sent once however often the queue delivers it. The message says that it is a repeat.
    While the request is still on its way by that channel, nothing is resent.
    """
    stack = stack_of(context)
    if channel not in stack.channels():
        raise Failure(f"the stack {stack.name} has no channel {channel}: it has {', '.join(stack.channels())}")
    table = stack.requests()
    record = _record(table, request_id)
    if channel in record.pending:
        raise requests.still_on_its_way(record.request.id, channel)
    delivery = record.delivery(channel)
    so_far = delivery.status if delivery else "not tried"
    confirm(f"Send request {record.request.id} ({record.request.topic}) by {channel}? Until now: {so_far}.", yes=yes)
    act = str(uuid.uuid4())
    # Before it is sent: an act whose answer is lost is on record too.
    render.audit("resend", act=act, request_id=record.request.id, channel=channel, operator=_operator(stack))
    requests.resend(table, record.request.id, channel, act)
    if json:
        render.print_json({"act": act, "request_id": record.request.id, "channel": channel})
        return
    render.console().print(
        f"Put into the outbox for {channel}, as resend {act}: 'assistance watch {record.request.id}' follows it."
    )


@app.command(epilog="Example: assistance ledger --since 7d")
def ledger(
    context: typer.Context,
    *,
    since: Annotated[
        timedelta, typer.Option(parser=duration, metavar="AGE", help="Accepted no longer ago than: 90s, 5m, 2h, 7d.")
    ] = "1d",  # type: ignore[assignment] # typer parses it
    json: Json = False,
) -> None:
    """Show that every request accepted since then is accounted for, and what a sweep would put right.

    Changes nothing. Reads every request of that time.
    """
    stack = stack_of(context)
    balance, answer = _balance(stack.requests(), since), stack.reconcile(dry_run=True)
    if json:
        render.print_json({**balance.document(), "dry_run": answer})
        return
    render.balance(balance)
    render.sweep(answer)


def _balance(table: Requests, since: timedelta) -> ledgers.Balance:
    until = utc_now()
    console = render.console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Counting", total=since.total_seconds())

        def tell(moment: str) -> None:
            age = until - datetime.fromisoformat(moment)
            progress.update(task, completed=(since - age).total_seconds())

        return ledgers.counted(table, until - since, until, tell)


@app.command(epilog="Example: assistance reconcile --dry-run")
def reconcile(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Run the reconciler now, instead of with its next sweep."""
    answer = stack_of(context).reconcile(dry_run=dry_run)
    if json:
        render.print_json(answer)
    elif answer.get("under_way"):
        raise Failure("a sweep is under way just now: try again in a minute")
    else:
        render.sweep(answer)


@app.command(epilog="Example: assistance slack-manifest | pbcopy")
def slack_manifest(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="What the app is called in Slack.")] = "Assistance",
) -> None:
    """Print the manifest of the Slack app for this stack: paste it at https://api.slack.com/apps?new_app=1."""
    if not 1 <= len(name) <= slack_manifests.MAX_NAME:
        raise typer.BadParameter(f"Slack takes 1 to {slack_manifests.MAX_NAME} characters", param_hint="--name")
    url = stack_of(context).outputs.get("SlackInteractionsUrl")
    render.print_json(slack_manifests.manifest(name, url))
    if url is None:
        render.console(stderr=True).print("Without buttons: this stack is deployed without take=true.")


def _record(requests: Requests, request_id: str) -> RequestRecord:
    try:
        canonical = ids.request_id(request_id)
    except ValueError:
        raise Failure(f"{request_id} is no request's id: it is the 'id' that the API answered with") from None
    record = requests.get(canonical)
    if record is None:
        raise Failure(f"there is no request {canonical}: check the id and the --stack")
    return record


def _operator(stack: Stack) -> str:
    try:
        return stack.operator()
    except AWS_ERRORS:
        # Not worth failing for.
        return "unknown"


def main() -> None:
    """Run the command line."""
    app(prog_name="assistance")
