"""Finds out which channels have delivered a request although one of its messages is a dead letter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from assistance.errors import Unreadable
from assistance.history import RequestRecord
from assistance.routing import Channel
from assistance.store.requests import Requests

DeliveredChannels: TypeAlias = Mapping[str, list[str]]
"""The channels that have delivered a request to a human, by the request's id.

An id is missing if the request has expired or can't be read.
"""
_AT_ONCE: Final = 50


def read(requests: Requests, request_ids: Iterable[str | None]) -> DeliveredChannels:
    """Read which channels have delivered each of these requests to a human. Ignores ids that are None."""
    found = readable(requests, filter(None, request_ids))
    return {each.request.id: [channel for channel in Channel if each.record.reached(channel)] for each in found}


def readable(requests: Requests, request_ids: Iterable[str]) -> list[RequestRecord]:
    """The requests with these ids, without those that have expired or can't be read."""
    ids = list(dict.fromkeys(request_ids))
    chunks = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
    return [record for chunk in chunks for record in _records(requests, chunk) if record]


def _records(requests: Requests, ids: Sequence[str]) -> list[RequestRecord | None]:
    try:
        return requests.several(ids)
    except Unreadable:
        # One of the requests can't be read: read each one separately, to get the others.
        return [] if len(ids) == 1 else [record for each in ids for record in _records(requests, [each])]
