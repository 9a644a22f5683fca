"""Prints results: as tables, or as JSON documents for `--json`.

Customers' texts may hold personal data, so they are printed only with `--with-description`.
"""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from json import dumps
from typing import Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from assistance.domain.record import Status
from assistance.history import Delivery, RequestRecord
from assistance.models import AssistanceRequest, Customer
from assistance.platform.clock import epoch_ms, timestamp, timestamp_of, utc_now
from assistance.text import printable
from cli.dead_letter_queues import ID_PREFIX_LENGTH, QueuedDeadLetter
from cli.delivered_channels import DeliveredChannels
from cli.erasure import Erased
from cli.findings import Finding, State
from cli.ledger import Balance
from cli.logs import Line
from cli.requests import Step
from cli.smoke import Result

_PIPE_WIDTH: Final = 200
_MIN_WIDTH: Final = 110
_MARKS: Final = {
    State.OK: ("✓", None),
    State.WARNING: ("!", "yellow"),
    State.WRONG: ("✗", "red"),
    State.UNKNOWN: ("?", "yellow"),
    State.SKIPPED: ("-", None),
}
_PERSONAL: Final = {"description", "customer", "conversation_url", "details"}
"""The members of a request that may hold personal data: they are shown only with `--with-description`."""
_STYLES: Final = {Status.DELIVERED: "green", Status.FAILED: "red", Status.RETRYING: "yellow"}


class _Console(Console):
    """A console that removes escape sequences from every text, because a bot may have sent them. rich keeps them."""

    def print(self, *objects: Any, **how: Any) -> None:  # noqa: ANN401
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **how)


def console(*, stderr: bool = False) -> Console:
    """A console that prints `[…]` literally instead of as rich's markup, and uses colours only on a terminal."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # Let a narrow terminal wrap whole lines. Narrow columns would split ids, so that nobody could copy them.
    width = max(shutil.get_terminal_size().columns, _MIN_WIDTH) if terminal and not stderr else None
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width if terminal else _PIPE_WIDTH)


def note(text: str) -> None:
    """Print a note for the operator on stderr, because stdout is for the result."""
    console(stderr=True).print(text, soft_wrap=True)


def print_json(document: object) -> None:
    """Print a command's result as JSON on stdout, for scripts."""
    sys.stdout.write(dumps(document, indent=2) + "\n")


def counted(done: str, number: int, problems: list[str], others: str, *, json: bool) -> None:
    """Print the number of successes, and the problem of each failure. Exit with status 1 if there is a problem.

    `done` and `others` are words for the successes and the failures, such as redriven and skipped.
    """
    if json:
        print_json({done: number, "problems": problems})
    else:
        for problem in problems:
            note(problem)
        console().print(f"{number} {done}, {len(problems)} {others}.")
    if problems:
        raise typer.Exit(1)


