"""How a request's id is written: as a UUID in its canonical form. No other item of the table has such a key."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import StringConstraints

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

RequestId: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_UUID}$")]


def is_request_id(value: object) -> bool:
    """Whether the value is a request's id in its canonical form, which is in lower case."""
    return isinstance(value, str) and re.fullmatch(_UUID, value) is not None


def request_id(typed: str) -> str:
    """The id that somebody typed or put into a path, in either letter case: https://www.rfc-editor.org/rfc/rfc9562#section-4.

    Raises `ValueError` if the text is no id.
    """
    written = typed.lower()
    if not is_request_id(written):
        raise ValueError("no request's id")
    return written
