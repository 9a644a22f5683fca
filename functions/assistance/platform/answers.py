"""One error, like botocore's others, for every answer that botocore can't parse."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, ResponseParserFactory

from assistance.errors import UNREADABLE


class UnreadableAnswer(BotoCoreError):
    """AWS, or a proxy before it, has sent an answer that AWS does not document. AWS may have done what we asked for."""

    fmt = "the answer can't be read: {reason}"


class Parsers(ResponseParserFactory):
    """botocore's parsers raise anything if an answer breaks their assumptions. These raise only `UnreadableAnswer`."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401
        """The parser of a protocol. botocore uses only its `parse`."""
        return SimpleNamespace(parse=partial(_parsed, super().create_parser(protocol_name).parse))


def _parsed(parse: Callable[[Any, Any], dict[str, Any]], response: Any, shape: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        parsed = parse(response, shape)
        # botocore looks the code up in a mapping, so a list would raise there.
        hash(parsed.get("Error", {}).get("Code"))
    except (*UNREADABLE, ResponseParserError) as error:
        raise UnreadableAnswer(reason=type(error).__name__) from error
    return parsed
