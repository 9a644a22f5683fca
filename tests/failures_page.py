"""`docs/failures.md`, written from the tables that the consumers use.

`make docs` writes it.
"""

import importlib
from pathlib import Path

from assistance.failures import Table
from assistance.routing import Channel

PAGE = Path(__file__).resolve().parent.parent / "docs/failures.md"
HEAD = """\
# What each error of a provider means

<!-- Written from the tables in functions/*_consumer/failures.py: make docs -->

| kind | what happens |
|---|---|
| permanent | no other attempt: dead-lettered with the code as the reason, and the fallback channel is used |
| transient | another attempt after the back-off; after the last one as if permanent |
| transient, in doubt | the same, but the provider may have taken the message: Slack is asked before another post |
| rate limited | another attempt when the provider says so; this one counts only an hour after the first |

A code that is in no table is transient; from Slack it also leaves doubt. So does any answer with a status of 500 or
above, any that is not the provider's own, and a call whose answer never came. A call that never reached the provider
leaves none. From Slack, a status of 429 is a rate limit whatever the code. An unreadable `Retry-After`
counts as absent: then the back-off alone decides, or 30 seconds for Slack. An error of `auth.test` during a
look-up means the same as for a post, but never leaves doubt: a look-up posts nothing.
"""
AFTERWARDS = """
## SES, after it has taken the mail
Source: <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>

`delivered` by email means that SES has taken the mail. What SES says of it later counts only if it names the mail last
sent for the request, and is brought again while our own record of the send is still missing.

| event | code | what happens |
|---|---|---|
| Bounce | `bounce_permanent`, `bounce_transient`, `bounce_undetermined` | as its type says: below |
| Complaint | `complaint` | as a permanent failure |
| Reject | `reject` | as a permanent failure |
| Delivery | | `confirmed_at` is stamped; the status stays |
| Send, DeliveryDelay, Rendering Failure, Open, Click, Subscription | | nothing; the event destination asks for none |

What each bounce means here, by SES's types, as
[both](https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types) of
[its pages](https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html) list them:

| type and subtype | SES says | what happens |
|---|---|---|
| Undetermined | the recipient's provider gave no reason that SES could read | failed |
| Permanent, General | a hard bounce | failed |
| Permanent, NoEmail | the address does not exist, or could not be read from the bounce | failed |
| Permanent, Suppressed | the address is on SES's own suppression list | failed |
| Permanent, OnAccountSuppressionList | not sent: the address is on the account's suppression list | failed |
| Permanent, OnTenantSuppressionList | not sent: the address is on the tenant's suppression list | failed |
| Permanent, EmailValidationSuppressed | not sent: the address does not pass SES's validation | failed |
| Transient, General, with a report | SES tried for hours, or the provider took the mail and returned it | failed |
| Transient, General, without a report | the same, or an automatic reply | failed, unless the mail was confirmed |
| Transient, MailboxFull | the recipient's mailbox was full | failed |
| Transient, MessageTooLarge | the provider takes no mail of this size | failed |
| Transient, CustomTimeoutExceeded | SES could not deliver the mail in the time that the sender allows | failed |
| Transient, ContentRejected | the provider does not allow the content | failed |
| Transient, AttachmentRejected | the provider does not allow the attachment | failed |

*Failed* is as a permanent failure: SES reports a transient bounce after its own retries, so the fallback is used. A
*report* is a recipient's `action`, `status` or `diagnosticCode` in the event; an out-of-office note has none. A mail is
*confirmed* by SES's Delivery event. A subtype that is not in this table counts as its type says.

## A bot that is called back
Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-success-and-failure>

| code | kind | note |
|---|---|---|
| `http_410` | permanent | the bot wants no more of it |
| `address_not_public` | permanent | one of its host's addresses is private; nothing was sent |
| `http_429` | rate limited | `Retry-After` counts up to half an hour; the back-off is added |
| `http_…` | transient | anything else but 2xx, redirects too; waits for `Retry-After` |
| `dns_error`, `tls_error`, `connection_error` | transient | not there, or not who its name says; in doubt if sent |
| `timeout` | transient | no connection within three seconds, or no answer within ten; in doubt if sent |
| `unexpected_answer` | transient, in doubt | the answer is not HTTP, or its head does not end |
| `receiver_put_off` | rate limited | not called: its host was slow or silent a moment ago |
| `slow_receivers_put_off` | rate limited | not called: slow receivers have used up their share of the time |
| `callback_secret_unavailable` | transient | the secret can't be read, or not every key has 24 to 64 bytes |

## Links to take a request
By email and Teams, where the stage has `take`.

| code | kind | note |
|---|---|---|
| `take_secret_unavailable` | transient | the secret can't be read, or a key is shorter than 32 characters; not sent |
"""


def render() -> str:
    """The whole page."""
    modules = (importlib.import_module(f"{channel}_consumer.failures") for channel in Channel)
    sections = "".join(_section(table) for module in modules for table in module.TABLES)
    return HEAD + sections + AFTERWARDS


def _section(table: Table) -> str:
    rows = "".join(
        f"| `{code}` | {kind} | {table.notes.get(code, '')} |\n" for code, kind in sorted(table.kinds.items())
    )
    return f"\n## {table.title}\nSource: <{table.source}>\n\n| code | kind | note |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
