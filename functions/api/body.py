"""Reads and checks the body of a bot's call. No customer is turned away because of how they wrote something."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from api import problems
from assistance.callback_url import LOOPBACK, CallbackUrl
from assistance.models import MAX_DESCRIPTION_CHARACTERS, Model
from assistance.routing import routes, topics
from assistance.text import is_blank, printable

MAX_DETAILS: Final = 20
MAX_LABEL_CHARACTERS: Final = 60
MAX_IGNORED: Final = 20
"""The 202 answer names at most this many unknown members, with at most `MAX_LABEL_CHARACTERS` of each name."""
# One half of a UTF-16 surrogate pair. JSON can contain it, but UTF-8 can't:
# https://www.rfc-editor.org/rfc/rfc8259#section-8.2
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NO_OBJECT: Final = "Input should be an object"
_IN_WORDS: Final = {
    "model_type": _NO_OBJECT,
    "dict_type": _NO_OBJECT,
    "string_type": "Input should be a string, number or boolean",
}
"""Error texts for bots, by pydantic's type of the error. pydantic's own texts would name Python's types."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a boolean, with its text in the JSON document: as a float, `12.50` would become 12.5."""

    text: str


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object: its members in their order, and the names that occur more than once."""

    members: Mapping[str, Any]
    repeated: tuple[str, ...]


def _text(value: object) -> object:
    """The value as a text, trimmed; None if it is blank. A value of another type is returned unchanged."""
    if isinstance(value, bool):
        value = Literal(str(value).lower())
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, str):
        return None if is_blank(value) else value.strip()
    return value


def _required(value: object) -> object:
    if isinstance(value, bool | Literal):
        # If a bot's template has no quotes around a variable, a customer who types digits makes it a number.
        value = _text(value)
    # Python's `strip`, unlike pydantic's, also removes the control characters that are separators.
    return value.strip() if isinstance(value, str) else value


def _topic(value: object) -> object:
    topic = value.strip().lower() if isinstance(value, str) else None
    if topic not in routes():
        raise ValueError(f"Input should be {topics()}")
    return topic


def _members(value: object) -> object:
    if isinstance(value, Object):
        return value.members
    return _text(value)


def _details(value: object) -> object:
    """The call's details, without entries whose label or value is blank. Raises `ValueError` if too many are left."""
    value = _members(value)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        value = {label: said for label, said in value.items() if not is_blank(label) and _text(said) is not None}
        if len(value) > MAX_DETAILS:
            raise ValueError(f"Object should have at most {MAX_DETAILS} members")
    return value


def _label(label: str) -> str:
    if len(label.strip()) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"Name should have at most {MAX_LABEL_CHARACTERS} characters")
    return label


_SHOWN: Final = BeforeValidator(_text)
_AS_IT_CAME: Final = "Shown as it came. Counts as absent if it is blank."


class Customer(Model):
    """The customer who asks for a human. An invalid address or telephone number is shown as it came."""

    name: Annotated[str | None, Field(max_length=200, description=_AS_IT_CAME), _SHOWN] = None
    email: Annotated[str | None, Field(max_length=320, description=_AS_IT_CAME), _SHOWN] = None
    phone: Annotated[str | None, Field(max_length=50, description=_AS_IT_CAME), _SHOWN] = None


Details: TypeAlias = dict[
    Annotated[str, AfterValidator(_label)], Annotated[str, StringConstraints(max_length=500), _SHOWN]
]


class Call(Model):
    """The body of `POST /assistance-requests`, by which a bot asks for a human's help."""

    topic: Annotated[str, BeforeValidator(_topic)] = Field(description="In any letter case.")
    description: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_DESCRIPTION_CHARACTERS), BeforeValidator(_required)
    ] = Field(description="White space at its ends does not count. At least one character is visible.")
    callback_url: Annotated[CallbackUrl | None, _SHOWN] = Field(
        None,
        description="Gets the final status, takes and releases. Needs https, port 443, a public host, no user name.",
        examples=["https://bot.example.com/ended?conversation=42"],
        json_schema_extra={"format": "uri"},
    )
    customer: Annotated[Customer | None, BeforeValidator(_members)] = None
    conversation_url: Annotated[str | None, Field(max_length=2_000), _SHOWN] = Field(
        None, description=f"Where a human can join the conversation. {_AS_IT_CAME}"
    )
    reference: Annotated[str | None, Field(max_length=200), _SHOWN] = Field(
        None, description="The bot's own id for the request. `GET` and callbacks repeat it."
    )
    details: Annotated[Details, BeforeValidator(_details)] = Field(
        default_factory=dict,
        description=f"What else a human should know: labels and their values. {_AS_IT_CAME}",
        json_schema_extra={"maxProperties": MAX_DETAILS, "propertyNames": {"maxLength": MAX_LABEL_CHARACTERS}},
    )

    @property
    def optional_members(self) -> dict[str, Any]:
        """The optional members that are shown to humans, as `AssistanceRequest` has them. Empty ones are left out."""
        members = self.model_dump(include={"customer", "conversation_url", "reference"}, exclude_none=True)
        members["details"] = [{"label": label.strip(), "value": value} for label, value in self.details.items()]
        return {name: value for name, value in members.items() if value}


