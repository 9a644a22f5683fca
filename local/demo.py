"""One request of each topic, from the bot's call to what arrives."""

import json
import textwrap
from typing import Any, Final

from local import http
from local.stack import LocalStack
from local.wait import until

DELIVERED_WITHIN: Final = 60
CALLS: Final = (
    {"topic": "sales", "description": "We are 40 people & would like <a demo> of your bot builder. Is Friday fine?"},
    {"topic": "pricing", "description": "What does the WhatsApp plan cost for 10,000 chats a month?"},
)


class DemoFailed(Exception):
    """A request was not accepted or not delivered; the message says which, and why."""


def show(local: LocalStack) -> None:
    """Send a request of each topic, follow it until it is delivered, and print what arrived. Raises `DemoFailed`."""
    for call in CALLS:
        print(f"\nPOST /assistance-requests  {json.dumps(call)}")
        answer = local.call("POST", "/assistance-requests", call)
        if answer.status != 202:  # noqa: PLR2004
            raise DemoFailed(f"The API answered {answer.status}: {answer.body}")
        request_id = answer.body["id"]
        print(f"  202  {request_id}  {answer.body['status']}", flush=True)
        _follow(local, request_id, answer.body["status"])
        _print_arrived(local, request_id)


def _follow(local: LocalStack, request_id: str, seen: str) -> None:
    states = [seen]

    def ended() -> dict[str, Any] | None:
        body: dict[str, Any] = local.call("GET", f"/assistance-requests/{request_id}").body
        if body["status"] != states[-1]:
            states.append(body["status"])
            print(f"       {request_id}  {body['status']}", flush=True)
        return body if body["status"] in {"delivered", "failed"} else None

    body = until(ended, seconds=DELIVERED_WITHIN, what=f"request {request_id} is delivered")
    if body["status"] == "failed":
        raise DemoFailed(f"Request {request_id} failed: {json.dumps(body['deliveries'])}")


def _print_arrived(local: LocalStack, request_id: str) -> None:
    for message in local.slack.messages if local.slack else []:
        if (message["metadata"] or {}).get("event_payload", {}).get("request_id") == request_id:
            print(_framed(f"Slack  {message['channel']}", _slack_text(message)))
    for mail in _mails(local):
        if request_id in mail["Subject"]:
            to = ", ".join(mail["To"])
            print(_framed(f"Email  to {to}", f"{mail['Subject']}\n\n{mail['BodyText']}"))


def _mails(local: LocalStack) -> list[dict[str, Any]]:
    by_account = http.call("GET", f"{local.cloud.endpoint_url}/_ministack/ses/messages").body["messages"]
    return [mail for mails in by_account.values() for mail in mails]


def _slack_text(message: dict[str, Any]) -> str:
    lines = []
    for block in message["blocks"]:
        texts = [block["text"]] if "text" in block else block["elements"]
        lines += [text["text"] for text in texts]
    return "\n".join(lines)


def _framed(title: str, text: str) -> str:
    lines = [wrapped for line in text.splitlines() for wrapped in (textwrap.wrap(line, 96) or [""])]
    return "\n".join([f"  ┌─ {title}", *(f"  │ {line}" for line in lines), "  └─"])
