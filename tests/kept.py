"""What takes long to make of the infrastructure's sources, kept in `.build` until one of them changes."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from infra.bundle import ROOT

SOURCES: Final = ("infra", "functions", "tests/infra", "tests/kept.py", "cdk.json", "pyproject.toml", "uv.lock")
PLACES: Final = ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION")
"""The variables that infra/app.py reads."""


@cache
def _directory() -> Path:
    """One for each state of the sources."""
    about = hashlib.sha256(f"{sys.version} {[os.environ.get(name) for name in PLACES]}".encode())
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*")) or [ROOT / source]:
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                about.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return ROOT / ".build" / "kept" / about.hexdigest()[:16]


def kept(name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The JSON that `make` returns. It is called once, however many processes and runs ask for that name."""
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(make()), "utf-8")
            draft.replace(path)
        return json.loads(path.read_text("utf-8"))
