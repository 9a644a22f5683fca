"""Translates https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html to plain values."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from assistance.platform.response_parsers import UnreadableAnswer

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.service_resource import Table


def noted(value: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911
    """A plain value, converted to DynamoDB's notation. Raises `TypeError` for a type that DynamoDB can't store."""
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
            # botocore does not encode it: see `leave_values`.
            return {"B": b64encode(value).decode()}
        case set() | frozenset():
            parts = [item for part in value for item in noted(part).items()]
            if len(kinds := {kind for kind, _ in parts}) == 1 and kinds <= {"S", "N", "B"}:
                return {f"{kinds.pop()}S": sorted(part for _, part in parts)}
    raise TypeError(f"{type(value).__name__} is not stored")


def plain(value: Any) -> Any:  # noqa: ANN401
    """A value in DynamoDB's notation, converted to a plain one. Raises `TypeError` or `ValueError` if it is invalid."""
    if isinstance(value, dict) and len(value) == 1:
        [(kind, kept)] = value.items()
        type_, convert = _PLAIN.get(kind, _UNKNOWN)
        if isinstance(kept, type_):
            return convert(kept)
    raise TypeError("no attribute value")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("no number") from error


_PLAIN: Final[Mapping[object, tuple[Any, Callable[[Any], Any]]]] = {
    "S": (str, lambda text: text),
    "N": (str, _number),
    "BOOL": (bool, lambda value: value),
    "NULL": (object, lambda _: None),
    "M": (dict, lambda members: {name: plain(part) for name, part in members.items()}),
    "L": (list, lambda parts: [plain(part) for part in parts]),
    # This version stores nothing binary, but a record may hold attributes of a later version, which are kept.
    # Stream records hold binary values in Base64, and so do botocore's answers after `leave_values`.
    "B": (str | bytes, lambda value: b64decode(value) if isinstance(value, str) else value),
    "SS": (list, set),
    "NS": (list, lambda numbers: {_number(number) for number in numbers}),
    "BS": (list, lambda parts: {plain({"B": part}) for part in parts}),
}
"""By the kind of a value in DynamoDB's notation: its type there, and how it is converted."""
_UNKNOWN: Final = ((), lambda _: None)


def leave_values(loader: "Loader") -> None:
    """Let clients that are created from now on pass attribute values on as they are, with binary ones in Base64.

    Otherwise botocore copies each value once more. That takes a tenth of a write's CPU time, and a quarter of a read's.
    """
    loader.load_service_model("dynamodb", "service-2")["shapes"]["AttributeValue"]["document"] = True


def table(client: "DynamoDBClient", name: str) -> "Table":
    """The operations on a table, with plain values. This changes the client: it takes and returns plain values, too."""
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
    """A copy of a call's parameters or answer in which each attribute value is translated, and nothing else changed."""
    match shape and shape.type_name, value:
        case "structure", Mapping():
            return {name: _translated(part, shape.members.get(name), translate) for name, part in value.items()}
        case "map", Mapping() if shape.value.name == "AttributeValue":
            return {name: translate(part) for name, part in value.items()}
        case "map", Mapping():
            return {name: _translated(part, shape.value, translate) for name, part in value.items()}
        case "list", list():
            return [_translated(part, shape.member, translate) for part in value]
    return value
