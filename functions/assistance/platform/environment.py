"""A function's settings, read from its environment variables and validated."""

import gc
import os
from functools import cache
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from assistance.errors import InvalidSettings


class Environment(BaseModel):
    """Settings from environment variables, which are named like the fields. pydantic-settings would load slowly."""

    # A validation error would quote the environment, which holds the function's credentials.
    model_config = ConfigDict(frozen=True, defer_build=True, hide_input_in_errors=True)

    @classmethod
    @cache
    def read(cls) -> Self:
        """The validated settings, read at the first call, which turns on Python's GC. Raises `InvalidSettings`."""
        # It never scans the objects that exist by now: https://docs.python.org/3/library/gc.html#gc.freeze
        gc.freeze()
        gc.enable()
        try:
            return cls.model_validate({name.lower(): value for name, value in os.environ.items()})
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=False)
            wrong = {f"{str(next(iter(detail['loc']), cls.__name__)).upper()}: {detail['type']}" for detail in details}
            raise InvalidSettings(", ".join(sorted(wrong))) from None
