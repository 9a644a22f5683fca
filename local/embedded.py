"""The process that MiniStack runs in: it serves on a socket that the runner has bound. Run as a program."""

import asyncio
import os
import resource
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from ministack.app import app
from ministack.services import cloudwatch
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

from local import headers, keys, permissions, ses

BACKLOG: Final = 1_024
API_CALLS_AT_ONCE: Final = 2 * (os.cpu_count() or 1) + 4


def in_turn(application: ASGIFramework) -> ASGIFramework:
    """Let a few calls of deployed APIs run at once, and the others wait.

    MiniStack starts one more Python process for every invocation that finds the warm ones busy. Of several hundred
    calls at once, each would get a cold start of its own, and all would time out.
    """
    turns = asyncio.Semaphore(API_CALLS_AT_ONCE)

    async def serve_in_turn(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if "/_user_request_" not in str(scope.get("path", "")):
            await application(scope, receive, send)
            return
        async with turns:
            await application(scope, receive, send)

    return serve_in_turn


def over_tls(application: ASGIFramework) -> ASGIFramework:
    """Take calls as encrypted, like a server behind a proxy that ends TLS: they don't leave this machine.

    The policies that refuse plain HTTP stay as they are deployed.
    """

    async def serve_over_tls(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await application(scope, receive, send)

    return serve_over_tls


def deploy_composite_alarms() -> None:
    """Let templates hold composite alarms, which MiniStack has, but not as a resource of CloudFormation's."""

    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = properties.get("AlarmName", f"{stack_name}-{logical_id}")
        status, _, answer = cloudwatch._put_composite_alarm(  # noqa: SLF001
            {}, {**properties, "AlarmName": name}, is_cbor=False, is_json=True
        )
        if status != HTTPStatus.OK:
            raise ValueError(answer.decode())
        return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}  # noqa: SLF001

    def delete(name: str, _: dict[str, Any]) -> None:
        cloudwatch._composite_alarms.pop(name, None)  # noqa: SLF001

    # One of MiniStack's own, once it has it, goes first.
    _RESOURCE_HANDLERS.setdefault("AWS::CloudWatch::CompositeAlarm", {"create": create, "delete": delete})


def raise_file_limit() -> None:
    """Allow as many connections as the system lets us have. macOS refuses what it calls unlimited."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(socket: int) -> None:
    """Serve on this file descriptor."""
    raise_file_limit()
    permissions.correct()
    keys.make_function_keys_unguessable()
    headers.hand_over()
    deploy_composite_alarms()
    config = Config()
    config.bind = [f"fd://{socket}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = 75
    port = int(os.environ["GATEWAY_PORT"])
    asyncio.run(serve(keys.closed(headers.kept(over_tls(ses.on_a_bad_day(in_turn(app)))), port), config))


if __name__ == "__main__":
    main(int(sys.argv[1]))
