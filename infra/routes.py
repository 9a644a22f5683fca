"""Parses and checks the routes of a deployer at synthesis."""

import re
from collections.abc import Mapping
from typing import Final

from assistance.routing import MAX_MINUTES, Channel, Place, Route, named
from infra.addresses import addresses

MAX_RECIPIENTS: Final = 50
"""Of a mail: https://docs.aws.amazon.com/ses/latest/dg/quotas.html."""
# A name would post too, but then nothing can be looked up when in doubt.
SLACK_ID: Final = re.compile(r"[CG][A-Z0-9]{2,}")
# It becomes a part of logical ids, which are alphanumeric.
_SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,19}")


def split(value: object) -> object:
    """The parts of a list that is separated by commas, as `-c` gives one."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def members(value: object) -> object:
    """A route as the context has it. Raises a `ValueError` for a member that no route has."""
    if not isinstance(value, Mapping):
        return value
    for name in set(value) - {"channels", "fallback", "where", "escalate_after"}:
        raise ValueError(f"a route has 'channels', 'fallback', 'where' and 'escalate_after', and no '{name}'")
    where = value.get("where")
    if isinstance(where, Mapping) and "email" in where:
        return {**value, "where": {**where, "email": split(where["email"])}}
    return value


def sound(route: Route) -> Route:
    """The route. Raises a `ValueError` if it can't be deployed."""
    if not route.channels:
        raise ValueError("a topic needs a channel at least")
    if len({*route.channels, route.fallback}) <= len(route.channels):
        raise ValueError("a route names a channel twice")
    if route.escalate_after is not None and not 1 <= route.escalate_after <= MAX_MINUTES:
        raise ValueError(f"escalate_after is a number of minutes from 1 to {MAX_MINUTES:,}")
    for channel, place in route.where.items():
        if channel not in named([route]):
            raise ValueError(f"'where' names {channel}, and the route does not")
        _check_place(channel, place)
    return route


def _check_place(channel: Channel, place: Place) -> None:
    match channel, place:
        case Channel.SLACK, str() if SLACK_ID.fullmatch(place):
            pass
        case Channel.SLACK, _:
            raise ValueError("'where' wants the id of a Slack channel: C0123456789")
        case Channel.EMAIL, tuple() if 0 < len(place) <= MAX_RECIPIENTS:
            addresses(place)
        case Channel.EMAIL, _:
            raise ValueError(f"'where' wants 1 to {MAX_RECIPIENTS} email addresses")
        case Channel.TEAMS, str() if _SECRET_NAME.fullmatch(place):
            pass
        case Channel.TEAMS, _:
            raise ValueError(
                "'where' wants the name of a Teams secret: up to 20 letters a to z, digits after the first"
            )
        case _:
            raise ValueError(f"'where' can't name {channel}: that channel has one target only")
