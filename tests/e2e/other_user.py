"""Tries to reach the stack as another user. Started as root, this program first becomes that user.

It reads a plan from standard input (the user's id, the calls to make, the files and directories to read) and writes the
results to standard output. It uses only the standard library: that user may not read our virtual environment.
"""

import codecs
import json
import os
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit


def call(method: str, url: str, headers: dict[str, str], body: str | None) -> tuple[int, str]:
    """The status and the body."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, url.removeprefix(f"{parts.scheme}://{parts.netloc}"), body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def read(path: Path) -> str | None:
    """The content of the file or directory; None if the user may not read it."""
    try:
        return " ".join(map(str, path.iterdir())) if path.is_dir() else path.read_text("utf-8", "replace")
    except PermissionError:
        return None


def main() -> None:
    """Become the user, try everything, and print the results."""
    plan = json.load(sys.stdin)
    codecs.lookup("idna")  # Load it now: after the change of user, Python may not be able to read its own files.
    os.setgroups([])
    os.setgid(plan["user"])
    os.setuid(plan["user"])
    answers = [call(*each) for each in plan["calls"]]
    json.dump({"answers": answers, "read": {name: read(Path(name)) for name in plan["files"]}}, sys.stdout)


if __name__ == "__main__":
    main()
