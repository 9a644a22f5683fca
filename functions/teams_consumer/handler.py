"""Delivers requests to a Teams channel, by a workflow that posts what it is called with.

Its answer, 202, says that the workflow has taken the call, not that the card is posted: what it does then is in its run
history. It can't be asked what it has posted, so what is in doubt is posted again: at least once.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult

from assistance import routing
from assistance.engine.consumer import consumer
from assistance.engine.heartbeat import topics
from assistance.engine.links import take_url
from assistance.errors import DeliveryError, PermanentFailure, TransientFailure
from assistance.models import Outgoing
from assistance.platform import tls
from assistance.platform.clock import utc_now
from assistance.platform.secret import secret, secrets
from assistance.routing import Channel
from teams_consumer import secret as address
from teams_consumer.failures import classify
from teams_consumer.message import compose
from teams_consumer.settings import settings

TIMEOUT_SECONDS: Final = 8
RUN: Final = "x-ms-workflow-run-id"


def place(topic: str) -> str:
    """The ARN of the secret with the workflow's URL, for requests of that topic."""
    name = routing.place(topic, Channel.TEAMS)
    return settings().teams_secrets[name] if isinstance(name, str) else settings().teams_secret


def workflow(topic: str, *, fresh: bool = False) -> SplitResult:
    """The workflow's URL, which holds a signature: cached for five minutes unless a fresh one is wanted."""
    read = partial(address.read, loopback=settings().teams_loopback)
    return secret(place(topic), read, unavailable="teams_secret_unavailable", fresh=fresh)


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def failure(self) -> DeliveryError | None:
        """The failure, if the workflow has not taken the call."""
        return classify(self.status, self.headers, utc_now())


def post(url: SplitResult, body: bytes) -> Answer:
    """Call the workflow, once. No redirect is followed. Raises a `DeliveryError` where there was no answer."""
    host, sent = url.hostname or "", False
    connection = (
        HTTPSConnection(host, url.port, timeout=TIMEOUT_SECONDS, context=tls.context())
        if url.scheme == "https"
        else HTTPConnection(host, url.port, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.connect()
        sent = True
        connection.request("POST", f"{url.path or '/'}?{url.query}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()})
    except TimeoutError as error:
        raise TransientFailure("timeout", in_doubt=sent) from error
    except ssl.SSLError as error:
        raise TransientFailure("tls_error", in_doubt=sent) from error
    except (OSError, HTTPException) as error:
        raise TransientFailure("connection_error", in_doubt=sent) from error
    finally:
        connection.close()


def send(outgoing: Outgoing) -> str:
    """Call the workflow, again if its URL has been replaced meanwhile. Returns the id of the workflow's run."""
    topic, url = outgoing.request.topic, workflow(outgoing.request.topic)
    body = compose(outgoing, take_url=take_url(outgoing, settings().take_page, settings().take_secret))
    answer = post(url, body)
    if isinstance(answer.failure, PermanentFailure) and (replaced := workflow(topic, fresh=True)) != url:
        answer = post(replaced, body)
    if failure := answer.failure:
        raise failure
    return answer.headers.get(RUN, "accepted")


def broken() -> Iterator[str]:
    """Yield the topics whose secret can't be used. Whether the workflow runs, only a card would show."""
    for topic in topics(Channel.TEAMS):
        try:
            workflow(topic)
        except TransientFailure as failure:
            yield f"{topic}: {failure.code}"


lambda_handler = consumer(Channel.TEAMS, send, prepare=secrets, check=broken)
