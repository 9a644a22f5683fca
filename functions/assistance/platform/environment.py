"""A function's settings, read from its environment and validated.

pydantic alone: to load pydantic-settings took a seventh of the time in which the API started.
"""

import os
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from assistance.errors import InvalidSettings
from assistance.platform import startup


class Environment(BaseModel):
    """Fields are the variables of their names, in capitals. What is not a plain value is a field of type `Json`."""

    # A validation error would quote the environment, which holds the function's credentials.
    model_config = ConfigDict(frozen=True, defer_build=True, hide_input_in_errors=True)

    @classmethod
    def read(cls) -> Self:
        """The variables, validated. It is read once all is imported, at the first event. Raises `InvalidSettings`."""
        startup.done()
        try:
            return cls.model_validate({name.lower(): value for name, value in os.environ.items()})
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=False)
            wrong = {f"{str(next(iter(detail['loc']), cls.__name__)).upper()}: {detail['type']}" for detail in details}
            raise InvalidSettings(", ".join(sorted(wrong))) from None
