"""Delivers requests to a Teams channel, through a Power Automate workflow that posts the card with which it is called.

The workflow's answer, 202, says that it has accepted the call, not that it has posted the card: only the workflow's run
history shows that. The workflow can't be asked what it has posted. So after an attempt in doubt the card is sent again,
and a request may be posted twice.
"""

import ssl
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult

from assistance import routing
from assistance.engine.consumer import consumer
from assistance.engine.heartbeat import topics
from assistance.engine.links import take_url
from assistance.errors import TransientFailure
from assistance.models import Outgoing
from assistance.platform import tls
from assistance.platform.clock import utc_now
from assistance.platform.secret import secrets, with_secret
from assistance.routing import Channel
from teams_consumer import secret as address
from teams_consumer.failures import classify
from teams_consumer.message import compose
from teams_consumer.settings import Settings

TIMEOUT_SECONDS: Final = 8
RUN: Final = "x-ms-workflow-run-id"


def place(topic: str) -> str:
    """The ARN of the secret with the URL of the workflow for requests of that topic."""
    name = routing.place(topic, Channel.TEAMS)
    return Settings.read().teams_secrets[name] if isinstance(name, str) else Settings.read().teams_secret


def with_workflow(topic: str, use: Callable[[SplitResult], str]) -> str:
    """Call `use` with the URL of the topic's workflow, which is secret as it contains a signature."""
    read = partial(address.read, loopback=Settings.read().teams_loopback)
    return with_secret(place(topic), read, use, unavailable="teams_secret_unavailable")


def post(url: SplitResult, body: bytes) -> str:
    """Call the workflow once, and follow no redirect. Returns the id of its run, or raises a `DeliveryError`."""
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
        with connection.getresponse() as answer:
            headers = {name.lower(): value for name, value in answer.getheaders()}
    except TimeoutError as error:
        raise TransientFailure("timeout", in_doubt=sent) from error
    except ssl.SSLError as error:
        raise TransientFailure("tls_error", in_doubt=sent) from error
    except (OSError, HTTPException) as error:
        raise TransientFailure("connection_error", in_doubt=sent) from error
    finally:
        connection.close()
    if failure := classify(answer.status, headers, utc_now()):
        raise failure
    return headers.get(RUN, "accepted")


def send(outgoing: Outgoing) -> str:
    """Call the workflow, and return the id of its run."""
    body = compose(outgoing, take_url=take_url(outgoing, Settings.read().take_page, Settings.read().take_secret))
    return with_workflow(outgoing.request.topic, partial(post, body=body))


def defects() -> Iterator[str]:
    """Yield the topics whose secret can't be used. To check whether the workflow runs, a card would have to be sent."""
    for topic in topics(Channel.TEAMS):
        try:
            with_workflow(topic, SplitResult.geturl)
        except TransientFailure as failure:
            yield f"{topic}: {failure.code}"


lambda_handler = consumer(Channel.TEAMS, send, prepare=secrets, check=defects)
