"""People who take requests: with Slack's buttons, with take links, and with the operator's command line.

A person who gets a warning or no response tries the same again, at most three times in all.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from assistance.engine.links import Link, token
from assistance.errors import TableUnavailable
from assistance.routing import Topic
from assistance.slack.blocks import RELEASE, TAKE
from cli import takes
from cli.errors import Failure
from local.slack_server import signed
from local.slack_workspace import Json, buttons
from tests.faults.system import System, requests
from tests.integration.cloud import http_event

ESCALATE_AFTER: Final = 30
LINK_KEY: Final = "t" * 44
STAFFED: Final[Mapping[str, str]] = {
    "TAKE": "true",
    "TAKE_PAGE": "https://api.example.com/take/",
    "ROUTES": json.dumps(
        {
            Topic.SALES: {"channels": ["slack"], "fallback": "email", "escalate_after": ESCALATE_AFTER},
            Topic.PRICING: {"channels": ["email"], "fallback": "slack", "escalate_after": ESCALATE_AFTER},
        }
    ),
}
"""Environment variables of a deployment in which people take requests."""


@dataclass
class Humans(System):
    """The simulated system with the people who receive its messages."""

    untaken: Counter[str] = field(default_factory=Counter)
    """For each request, how often the reconciler has reported that nobody has taken it in time."""

    def reset(self) -> None:
        super().reset()
        self.untaken.clear()
        self.slack.workspace.ephemeral_messages.clear()

    def reconcile(self, *, dry_run: bool = False) -> dict[str, Any] | None:
        answer = super().reconcile(dry_run=dry_run)
        if answer and "ledger" in answer and not dry_run:
            self.untaken.update(answer["ledger"]["untaken"])
        return answer

    def taken(self, request_id: str) -> dict[str, Any] | None:
        """Return who has taken the request, how and when, as the API shows it; None if nobody has it."""
        taken: dict[str, Any] | None = self.show(request_id).get("taken")
        return taken

    def escalations(self, request_id: str) -> list[str]:
        """Return the status of each escalation of the request."""
        return [each["status"] for each in self.show(request_id)["deliveries"] if each.get("escalation")]

    def press(self, user: str, request_id: str, action: str) -> bool:
        """Click the request's button in the last message that contains it. Returns whether Slack shows no warning.

        `action`: the button that the user sees. On an outdated screen it is not the button that the message has by now.
        """
        message, value = self._button(request_id)
        # Slack gives each click a different time.
        self.advance(1)
        payload = self.slack.workspace.press(message["ts"], value, user, f"{self.slack.origin}/actions/")
        payload["actions"][0]["action_id"] = action
        body = urlencode({"payload": json.dumps(payload)})
        headers = {name.replace("-", "_"): text for name, text in signed(body, self.slack.signing_secret).items()}
        event = http_event("POST", "/slack/interactions", body, **headers)
        before, ephemeral_messages = self.taken(request_id), len(self.slack.workspace.ephemeral_messages)
        answer = self.invoke(lambda: self.cloud.handler("slack_interactions")(event, self.cloud.context))
        assert answer is None or answer["statusCode"] in {200, 503}, answer
        is_done = answer is not None and answer["statusCode"] == 200
        after, is_mine = self.taken(request_id), before is not None and before["by"] == f"@{user}"
        if before is None and action == TAKE:
            assert after is None or (after["by"], after["via"]) == (f"@{user}", "slack")
            assert after or not is_done, "a press that Slack acknowledges takes the request"
        elif is_mine and action == RELEASE:
            assert after in ([None] if is_done else [None, before])
        else:
            assert after == before, "nobody takes or releases what another human has"
        if is_done and before and not is_mine:
            answered = [each["user"] for each in self.slack.workspace.ephemeral_messages[ephemeral_messages:]]
            assert user in answered or f"Taken by {before['by']}" in json.dumps(message["blocks"]), (
                "nobody has answered them"
            )
        return is_done

    def press_for_sure(self, user: str, request_id: str, action: str = TAKE) -> None:
        """Click the request's button, and click again after a warning or a failure, at most three times in all."""
        assert any(self.press(user, request_id, action) for _ in range(3)), "a warning at each press"

    def by_link(self, request_id: str, **form: str) -> str:
        """Open the link in the request's mail, or submit `form` on its page. Try up to three times if that fails.

        Returns the text of the page.
        """
        link = token(Link(request_id, "email", requests().read(request_id).record.ttl), [LINK_KEY.encode()])
        body = urlencode(form) if form else None
        headers = {"Content_Type": "application/x-www-form-urlencoded"}
        event = http_event("POST" if form else "GET", f"/take/{link}", body, **headers)
        for _ in range(3):
            self.advance(1)
            before = self.taken(request_id)
            answer = self.invoke(lambda: self.cloud.handler("take_page")(event, self.cloud.context))
            after = self.taken(request_id)
            if before and "release" not in form:
                assert after == before, "nobody takes what another human has"
            elif not form:
                assert after is None, "whoever only opens the link takes nothing"
            if answer is not None and answer["statusCode"] == 200:
                return str(answer["body"])
            assert answer is None or answer["statusCode"] == 503, answer
        raise AssertionError("a failure each time")

    def take_by_command(self, name: str, request_id: str) -> None:
        """Repeat `assistance take`, as an operator does, until it takes the request or names the taker."""
        self._command(lambda: takes.take(requests(), request_id, name))

    def release_by_command(self, name: str, request_id: str) -> None:
        """Repeat `assistance release`, as an operator does, until it releases or says that nobody has the request."""
        self._command(lambda: takes.release(requests(), request_id, name))

    def _command(self, command: Callable[[], object]) -> None:
        self.advance(1)

        def run() -> bool:
            try:
                command()
            except TableUnavailable:
                return False
            except Failure:
                # The command says that there was nothing to release.
                return True
            return True

        assert any(self.invoke(run) for _ in range(3))

    def _button(self, request_id: str) -> tuple[Json, str]:
        """The last Slack message with a button of that request, and the value of the button."""
        return [
            (message, str(button["value"]))
            for message in self.slack.messages
            for button in buttons(message)
            if str(button["value"]).startswith(request_id)
        ][-1]
