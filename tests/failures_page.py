"""`docs/failures.md`, written from the tables that the consumers use.

`make docs` writes it.
"""

import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from assistance.failures import Kind, Table
from assistance.routing import Channel
from console.notes import NOTES

PAGE = Path(__file__).resolve().parent.parent / "docs/failures.md"
HEAD = """\
# What each error of a provider means

<!-- Written from the tables in functions/*_consumer/failures.py: make docs -->

A consumer turns each error of a provider into one of four kinds, which decide what happens to the delivery:

| kind | what happens |
|---|---|
| permanent | the consumer gives up: it writes a dead letter with the code as the reason, and the fallback delivers |
| transient | another attempt follows after the back-off; if the last attempt fails, the consumer gives up |
| transient, in doubt | as transient, but the message may have arrived: on Slack the next attempt searches for it |
| rate limited | more attempts follow when the provider says so; they count only after an hour without another error |

Rules for all tables:
- An error that no table lists is transient.
- Whatever the code, an attempt is [in doubt](glossary.md) if the provider's answer never came, has a status of 500 or
  above, or is not the provider's own; on Slack also if no table lists the code. An attempt whose call never reached
  the provider is not in doubt.
- An answer of Slack with the status 429 is a rate limit, whatever its code.
- If the consumer can't read the answer's `Retry-After`, it waits for the back-off, or for 30 seconds on Slack.
- When the consumer searches Slack's history, it also calls `auth.test`. An error of that call means the same as for a
  post, but does not put the attempt in doubt.
"""
AFTERWARDS = """
## SES, after it has taken the mail
Source: <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>

A delivery by email becomes `delivered` when SES takes the mail. Later SES sends events about the mail through SNS to
the function `email_feedback`. An event changes only the delivery whose record names this mail; if another mail of the
same delivery arrived, a bounce doesn't change the status. If an event comes before the consumer has recorded the mail,
the function fails, and Lambda calls it again, at most twice.

| event | code | what happens |
|---|---|---|
| Bounce | `bounce_permanent`, `bounce_transient`, `bounce_undetermined` | as a permanent failure |
| Complaint, Reject | `complaint`, `reject` | as a permanent failure |
| Complaint with the feedback type `not-spam` | | nothing: the recipient says that the mail is no spam |
| Delivery | | the delivery gets `confirmed_at`; the status stays |

*As a permanent failure* means that the delivery becomes `failed`, the consumer's dead-letter queue gets the request's
message, and the fallback delivers. SES reports a transient bounce only after its own retries. A bounce of the type
*Transient, General* without `action`, `status` and `diagnosticCode` may be an out-of-office reply: it changes nothing
if a Delivery event of the mail comes before it, or within about three minutes after it. SES explains [all types of
bounces](https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types).

## A bot that is called back
Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-success-and-failure>

The kinds are those of the first table, but a callback has no fallback. *In doubt if sent*: the bot may have got the
callback, and the next attempt repeats it with the same `webhook-id`. *Not sent*: this attempt made no call.

| code | kind | note |
|---|---|---|
| `http_410` | permanent | the bot does not want this callback; it still gets later ones of the request |
| `address_not_public` | permanent | not sent: the host in `callback_url` has a private address |
| `http_429` | rate limited | `Retry-After` counts up to half an hour; the back-off is added |
| `http_…` | transient | any other status but 2xx, redirects too; the consumer waits for `Retry-After` |
| `dns_error`, `tls_error`, `connection_error` | transient | no connection, or a wrong certificate; in doubt if sent |
| `timeout` | transient | no connection within 3 seconds, or no answer within 10; in doubt if sent |
| `unexpected_answer` | transient, in doubt | the answer is not HTTP, or its head does not end |
| `receiver_put_off` | rate limited | not sent: calls to a slow or silent host wait up to 5 minutes, plus the back-off |
| `slow_receivers_put_off` | rate limited | not sent: slow hosts have used up their share of the consumer's time |
| `callback_secret_unavailable` | transient | the signing secret can't be read, or a key hasn't 24 to 64 bytes |

## Codes of our own

The consumers and the reconciler record these codes themselves:

| code | what happened |
|---|---|
| `timeout`, `connection_error`, `ReadTimeoutError` | no answer came |
| `attempts_exhausted` | Lambda killed the consumer during the last attempt |
| `look_up_unfinished` | the search in Slack's history took too long |
| `slack_token_unavailable`, `teams_secret_unavailable` | the secret holds no usable value |
| `take_secret_unavailable` | not sent yet: the links' key can't be read, or is shorter than 32 characters |
| `malformed_message` | the consumer can't read the message |
| `unknown_version` | the consumer can't read the message, because a later version of the stack wrote it |
| `unexpected_answer`, `unexpected_error` | [unforeseen](troubleshooting.md#unhandled) |
| `dead_lettered`, or an `ErrorCode` of SNS | SQS itself moved the message, or SNS could not deliver it |
| `channel_not_deployed` | somebody has removed the channel of a fallback, resend or escalation from the stack |
"""


def render() -> str:
    """The content of `docs/failures.md`, as Markdown."""
    sections = (section for channel in Channel for section in _sections(channel))
    return HEAD + "".join(sections) + AFTERWARDS


def _sections(channel: Channel) -> Iterator[str]:
    """Yield a section for each table of a channel. Codes that mean the same in an earlier table are not repeated."""
    known = set[tuple[str, Kind, str]]()
    tables: tuple[Table, ...] = importlib.import_module(f"{channel}_consumer.failures").TABLES
    notes = NOTES.get(channel, {})
    for table in tables:
        rows = {(code, kind, notes.get(code, "")) for code, kind in table.kinds.items()}
        yield _section(table, rows - known, repeated=bool(rows & known))
        known |= rows


def _section(table: Table, rows: set[tuple[str, Kind, str]], *, repeated: bool) -> str:
    grouped = defaultdict[tuple[Kind, str], list[str]](list)
    for code, kind, note in sorted(rows, key=lambda row: (not row[2], row)):
        grouped[kind, note].append(f"`{code}`")
    lines = "".join(f"| {', '.join(codes)} | {kind} | {note} |\n" for (kind, note), codes in grouped.items())
    same = "Codes that the table above lists mean the same here. The others:\n\n" if repeated else ""
    return f"\n## {table.title}\nSource: <{table.source}>\n\n{same}| code | kind | note |\n|---|---|---|\n{lines}"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
