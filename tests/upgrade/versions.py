"""Two versions of the functions in one process: the current one, and version 1 from an archive.

Both have the same package names, so `sys.modules` contains only the modules of one version at a time.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from assistance.routing import CALLBACK

ARCHIVE: Final = str(Path(__file__).resolve().parent.parent / "corpus" / "v1" / "functions.zip")
PACKAGES: Final = frozenset(path.parent.name for path in Path("functions").glob("*/__init__.py"))


class Version(Enum):
    OLD = "version 1"
    NEW = "the current version"


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}


@dataclass
class Versions:
    """Swaps the modules of the functions in `sys.modules`, and keeps those of the version that is not in use."""

    kept: dict[Version, dict[str, ModuleType]] = field(default_factory=lambda: {version: {} for version in Version})
    used: Version = Version.NEW

    @contextmanager
    def using(self, version: Version) -> Iterator[None]:
        """Put the modules of that version into `sys.modules` within the context."""
        before = self.used
        self._swap(version)
        try:
            yield
        finally:
            self._swap(before)

    def _swap(self, version: Version) -> None:
        if version is self.used:
            return
        self.kept[self.used] = ours = _ours()
        for name in ours:
            del sys.modules[name]
        sys.modules.update(self.kept[version])
        if version is Version.OLD:
            sys.path.insert(0, ARCHIVE)
        else:
            sys.path.remove(ARCHIVE)
        self.used = version

    def module(self, version: Version, name: str) -> ModuleType:
        with self.using(version):
            return importlib.import_module(name)

    def cold(self, functions: tuple[str, ...]) -> None:
        """Make the functions of version 1 start cold: drop their settings and their clients."""
        with self.using(Version.OLD):
            handlers = [importlib.import_module(f"{function}.handler") for function in functions]
            for module in _ours().values():
                for value in [*vars(module).values()]:
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()
            for handler in handlers:
                importlib.reload(handler)

    def call(self, version: Version, function: str, event: Any, context: Any) -> Any:  # noqa: ANN401
        """Invoke a function of that version."""
        queues = json.loads(os.environ["QUEUES"])
        if version is Version.OLD:
            # Version 1's reconciler does not check callbacks, and its template does not name their queue.
            del queues[CALLBACK]
        with self.using(version), patch.dict(os.environ, QUEUES=json.dumps(queues)):
            return importlib.import_module(f"{function}.handler").lambda_handler(event, context)


VERSIONS: Final = Versions()
"""The one object for the whole test run, since importing version 1 takes half a second."""
