"""Which Slack the stack talks to: the real one, one that the environment names, or our own server."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from local.slack_server import SlackServer

REAL_API_URL: Final = "https://slack.com/api/"
LOCAL_TOKEN: Final = "xoxb-local"  # noqa: S105
LOCAL_CHANNEL: Final = "C0ASSIST"


@dataclass(frozen=True, slots=True)
class Slack:
    """The Slack in use; `server` is ours, if it is."""

    api_url: str
    token: str
    channel: str
    server: SlackServer | None = None


@contextmanager
def chosen(context: Mapping[str, str]) -> Iterator[Slack]:
    """Choose by the environment (SLACK_BOT_TOKEN with SLACK_CHANNEL, SLACK_API_URL) and by overriding context."""
    token, channel = os.environ.get("SLACK_BOT_TOKEN"), os.environ.get("SLACK_CHANNEL")
    api_url = context.get("slack_api_url") or os.environ.get("SLACK_API_URL")
    wanted_channel = context.get("slack_channel") or channel
    if api_url or (token and wanted_channel):
        url = (api_url or REAL_API_URL).rstrip("/") + "/"
        yield Slack(url, token or LOCAL_TOKEN, wanted_channel or LOCAL_CHANNEL)
        return
    here = wanted_channel or LOCAL_CHANNEL
    with SlackServer(token=LOCAL_TOKEN, channels=(here,)) as server:
        yield Slack(server.url, LOCAL_TOKEN, here, server)
