"""A press of one of our buttons, read from the call by which Slack reports it.

https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
"""

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs

from pydantic import StringConstraints, ValidationError

from assistance.models import Model
from assistance.platform.http_event import Refused
from assistance.slack.blocks import RELEASE, TAKE, ShownRequest, parse_value, requests_in

_Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _User(Model):
    """The user who pressed. `username` is the name by which others mention them; Slack says that `name` is the same."""

    id: _Text
    username: _Text | None = None
    name: _Text | None = None


class _Channel(Model):
    id: _Text


class _Message(Model):
    ts: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,11}\.[0-9]{1,9}$")]
    app_id: str | None = None
    blocks: tuple[dict[str, Any], ...] = ()


class _Action(Model):
    action_id: str
    action_ts: _Text | None = None
    value: str | None = None


class _Payload(Model):
    type: str
    api_app_id: str = ""
    trigger_id: str = ""
    user: _User | None = None
    channel: _Channel | None = None
    message: _Message | None = None
    actions: tuple[_Action, ...] = ()
    response_url: str = ""


@dataclass(frozen=True, slots=True)
class ButtonPress:
    """A user has pressed a button: to take a request, or to release it if `is_take` is False.

    `on`: the request of that button. `shown`: all requests that the message shows. `by`: the user's name, as
    messages show it. `ts`: the message's id. `place`: the id of its Slack channel. `id`: the press's id, which begins
    with the user's id.
    """

    is_take: bool
    on: ShownRequest
    shown: tuple[ShownRequest, ...]
    user_id: str
    by: str
    ts: str
    place: str | None
    id: str
    response_url: str


def read(body: str, app_id: str) -> ButtonPress | None:
    """The press that the call reports. None if it reports anything else, such as a press of a link button.

    `app_id`: the id of this deployment's Slack app; empty if it is not known. Raises `Refused`.
    """
    payload = _payload(body)
    if payload.type != "block_actions" or payload.message is None or payload.user is None:
        return None
    # Slack says in the call which app it calls, and which app has posted the message.
    if payload.message.app_id not in {None, payload.api_app_id} or (app_id and payload.api_app_id != app_id):
        raise Refused(HTTPStatus.FORBIDDEN, "a call is about another Slack app")
    for action in payload.actions:
        if action.action_id in {TAKE, RELEASE} and (on := parse_value(action.value or "")):
            user, when = payload.user, action.action_ts or payload.trigger_id
            return ButtonPress(
                is_take=action.action_id == TAKE,
                on=on,
                shown=tuple(dict.fromkeys([on, *requests_in(payload.message.blocks)])),
                user_id=user.id,
                by=f"@{user.username or user.name or user.id}",
                ts=payload.message.ts,
                place=payload.channel.id if payload.channel else None,
                id=f"{user.id}.{when or uuid.uuid4()}",
                response_url=payload.response_url,
            )
    return None


def _payload(body: str) -> _Payload:
    wrong = {"payload"}
    try:
        [payload] = parse_qs(body, strict_parsing=True)["payload"]
        return _Payload.model_validate_json(payload)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = {str(next(iter(each["loc"]), "payload")) for each in details}
    except (ValueError, KeyError):
        pass
    raise Refused(HTTPStatus.BAD_REQUEST, "Slack's call can't be parsed", wrong=", ".join(sorted(wrong)))
