"""Chooses the Slack that the stack posts to: the real one, one at a given URL, or our local server."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from local.errors import LocalFailure
from local.slack_server import SlackServer

REAL_API_URL: Final = "https://slack.com/api/"
LOCAL_CHANNEL: Final = "C0ASSIST"


@dataclass(frozen=True, slots=True)
class Slack:
    """The Slack that the stack posts to. `server`: our local server, or None if another Slack is used."""

    api_url: str
    token: str
    channel: str
    signing_secret: str
    server: SlackServer | None = None

    @property
    def origin(self) -> str:
        """The first part of `api_url`: scheme, host and port."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.api_url))


@contextmanager
def from_context(context: Mapping[str, str]) -> Iterator[Slack]:
    """Choose the Slack by SLACK_BOT_TOKEN, SLACK_CHANNEL and SLACK_API_URL; the context's settings override these.

    Without a token and a URL, run the local server while the context is entered. Raises `LocalFailure` for a token
    without a channel, or a channel without a token.
    """
    token = os.environ.get("SLACK_BOT_TOKEN")
    channel = context.get("slack_channel") or os.environ.get("SLACK_CHANNEL")
    api_url = context.get("slack_api_url") or os.environ.get("SLACK_API_URL")
    if not api_url:
        _check_pair("SLACK_BOT_TOKEN", token, "SLACK_CHANNEL", channel)
        _check_pair("SLACK_CHANNEL", os.environ.get("SLACK_CHANNEL"), "SLACK_BOT_TOKEN", token)
    if api_url or token:
        url = (api_url or REAL_API_URL).rstrip("/") + "/"
        signing_secret = os.environ.get("SLACK_SIGNING_SECRET") or secrets.token_hex(16)
        yield Slack(url, token or new_token(), channel or LOCAL_CHANNEL, signing_secret)
        return
    here, token = channel or LOCAL_CHANNEL, new_token()
    with SlackServer(token=token, channels=(here,)) as server:
        yield Slack(server.url, token, here, server.signing_secret, server)


def new_token() -> str:
    """A random Slack token, so that other users of this machine can't guess it."""
    return f"xoxb-{secrets.token_urlsafe()}"


def _check_pair(name: str, value: str | None, other_name: str, other: str | None) -> None:
    if value and not other:
        raise LocalFailure(
            f"{name} is set, but {other_name} is not: set both to post to the real Slack, "
            "or neither to post to a local server."
        )
