"""The embedded cloud: MiniStack as a process of its own, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import boto3

from local.wait import TimedOut, until

HOST: Final = "127.0.0.1"
USUAL_PORT: Final = 4566
REGION: Final = "us-east-1"
STARTED_WITHIN: Final = 60
STOPPED_WITHIN: Final = 10
SERVICES: Final = (
    "apigateway,cloudformation,cloudwatch,dynamodb,dynamodbstreams,iam,lambda,logs,s3,scheduler,secretsmanager,"
    "ses,sesv2,sns,sqs,sts,ssm,monitoring,events"
)


class CloudDied(Exception):
    """MiniStack has ended by itself."""


class Cloud:
    """A running MiniStack."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url

    def client(self, service: str) -> Any:  # noqa: ANN401
        """A boto3 client that reaches this cloud and no other."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )


def free_port(preferred: int = 0) -> int:
    """The preferred port if it is free, else one that is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


@contextmanager
def running(log: Path) -> Iterator[Cloud]:
    """MiniStack, ready, until the context ends. Raises `CloudDied` or `TimedOut`."""
    port = free_port(USUAL_PORT)
    endpoint_url = f"http://{HOST}:{port}"
    environment = {
        # Whatever AWS the user is logged in to stays out of this.
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LOCALSTACK"))},
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "SERVICES": SERVICES,
        "MINISTACK_REGION": REGION,
        "PYTHONWARNINGS": "ignore",
    }
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the runner alone, which then ends all of MiniStack's workers.
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: _ready(process, endpoint_url, log), seconds=STARTED_WITHIN, what="MiniStack starts")
            yield Cloud(endpoint_url)
        finally:
            _stop(process)


def _ready(process: "subprocess.Popen[bytes]", endpoint_url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise CloudDied(f"MiniStack ended with exit status {process.returncode}; see {log}")
    try:
        with urllib.request.urlopen(f"{endpoint_url}/_ministack/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process and everything that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        until(lambda: process.poll() is not None, seconds=STOPPED_WITHIN, what="MiniStack stops")
    except TimedOut:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
