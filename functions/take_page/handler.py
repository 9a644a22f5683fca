"""Serves the take page, to which the link in a mail or a Teams card leads.

GET shows a request, and POST takes or releases it.
"""

import uuid
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.engine import links
from assistance.engine.links import Link
from assistance.platform.clock import epoch_ms, utc_now
from assistance.platform.http_event import ANSWERED, Refused, body_of, headers_of, status_of
from assistance.platform.observability import logger
from assistance.platform.secret import candidates
from assistance.platform.unforeseen import without_messages
from assistance.store.requests import RequestGone, deployed
from take_page import page
from take_page.settings import Settings
from take_page.taking import Form, Shown, act

FORM: Final = "application/x-www-form-urlencoded"
MAX_FORM: Final = 4_096
MAX_FIELDS: Final = 10

requests = cache(lambda: deployed(Settings.read().table_name))


def answer(event: dict[str, Any]) -> Shown:
    """Show, take or release the request. Only a POST changes anything."""
    link, form = _link(event), None
    if event["httpMethod"] == "POST":
        _refuse_foreign(headers_of(event))
        form = _form(event)
    try:
        return act(requests(), link, form)
    except RequestGone:
        raise Refused(HTTPStatus.GONE) from None


def _link(event: dict[str, Any]) -> Link:
    arn, now = Settings.read().take_secret, epoch_ms(utc_now()) // 1_000
    token = (event.get("pathParameters") or {}).get("token") or ""
    # A consumer may know a new key sooner than this function.
    for keys in candidates(arn, links.read, unavailable=links.UNAVAILABLE):
        if link := links.opened(token, keys, now):
            return link
    # The answer is the same for every reason, so that nobody who tries tokens learns anything.
    raise Refused(HTTPStatus.NOT_FOUND)


def _refuse_foreign(headers: Mapping[str, set[str]]) -> None:
    """Raise `Refused` if, according to the browser's headers, another site's page has sent the form.

    The take page forbids referrers, so browsers send `null` as the origin of its form:
    https://fetch.spec.whatwg.org/#append-a-request-origin-header.
    """
    page_url = urlsplit(Settings.read().take_page)
    own = {f"{page_url.scheme}://{page_url.netloc}", "null"}
    sites, origins = headers.get("sec-fetch-site", set()), headers.get("origin", set())
    if not (sites <= {"none", "same-origin"} if sites else origins <= own):
        raise Refused(HTTPStatus.FORBIDDEN, "another site has sent a form")


def _form(event: dict[str, Any]) -> Form:
    body, types = body_of(event), headers_of(event).get("content-type", {FORM})
    if body is None or len(body) > MAX_FORM or {each.partition(";")[0].strip().lower() for each in types} != {FORM}:
        raise Refused(HTTPStatus.BAD_REQUEST)
    try:
        fields = parse_qs(body, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST) from None
    return Form(**{name: fields[name][0] for name in ("name", "press", "release", "takes") if name in fields})


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Answer a call that comes through API Gateway's proxy integration."""
    status = HTTPStatus.OK
    try:
        body = page.show(answer(event), uuid.uuid4().hex)
    except ANSWERED as error:
        status = status_of(error)
        body = page.failed(status)
    return {"statusCode": status.value, "headers": page.HEADERS, "body": body}
