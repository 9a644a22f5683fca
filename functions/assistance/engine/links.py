"""The link by which a human takes a request. A consumer puts it into the message that it sends."""

from assistance import take_link
from assistance.models import Outgoing
from assistance.platform.secret import secret
from assistance.take_link import Link

UNAVAILABLE = "take_secret_unavailable"


def take_url(outgoing: Outgoing, page: str, secret_arn: str) -> str | None:
    """The URL on which a human takes the request: `page` and a token. None if `page` is empty: the stage has no page.

    Raises a `TransientFailure` if the secret can't be used.
    """
    if not page:
        return None
    keys = secret(secret_arn, take_link.read, unavailable=UNAVAILABLE)
    return page + take_link.token(Link(outgoing.request.id, outgoing.delivery.name, outgoing.ttl), keys)
