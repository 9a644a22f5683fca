"""A request's id: a UUID in its canonical form. The table's items that belong to no request have other keys."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import StringConstraints

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

RequestId: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_UUID}$")]


def is_request_id(value: object) -> bool:
    """Whether the value is a request's id in its canonical form, which is in lower case."""
    return isinstance(value, str) and re.fullmatch(_UUID, value) is not None


def request_id(typed: str) -> str:
    """The canonical form of an id that somebody typed. Raises `ValueError` if the text is not an id."""
    # https://www.rfc-editor.org/rfc/rfc9562#section-4: input may be in upper case.
    written = typed.lower()
    if not is_request_id(written):
        raise ValueError("no request's id")
    return written
