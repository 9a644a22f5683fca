"""The local stack's private directory: `stack.json` for scripts, and a lock against a second run."""

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from local.errors import LocalFailure

LOCK: Final = "lock"
DELETED: Final = ("cdk.out", "tmp")
"""The folders in the directory that each run deletes with all their content."""
OTHERS: Final = 0o077
"""The permission bits of everybody but the owner."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the directory against a second run, and make it and new files in it unreadable for other users.

    Raises `LocalFailure` if another process holds the lock, or if a run would delete somebody else's files. The
    operating system releases the lock of a killed process.
    """
    before = os.umask(OTHERS)  # Applies to files that this process and its children create from here on.
    try:
        with _opened_lock(directory) as lock:
            _take(lock)
            (directory / "stack.json").unlink(missing_ok=True)
            yield
    finally:
        os.umask(before)


@contextmanager
def published(directory: Path, document: Mapping[str, Any]) -> Iterator[None]:
    """Keep a complete `stack.json`, with this document, in the directory until the context is left."""
    path, draft = directory / "stack.json", directory / "stack.json.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # Only the owner may read it, because it contains keys.
    draft.write_text(json.dumps({**document, "pid": os.getpid()}, indent=2), "utf-8")
    try:
        draft.replace(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)


def new_log(path: Path) -> BinaryIO:
    """Create a new log file. An existing one is removed first, because other users may be able to read it."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def _opened_lock(directory: Path) -> TextIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _check_content(directory)
        _close_to_others(directory)
        return (directory / LOCK).open("a+", encoding="ascii")
    except OSError as error:
        raise LocalFailure(f"'{directory}' can't be used: {error.strerror}.") from error


def _check_content(directory: Path) -> None:
    """Raise `LocalFailure` if a run would delete folders that no earlier run has made, such as a home folder's `tmp`.

    Each run leaves its lock file in the directory.
    """
    found = [name for name in DELETED if (directory / name).exists()]
    if found and not (directory / LOCK).exists():
        raise LocalFailure(f"A run would delete '{directory / found[0]}', which no run has made: choose another.")


def _close_to_others(directory: Path) -> None:
    """Remove other users' permissions to read the directory, which earlier versions had set.

    Raises `LocalFailure` if other users could write to the directory: they may have put a link there, and a run would
    overwrite the link's target.
    """
    found = directory.stat()
    # A group whose id equals the user's id has no other member, and systems with such groups let them write by default:
    # https://man7.org/linux/man-pages/man8/pam_umask.8.html (usergroups).
    writers = stat.S_IWOTH | (0 if found.st_gid == found.st_uid else stat.S_IWGRP)
    if found.st_mode & writers or {found.st_uid, directory.lstat().st_uid} != {os.geteuid()}:
        raise LocalFailure(f"Another user may have put files into '{directory}': remove it, or choose another one.")
    directory.chmod(found.st_mode & ~OTHERS)


def _take(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise LocalFailure(
            f"The stack already runs here, as process {lock.read().strip()}: stop that one first, "
            "or start this one beside it: make run ARGS='--directory …'."
        ) from error
    os.fchmod(lock.fileno(), 0o600)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
