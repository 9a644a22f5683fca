"""What another user of this machine can get. Started as root, this program becomes that user before it tries anything.

The plan comes by standard input: the user's id, calls, and files and directories to read. What came of it goes to
standard output. Run as a program, with what Python brings along: the user may not read our virtual environment.
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
    """What is in the file, or the directory; None if it may not be read."""
    try:
        return " ".join(map(str, path.iterdir())) if path.is_dir() else path.read_text("utf-8", "replace")
    except PermissionError:
        return None


def main() -> None:
    """Become the user, try everything, and tell."""
    plan = json.load(sys.stdin)
    codecs.lookup("idna")  # Python loads it at the first call, by when this user may no longer read Python's files.
    os.setgroups([])
    os.setgid(plan["user"])
    os.setuid(plan["user"])
    answers = [call(*each) for each in plan["calls"]]
    json.dump({"answers": answers, "read": {name: read(Path(name)) for name in plan["files"]}}, sys.stdout)


if __name__ == "__main__":
    main()
