"""Runs MiniStack, the emulator of AWS, in a child process."""

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

from cli.stack import call_this_machine_directly
from console.origin_checks import HOST
from local import http, process
from local.errors import LocalFailure
from local.run_directory import new_log

if TYPE_CHECKING:
    from boto3.session import Session

DEFAULT_PORT: Final = 4566
BACKLOG: Final = 1_024
REGION: Final = "us-east-1"
WORKER: Final = re.compile(r"/ministack-lambda-(.+)-[a-z0-9_]{8}/")
"""Finds the folder with a function's code in the command line of its process. Group 1 is the function's name."""
EMBEDDED: Final = Path(__file__).with_name("embedded.py")
SERVICES: Final = (
    "apigateway", "cloudformation", "dynamodb", "dynamodbstreams", "events", "iam", "kms", "lambda", "logs",
    "monitoring", "s3", "scheduler", "secretsmanager", "ses", "sns", "sqs", "ssm", "sts",
)  # fmt: skip

# The only environment variables that MiniStack and the functions inherit. None names an AWS account or another server.
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
                    "http_proxy", "https_proxy", "no_proxy")  # fmt: skip


def isolate() -> None:
    """Remove from the environment all AWS settings, so that neither this process nor its children reach an account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_DEFAULT_REGION=REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    call_this_machine_directly()


def new_root_key() -> dict[str, str]:
    """A random AWS access key of the emulator's root user, who may do everything. The members have boto3's names."""
    letters = string.ascii_uppercase + string.digits
    key_id = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    return {"aws_access_key_id": key_id, "aws_secret_access_key": secrets.token_urlsafe(30)}


class Cloud:
    """The running emulator: its URL, its root user's access key, and calls to it."""

    def __init__(self, url: str, root_key: Mapping[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.root_key = root_key
        self.log = log
        self.session = self.new_session()
        self._server = server

    def new_session(self) -> "Session":
        """A new boto3 session of the root user. Two threads must not share a session."""
        key = self.root_key
        return boto3.Session(key["aws_access_key_id"], key["aws_secret_access_key"], region_name=REGION)

    def call(self, method: str, path: str, body: object = None) -> http.Answer:
        """Call a path that is not part of AWS's API, such as `/_ministack/ready`, as root. Raises `http.NoAnswer`."""
        return http.signed(method, f"{self.url}{path}", self.root_key, body=body)

    def check(self) -> None:
        """Raise `LocalFailure` if MiniStack's process has ended."""
        if self._server.poll() is not None:
            raise LocalFailure(f"MiniStack ended with exit status {self._server.returncode}: see {self.log}.")

    def ready(self) -> bool | None:
        """True if MiniStack answers, None if not yet, for `wait.until`. Raises `LocalFailure` if it has ended."""
        self.check()
        try:
            return self.call("GET", "/_ministack/ready").status == HTTPStatus.OK or None
        except http.NoAnswer:
            return None

    def workers(self) -> dict[int, str]:
        """The processes that run Lambda functions now: the function's name by process id."""
        lines = {pid: process.command_line(pid) for pid in process.descendants(self._server.pid)}
        found = {pid: WORKER.search(line) for pid, line in lines.items()}
        return {pid: match[1] for pid, match in found.items() if match}

    def sent_mail(self) -> list[dict[str, str]]:
        """Return the mails accepted by the emulated SES, with `MessageId`, `Subject`, `BodyText` and `BodyHtml`."""
        accounts = self.call("GET", "/_ministack/ses/messages").json["messages"]
        return [mail for mails in accounts.values() for mail in mails]


def _listen() -> socket.socket:
    try:
        return socket.create_server((HOST, DEFAULT_PORT), backlog=BACKLOG)
    except OSError:
        return socket.create_server((HOST, 0), backlog=BACKLOG)


@contextmanager
def running(directory: Path) -> Iterator[Cloud]:
    """Run the emulator while the context is entered, with its log and its temporary files in this directory.

    The emulator may not answer yet: see `Cloud.ready`.
    """
    log, temporary = directory / "ministack.log", directory / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    # Bound here, so that no other process can take the port before MiniStack does.
    with _listen() as listening, new_log(log) as output:
        port, root_key = listening.getsockname()[1], new_root_key()
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            # MiniStack treats a caller with this key as root. Passed as environment variables, because other users of
            # this machine can read command lines.
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
