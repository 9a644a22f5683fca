"""Tests `assistance slack-manifest`."""

import json
from typing import Any

from tests.cli.steps import Operator


def printed(operator: Operator, *arguments: str) -> dict[str, Any]:
    result = operator.run("slack-manifest", *arguments)
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_slack_manifest_contains_the_scopes_for_posting_and_for_reading_the_channel_history(
    operator: Operator,
) -> None:
    scopes = printed(operator)["oauth_config"]["scopes"]
    assert scopes == {"bot": ["chat:write", "channels:history", "groups:history"]}


def test_the_slack_manifest_sends_button_clicks_to_the_url_of_the_stack(operator: Operator) -> None:
    operator.outputs["SlackInteractionsUrl"] = "https://api.example.com/dev/slack/interactions"
    assert printed(operator)["settings"]["interactivity"] == {
        "is_enabled": True, "request_url": "https://api.example.com/dev/slack/interactions",
    }  # fmt: skip


def test_the_manifest_has_no_url_for_button_clicks_and_the_command_says_so_if_takes_are_off(operator: Operator) -> None:
    result = operator.run("slack-manifest")
    assert json.loads(result.stdout)["settings"]["interactivity"] == {"is_enabled": False}
    assert "take=true" in result.stderr


def test_the_slack_manifest_contains_the_given_app_name_truncated_to_slacks_maximum_length(operator: Operator) -> None:
    assert printed(operator, "--name", "Help")["display_information"]["name"] == "Help"
    assert operator.run("slack-manifest", "--name", "n" * 36).exit_code == 2
