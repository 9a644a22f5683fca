"""Shows a request to a human who has a link, and takes or releases the request with one write."""

import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from assistance.domain.record import Record
from assistance.engine.links import Link
from assistance.engine.takes import measure, release, take
from assistance.history import RequestRecord
from assistance.models import AssistanceRequest
from assistance.platform.http_event import Refused
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.store.requests import RequestGone, Requests
from assistance.text import is_blank, printable

MAX_NAME: Final = 60
_LINK: Final = "link."  # the id of each take that was made on the take page begins with this
_PRESS: Final = re.compile(r"[0-9a-f]{32}")
_CHANNEL: Final = {Channel.EMAIL: "email", Channel.TEAMS: "Teams"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A request, and its record.

    `yours`: the id of the press by which the human who sees the page has just taken the request; with it, they can
    release the request. Empty for everybody else. `is_outdated`: True if the human's form took nothing, because
    somebody has taken and released the request since the function made the page with that form.
    """

    request: AssistanceRequest
    record: Record
    yours: str = ""
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """The form that a human sends.

    `name`: the human's name. `press`: the id that the page has given to this press of its button. `release`: to release
    the request, the id of the press by which this human has taken it. Only the page after that press contains the id,
    so nobody else who has the link can release the request. `takes`: how many takes the request had when the function
    made the page; empty if an earlier version made it. If somebody reloads the page that says who has the request, the
    browser sends the form again. That must not take the request, even if it has been released meanwhile.
    """

    name: str = ""
    press: str = ""
    release: str = ""
    takes: str = ""

    @property
    def pressed(self) -> str:
        """The id of the press. It is the same if a browser sends the form again.

        With another id, the human who has taken the request would be told that somebody else has it.
        """
        return self.press if _PRESS.fullmatch(self.press) else uuid.uuid4().hex

    def by(self, channel: Channel) -> str:
        """The name of the human who takes the request: that in the form, or "somebody by email" if it is blank."""
        name = " ".join(printable(self.name).split())[:MAX_NAME].rstrip()
        return f"somebody by {_CHANNEL[channel]}" if is_blank(name) else name


def act(requests: Requests, link: Link, form: Form | None) -> Shown:
    """Act for a human who has a link: take or release the request as the form says, and show the request.

    Without a form, nothing is changed, since programs that scan mails follow links too. Raises `Refused`,
    `RequestGone`, `Unreadable` or `TableUnavailable`.
    """
    found = requests.get(link.request_id)
    if found is None:
        raise RequestGone
    if form is None:
        return Shown(found.request, found.record)
    delivery = found.record.delivery(link.delivery)
    if delivery is None or delivery.destination not in _CHANNEL:
        raise Refused(HTTPStatus.NOT_FOUND)
    via = Channel(delivery.destination)
    return _release(requests, found, form, via) if form.release else _take(requests, found, form, via, delivery.name)


def _take(requests: Requests, found: RequestRecord, form: Form, via: Channel, delivery: str) -> Shown:
    """Take the request, unless somebody has taken it. The delivery whose message has the link counts as delivered."""
    request_id, pressed = found.request.id, form.pressed
    take_id = f"{_LINK}{pressed}"
    is_first = all(each.id != take_id for each in found.record.takes)
    if is_first and found.record.taken is None and form.takes not in {"", str(len(found.record.takes))}:
        logger.info("an outdated form takes nothing", request_id=request_id)
        return Shown(found.request, found.record, is_outdated=True)
    taken = take(requests, request_id, take_id, by=form.by(via), via=via, delivery=delivery)
    is_yours = taken.is_new and taken.take.released_at is None
    if is_first:
        measure(taken)
    logger.info("taken" if is_yours else "taken already", request_id=request_id)
    return Shown(found.request, taken.stored.record, pressed if is_yours else "")


def _release(requests: Requests, found: RequestRecord, form: Form, via: Channel) -> Shown:
    """Release the request, if the human who sends the form has taken it, and if it was not released too often."""
    request_id = found.request.id
    if found.record.is_released_too_often:
        logger.warning("released too often", request_id=request_id)
        return Shown(found.request, found.record)
    take_id = f"{_LINK}{form.release}"
    # The form to release has no field for a name: the human is the one who has taken the request.
    by = next((each.by for each in found.record.takes if each.id == take_id), form.by(via))
    record = release(requests, request_id, take_id, by=by, via=via).record
    logger.info("not released" if record.taken else "released", request_id=request_id)
    return Shown(found.request, record)
