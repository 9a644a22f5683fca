"""The program that runs MiniStack. It serves on a socket that its parent, `local/cloud.py`, has bound."""

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

from local import keys, permissions, repeated_headers, ses_faults

BACKLOG: Final = 1_024
API_CALLS_AT_ONCE: Final = 2 * (os.cpu_count() or 1) + 4


def limit_api_calls(application: ASGIFramework) -> ASGIFramework:
    """Let only a few calls of deployed APIs run at the same time; the others wait.

    MiniStack starts a new Python process for each invocation if all warm processes are busy. With several hundred calls
    at the same time, it would start several hundred processes, and all calls would time out.
    """
    turns = asyncio.Semaphore(API_CALLS_AT_ONCE)

    async def serve_in_turn(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if "/_user_request_" not in str(scope.get("path", "")):
            await application(scope, receive, send)
            return
        async with turns:
            await application(scope, receive, send)

    return serve_in_turn


def mark_as_tls(application: ASGIFramework) -> ASGIFramework:
    """Mark calls as encrypted, as a TLS proxy in front of a server does; in fact they never leave this machine.

    The mark satisfies the deployed policies, which refuse plain HTTP.
    """

    async def serve_over_tls(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await application(scope, receive, send)

    return serve_over_tls


def deploy_composite_alarms() -> None:
    """Let templates contain composite alarms. MiniStack has these alarms, but its CloudFormation can't create them."""

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

    # If a later MiniStack has a handler of its own, that one is used.
    _RESOURCE_HANDLERS.setdefault("AWS::CloudWatch::CompositeAlarm", {"create": create, "delete": delete})


def raise_file_limit() -> None:
    """Raise this process's limit of open files to the maximum. macOS reports an unlimited maximum but refuses it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(socket: int) -> None:
    """Serve MiniStack on the socket with this file descriptor."""
    raise_file_limit()
    permissions.correct()
    keys.make_function_keys_unguessable()
    repeated_headers.pass_on()
    deploy_composite_alarms()
    config = Config()
    config.bind = [f"fd://{socket}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = 75
    port = int(os.environ["GATEWAY_PORT"])
    asyncio.run(
        serve(
            keys.require_signature(
                repeated_headers.remember(mark_as_tls(ses_faults.with_faults(limit_api_calls(app)))), port
            ),
            config,
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
