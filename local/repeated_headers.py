"""Passes repeated headers of a call to the functions as a list, as API Gateway does.

MiniStack joins the values of a repeated header with commas, so that two values look like one.
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from collections import defaultdict
from contextvars import ContextVar
from typing import Any, Final

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from ministack.services import apigateway_v1

_CALLED: Final[ContextVar[list[tuple[bytes, bytes]]]] = ContextVar("headers of the call")
_build = apigateway_v1._build_lambda_event_v1  # noqa: SLF001


def remember(application: ASGIFramework) -> ASGIFramework:
    """Wrap the emulator, and remember the original headers of each call for `pass_on`."""

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            _CALLED.set([*scope["headers"]])
        await application(scope, receive, send)

    return serve


def pass_on() -> None:
    """Change MiniStack so that the event of a deployed function has all values of repeated headers."""

    def build(*arguments: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401
        event: dict[str, Any] = _build(*arguments, **named)
        values: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in _CALLED.get([]):
            values[name.decode("latin-1").lower()].append(value.decode("latin-1"))
        for name in event["multiValueHeaders"]:
            if len(each := values.get(name.lower(), [])) > 1:
                event["multiValueHeaders"][name], event["headers"][name] = each, each[-1]
        return event

    apigateway_v1._build_lambda_event_v1 = build  # noqa: SLF001
