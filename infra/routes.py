"""Parses and checks the setting `routes` at synthesis."""

import re
from collections.abc import Mapping
from typing import Final

from assistance.routing import MAX_MINUTES, Channel, Place, Route, named
from infra.addresses import addresses

MAX_RECIPIENTS: Final = 50
"""Maximum recipients of one mail: https://docs.aws.amazon.com/ses/latest/dg/quotas.html."""
# The consumer can post to a channel's name, too, but it needs the id to search the channel for a message.
SLACK_ID: Final = re.compile(r"[CG][A-Z0-9]{2,}")
# The name becomes part of a CloudFormation logical id, which must be alphanumeric.
_SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,19}")


def split(value: object) -> object:
    """Split a comma-separated string, as `cdk -c key=a,b` passes a list; return any other value unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def members(value: object) -> object:
    """Return a route with its mail addresses as a list. Raises `ValueError` if the route has an unknown member."""
    if not isinstance(value, Mapping):
        return value
    for name in set(value) - {"channels", "fallback", "where", "escalate_after"}:
        raise ValueError(f"a route has 'channels', 'fallback', 'where' and 'escalate_after', but no '{name}'")
    where = value.get("where")
    if isinstance(where, Mapping) and "email" in where:
        return {**value, "where": {**where, "email": split(where["email"])}}
    return value


def valid_route(route: Route) -> Route:
    """Return the route unchanged. Raises `ValueError` if it can't be deployed."""
    if not route.channels:
        raise ValueError("a topic needs at least one channel")
    if len({*route.channels, route.fallback}) <= len(route.channels):
        raise ValueError("a route names a channel twice")
    if route.escalate_after is not None and not 1 <= route.escalate_after <= MAX_MINUTES:
        raise ValueError(f"escalate_after is a number of minutes from 1 to {MAX_MINUTES:,}")
    for channel, place in route.where.items():
        if channel not in named([route]):
            raise ValueError(f"'where' names {channel}, which is no channel of the route")
        _check_place(channel, place)
    return route


def _check_place(channel: Channel, place: Place) -> None:
    match channel, place:
        case Channel.SLACK, str() if SLACK_ID.fullmatch(place):
            pass
        case Channel.SLACK, _:
            raise ValueError("in 'where', 'slack' must be the id of a Slack channel, such as C0123456789")
        case Channel.EMAIL, tuple() if 0 < len(place) <= MAX_RECIPIENTS:
            addresses(place)
        case Channel.EMAIL, _:
            raise ValueError(f"in 'where', 'email' must be 1 to {MAX_RECIPIENTS} email addresses")
        case Channel.TEAMS, str() if _SECRET_NAME.fullmatch(place):
            pass
        case Channel.TEAMS, _:
            raise ValueError(
                "in 'where', 'teams' must be the name of a secret: a lower-case letter, then up to 19 lower-case "
                "letters or digits"
            )
        case _:
            raise ValueError(f"'where' can't name {channel}: that channel has one target only")
