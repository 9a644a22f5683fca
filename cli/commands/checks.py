"""`assistance doctor`, `smoke`, `ledger`, `reconcile`, `env`, `output` and `slack-manifest`: for the whole stack."""

import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.progress import Progress

from assistance.platform.clock import utc_now
from assistance.store.requests import Requests
from cli import hints, render, secrets
from cli import ledger as ledgers
from cli import slack_manifest as slack_manifests
from cli import smoke as smoke_tests
from cli.doctor import examine
from cli.errors import Failure
from cli.findings import State
from cli.options import Json, duration, stack_of

app = typer.Typer()


@app.command(epilog="Example: assistance --local doctor")
def doctor(context: typer.Context, json: Json = False) -> None:
    """Check what people set up by hand (tokens, scopes, mail sender, subscriptions), and that every part is running."""
    findings = []
    for finding in examine(stack_of(context)):
        findings.append(finding)
        if not json:
            render.finding(finding)
    if json:
        render.print_json([asdict(finding) for finding in findings])
    bad = [finding for finding in findings if finding.state in {State.WRONG, State.UNKNOWN}]
    if bad:
        raise Failure(f"{len(bad)} of {len(findings)} checks did not pass")


@app.command(epilog="Example: assistance --local smoke --timeout 60")
def smoke(
    context: typer.Context,
    seconds: Annotated[
        int, typer.Option("--timeout", min=1, metavar="SECONDS", help="Maximum time to wait.")
    ] = smoke_tests.SECONDS,
    json: Json = False,
) -> None:
    """Send one test request per topic, and wait. Exit status 0 if all are delivered, else 1.

    The request's text says that it is a test. A delivery by the fallback counts as a failure.
    """
    results = []
    for result in smoke_tests.run(stack_of(context), smoke_tests.patience(seconds)):
        results.append(result)
        if not json:
            render.smoke(result)
    if json:
        render.print_json([asdict(result) for result in results])
    bad = [result.topic for result in results if result.problem]
    if bad:
        raise Failure(
            f"{len(bad)} of {len(results)} topics did not pass: '{hints.command('doctor')}' says what is missing, "
            f"'{hints.command('status', 'REQUEST_ID')}' shows a request; correct the cause, then run the command again"
        )


@app.command(epilog="Example: assistance --local ledger --since 7d")
def ledger(
    context: typer.Context,
    *,
    since: Annotated[
        timedelta, typer.Option(parser=duration, metavar="AGE", help="Accepted within the last: 90s, 5m, 2h, 7d.")
    ] = "1d",  # type: ignore[assignment] # typer parses it
    json: Json = False,
) -> None:
    """Count the requests of a period by topic and status, and show what the reconciler's next sweep would repair.

    The command changes nothing. It reads every request of the period.
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

        return ledgers.count_requests(table, until - since, until, tell)


@app.command(epilog="Example: assistance --local reconcile --dry-run")
def reconcile(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the planned changes, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Run the reconciler now: it publishes requests that wait too long, and checks that no open request is lost."""
    answer = stack_of(context).reconcile(dry_run=dry_run)
    if json:
        render.print_json(answer)
    else:
        render.sweep(answer)


@app.command(epilog='Example: eval "$(assistance --local env)"')
def env(context: typer.Context, json: Json = False) -> None:
    """Print what a bot needs to call this stack, as shell exports: the API's URL and key, and the callback's secret.

    The output contains the key and the secret in plain text: pass it to eval, and keep it out of logs.
    """
    values = secrets.bot_environment(stack_of(context))
    if json:
        render.print_json(values)
    else:
        for name, value in values.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


@app.command(epilog="Example: assistance --local output TakeSecretArn")
def output(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The output's name. Without it, all outputs.")
    ] = None,
    json: Json = False,
) -> None:
    """Print an output of the stack for use in an AWS command, such as a queue's URL or a secret's ARN."""
    stack = stack_of(context)
    found = {name: stack.output(name)} if name else dict(sorted(stack.outputs.items()))
    if json:
        render.print_json(found)
    elif name:
        sys.stdout.write(f"{found[name]}\n")
    else:
        sys.stdout.writelines(f"{each} {value}\n" for each, value in found.items())


@app.command(epilog="Example: assistance --local slack-manifest | pbcopy")
def slack_manifest(
    context: typer.Context,
    name: Annotated[str, typer.Option(metavar="NAME", help="The app's name in Slack.")] = "Assistance",
) -> None:
    """Print the manifest of the Slack app for this stack: paste it at https://api.slack.com/apps?new_app=1."""
    if not 1 <= len(name) <= slack_manifests.MAX_NAME:
        raise typer.BadParameter(f"Slack allows 1 to {slack_manifests.MAX_NAME} characters", param_hint="--name")
    url = stack_of(context).outputs.get("SlackInteractionsUrl")
    render.print_json(slack_manifests.manifest(name, url))
    if url is None:
        render.console(stderr=True).print("The app has no buttons, because this stack is deployed without take=true.")
