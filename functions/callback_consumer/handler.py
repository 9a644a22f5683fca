"""Tells a bot how its request has ended, where it has asked to be told."""

from collections.abc import Callable
from functools import cache, partial

from assistance import aws
from assistance.clock import utc_now
from assistance.consumer import consumer
from assistance.errors import Deferred, Superseded, TableUnavailable, TransientFailure, Unreadable
from assistance.models import Outgoing
from assistance.requests import Requests
from assistance.routing import CALLBACK
from assistance.secret import secret, secrets
from callback_consumer import secret as signing_keys
from callback_consumer.egress import Answer, Egress
from callback_consumer.failures import classify
from callback_consumer.message import compose, sign, webhook_id
from callback_consumer.receivers import Receivers
from callback_consumer.settings import settings


@cache
def requests() -> Requests:
    """The deployed table."""
    return Requests(aws.table(settings().table_name))


@cache
def egress() -> Egress:
    """The way out."""
    return Egress(loopback=settings().callback_loopback)


@cache
def receivers() -> Receivers:
    """What this instance knows of those it has called: the next invocations of it find it here."""
    return Receivers()


def prepare() -> None:
    """Make all of that before several threads do."""
    secrets()
    requests()
    egress()
    receivers()


def headers_for(id_: str, body: str) -> dict[str, str]:
    """Those that the specification wants. The secret holds one signing key, or several while they change."""
    keys = secret(settings().callback_secret, signing_keys.read, unavailable="callback_secret_unavailable")
    return sign(id_, body, keys, utc_now())


def tell(outgoing: Outgoing, receivers: Receivers, post: Callable[[str, bytes, dict[str, str]], Answer]) -> str:
    """Tell the bot what is now, if the request has ended by now. Returns the webhook's id.

    One whose delivery ended while others were under way is told of when these end: each end has its own message.
    """
    try:
        record = requests().get(outgoing.request.id)
    except TableUnavailable as error:
        raise Deferred("table_unavailable") from error
    except Unreadable as error:
        raise TransientFailure("request_unreadable") from error
    if record is None or record.ended_at is None or (url := record.request.callback_url) is None:
        raise Superseded("not_ended")
    id_, body = webhook_id(record, record.ended_at), compose(record, record.ended_at)
    answer = receivers.call(url, partial(post, url, body.encode(), headers_for(id_, body)))
    if failure := classify(answer.status, answer.headers, utc_now()):
        raise failure
    return id_


def send(outgoing: Outgoing) -> str:
    """The same, as it is deployed."""
    return tell(outgoing, receivers(), egress().post)


lambda_handler = consumer(CALLBACK, send, prepare=prepare)
