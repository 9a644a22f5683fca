"""Computes one hash of files, to detect whether a cached result is outdated."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def fingerprint(sources: Iterable[str], about: str) -> str:
    """Return one hash of these files and folders, given relative to the repository, and of the text `about`."""
    found = hashlib.sha256(about.encode())
    for source in sources:
        for path in sorted((ROOT / source).rglob("*")) or [ROOT / source]:
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                found.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]
