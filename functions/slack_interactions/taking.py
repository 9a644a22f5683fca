"""Acts on a button press: one write takes or releases the request, then the message is updated from the table."""

from datetime import UTC, datetime
from functools import partial
from typing import Final

from assistance.domain import takes
from assistance.domain.record import Delivery, Kind, Record, Take
from assistance.engine.takes import measure, release, take
from assistance.errors import TableUnavailable, Unreadable
from assistance.history import RequestRecord
from assistance.models import Outgoing
from assistance.platform.clock import epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.slack import blocks
from assistance.slack.blocks import ShownRequest
from assistance.slack.message import compose
from assistance.store.requests import RequestGone, Requests, Stored
from slack_interactions import response_url
from slack_interactions.button_press import ButtonPress

REDRAWS: Final = 4
"""How often the message is updated at most. Slack allows five uses of a `response_url`; the last one is kept for a text
to the user."""
_CLOCKS_MS: Final = 3_600_000  # by how much our clock and Slack's differ at most


def act(press: ButtonPress, requests: Requests) -> None:
    """Take or release the request, and update the message.

    If this raises `TableUnavailable` or `Unreadable`, the request was neither taken nor released.
    """
    try:
        text = _take(press, requests) if press.is_take else _release(press, requests)
    except RequestGone:
        response_url.tell(press.response_url, "This request is not stored any more.")
        return
    drawn = _redraw(press, requests)
    if not drawn and text is None:
        # The message was not updated, so tell the user the result.
        text = "You have this request." if press.is_take else "You no longer have this request."
    if text:
        response_url.tell(press.response_url, text)


def _take(press: ButtonPress, requests: Requests) -> str | None:
    """Take the request for the user who pressed. Returns None, or a text that says who had taken it before."""
    on, known = press.on, _read(press, requests)
    used = {"delivery": on.delivery, "result": press.ts, "place": press.place}
    taken = take(requests, on.request_id, press.id, by=press.by, via=Channel.SLACK, known=known, **used)
    measure(taken)
    logger.info("taken" if taken.is_new else "taken already", request_id=on.request_id)
    if taken.is_new:
        return None
    return "You have this request." if _theirs(taken.take, press) else f"{_name(taken.take)} has this request."


def _release(press: ButtonPress, requests: Requests) -> str | None:
    """Release the request if the user who pressed has it. Returns None, or a text that says why not."""
    request_id = press.on.request_id
    record = _read(press, requests).record
    taken = record.taken
    if taken is None:
        return "Nobody has this request."
    if not _theirs(taken, press):
        return f"{_name(taken)} has this request. They can release it, or an operator can."
    if record.is_released_too_often:
        return "This request was released too often. Only an operator can release it now."
    release(requests, request_id, taken.id, by=press.by, via=Channel.SLACK)
    logger.info("released", request_id=request_id)
    return None


def _read(press: ButtonPress, requests: Requests) -> Stored:
    stored = requests.read(press.on.request_id)
    if _is_later(stored.record, press):
        raise RequestGone
    return stored


def _redraw(press: ButtonPress, requests: Requests) -> bool:
    """Update the message according to the table, and again if somebody else has pressed a button meanwhile.

    So of several simultaneous calls, the one that updates the message last has seen all presses before. An update
    whose answer got lost counts as made, since Slack may still show it, in place of a newer one. Returns whether
    Slack has confirmed the last update.
    """
    drawn: list[Take | None] | None = None
    is_shown = False
    for _ in range(REDRAWS):
        try:
            shown = _shown(press, requests)
        except (RequestGone, TableUnavailable, Unreadable) as error:
            logger.warning("a Slack message is not updated", reason=type(error).__name__)
            return is_shown
        state = [each.record.taken for each in shown.values()]
        if state == drawn:
            return is_shown
        by = {each.request.id: taken for each in shown.values() if (taken := each.record.taken)}
        posted = datetime.fromtimestamp(float(press.ts), UTC)
        message = compose([_outgoing(on, each) for on, each in shown.items()], posted, take=True, taken=by)
        body = {"replace_original": True, "text": message["text"], "blocks": message["blocks"]}
        is_shown, drawn = response_url.send(press.response_url, body), state
    return is_shown


def _shown(press: ButtonPress, requests: Requests) -> dict[ShownRequest, RequestRecord]:
    """The requests that the message shows, and their records.

    The message has evidently arrived, so each delivery in it that is in doubt is recorded as delivered. This must
    be done before the update, which may remove the message's metadata: then a search would not find the requests.
    """
    shown = {}
    for on, each in zip(press.shown, requests.several([on.request_id for on in press.shown]), strict=True):
        if each is None or _is_later(each.record, press):
            raise RequestGone
        now = epoch_ms(utc_now())
        used = partial(takes.arrived, name=on.delivery, take_id=press.id, result=press.ts)
        event = partial(used, now=now, place=press.place)
        if event(each.record) is not each.record:
            requests.update(on.request_id, event)
        shown[on] = each
    return shown


def _is_later(record: Record, press: ButtonPress) -> bool:
    """Whether the message shows an earlier request with the same id, which has expired: it is older than the record."""
    return float(press.ts) * 1_000 + _CLOCKS_MS < record.created_at


def _outgoing(on: ShownRequest, shown: RequestRecord) -> Outgoing:
    delivery = shown.record.delivery(on.delivery) or Delivery(on.delivery, Channel.SLACK, Kind.OWN)
    return Outgoing(shown.request, delivery, shown.record.ttl)


def _theirs(taken: Take, press: ButtonPress) -> bool:
    """Whether the user who pressed made the take. A take's id is its press's id, which begins with the user's id."""
    return taken.via == Channel.SLACK and taken.id.startswith(f"{press.user_id}.")


def _name(taken: Take) -> str:
    return blocks.name(taken.by)
