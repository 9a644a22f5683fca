"""What a walk has worked out already: millions of worlds share some thousands of records."""

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from assistance.domain.record import Record

Result = TypeVar("Result")


class Memory:
    """Stands for the module of transitions: it calls each of them once for each record and its arguments.

    Records are told apart by address, so `one` makes one object of equal records.
    """

    def __init__(self, core: ModuleType) -> None:
        self._core = core
        self._records: dict[Record, Record] = {}
        self._functions: dict[Callable[..., Any], Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        found = getattr(self._core, name)
        return self.once(found) if isinstance(found, FunctionType) else found

    def one(self, record: Record) -> Record:
        """The object that stands for all records equal to this one."""
        return self._records.setdefault(record, record)

    def once(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """The function, whose first argument is a record, called once for each combination of arguments."""
        if function not in self._functions:
            self._functions[function] = _remembering(function)
        return self._functions[function]


def _remembering(function: Callable[..., Result]) -> Callable[..., Result]:
    known: dict[tuple[object, ...], tuple[Result, Record]] = {}

    def call(record: Record, *arguments: Any, **named: Any) -> Result:  # noqa: ANN401
        key = (id(record), arguments, *named.values())
        found = known.get(key)
        if found is None:
            # The record is kept, so that no other gets its address.
            found = known[key] = function(record, *arguments, **named), record
        return found[0]

    return call
