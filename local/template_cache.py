"""Caches synthesized templates in `.build`, so that most starts of the stack need no synthesis.

The addresses of the local servers differ from run to run. So a template is synthesized with placeholders for them, and
the function `address` then puts the real addresses in.
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.fingerprint import ROOT, fingerprint
from local.run_directory import new_log
from local.wait import until

CACHE: Final = ROOT / ".build" / "synthesized"
SOURCES: Final = ("infra", "functions", "stages", "cdk.json", "pyproject.toml", "uv.lock", "local/deploy.py")
STAGES: Final = "ASSISTANCE_STAGES"
MOST: Final = 4
"""How many synthesized outputs are kept: those that were used last."""
MANIFEST: Final = "manifest.json"
LOCK: Final = ".lock"
WAIT_SECONDS: Final = 240
"""How long a process waits for another one's synthesis: longer than a synthesis may take."""


def assembly(directory: Path, context: Mapping[str, str], synthesize: Callable[[], None]) -> None:
    """Fill the directory with the synthesized output for this context, from the cache if possible.

    If the cache can't be written, because another user owns it or the disk is full, the output is not cached.
    """
    known = CACHE / fingerprint(SOURCES, json.dumps([sys.version, os.environ.get(STAGES), *sorted(context.items())]))
    shutil.rmtree(directory, ignore_errors=True)
    with _locked(known):
        # A folder of stages outside the repository is not in the fingerprint, so don't use the cache with one.
        if STAGES not in os.environ and os.access(known / MANIFEST, os.R_OK):
            shutil.copytree(known, directory)
            with suppress(OSError):
                os.utime(known)
            with new_log(directory.with_name("synth.log")) as log:
                log.write(f"Kept in {known}\n".encode())
            return
        synthesize()
        with suppress(OSError):
            _keep(directory, known)


@contextmanager
def _locked(known: Path) -> Iterator[None]:
    """Let one process at a time synthesize the output for the cache folder `known`: a second one waits for it."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        lock = known.with_suffix(LOCK).open("w")
    except OSError:  # The cache can't be written.
        yield
        return

    def taken() -> bool | None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return True

    with lock:
        until("Another process has synthesized the same template", WAIT_SECONDS, taken)
        yield


def _keep(directory: Path, known: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    # Copy to a temporary directory and rename it when complete, because this process may be stopped, or another one may
    # do the same at the same time.
    with TemporaryDirectory(dir=CACHE) as draft:
        shutil.copytree(directory, Path(draft) / "whole")
        with suppress(OSError):
            (Path(draft) / "whole").rename(known)
    whole = [path for path in CACHE.iterdir() if (path / MANIFEST).exists()]
    for old in sorted(whole, key=lambda path: path.stat().st_mtime, reverse=True)[MOST:]:
        shutil.rmtree(old, ignore_errors=True)
        old.with_suffix(LOCK).unlink(missing_ok=True)


def address(template: Path, addresses: Mapping[str, str]) -> None:
    """Replace each placeholder in the template by its address."""
    content = template.read_text("utf-8")
    for placeholder, url in addresses.items():
        content = content.replace(placeholder, url)
    template.write_text(content, "utf-8")