def audit(message: str, **members: str) -> None:
    """Print on stderr, for an audit log, what an operator changes (`members`): as JSON or, on a terminal, as text."""
    at = timestamp(utc_now())
    if sys.stderr.isatty():
        note(f"{at}  {message}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in members.items()))
    else:
        sys.stderr.write(dumps({"timestamp": at, "message": message, **members}) + "\n")


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; nothing if it has no rows."""
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        grid.add_column(name, overflow="fold", no_wrap=name in {"id", "request"})
    for row in rows:
        cells = ["" if cell is None else printable(str(cell)) for cell in row]
        style = next((_STYLES[Status(cell)] for cell in cells if cell in _STYLES), None)
        grid.add_row(*cells, style=style)
    if grid.row_count:
        console().print(grid)


def age(milliseconds: int) -> str:
    """Return the time since that moment (Unix time in milliseconds): `42 s`, `7 min`, `3 h`, `2 d`."""
    seconds = max(0, int(datetime.now(UTC).timestamp() - milliseconds / 1000))
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def dead_letters(found: Iterable[QueuedDeadLetter], reached: DeliveredChannels) -> None:
    """Print a table of dead letters. The last column names the channels that have delivered the request anyway."""
    columns = ("id", "request", "topic", "channel", "kind", "reason", "age", "delivered by")
    table(
        "Dead letters",
        columns,
        (
            (
                each.id[:ID_PREFIX_LENGTH],
                each.dead_letter.request_id or "unreadable",
                each.message.request.topic if each.message else "unreadable",
                each.queue.channel,
                each.queue.kind,
                each.dead_letter.reason,
                age(each.dead_letter.sent_at),
                ", ".join(reached.get(each.dead_letter.request_id or "", ["unknown"])) or "no channel",
            )
            for each in found
        ),
    )


def dead_letter_document(letter: QueuedDeadLetter, reached: DeliveredChannels | None = None) -> dict[str, Any]:
    """A dead letter for `--json`; with `reached`, also the channels that delivered its request (null if unknown)."""
    delivered = {} if reached is None else {"reached_by": reached.get(letter.dead_letter.request_id or "")}
    return delivered | {
        "id": letter.id,
        "request_id": letter.dead_letter.request_id,
        "topic": letter.message and letter.message.request.topic,
        "channel": letter.queue.channel,
        "kind": letter.queue.kind,
        "reason": letter.dead_letter.reason,
        "sent_at": timestamp(datetime.fromtimestamp(letter.dead_letter.sent_at / 1000, UTC)),
        "readable": letter.message is not None,
        "resend": letter.resend,
    }


def request(record: RequestRecord, *, with_description: bool) -> None:
    """Print a request, its deliveries, and its timeline, oldest event first."""
    facts = request_document(record, with_description=with_description)
    for name in ("id", "topic", "status", "created_at", "published_at"):
        console().print(f"{name.replace('_', ' '):14}{facts[name] or 'not yet'}")
    if record.fallback:
        console().print(f"{'fallback':14}{record.fallback.channel}, because {record.fallback.failed_channel} failed")
    if record.request.reference:
        console().print(f"{'reference':14}{_line(record.request.reference)}")
    if record.record.erased_at is not None:
        console().print(f"{'erased':14}{timestamp_of(record.record.erased_at)}: its texts are deleted")
    if taken := record.record.taken:
        console().print(f"{'taken':14}by {taken.by} via {taken.via}, {timestamp_of(taken.at)}", markup=False)
    if with_description:
        console().print(f"{'description':14}{record.request.description}")
        for label, text in _members(record.request):
            console().print(f"{_line(label):14}{_line(text)}")
    table(
        "Deliveries",
        ("channel", "status", "attempts", "last error", "next attempt", "resend"),
        ((d.channel, d.status, d.attempts, d.last_error, d.next_attempt_at, d.resend) for d in record.deliveries),
    )
    attempts = sorted(
        ((attempt, delivery) for delivery in record.deliveries for attempt in delivery.timeline),
        key=lambda each: each[0].at,
    )
    table(
        "Timeline",
        ("at", "channel", "outcome", "error", "note"),
        ((a.at, d.channel, a.outcome, a.error, _note(d.resend, None, a.in_doubt)) for a, d in attempts),
    )


def note_error_codes(codes: Iterable[str | None]) -> None:
    """Tell the operator which document explains error codes, if one of `codes` is not None."""
    if any(codes):
        note("docs/failures.md explains the error codes.")


def erased(found: Erased) -> None:
    """Print what was erased, the messages sent before the erasure, and the places that may still hold the texts."""
    console().print(
        f"Erased at {found.erased_at}: the texts of request {found.request_id}, and {found.dead_letters} dead letters."
    )
    table(
        "Messages sent before the erasure",
        ("at", "channel", "place", "message"),
        ((s.at, s.channel, s.place, s.message) for s in found.sent),
    )
    console().print("This command can't erase the texts in these places:")
    for place in found.out_of_reach:
        console().print(f"  - {place}", soft_wrap=True)


def _members(request: AssistanceRequest) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each member that the bot sent, except the description."""
    yield from (request.customer or Customer()).model_dump(exclude_none=True).items()
    if request.conversation_url:
        yield "conversation", request.conversation_url
    yield from ((detail.label, detail.value) for detail in request.details)


def _line(text: str) -> str:
    # On one line, so that a text from a bot can't imitate another line of the output.
    return " ".join(text.split())


def requests(found: Iterable[RequestRecord]) -> None:
    """Print a table of requests."""
    table(
        "Requests",
        ("request", "topic", "status", "age", "channels", "last error"),
        (
            (
                record.request.id,
                record.request.topic,
                record.status,
                age(epoch_ms(datetime.fromisoformat(record.request.created_at))),
                ", ".join(f"{_named(each)}: {each.status}" for each in record.deliveries),
                next((each.last_error for each in reversed(record.deliveries) if each.last_error), None),
            )
            for record in found
        ),
    )


def step(step: Step, *, json: bool) -> None:
    """Print one event of a request's history as a line of text, or as a line of JSON."""
    if json:
        sys.stdout.write(dumps(asdict(step)) + "\n")
        sys.stdout.flush()
        return
    note = _note(step.resend, step.error, step.in_doubt)
    line = f"{step.at}  {step.channel or '':8}{step.what:11}{note}"
    console().print(line.rstrip(), style=_STYLES.get(Status(step.what)) if step.what in set(Status) else None)


def log_line(line: Line) -> None:
    """Print a line of a function's log: time, function, level, message, and the message's fields that are not false."""
    fields = "  ".join(f"{name}={value}" for name, value in line.fields.items() if value is not False)
    style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}.get(line.level)
    console().print(
        f"{line.at}  {line.function}  {line.level}  {line.message}  {fields}".rstrip(), style=style, soft_wrap=True
    )


