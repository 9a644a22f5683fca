"""The demonstration: sends one request per topic, and shows its way to the message that people receive."""

import html
import re
import textwrap
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from assistance.text import printable
from local import http
from local.errors import DeadlineExceeded, LocalFailure
from local.slack_workspace import buttons
from local.stack import PrintLine, Stack
from local.wait import until

DELIVERY_SECONDS: Final = 60
WIDTH: Final = 88
# A link or a time in Slack's markup, `<…|text>`. Slack shows only the text.
_MARKUP: Final = re.compile(r"<[^|<>]*\|([^<>]*)>")
_LABEL: Final = re.compile(r"^\*(.+)\*\n")
REQUESTS: Final = {
    "sales": "A customer with 40 seats wants a quote for the team plan & a call back today.",
    "pricing": "Does the yearly plan's discount apply to seats that are added in March?",
}
OTHER: Final = "A customer would like to talk to somebody."
CUSTOMER: Final = {"name": "Anna Keller", "email": "anna@example.com"}


def demonstrate(stack: Stack, print_line: PrintLine) -> None:
    """Send a request per topic, follow each, and show its message. Raises `LocalFailure` if one arrives too late."""
    started = monotonic()
    sent = {topic: _send(stack, topic, REQUESTS.get(topic, OTHER), print_line) for topic in stack.topics()}
    print_line("")
    _watch(stack, sent, started, print_line)
    for topic, request_id in sent.items():
        print_line("")
        _show(stack, topic, request_id, print_line)
    print_line("")
    _take(stack, sent, print_line)


def _send(stack: Stack, topic: str, description: str, print_line: PrintLine) -> str:
    body = {"topic": topic, "description": description, "customer": CUSTOMER}
    try:
        answer = stack.call("POST", "/assistance-requests", body)
    except http.NoAnswer as error:
        raise LocalFailure(f"The {topic} request got no answer: {error}") from error
    if answer.status != HTTPStatus.ACCEPTED:
        raise LocalFailure(
            f"The {topic} request was answered {answer.status}: {printable(answer.body.decode(errors='replace'))}"
        )
    request_id = str(answer.json["id"])
    print_line(f"POST /assistance-requests {topic}: {answer.status}, {request_id}")
    return request_id


def _watch(stack: Stack, sent: Mapping[str, str], started: float, print_line: PrintLine) -> None:
    seen: dict[str, str] = {}

    def all_delivered() -> bool | None:
        for topic, request_id in sent.items():
            answer = stack.call("GET", f"/assistance-requests/{request_id}")
            if answer.status != HTTPStatus.OK:
                continue
            state = _state(answer.json)
            if seen.get(topic) != state:
                seen[topic] = state
                print_line(f"{monotonic() - started:6.2f} s  {topic:8} {state}")
                if answer.json["status"] == "delivered" and (fallback := answer.json.get("fallback")):
                    print_line(
                        f"{'':10} {topic:8} arrived by its fallback, because {fallback['failed_channel']} failed."
                    )
            if answer.json["status"] == "failed" and not _falling_back(answer.json):
                raise LocalFailure(f"The {topic} request can't be delivered: {state}.")
        return True if all(seen.get(topic, "").startswith("delivered") for topic in sent) else None

    try:
        until("All requests are delivered", DELIVERY_SECONDS, all_delivered)
    except http.NoAnswer as error:
        raise LocalFailure(f"The API stopped answering: {error}") from error
    except DeadlineExceeded as error:
        states = ", ".join(f"{topic}: {seen.get(topic, 'unknown')}" for topic in sent)
        raise LocalFailure(f"{error} Their states: {states}.") from error


def _falling_back(document: Mapping[str, Any]) -> bool:
    """Whether the fallback may still deliver a request that has failed on its own channel."""
    fallback = document.get("fallback")
    failed = {delivery["channel"] for delivery in document["deliveries"] if delivery["status"] == "failed"}
    return fallback is not None and fallback["channel"] not in failed


def _state(document: Mapping[str, Any]) -> str:
    """A line with the request's status, and the status and last error of each delivery."""
    details = []
    for delivery in document.get("deliveries", []):
        error = delivery.get("last_error")
        details.append(f"{delivery['channel']}: {delivery['status']}" + (f" after {error}" if error else ""))
    return printable(", ".join([document["status"], *details]))


def _show(stack: Stack, topic: str, request_id: str, print_line: PrintLine) -> None:
    mails = [mail for mail in stack.cloud.sent_mail() if request_id in mail["Subject"] + mail["BodyText"]]
    for mail in mails:
        heading = f"From: {mail['Source']}\nTo: {', '.join(mail['To'])}\nSubject: {mail['Subject']}"
        print_line(framed(f"Email ({topic})", f"{heading}\n\n{mail['BodyText'].strip()}"))
    posts = list(stack.webhooks.texts(request_id))
    for channel, lines in posts:
        print_line(framed(f"{channel.capitalize()} ({topic})", "\n".join(lines)))
    if stack.slack.server:
        messages = [message for message in stack.slack.server.messages if request_id in str(message)]
        for message in messages:
            print_line(framed(f"Slack, {message['channel']} ({topic})", "\n".join(_lines(message))))
        if not (messages or mails or posts):
            raise LocalFailure(f"The status of the {topic} request is delivered, but no message has arrived.")
    elif not (mails or posts):
        print_line(f"The {topic} request is in Slack, channel {stack.slack.channel}: {stack.slack.api_url}")


def _take(stack: Stack, sent: Mapping[str, str], print_line: PrintLine) -> None:
    """Click a button in Slack that takes one of the `sent` requests, if any, and print who has taken the request.

    `sent`: the request's id for each topic.
    """
    server = stack.slack.server
    found = [
        (message["ts"], button, request_id)
        for message in (server.messages if server else [])
        for button in buttons(message)
        for request_id in sent.values()
        if button["value"].startswith(request_id)
    ]
    if not server or not found:
        return
    ts, button, request_id = found[0]
    status = server.press(ts, "anna", button["value"])
    taken = stack.call("GET", f"/assistance-requests/{request_id}").json.get("taken")
    if taken is None:
        raise LocalFailure(f"A click on its button did not take request {request_id}: the app answered {status}.")
    print_line(printable(f'Anna clicks "{button["text"]["text"]}" in Slack: {taken["by"]} has taken {request_id}.'))


def _lines(message: Mapping[str, Any]) -> list[str]:
    """The lines of a message, as Slack shows them."""
    lines = []
    for block in message.get("blocks", []):
        texts = [*([block["text"]] if "text" in block else []), *block.get("fields", []), *block.get("elements", [])]
        lines += [_shown(str(text["text"])) for text in texts if text["type"] in {"plain_text", "mrkdwn"}]
    return lines or [str(message["text"])]


def _shown(text: str) -> str:
    """A text without Slack's markup. A label in the line above a value goes in front of the value, with a colon."""
    return html.unescape(_MARKUP.sub(r"\1", _LABEL.sub(r"\1: ", text)))


def _wrapped(line: str) -> list[str]:
    """Wrap a line to the frame's width, without breaking links, so that a reader can open them."""
    lines = textwrap.wrap(line, WIDTH, replace_whitespace=False, break_on_hyphens=False, break_long_words=False)
    return lines or [""]


def framed(title: str, text: str) -> str:
    """The text below a ruled line with the title, wrapped to a terminal's width."""
    lines = [wrapped for line in printable(text).splitlines() for wrapped in _wrapped(line)]
    return "\n".join([f"── {title} {'─' * max(0, WIDTH - len(title) - 4)}", *(f"   {line}".rstrip() for line in lines)])
