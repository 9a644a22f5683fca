"""Runs a bundle under AWS's own runtime client, which asks our Runtime API for an event, as Lambda does.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Any

INVOCATION = "/2018-06-01/runtime/invocation"
REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
TRACE_ID = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"
LIMIT_SECONDS = 30
# The installed interpreter, not the link to it in a virtual environment.
PYTHON = Path(sys.executable).resolve()


class RuntimeApi(ThreadingHTTPServer):
    """Hands out one event, and stores each of the runtime's reports: the end of the URL path, and the body."""

    daemon_threads = True

    def __init__(self, event: object) -> None:
        self.event: bytes | None = json.dumps(event).encode()
        self.said: Queue[tuple[str, str]] = Queue()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RuntimeApi

    def do_GET(self) -> None:
        event, self.server.event = self.server.event, None
        if self.path != f"{INVOCATION}/next":
            self._answer(HTTPStatus.NOT_FOUND, b"{}")
        elif event is None:
            # As Lambda does: it freezes a function until the next event.
            self.server.over.wait()
            self.close_connection = True
        else:
            self._answer(
                HTTPStatus.OK,
                event,
                {
                    "Lambda-Runtime-Aws-Request-Id": REQUEST_ID,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + LIMIT_SECONDS) * 1_000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
                    "Lambda-Runtime-Trace-Id": TRACE_ID,
                },
            )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(HTTPStatus.ACCEPTED, b'{"status": "OK"}')
        known = {f"{INVOCATION}/{REQUEST_ID}/response": "response"}
        self.server.said.put((known.get(self.path, self.path), body))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def invoke(
    bundle: Path, client: Path, handler: str, event: object, environment: Mapping[str, str]
) -> tuple[Any, set[str]]:
    """Start a bundle cold and let it handle one event. Returns its response, and the packages that it has imported.

    Only the standard library, the bundle and the runtime client can be imported.
    """
    with RuntimeApi(event) as api, TemporaryDirectory() as directory:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                # `-S`: without site-packages. `-X importtime`: print a line for every imported module.
                [PYTHON, "-S", "-X", "importtime", "-m", "awslambdaric", handler],
                cwd=bundle,
                env={
                    **environment,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_address[1]}",
                    "PYTHONPATH": os.pathsep.join((str(bundle), str(client))),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def watch() -> None:
            process.wait()
            api.said.put(("the process ended", str(process.returncode)))

        threading.Thread(target=watch, daemon=True).start()
        try:
            what, body = api.said.get(timeout=LIMIT_SECONDS)
        finally:
            process.kill()
            process.wait()
            api.over.set()
            api.shutdown()
        lines = log.read_text("utf-8", "replace").splitlines()
        imported = [line.rsplit("|", 1)[-1].strip() for line in lines if line.startswith("import time:")]
        told = "\n".join(line for line in lines if not line.startswith("import time:"))
        assert what == "response", f"{what}: {body}\n{told}"
        return json.loads(body), {name.split(".")[0] for name in imported}