def finding(finding: Finding) -> None:
    """Print the result of a check, and its advice."""
    mark, style = _MARKS[finding.state]
    console().print(f"{mark} {finding.check}: {finding.found}", style=style, soft_wrap=True)
    if finding.advice:
        console().print(f"    {finding.advice}", soft_wrap=True)


def smoke(result: Result) -> None:
    """Print the result of the smoke test of one topic."""
    mark, style = _MARKS[State.WRONG if result.problem else State.OK]
    outcome = result.problem or f"delivered by {' and '.join(result.by)}"
    console().print(f"{mark} {result.topic}: {outcome}", style=style, soft_wrap=True)
    if result.request_id:
        console().print(f"    {result.request_id}", soft_wrap=True)


def _note(resend: str | None, error: str | None, in_doubt: bool) -> str:  # noqa: FBT001
    outcome = "in doubt: it may have arrived" if in_doubt else None
    return ", ".join(filter(None, (error, outcome, "of an operator's resend" if resend else None)))


def _named(delivery: Delivery) -> str:
    return f"{delivery.channel} resend" if delivery.resend else delivery.channel


def request_document(record: RequestRecord, *, with_description: bool) -> dict[str, Any]:
    """A request and its deliveries, for `--json`."""
    document: dict[str, Any] = {
        **record.request.model_dump(mode="json", exclude=None if with_description else _PERSONAL),
        "status": record.status,
        "published_at": record.published_at,
        "fallback": record.fallback and record.fallback.model_dump(mode="json"),
        "taken": record.record.taken and asdict(record.record.taken),
        "deliveries": [asdict(delivery) for delivery in record.deliveries],
    }
    return document


def balance(found: Balance) -> None:
    """Print the counts of a period, and which requests can't be read or are missing."""
    note(f"Requests that the API accepted since {found.since}:")
    rows = (
        ("accepted", found.accepted.total()),
        ("  finished (delivered or failed)", found.ended.total()),
        ("  open (a delivery is not finished)", len(found.open)),
        ("  unreadable (damaged in the table)", len(found.unreadable)),
        ("  missing (no longer in the table)", len(found.unaccounted)),
    )
    table("Ledger", ("", "requests"), rows)
    counts("Accepted requests", ("topic",), found.accepted)
    counts("Finished requests", ("topic", "status"), found.ended)
    counts("Deliveries", ("topic", "channel", "status"), found.deliveries, of="deliveries")
    for why in found.unreadable:
        note(f"Unreadable: {why}.")
    for request_id in found.unaccounted:
        note(f"Missing: {request_id}. The index lists this request, but the table no longer holds it.")


def sweep(answer: dict[str, Any]) -> None:
    """Print what a sweep of the reconciler has done, or would do if it were no dry run. `answer`: the reconciler's."""
    outbox, report, dry = answer["outbox"], answer["ledger"], answer["dry_run"]
    rows = (
        (f"outbox entries {'it would publish' if dry else 'published'}", outbox["published"]),
        *([] if dry else [("outbox entries it could not publish", outbox["failed"])]),
        ("outbox entries it could not read", outbox["unreadable"]),
        ("age of the oldest overdue outbox entry, in seconds", outbox["oldest_seconds"]),
        ("open requests that are older than half a minute", report["open"]),
        ("age of the oldest of these, in seconds", report["oldest_open_seconds"]),
        (f"dead letters {'it would record' if dry else 'recorded'} as failed deliveries", len(report["dead_lettered"])),
        (f"lost requests (in no queue) {'it would publish' if dry else 'published'} again", len(report["lost"])),
        ("deliveries with an attempt that takes too long", len(report["stuck"])),
        ("requests it could not read", report["unreadable"]),
        ("checked all open requests", "yes" if report["complete"] else "no, the next sweep continues"),
    )
    title = "What a sweep of the reconciler would do now (dry run)" if dry else "The reconciler's sweep"
    table(title, ("", ""), rows)
    counts("Open deliveries", ("topic", "channel", "place"), report["places"], of="deliveries")


def counts(title: str, names: tuple[str, ...], values: Mapping[str, int], of: str = "requests") -> None:
    """Print a table of counts. Each part of a key, such as `sales/slack/queued`, fills one of the columns `names`."""
    table(title, (*names, of), ((*key.split("/"), count) for key, count in sorted(values.items())))
