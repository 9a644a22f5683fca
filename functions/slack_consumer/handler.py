"""Delivers requests to Slack channels: each in a message of its own, or several in one if many arrive at once."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from slack_sdk import WebClient

from assistance.engine.batch_sending import BatchSend
from assistance.engine.consumer import consumer
from assistance.engine.decisions import SendResult
from assistance.errors import DeliveryError, PermanentFailure, RefusedInBatch, TransientFailure
from assistance.models import Outgoing
from assistance.platform.clock import utc_now
from assistance.platform.secret import secrets
from assistance.routing import Channel
from assistance.slack.blocks import size
from assistance.slack.message import MAX_MESSAGE_CHARACTERS, compose, digests
from slack_consumer.failures import CONTENT_ERRORS, TOO_LONG, may_blame_content
from slack_consumer.heartbeat import defects
from slack_consumer.history_search import find_posted
from slack_consumer.settings import Settings, place
from slack_consumer.web_api import ask

SUSPICIOUS: Final = 2
"""After this many errors that its content may have caused, a request is posted alone. Slack itself may cause one."""
refused: Final[list[int]] = []
"""The sizes of the messages that Slack has refused as too long since this process started."""


def room() -> int:
    """How many characters the blocks of one message may have. Slack documents no limit, so the number adapts.

    If Slack has refused messages as too long, the limit is four fifths of the smallest refused message's size.
    """
    return min((MAX_MESSAGE_CHARACTERS, *(4 * each // 5 for each in refused)))


def post(outgoing: Sequence[Outgoing]) -> str:
    """Post the requests, which all go to the same Slack channel, in one message. Returns the message's id (`ts`)."""
    channel, take = place(outgoing[0].request.topic), Settings.read().take
    taken = {one.request.id: one.taken for one in outgoing if take and one.taken}
    message = compose(outgoing, utc_now(), take=take, taken=taken, room=room())
    try:
        answer = ask(partial(WebClient.chat_postMessage, channel=channel, **message))
    except PermanentFailure as error:
        if len(outgoing) > 1 and error.code in CONTENT_ERRORS:
            if error.code == TOO_LONG:
                refused.append(size(message["blocks"]))
            raise RefusedInBatch(error.code) from error
        raise
    if not isinstance(ts := answer.get("ts"), str):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return ts


def send(outgoing: Sequence[Outgoing]) -> dict[Outgoing, SendResult]:
    """Post the requests in one message, except those already posted. Returns the result for each request."""
    known: Mapping[Outgoing, SendResult] = find_posted(outgoing) if outgoing[0].doubts else {}
    missing = [one for one in outgoing if one not in known]
    if not missing:
        return dict(known)
    try:
        outcome: SendResult = post(missing)
    except DeliveryError as error:
        outcome = error
    return {**known, **dict.fromkeys(missing, outcome)}


def divide(outgoing: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Divide requests into as few messages as possible, each for one Slack channel.

    A request that may be the cause of repeated errors gets a message of its own, so that others don't fail with it.
    """
    of_place: dict[str, list[Outgoing]] = {}
    for one in outgoing:
        if sum(may_blame_content(doubt.error) for doubt in one.doubts) >= SUSPICIOUS:
            yield [one]
        else:
            of_place.setdefault(place(one.request.topic), []).append(one)
    for together in of_place.values():
        yield from digests(together, utc_now(), take=Settings.read().take, room=room())


lambda_handler = consumer(
    Channel.SLACK, BatchSend(divide=divide, send=send), prepare=secrets, place=place, check=defects
)
