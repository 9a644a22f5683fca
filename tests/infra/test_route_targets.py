"""Tests where a route sends on each channel: settings of the functions, and a secret for each named Teams workflow."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from assistance.routing import Channel, Route, place, routes
from infra.routes import valid_route
from infra.stages import load
from tests.infra.template import REAL, VARIANTS, synthesized, target

WHERE = {"slack": "C0SALES", "email": ["a@company.io", "b@company.io"], "teams": "sales"}
ROUTES = {"sales": {"channels": ["slack"], "fallback": None}}


def variable(where: Mapping[str, object]) -> str:
    given = {**REAL, "routes": {"sales": {"channels": ["slack", "email"], "fallback": "teams", "where": where}}}
    return load(given).routes_variable


def test_each_consumer_gets_the_slack_channel_recipients_or_teams_secret_of_each_topic(
    monkeypatch: pytest.MonkeyPatch, added_channel: Channel
) -> None:
    assert variable(WHERE) == variable(WHERE | {"email": "a@company.io, b@company.io"})
    monkeypatch.setenv("ROUTES", variable(WHERE))
    routes.cache_clear()
    found = {channel: place("sales", channel) for channel in map(Channel, WHERE)}
    others = place("gone", Channel.SLACK), place("sales", added_channel)
    routes.cache_clear()
    assert found == WHERE | {"email": ("a@company.io", "b@company.io")}
    assert others == (None, None)


def test_a_route_that_names_a_target_on_a_channel_with_only_one_target_is_refused(added_channel: Channel) -> None:
    assert valid_route(Route((added_channel,)))
    with pytest.raises(ValueError, match="'where' can't name pigeon: that channel has one target only"):
        valid_route(Route((added_channel,), where={added_channel: "urgent"}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_functions_get_no_targets_if_no_route_names_a_slack_channel_or_recipients_or_a_teams_secret(
    variant: str,
) -> None:
    _, api = synthesized(variant).function("api")
    assert "where" not in api["Environment"]["Variables"]["ROUTES"]


def test_a_teams_secret_named_in_a_route_is_created_empty_and_only_the_teams_consumer_can_read_it() -> None:
    template = synthesized("every channel")
    secret = target(template.document["Outputs"]["TeamsElsewhereSecretArn"]["Value"])
    assert secret != target(template.document["Outputs"]["TeamsSecretArn"]["Value"])
    assert not {"SecretString", "GenerateSecretString"} & set(template.all("AWS::SecretsManager::Secret")[secret])
    _, consumer = template.function("teams_consumer")
    assert secret in json.dumps(consumer["Environment"]["Variables"]["TEAMS_SECRETS"])
    role = target(consumer["Role"])
    readers = [policy["Roles"] for policy in template.all("AWS::IAM::Policy").values() if secret in json.dumps(policy)]
    assert [[target_of(each) for each in roles] for roles in readers] == [[role]]


def target_of(role: Any) -> str:  # noqa: ANN401
    return str(role["Ref"])
