"""DynamoDB's notation and plain values, and the table that translates between them.

What is used of boto3's table resource, over botocore's own client: to load boto3 and to make its resource takes a third
of the time that botocore and its client take.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from assistance.platform.answers import UnreadableAnswer

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.service_resource import Table


def noted(value: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911
    """A plain value in DynamoDB's notation."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
        case Mapping():
            return {"M": {name: noted(part) for name, part in value.items()}}
        case list() | tuple():
            return {"L": [noted(part) for part in value]}
        case bytes():
            return {"B": value}
        case set() | frozenset():
            parts = [item for part in value for item in noted(part).items()]
            if len(kinds := {kind for kind, _ in parts}) == 1 and kinds <= {"S", "N", "B"}:
                return {f"{kinds.pop()}S": sorted(part for _, part in parts)}
    raise TypeError(f"{type(value).__name__} is not stored")


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911
    """A value out of DynamoDB's notation. Raises `TypeError` or `ValueError` if it is not in it."""
    match value:
        # Nothing of ours is binary, but what a record holds beside what is ours is kept as it is.
        case {"S": str(kept)} | {"BOOL": bool(kept)} | {"B": bytes(kept)}:
            return kept
        case {"B": str(text)}:
            # In a stream record.
            return b64decode(text)
        case {"BS": list(parts)}:
            return {plain({"B": part}) for part in parts}
        case {"N": str(number)}:
            return _number(number)
        case {"NULL": _}:
            return None
        case {"M": dict(members)}:
            return {name: plain(part) for name, part in members.items()}
        case {"L": list(parts)}:
            return [plain(part) for part in parts]
        case {"SS": list(texts)}:
            return set(texts)
        case {"NS": list(numbers)}:
            return {_number(number) for number in numbers}
    raise TypeError("no attribute value")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("no number") from error


def table(client: "DynamoDBClient", name: str) -> "Table":
    """A table of plain values: the operations on it, and on the client, which from now on takes and gives them too."""
    client.meta.events.register("provide-client-params.dynamodb", _to_notation, unique_id="to-notation")
    client.meta.events.register("after-call.dynamodb", _to_plain, unique_id="to-plain")
    operations = ("put_item", "get_item", "update_item", "delete_item", "query")
    bound = {operation: partial(getattr(client, operation), TableName=name) for operation in operations}
    return cast("Table", SimpleNamespace(name=name, meta=SimpleNamespace(client=client), **bound))


def _to_notation(params: Any, model: "OperationModel", **_: object) -> Any:  # noqa: ANN401
    return _translated(params, model.input_shape, noted)


def _to_plain(parsed: dict[str, Any], model: "OperationModel", **_: object) -> None:
    try:
        parsed.update(_translated(parsed, model.output_shape, plain))
    except (TypeError, ValueError) as error:
        raise UnreadableAnswer(reason=type(error).__name__) from error


def _translated(value: Any, shape: Any, translate: Any) -> Any:  # noqa: ANN401
    """A copy of a call or an answer in which each attribute value is translated. What is no value stays as it is."""
    if shape is None:
        return value
    if shape.name == "AttributeValue":
        return translate(value)
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        return {name: _translated(part, shape.members.get(name), translate) for name, part in value.items()}
    if kind == "map" and isinstance(value, Mapping):
        return {name: _translated(part, shape.value, translate) for name, part in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_translated(part, shape.member, translate) for part in value]
    return value
