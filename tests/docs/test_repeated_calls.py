"""Tests that the examples of docs/calling.md repeat a call whose answer is cut off, as the page demands of bots."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from tests.e2e.test_examples import EXAMPLES
from tests.http_server import serving

ACCEPTED = json.dumps({"status": "delivered", "links": {"self": "/any"}}).encode()


class CutOff(BaseHTTPRequestHandler):
    """An API whose first answer ends early."""

    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        sent = ACCEPTED if len(self.keys) > 1 else ACCEPTED[:9]
        self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(ACCEPTED), sent))

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ACCEPTED), ACCEPTED))

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    CutOff.keys.clear()
    with serving(CutOff) as address:
        yield address


@pytest.mark.parametrize(("language", "program", "file"), [("python", sys.executable, "a.py"), ("js", "node", "a.mjs")])
def test_an_example_repeats_a_call_whose_answer_is_cut_off_with_the_same_key(
    url: str, tmp_path: Path, language: str, program: str, file: str
) -> None:
    (tmp_path / file).write_text(EXAMPLES[language], "utf-8")
    done = subprocess.run(
        [program, str(tmp_path / file)],
        env={**os.environ, "API_URL": url, "API_KEY": "k"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "delivered"), done.stderr
    assert len(CutOff.keys) == 2
    assert len(set(CutOff.keys)) == 1
