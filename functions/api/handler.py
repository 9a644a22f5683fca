"""The HTTP API: accept an assistance request, show one, and answer health checks."""

import json
import re
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from api import problems
from api.calls import caller, parse
from api.problems import Problem
from api.settings import Settings
from assistance.domain.record import Status
from assistance.errors import IdempotencyKeyReused, TableUnavailable, Unreadable
from assistance.history import Attempt, Delivery, RequestRecord
from assistance.ids import is_request_id
from assistance.platform import unforeseen
from assistance.platform.clock import timestamp_of
from assistance.platform.metrics import Metric, Tally, measure
from assistance.platform.observability import logger
from assistance.store.requests import deployed

# `debug=False` overrides POWERTOOLS_DEV, which would print each event and answer with tracebacks.
app = APIGatewayRestResolver(debug=False)
# A part of a custom domain's base path: https://docs.aws.amazon.com/apigateway/latest/api/API_CreateBasePathMapping.html
_IN_BASE_PATH: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9$_.+!*'()-]+")
_CLIENT_ERROR: Final = 4
_SERVER_ERROR: Final = 5
_UNCACHED: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


requests = cache(lambda: deployed(Settings.read().table_name))


@app.post("/assistance-requests")
def accept() -> Response[str]:
    """Accept a request: store it with one conditional write, then answer 202."""
    request, payload_hash, ignored = parse(app.current_event)
    accepted, replayed = requests().accept(
        request,
        payload_hash=payload_hash,
        retention=timedelta(days=Settings.read().retention_days),
        caller=caller(app.current_event),
    )
    logger.info("accepted", request_id=request.id, topic=request.topic, replayed=replayed)
    measure(Metric.REPLAYED if replayed else Metric.ACCEPTED, topic=request.topic)
    # The URL is relative to the one that was called, so it is right with any API Gateway stage or base path before it.
    collection = "" if app.context.get("ends_with_slash") else "assistance-requests/"
    headers = {"Location": f"{collection}{request.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    answer = accepted.summary(Status.ACCEPTED) | ({"ignored": ignored} if ignored else {})
    return _json(HTTPStatus.ACCEPTED, answer, headers)


@app.get("/assistance-requests/<request_id>")
def show(request_id: str) -> Response[str]:
    """Answer with a request's status and deliveries. 404 if there is none, or if another API key has sent it."""
    id_ = request_id.lower()
    record = requests().get(id_) if is_request_id(id_) else None
    if record is None or not record.is_for(caller(app.current_event)):
        raise problems.not_found("assistance request")
    return _json(HTTPStatus.OK, _details(record))


@app.get("/health")
def health() -> Response[str]:
    """Answer that the API works. This says nothing about the channels."""
    return _json(HTTPStatus.OK, {"status": "ok"})


@app.get("/openapi.json")
def openapi_document() -> Response[str]:
    """Answer with the API's OpenAPI document."""
    from api import reference  # noqa: PLC0415 # imported here, so that a bot's call does not wait for the import

    return Response(HTTPStatus.OK, "application/json", reference.document(), headers=_UNCACHED)


@app.get("/docs")
def docs() -> Response[str]:
    """Answer with an HTML page that shows the OpenAPI document to people."""
    from api import reference  # noqa: PLC0415 # as above

    headers = {**_UNCACHED, "Content-Security-Policy": reference.SECURITY_POLICY}
    return Response(HTTPStatus.OK, "text/html; charset=utf-8", reference.page(), headers=headers)


@app.not_found
def no_such_route(_: Exception) -> Response[str]:
    """Answer 404. API Gateway lets no unknown route through, so only a direct call of the function gets this."""
    return problems.not_found("resource").response()


@app.exception_handler(Exception)
def failed(error: Exception) -> Response[str]:
    """Answer a call that can't be handled. Only the log shows the type and place of an unforeseen exception."""
    if isinstance(error, IdempotencyKeyReused):
        error = problems.idempotency_key_reused()
    match error:
        case Problem():
            # An operator does not see the answer, which also says what is wrong at each place.
            logger.info("refused", problem=error.slug, places=error.places)
            return error.response()
        case TableUnavailable():
            logger.error("the table is unavailable", error_code=str(error))
            return problems.unavailable().response()
        case Unreadable():
            # The request's item is damaged. An operator must repair it: repeating the call does not help.
            logger.error("a request can't be read", wrong=str(error))
        case _:
            unforeseen.log(error)
    return problems.internal_error().response()


def _details(record: RequestRecord) -> dict[str, Any]:
    summary = record.request.summary_with_reference(record.status)
    if record.published_at:
        summary["published_at"] = record.published_at
    if record.fallback:
        summary["fallback"] = record.fallback.model_dump(mode="json")
    if taken := record.record.taken:
        summary["taken"] = {"at": timestamp_of(taken.at), "by": taken.by, "via": taken.via}
    deliveries = [_shown(each) | {"timeline": [_shown(entry) for entry in each.timeline]} for each in record.deliveries]
    return {**summary, "deliveries": deliveries}


def _shown(part: Delivery | Attempt) -> dict[str, Any]:
    """The members of a delivery or an attempt, without those that are None or False, and without `claimed_until`."""
    members = ((name, getattr(part, name)) for name in part.__slots__ if name != "claimed_until")
    return {name: value for name, value in members if value is not None and value is not False}


def _json(status: HTTPStatus, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status.value, "application/json", json.dumps(body), headers=headers)


def _without_base_path(event: dict[str, Any]) -> str:
    """The event's path, without the base path of a custom domain, with which it begins if a bot calls the domain."""
    path = str(event["path"]).removesuffix("/")
    parts, depth = path.split("/"), str(event["resource"]).count("/")
    base, own = parts[1:-depth], parts[-depth:]
    return "/" + "/".join(own) if all(map(_IN_BASE_PATH.fullmatch, base)) else path


@logger.inject_lambda_context(log_event=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a call that comes through API Gateway's proxy integration."""
    app.append_context(ends_with_slash=str(event["path"]).endswith("/"))  # type: ignore[no-untyped-call]
    answer = app.resolve(event | {"path": _without_base_path(event)}, context)
    if event["httpMethod"] == "POST":
        kind, tally = answer["statusCode"] // 100, Tally()
        tally.add(Metric.REFUSED, int(kind == _CLIENT_ERROR), service="api")
        tally.add(Metric.ERRORED, int(kind == _SERVER_ERROR), service="api")
        tally.emit()
    return answer
