"""Searches the history of a Slack channel for the messages of attempts in doubt."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from slack_sdk import WebClient
from slack_sdk.web import SlackResponse

from assistance.domain.record import Attempt
from assistance.engine.decisions import Sent
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.models import Outgoing
from assistance.platform.clock import utc_now
from assistance.platform.observability import logger
from assistance.slack.blocks import requests_in
from assistance.slack.message import payload, payloads
from slack_consumer.settings import Settings
from slack_consumer.web_api import ask, ours

PAGE: Final = 200
SEARCH_IMPOSSIBLE: Final = frozenset({"channel_not_found", "missing_scope", "not_in_channel"})
"""After these errors no search is possible, so the requests are sent again. A search needs the channel's id (not its
name), the history scope, and that the bot is a member: https://docs.slack.dev/reference/methods/conversations.history"""
SEARCH_TIME: Final = timedelta(seconds=10)
"""The time for a whole search. The batch must still post after it, before `consumer_timeout_seconds` are over."""
UNFINISHED: Final = "look_up_unfinished"
# By how much our clock and Slack's may differ.
_CLOCKS_SECONDS: Final = 60
# A message may arrive after its attempt. The search covers at least this time after it.
_AFTER_SECONDS: Final = 600


class Window(NamedTuple):
    """A part of a Slack channel's history. `place` is the channel, and the times are in seconds since 1970."""

    place: str
    oldest: float
    latest: float


def find_posted(outgoing: Sequence[Outgoing]) -> dict[Outgoing, Sent | DeliveryError]:
    """Search for messages that earlier attempts have posted. Returns the id (`ts`) and place of each one, or an error.

    A request gets an error if it was not found and one of its windows could not be read. If the time is over, the
    error is `RateLimited`, which uses up no attempt; but `TransientFailure` if the first window took all the time.
    """
    until, late = utc_now() + SEARCH_TIME, TransientFailure(UNFINISHED)
    found: dict[Outgoing, Sent] = {}
    failures: dict[Outgoing, DeliveryError] = {}
    closed: dict[str, DeliveryError] = {}
    for window, sought in windows(outgoing):
        if missing := [one for one in sought if one not in found]:
            failure = closed.get(window.place) or _read(window, missing, found, until, late)
            if failure:
                failures |= dict.fromkeys(missing, failure)
                if failure.code != UNFINISHED:
                    closed[window.place] = failure
            late = RateLimited(UNFINISHED)
    return {**failures, **found}


def _read(
    window: Window, missing: Sequence[Outgoing], found: dict[Outgoing, Sent], until: datetime, late: TransientFailure
) -> DeliveryError | None:
    """Add to `found` the messages of `missing` in the window. Returns the error if it fails; `late` if past `until`."""
    try:
        for message in _messages(window, until, late):
            found |= {one: Sent(ts, window.place) for one, ts in _shown_in(message, missing).items()}
            if found.keys() >= set(missing):
                break
    except PermanentFailure as error:
        if error.code not in SEARCH_IMPOSSIBLE:
            return error
        # This is no failure: the requests are sent again. Other windows may be in channels that can be read.
        ids = [one.request.id for one in missing if one not in found]
        logger.warning(
            "can't search the channel's history, so the requests are sent again", request_ids=ids, error_code=error.code
        )
    except TransientFailure as error:
        # Not in doubt: a search posts nothing.
        return type(error)(error.code, retry_after=error.retry_after)
    return None


def windows(outgoing: Sequence[Outgoing]) -> list[tuple[Window, set[Outgoing]]]:
    """The windows in which messages of attempts in doubt may be, and their requests. Overlapping windows are merged."""
    merged: list[tuple[Window, set[Outgoing]]] = []
    doubts = ((_window(doubt), one) for one in outgoing for doubt in one.doubts)
    for window, one in sorted(doubts, key=itemgetter(0)):
        last, sought = merged[-1] if merged else (None, set())
        if last and last.place == window.place and window.oldest <= last.latest:
            merged[-1] = last._replace(latest=max(last.latest, window.latest)), sought | {one}
        else:
            merged.append((window, {one}))
    return merged


def _window(doubt: Attempt) -> Window:
    ended_at = max(doubt.ended_at or 0, doubt.at)
    settings = Settings.read()
    place = doubt.place or settings.slack_channel
    after = max(settings.retry_doubt_delay + _CLOCKS_SECONDS, _AFTER_SECONDS)
    return Window(place, doubt.at / 1_000 - _CLOCKS_SECONDS, ended_at / 1_000 + after)


def _messages(window: Window, until: datetime, late: TransientFailure) -> Iterator[dict[str, Any]]:
    place, oldest, latest = window.place, str(window.oldest), str(window.latest)
    history = partial(WebClient.conversations_history, channel=place, oldest=oldest, latest=latest, limit=PAGE)
    cursor: str | None = None
    while True:
        if utc_now() > until:
            raise late
        page = ask(partial(history, include_all_metadata=True, cursor=cursor))
        messages = page.get("messages")
        if not isinstance(messages, list):
            raise TransientFailure("unexpected_answer")
        yield from (message for message in messages if isinstance(message, dict))
        cursor = _next_cursor(page)
        if not cursor:
            if page.get("has_more"):
                # A part of the window can't be read, and the message may be there.
                raise TransientFailure("unexpected_answer")
            return


def _shown_in(message: dict[str, Any], outgoing: Sequence[Outgoing]) -> dict[Outgoing, str]:
    """Those of `outgoing` in this message, with its `ts`. Only our app's messages count: others may imitate them."""
    # A message that was updated for a take may have lost its metadata, but its buttons name the requests too.
    blocks = message.get("blocks")
    entries = payloads(message) + [payload(*each) for each in requests_in(blocks if isinstance(blocks, list) else ())]
    named = [one for one in outgoing if payload(one.request.id, one.delivery.name) in entries]
    if not named:
        return {}
    if not ours(message):
        logger.warning("another app's message names requests of ours", request_ids=[one.request.id for one in named])
        return {}
    if not isinstance(message.get("ts"), str) or not message["ts"]:
        raise TransientFailure("unexpected_answer")
    return dict.fromkeys(named, message["ts"])


def _next_cursor(page: SlackResponse) -> str | None:
    """The cursor of the next page; None after the last page. https://docs.slack.dev/apis/web-api/pagination."""
    match page.get("response_metadata"):
        case None:
            return None
        case dict() as metadata if isinstance(cursor := metadata.get("next_cursor"), str | None):
            return cursor
    raise TransientFailure("unexpected_answer")