def read(body: bytes, *, loopback: bool) -> tuple[Call, tuple[str, ...]]:
    """The call in a body, and unknown members' names. `loopback` allows callbacks to 127.0.0.1. Raises a `Problem`."""
    parsed = _parsed(body)
    given = parsed.members if isinstance(parsed, Object) else parsed
    try:
        call = Call.model_validate(given, context={LOOPBACK: loopback})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        # `from None`: otherwise a traceback would show pydantic's error, which holds the customer's texts.
        raise problems.invalid(errors=[_wrong(detail) for detail in details]) from None
    if repeated := list(_repeated(parsed)):
        raise problems.invalid(
            errors=[{"pointer": pointer(*name), "detail": "must be there once"} for name in repeated]
        )
    if is_blank(call.description):
        raise problems.invalid(errors=[{"pointer": "#/description", "detail": "must hold a visible character"}])
    return call, tuple(_ignored(parsed))


def _parsed(body: bytes) -> Any:  # noqa: ANN401
    try:
        # RFC 8259, section 8.1, allows a parser to ignore a byte order mark.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise problems.not_utf_8() from None
    try:
        # `strict=False` allows line breaks within strings: a bot's template may insert a customer's text unescaped.
        return json.loads(
            text,
            strict=False,
            object_pairs_hook=_object,
            parse_int=Literal,
            parse_float=Literal,
            parse_constant=_no_json,
        )
    except json.JSONDecodeError as error:
        raise problems.not_json(f"line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise problems.not_json() from None


def _object(members: list[tuple[str, Any]]) -> Object:
    encodable = [(_encodable(name), _encodable(value)) for name, value in members]
    names = Counter(name for name, _ in encodable)
    return Object(dict(encodable), tuple(name for name, count in names.items() if count > 1))


def _encodable(value: Any) -> Any:  # noqa: ANN401
    """The value. In a text, each lone half of a surrogate pair is replaced, since UTF-8 can't encode it."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _no_json(constant: str) -> None:
    """Reject `NaN` and `Infinity`, which are not JSON: https://www.rfc-editor.org/rfc/rfc8259#section-6."""
    raise problems.not_json(f"{constant} is no JSON value")


def _wrong(error: ErrorDetails) -> dict[str, str]:
    # pydantic adds "[key]" to the path if a member's name is wrong, not its value.
    path = [part for part in error["loc"] if part != "[key]"]
    detail = _IN_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return {"pointer": pointer(*path), "detail": detail}


def pointer(*path: int | str) -> str:
    """The path as a JSON Pointer in a URI fragment: https://www.rfc-editor.org/rfc/rfc6901#section-6."""
    escaped = (quote(str(part).replace("~", "~0").replace("/", "~1"), safe="~") for part in path)
    return "#" + "".join(f"/{part}" for part in escaped)


def _repeated(call: Object) -> Iterator[tuple[str, ...]]:
    """The paths of members that occur more than once. They are refused, since parsers disagree on which one counts."""
    yield from ((name,) for name in call.repeated if name in Call.model_fields)
    match call.members.get("customer"):
        case Object() as customer:
            yield from (("customer", name) for name in customer.repeated if name in Customer.model_fields)
    match call.members.get("details"):
        case Object() as details:
            yield from (("details", name) for name in details.repeated)


def _ignored(call: Object) -> Iterator[str]:
    """The names of the unknown members, made safe to show in a terminal."""
    customer = call.members.get("customer")
    inner = customer.members if isinstance(customer, Object) else {}
    names = [
        *(name for name in call.members if name not in Call.model_fields),
        *(f"customer.{name}" for name in inner if name not in Customer.model_fields),
    ]
    for name in names[:MAX_IGNORED]:
        yield printable(name)[:MAX_LABEL_CHARACTERS]
