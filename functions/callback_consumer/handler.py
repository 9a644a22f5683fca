"""Sends callbacks: tells a bot its request's final status, and who takes or releases it, if the bot asked for that."""

from collections.abc import Callable
from functools import cache, partial
from typing import Final

from assistance.domain.record import End, Handled
from assistance.engine.consumer import consumer
from assistance.errors import PermanentFailure
from assistance.failures import by_code, http_failure
from assistance.models import Outgoing
from assistance.platform.clock import utc_now
from assistance.platform.secret import secret, secrets
from assistance.routing import CALLBACK
from callback_consumer import secret as signing_keys
from callback_consumer.egress import Answer, Egress
from callback_consumer.message import compose, sign, webhook_id
from callback_consumer.receivers import Receivers
from callback_consumer.settings import Settings

# As Standard Webhooks says:
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
ANSWERS: Final = by_code(permanent="http_410", rate_limited="http_429")

egress = cache(lambda: Egress(loopback=Settings.read().callback_loopback))
receivers = cache(Receivers)


def prepare() -> None:
    """Create the objects that sends share, before several threads would do so at the same time."""
    secrets()
    egress()
    receivers()


def call_back(outgoing: Outgoing, receivers: Receivers, post: Callable[[str, bytes, dict[str, str]], Answer]) -> str:
    """If `receivers` allows it, `post` a callback (URL, body, headers). Returns its id, or raises a `DeliveryError`."""
    url, event = outgoing.request.callback_url, outgoing.delivery.cause
    if url is None or not isinstance(event, End | Handled):
        raise PermanentFailure("malformed_message")
    id_, body = webhook_id(outgoing.request, event), compose(outgoing.request, event)
    keys = secret(Settings.read().callback_secret, signing_keys.read, unavailable="callback_secret_unavailable")
    answer = receivers.call(url, partial(post, url, body.encode(), sign(id_, body, keys, utc_now())))
    if failure := http_failure(answer.status, answer.headers, ANSWERS, utc_now()):
        raise failure
    return id_


def send(outgoing: Outgoing) -> str:
    """Send the bot a callback with this Lambda process's receivers and client. Returns the webhook's id."""
    return call_back(outgoing, receivers(), egress().post)


lambda_handler = consumer(CALLBACK, send, prepare=prepare)
