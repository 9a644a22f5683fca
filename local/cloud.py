"""MiniStack as the embedded cloud."""

import os
import re
import secrets
import shutil
import socket
import string
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3

from console.gate import HOST
from local import http, process
from local.errors import LocalFailure
from local.state import new_log

if TYPE_CHECKING:
    from boto3.session import Session

USUAL_PORT: Final = 4566
BACKLOG: Final = 1_024
REGION: Final = "us-east-1"
WORKER: Final = re.compile(r"/ministack-lambda-(.+)-[a-z0-9_]{8}/")
"""In the command line of a process that runs a function: where MiniStack has put that function's code."""
EMBEDDED: Final = Path(__file__).with_name("embedded.py")
SERVICES: Final = (
    "apigateway", "cloudformation", "dynamodb", "dynamodbstreams", "events", "iam", "kms", "lambda", "logs",
    "monitoring", "s3", "scheduler", "secretsmanager", "ses", "sns", "sqs", "ssm", "sts",
)  # fmt: skip

# All that MiniStack and the functions get of the environment: nothing that names a real account or another server.
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
                    "http_proxy", "https_proxy", "no_proxy")  # fmt: skip


def isolate() -> None:
    """Make it impossible for this process, and for what it starts, to reach a real AWS account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_DEFAULT_REGION=REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), HOST, "localhost")))


def new_root_key() -> dict[str, str]:
    """A new key of the account's root, which may do anything. It looks like AWS's keys; boto3 names its parts so."""
    letters = string.ascii_uppercase + string.digits
    key_id = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    return {"aws_access_key_id": key_id, "aws_secret_access_key": secrets.token_urlsafe(30)}


class Cloud:
    """The running cloud: where it answers, and clients for it."""

    def __init__(self, url: str, root_key: Mapping[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.root_key = root_key
        self.log = log
        self.session = self.new_session()
        self._server = server

    def new_session(self) -> "Session":
        """A new session of the root. Two threads must not share one."""
        key = self.root_key
        return boto3.Session(key["aws_access_key_id"], key["aws_secret_access_key"], region_name=REGION)

    def call(self, method: str, path: str, body: object = None) -> http.Answer:
        """Call one of MiniStack's own or our own paths as the root. Raises `http.NoAnswer`."""
        return http.signed(method, f"{self.url}{path}", self.root_key, body=body)

    def check(self) -> None:
        """Raise `LocalFailure` if it has ended."""
        if self._server.poll() is not None:
            raise LocalFailure(f"MiniStack ended with exit status {self._server.returncode}: see {self.log}.")

    def ready(self) -> bool | None:
        """Whether it answers yet. Raises `LocalFailure` if it never will."""
        self.check()
        try:
            return self.call("GET", "/_ministack/ready").status == HTTPStatus.OK or None
        except http.NoAnswer:
            return None

    def workers(self) -> dict[int, str]:
        """The processes that run functions at the moment, and the name of the function that each runs."""
        lines = {pid: process.command_line(pid) for pid in process.descendants(self._server.pid)}
        found = {pid: WORKER.search(line) for pid, line in lines.items()}
        return {pid: match[1] for pid, match in found.items() if match}

    def sent_mail(self) -> list[dict[str, str]]:
        """Return the mails that SES has sent."""
        accounts = self.call("GET", "/_ministack/ses/messages").json["messages"]
        return [mail for mails in accounts.values() for mail in mails]


def _listen() -> socket.socket:
    try:
        return socket.create_server((HOST, USUAL_PORT), backlog=BACKLOG)
    except OSError:
        return socket.create_server((HOST, 0), backlog=BACKLOG)


@contextmanager
def running(directory: Path) -> Iterator[Cloud]:
    """Start the cloud; its log and its files are in this directory. Nothing of it is left when the context is left.

    It is not ready yet.
    """
    log, temporary = directory / "ministack.log", directory / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    # Bound here, so that no other process can take the port before MiniStack does.
    with _listen() as listening, new_log(log) as output:
        port, root_key = listening.getsockname()[1], new_root_key()
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            # MiniStack takes the owner of this key for the root. Every user can read command lines, but not this.
            **{name.upper(): value for name, value in root_key.items()},
            "AUTH": "true",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "INFO",
            "MINISTACK_HOST": HOST,
            "PYTHONUNBUFFERED": "1",
            "S3_DATA_DIR": str(temporary / "s3"),
            "SERVICES": ",".join(SERVICES),
            "SFTP_ENABLED": "0",
            "TMPDIR": str(temporary),
        }
        descriptor = listening.fileno()
        server = process.start(EMBEDDED, str(descriptor), env=environment, stdout=output, pass_fds=[descriptor])
        try:
            listening.close()
            cloud = Cloud(f"http://{HOST}:{port}", root_key, server, log)
            yield cloud
        finally:
            process.stop(server)
            shutil.rmtree(temporary, ignore_errors=True)
