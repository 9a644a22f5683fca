"""Mutants of the domain that change nothing that anybody could see, and why."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = MappingProxyType({})
