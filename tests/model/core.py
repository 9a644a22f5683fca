"""The functions that change a record, as one module. The model checker calls them, or copies with a bug."""

from pathlib import Path
from types import ModuleType
from typing import Final

from assistance.domain import takes, transitions

_TAKES: Final = ("take", "release", "escalate", "erase")


def core_of(transitions_: ModuleType = transitions, takes_: ModuleType = takes) -> ModuleType:
    """A module with all functions of these two. Give copies of the modules to check changed code."""
    if transitions_ is not transitions:
        takes_ = _based_on(transitions_)
    core = ModuleType("core")
    vars(core).update(vars(transitions_) | {name: vars(takes_)[name] for name in _TAKES})
    return core


def _based_on(transitions_: ModuleType) -> ModuleType:
    """A copy of the module of takes that calls the functions of `transitions_`."""
    copied = ModuleType(takes.__name__)
    exec(compile(Path(str(takes.__file__)).read_text("utf-8"), str(takes.__file__), "exec"), vars(copied))  # noqa: S102 # our own
    same = {name for name, value in vars(takes).items() if value is vars(transitions).get(name, vars(copied))}
    vars(copied).update({name: vars(transitions_)[name] for name in same if name in vars(transitions_)})
    return copied
