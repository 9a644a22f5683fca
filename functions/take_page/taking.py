"""Shows a request to the holder of a link, and takes or releases it with one write."""

import re
import uuid
from dataclasses import dataclass
from typing import Final

from assistance.domain.record import Take
from assistance.engine.takes import Human, measure, release, take
from assistance.history import RequestRecord
from assistance.models import AssistanceRequest
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.store.requests import RequestGone, Requests
from assistance.take_link import BadLink, Link
from assistance.text import is_blank, printable

MAX_NAME: Final = 60
_LINK: Final = "link."
"""The id of each take by a link begins with this."""
_PRESS: Final = re.compile(r"[0-9a-f]{32}")
_CHANNEL: Final = {Channel.EMAIL: "email", Channel.TEAMS: "Teams"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A request, and who has it. `yours`: the press by which this very human has taken it, which releases it too."""

    request: AssistanceRequest
    taken: Take | None
    yours: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The form that a human sends: a name, and the id that the page gave to this press of its button.

    `release` holds the id of the press by which this human has taken the request. It is in no other page, so that
    another holder of the link can't release what this one has.
    """

    name: str = ""
    press: str = ""
    release: str = ""

    @property
    def pressed(self) -> str:
        """The same if a browser sends the form again, so that whoever has the request is not told of somebody else."""
        return self.press if _PRESS.fullmatch(self.press) else uuid.uuid4().hex

    def human(self, channel: Channel) -> Human:
        """Who takes the request: by name, as far as there is one."""
        name = " ".join(printable(self.name).split())[:MAX_NAME].rstrip()
        return Human(f"somebody by {_CHANNEL[channel]}" if is_blank(name) else name, channel)


@dataclass(frozen=True, slots=True)
class Taking:
    """Acts for the holder of a link. Every method raises `RequestGone`, `Unreadable` or `TableUnavailable`."""

    requests: Requests

    def show(self, link: Link) -> Shown:
        """The request, and who has it. Changes nothing: scanners of mails follow links too."""
        found = self._found(link)
        return Shown(found.request, found.record.taken)

    def take(self, link: Link, form: Form) -> Shown:
        """Take the request, unless somebody has it. The human has seen the message, so it has arrived."""
        found, pressed = self._found(link), form.pressed
        human, take_id = form.human(self._channel(found, link)), f"{_LINK}{pressed}"
        taken = take(self.requests, link.request_id, take_id, human, delivery=link.delivery)
        is_yours = taken.is_new and taken.take.released_at is None
        if all(each.id != take_id for each in found.record.takes):
            measure(taken)
        logger.info("taken" if is_yours else "taken already", request_id=link.request_id)
        return Shown(found.request, taken.stored.record.taken, pressed if is_yours else "")

    def release(self, link: Link, form: Form) -> Shown:
        """Release the request, if whoever sends the form has it."""
        found = self._found(link)
        human = form.human(self._channel(found, link))
        stored = release(self.requests, link.request_id, f"{_LINK}{form.release}", human)
        taken = stored.record.taken
        logger.info("not released" if taken else "released", request_id=link.request_id)
        return Shown(found.request, taken)

    def _found(self, link: Link) -> RequestRecord:
        found = self.requests.get(link.request_id)
        if found is None:
            raise RequestGone
        return found

    @staticmethod
    def _channel(found: RequestRecord, link: Link) -> Channel:
        delivery = found.record.delivery(link.delivery)
        if delivery is None or delivery.destination not in _CHANNEL:
            raise BadLink
        return Channel(delivery.destination)
