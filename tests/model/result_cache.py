"""Caches the results of the domain functions, since millions of worlds share a few thousand records."""

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from assistance.domain.record import Record

Result = TypeVar("Result")
MOST = 100_000
"""Maximum results to cache for a function. More would take more memory than the states of a long check."""


class Memory:
    """Replaces the module of transitions: it calls each function only once for the same record and arguments.

    It compares records by address, so `one` returns the same object for equal records.
    """

    def __init__(self, core: ModuleType) -> None:
        self._core = core
        self._records: dict[Record, Record] = {}
        self._functions: dict[Callable[..., Any], Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        found = getattr(self._core, name)
        found = self.once(found) if isinstance(found, FunctionType) else found
        # Python calls this only for attributes that the object does not have.
        setattr(self, name, found)
        return found

    def one(self, record: Record) -> Record:
        """The one object that represents all records equal to this one."""
        return self._records.setdefault(record, record)

    def once_per_pair(
        self, function: Callable[[Record, Record, str], Result]
    ) -> Callable[[Record, Record, str], Result]:
        """A cached version of the function, whose first two arguments are records."""
        known: dict[tuple[int, int, str], tuple[Result, Record, Record]] = {}

        def call(before: Record, after: Record, step: str) -> Result:
            key = (id(before), id(after), step)
            if key not in known:
                if len(known) >= MOST:
                    known.clear()
                # Keep references to the records, so that no other objects get their addresses.
                known[key] = function(before, after, step), before, after
            return known[key][0]

        return call

    def once(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """A cached version of the function, whose first argument is a record."""
        if function not in self._functions:
            self._functions[function] = _remembering(function)
        return self._functions[function]


def _remembering(function: Callable[..., Result]) -> Callable[..., Result]:
    known: dict[tuple[object, ...], tuple[Result, Record]] = {}

    def call(record: Record, *arguments: Any, **named: Any) -> Result:  # noqa: ANN401
        key = (id(record), *arguments, *named.values()) if named else (id(record), *arguments)
        try:
            return known[key][0]
        except KeyError:
            if len(known) >= MOST:
                known.clear()
            # Keep a reference to the record, so that no other object gets its address.
            known[key] = result, _ = function(record, *arguments, **named), record
            return result

    return call
