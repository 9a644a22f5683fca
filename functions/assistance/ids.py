"""A request's id: a UUID in its canonical form. The table's items that belong to no request have other keys."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import StringConstraints

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

RequestId: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_UUID}$")]


def is_request_id(value: object) -> bool:
    """Whether the value is a request's id in its canonical form, which is in lower case."""
    return isinstance(value, str) and re.fullmatch(_UUID, value) is not None
