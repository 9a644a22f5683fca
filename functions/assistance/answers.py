"""What botocore makes of an answer that it can't read: one error, like its others, whatever its parsers raise."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, ResponseParserFactory

from assistance.errors import UNREADABLE


class UnreadableAnswer(BotoCoreError):
    """AWS, or somebody on the way to it, has answered what is none of its answers. It may have done what was asked."""

    fmt = "the answer can't be read: {reason}"


class Parsers(ResponseParserFactory):
    """botocore's parsers, which take the form of an answer for granted. These raise nothing but `UnreadableAnswer`."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401
        """The parser of a protocol. Nothing but its `parse` is used."""
        return SimpleNamespace(parse=partial(_parsed, super().create_parser(protocol_name).parse))


def _parsed(parse: Callable[[Any, Any], dict[str, Any]], response: Any, shape: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        parsed = parse(response, shape)
        # botocore looks the code up, which it can't if it is a list.
        hash(parsed.get("Error", {}).get("Code"))
    except (*UNREADABLE, ResponseParserError) as error:
        raise UnreadableAnswer(reason=type(error).__name__) from error
    return parsed
