"""The items of the table. Each item is checked when it is read, because other programs may have written it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, Field, ValidationError

from assistance.errors import Unreadable
from assistance.models import MAX_SECONDS, AssistanceRequest, Channels, Minutes, Model, Moment, Seconds, StoredRoute
from assistance.platform import dynamodb
from assistance.routing import Channel
from assistance.store.schema import CREATED_AT, PARTITION_KEY, SORT_KEY, TOPIC

Item: TypeAlias = Mapping[str, Any]

Milliseconds = Annotated[int, Field(ge=0, le=MAX_SECONDS * 1_000)]


class Accepted(Model):
    """The attributes of a request item besides the bot's request. `caller`: the id of the bot's API key."""

    channels: Channels
    fallback_channel: Channel | None = None
    escalate_after: Minutes | None = None
    ttl: Seconds
    published_at: Moment | None = None
    caller: str | None = None

    @property
    def route(self) -> StoredRoute:
        """The request's route when it was accepted."""
        return StoredRoute(channels=self.channels, fallback=self.fallback_channel, escalate_after=self.escalate_after)


_Read = TypeVar("_Read", bound=BaseModel)


@contextmanager
def readable() -> Iterator[None]:
    """Turn pydantic's error into `Unreadable`, which names the invalid attributes. Also works as a decorator."""
    try:
        yield
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        # Name the attribute, but not the place inside it: the keys of a map may hold a customer's text.
        wrong = {f"{next(iter(detail['loc']), 'item')}: {detail['type']}" for detail in details}
        raise Unreadable(", ".join(sorted(wrong))) from None


def checked(model: type[_Read], item: Item) -> _Read:
    """Validate those attributes of the item for which the model has a field. Raises `Unreadable`."""
    with readable():
        return model.model_validate(item)


def key_of(item: Item) -> dict[str, str]:
    """The key of an item, even if other attributes of the item are unreadable."""
    return {name: str(item.get(name)) for name in (PARTITION_KEY, SORT_KEY)}


def plain(item: Item) -> Item:
    """Convert an item from DynamoDB's notation, which stream records and failed conditions use. Raises `Unreadable`."""
    try:
        return {name: dynamodb.plain(value) for name, value in item.items()}
    except (TypeError, ValueError):
        raise Unreadable("not in DynamoDB's notation") from None


def request_of(item: Item) -> AssistanceRequest:
    """The request that a request item holds. Raises `Unreadable`."""
    names = {"id": PARTITION_KEY, "topic": TOPIC, "created_at": CREATED_AT}
    members = {member: names.get(member, member) for member in AssistanceRequest.model_fields}
    return checked(AssistanceRequest, {member: item[name] for member, name in members.items() if name in item})
