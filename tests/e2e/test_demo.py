"""Tests the demonstration of `make demo` on the running stack."""

from pathlib import Path

import pytest

from local.demo import demonstrate
from local.errors import LocalFailure
from tests.e2e.bot import Bot


def test_the_demonstration_fails_with_the_reason_if_slack_and_email_both_refuse_the_request(
    bot: Bot, tmp_path: Path
) -> None:
    said: list[str] = []
    bot.fault("error", error="is_archived")
    bot.console("POST", "/api/fault", {"channel": "email", "kind": "refusing"})
    try:
        with pytest.raises(LocalFailure) as failure:
            demonstrate(bot.as_runner(tmp_path), said.append)
    finally:
        bot.fault("none")
        bot.console("POST", "/api/fault", {"channel": "email", "kind": "fine"})
    told = "\n".join([*said, str(failure.value)])
    assert "request can't be delivered" in told
    assert "slack: failed after is_archived" in told
    assert "email: failed after MessageRejected" in told
