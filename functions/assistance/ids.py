"""How a request's id is written: as a UUID in its canonical form, which no other item of the table has as a key."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import StringConstraints

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

RequestId: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_UUID}$")]


def is_request_id(value: object) -> bool:
    """Whether it is one, in the letter case in which ids are written."""
    return isinstance(value, str) and re.fullmatch(_UUID, value) is not None


def request_id(typed: str) -> str:
    """The id that somebody typed or put into a path, in either letter case: https://www.rfc-editor.org/rfc/rfc9562#section-4.

    Raises `ValueError` if it is none.
    """
    written = typed.lower()
    if not is_request_id(written):
        raise ValueError("no request's id")
    return written
