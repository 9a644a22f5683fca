"""`stack.json`, for scripts, and the lock that keeps two runners out of one directory."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.errors import LocalFailure


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Have the directory for oneself. The system frees the lock of a process that is killed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        opened = (directory / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise LocalFailure(f"'{directory}' can't be used: {error.strerror}.") from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise LocalFailure(
                f"The stack already runs here, as process {lock.read().strip()}: stop that one first, "
                "or start this one beside it: make run ARGS='--directory …'."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        (directory / "stack.json").unlink(missing_ok=True)
        yield


@contextmanager
def published(directory: Path, document: Mapping[str, Any]) -> Iterator[None]:
    """Have `stack.json` there, complete from its first moment on, until the context is left."""
    path, draft = directory / "stack.json", directory / "stack.json.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # It holds the API key.
    draft.write_text(json.dumps({**document, "pid": os.getpid()}, indent=2), "utf-8")
    try:
        draft.replace(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)
