"""The panes with the messages that people receive, one for each channel."""

from collections.abc import Mapping
from typing import Any, Final

from assistance.routing import Channel
from console.history import title
from local.stack import Stack
from local.webhooks import Post, card, texts_of

SHOWN: Final = 30


def panes(stack: Stack, channels: list[Channel]) -> list[dict[str, Any]]:
    """The content of each channel's pane, in this order. Channels other than Slack and email post to a webhook."""
    return [{"channel": channel, "title": title(channel), **_pane(stack, channel)} for channel in channels]


def mail(stack: Stack, message_id: str) -> str | None:
    """The HTML of a mail, or None if no such mail was sent. Its links open in a new tab, as in a mail program."""
    page = next((mail["BodyHtml"] for mail in stack.cloud.sent_mail() if mail["MessageId"] == message_id), None)
    return page and page.replace("<head>", '<head><base target="_blank">', 1)


def _pane(stack: Stack, channel: Channel) -> dict[str, Any]:
    if channel == Channel.SLACK:
        return {"kind": "slack", **_slack(stack)}
    if channel == Channel.EMAIL:
        return {"kind": "mail", "mails": [_mail(mail) for mail in stack.cloud.sent_mail()[-SHOWN:]]}
    posts = [_post(number, each) for number, each in enumerate(stack.webhooks.received) if each.channel == channel]
    return {"kind": "webhook", "posts": posts[-SHOWN:]}


def _slack(stack: Stack) -> dict[str, Any]:
    server = stack.slack.server
    messages = server.messages[-SHOWN:] if server else []
    ephemeral_messages = list(server.workspace.ephemeral_messages) if server else []
    shown = [
        {**each, "ephemeral_messages": [answer for answer in ephemeral_messages if answer["ts"] == each["ts"]]}
        for each in messages
    ]
    return {"here": server is not None, "place": stack.slack.channel, "messages": shown}


def _mail(mail: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": mail["MessageId"],
        "from": mail["Source"],
        "to": mail["To"],
        "subject": mail["Subject"],
        "at": mail["Timestamp"],
    }


def _post(number: int, post: Post) -> dict[str, Any]:
    """Describe a post to a webhook, with its Adaptive Card, if any, and all texts in it. `number` becomes its id."""
    return {
        "id": number,
        "at": post.at,
        "place": post.place,
        "card": card(post.body),
        "texts": list(texts_of(post.body)),
        "body": post.body,
    }
