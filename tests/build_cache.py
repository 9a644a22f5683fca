"""Caches results that are slow to compute, such as templates, in `.build` until the sources of a result change."""

import fcntl
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from infra.fingerprint import ROOT, fingerprint

INFRA: Final = ("infra", "functions", "tests/infra", "tests/build_cache.py", "cdk.json", "pyproject.toml", "uv.lock")
"""The sources on which the templates depend."""
PLACES: Final = ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION")
"""The environment variables that infra/app.py reads: a different value needs another cache directory."""


@cache
def _directory(sources: tuple[str, ...]) -> Path:
    """The directory of the cache for the current content of the sources."""
    about = f"{sys.version} {[os.environ.get(name) for name in PLACES]}"
    return ROOT / ".build" / "kept" / fingerprint(sources, about)


def cached(name: str, make: Callable[[], Any], sources: tuple[str, ...] = INFRA) -> Any:  # noqa: ANN401
    """The JSON that `make` returns. Calls `make` once per `name`, even if several processes or runs ask for it.

    `sources`: the files and folders on which the result depends. If one of them changes, `make` is called again.
    """
    directory = _directory(sources)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(make()), "utf-8")
            draft.replace(path)
        return json.loads(path.read_text("utf-8"))
