"""The HTML of the take page, which needs no JavaScript, and the headers with which it is sent."""

import base64
import hashlib
import html
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from assistance.domain.record import Record
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp_of
from assistance.text import heading, printable
from take_page.taking import MAX_NAME, Shown

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --text: #1b1f24; --soft: #57606a; --line: #6e7781; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181c; --card: #23272e; --text: #e8eaed; --soft: #a9b1bb; --line: #8b949e; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 12px; background: var(--page); color: var(--text);
  font: 16px/1.5 -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 480px; margin: 0 auto; padding: 20px 24px; background: var(--card); border-radius: 8px;
  overflow-wrap: anywhere; }
h1 { margin: 0 0 8px; font-size: 20px; line-height: 1.3; }
p { margin: 8px 0; }
.soft { color: var(--soft); font-size: 14px; }
label { display: block; margin: 16px 0 4px; }
input, button { display: block; width: 100%; padding: 10px 12px; border-radius: 6px; font: inherit; }
input { border: 1px solid var(--line); background: var(--card); color: var(--text); }
button { margin-top: 16px; border: 0; background: #0b57d0; color: #fff; font-weight: bold; cursor: pointer; }
button.quiet { border: 1px solid var(--line); background: var(--card); color: var(--text); }
:focus-visible { outline: 3px solid #f29900; outline-offset: 2px; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    # Everybody who knows the page's URL can take the request, so browsers must not tell it to other sites.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_ERROR_TEXTS: Final = {
    HTTPStatus.BAD_REQUEST: ("That didn't work", "The form can't be read. Open the link once more."),
    HTTPStatus.FORBIDDEN: ("That didn't work", "Another site has sent this form. Open the link once more."),
    HTTPStatus.NOT_FOUND: ("This link doesn't work", "It is incomplete, or it has expired."),
    HTTPStatus.GONE: ("This request is gone", "It is not stored any more."),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("That didn't work", "This request can't be read. Operators have been told."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("That didn't work", "Please try again in a minute."),
}
_OUTDATED: Final = (
    '<p role="status">Somebody had this request meanwhile, and you have not taken it. You can take it now.</p>'
)


def failed(status: HTTPStatus) -> str:
    """A page about an error. It says nothing about any request."""
    title, text = _ERROR_TEXTS[status]
    return _page(title, f"<p>{text}</p>")


def show(shown: Shown, press: str) -> str:
    """A page about the request: it says who has taken it, or shows a button that takes it.

    `press` is a new random id. The button's form sends it along, so that sending the form twice counts as one press.
    """
    title = f"{heading(shown.request.topic)} request"
    return _page(title, f"{_state(shown, press)}{_about(shown.request)}")


def _state(shown: Shown, press: str) -> str:
    taken = shown.record.taken
    if taken is None:
        return f"{_OUTDATED if shown.is_outdated else ''}<p>Nobody has this request.</p>{_form(shown.record, press)}"
    name, since = html.escape(printable(taken.by)), _moment(timestamp_of(taken.at))
    if shown.yours:
        yours = f'<p role="status"><strong>You have it</strong>, since {since}.</p><p>Others see: {name}</p>'
        if shown.record.is_released_too_often:
            return f'{yours}<p class="soft">It was released too often. Only an operator can release it now.</p>'
        return (
            f"{yours}"
            '<p class="soft">You can release it on this page, for somebody else to take. Later, ask an operator.</p>'
            f'<form method="post"><input type="hidden" name="release" value="{shown.yours}">'
            '<button class="quiet" type="submit">Release</button></form>'
        )
    return f'<p role="status">Taken by <strong>{name}</strong>, since {since}.</p>'


def _form(record: Record, press: str) -> str:
    # A form without an action is sent to the page's own URL, so this works behind any custom domain or proxy.
    return (
        '<form method="post"><label for="name">Your name, for the others (optional)</label>'
        f'<input id="name" name="name" maxlength="{MAX_NAME}" autocomplete="name">'
        f'<input type="hidden" name="takes" value="{len(record.takes)}">'
        f'<input type="hidden" name="press" value="{press}"><button type="submit">I\'ll take it</button></form>'
    )


def _about(request: AssistanceRequest) -> str:
    reference = f"<br>Reference: {html.escape(printable(request.reference))}" if request.reference else ""
    return f'<p class="soft">Request {request.id}, {_moment(request.created_at)}{reference}</p>'


def _moment(at: str) -> str:
    moment = datetime.fromisoformat(at).astimezone(UTC)
    return f'<time datetime="{at}">{moment.day} {moment:%B %Y, %H:%M} UTC</time>'


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{_STYLE}</style></head><body><main><h1>{html.escape(title)}</h1>{content}</main></body></html>"
    )
