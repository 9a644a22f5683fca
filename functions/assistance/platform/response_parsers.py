"""One error for every answer of AWS that botocore can't parse."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, ResponseParserFactory

from assistance.errors import UNREADABLE


class UnreadableAnswer(BotoCoreError):
    """AWS, or a proxy before it, has sent an answer that can't be parsed. AWS may have carried out the call."""

    fmt = "the answer can't be read: {reason}"


class Parsers(ResponseParserFactory):
    """Wraps botocore's parsers so that for any broken answer they raise `UnreadableAnswer` instead of other errors."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401
        """The parser for a protocol. It has only the method `parse`, since botocore calls no other."""
        return SimpleNamespace(parse=partial(_parsed, super().create_parser(protocol_name).parse))


def _parsed(parse: Callable[[Any, Any], dict[str, Any]], response: Any, shape: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        parsed = parse(response, shape)
        # botocore looks the code up in a mapping, so a list would raise there.
        hash(parsed.get("Error", {}).get("Code"))
    except (*UNREADABLE, ResponseParserError) as error:
        raise UnreadableAnswer(reason=type(error).__name__) from error
    return parsed
