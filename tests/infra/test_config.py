"""Tests the settings of a stage, and the error messages for settings that cannot be deployed."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from assistance.routing import Channel, routes
from infra.config import PYTHON_VERSION, Config
from infra.retries import RETRIES
from infra.stages import InvalidConfig, load
from tests.infra.template import REAL

DOMAIN = {
    "domain_name": "api.company.io",
    "certificate_arn": "arn:aws:acm:eu-west-1:111122223333:certificate/5d3f1c2a",
}
ROUTE = {"channels": ["slack"], "fallback": "email"}


def loaded(context: Mapping[str, object]) -> Config:
    return load(context)


def test_every_cdk_context_setting_has_a_default_and_a_description() -> None:
    assert loaded({}) == Config()
    assert Config().python_version == PYTHON_VERSION
    assert all(field.description for field in Config.model_fields.values())


def test_settings_are_read_from_command_line_strings_and_from_json() -> None:
    text = {
        **REAL, "stage": "staging", "email_recipients": "a@company.io, b@company.io", "retention_days": "30",
        "log_retention_days": "7", "create_email_identity": "false", "python_version": "3.14", "operator_email": "",
        "api_keys": "2", "quota_per_day": "",
    }  # fmt: skip
    objects = {
        **REAL, "stage": "staging", "email_recipients": ["a@company.io", "b@company.io"], "retention_days": 30,
        "log_retention_days": 7, "create_email_identity": False, "python_version": 3.14, "operator_email": None,
        "api_keys": 2, "quota_per_day": None,
    }  # fmt: skip
    assert loaded(text) == loaded(objects)
    assert loaded(text).email_recipients == ("a@company.io", "b@company.io")
    assert loaded(text).operator_email is None


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"stage": "prod"}, "stage: Input should be 'dev', 'staging' or 'production' (got 'prod')"),
        ({"python_version": "3.10"}, "python_version: Input should be '3.11', '3.12', '3.13' or '3.14' (got '3.10')"),
        ({"email_sender": "bot"}, "email_sender: this is not an email address (got 'bot')"),
        ({"email_recipients": "a@b.io,c"}, "email_recipients: this is not an email address (got 'c')"),
        ({"email_sender": "a..b@company.io"}, "email_sender: this is not an email address (got 'a..b@company.io')"),
        ({"email_sender": "bot@company.io."}, "email_sender: this is not an email address (got 'bot@company.io.')"),
        ({"email_recipients": "jürgen@company.io"}, "email_recipients: SES takes ASCII only before the @ (got"),
        ({"email_recipients": "a@b.io,a@bücher.de"}, "email_recipients: SES takes ASCII only, so write the domain in"),
        ({"email_domain": "your_org"}, "email_domain: this is not a domain like your.org (got 'your_org')"),
        ({"email_domain": "bücher.de"}, "email_domain: SES takes ASCII only, so write the domain in Punycode"),
        ({**REAL, "email_domain": "pany.io"}, "email_sender must be at email_domain: bot@company.io is not at pany.io"),
        ({"email_recipients": ""}, "email_recipients: Tuple should have at least 1 item"),
        ({"operator_email": "ops"}, "operator_email: this is not an email address (got 'ops')"),
        ({"domain_name": "api.company.io"}, "set domain_name and certificate_arn together"),
        ({"domain_name": "https://company.io"}, "domain_name: String should match pattern"),
        ({"domain_name": "API.company.io"}, "domain_name: String should match pattern"),
        ({"certificate_arn": "arn:aws:iam::1:x"}, "certificate_arn: String should match pattern"),
        ({"base_path": "/v1"}, "base_path: String should match pattern"),
        ({"base_path": "v1"}, "base_path needs domain_name"),
        ({**DOMAIN, "public_url": "https://company.io"}, "domain_name can't be combined with public_url"),
        *(
            ({"public_url": url}, "public_url: this is not a URL like https://api.your.org/assistance (got")
            for url in ("https://company.io:4x3", "https://company.io:65536", "https://company.io:1:2", "https://[::1")
        ),
        ({"slack_channel": ""}, "slack_channel: String should match pattern"),
        ({"slack_api_url": "slack.com"}, "slack_api_url: String should match pattern"),
        ({"slack_api_url": "http://proxy.io/api/"}, "slack_api_url must be https"),
        ({"overdue_seconds": "181"}, "overdue_seconds must be more than 181: if a consumer is killed, SQS hides"),
        (
            {"consumer_timeout_seconds": "150"},
            "overdue_seconds must be more than 901: if a consumer is killed, SQS hides",
        ),
        ({"retention_days": "soon"}, "retention_days: Input should be a valid integer"),
        ({"retention_days": "29"}, "retention_days: Input should be greater than or equal to 30 (got '29')"),
        # The functions could not compute with such times: the API would fail at each call, the reconciler in each run.
        ({"retention_days": "3000000"}, "retention_days: Input should be less than or equal to 36500"),
        ({"grace_seconds": "1" + "0" * 15}, "grace_seconds: Input should be less than or equal to 86400"),
        ({"overdue_seconds": "1" + "0" * 15}, "overdue_seconds: Input should be less than or equal to 345600"),
        ({"log_retention_days": "8"}, "log_retention_days: Input should be 1, 3, 5, 7"),
        ({"consumer_max_concurrency": "1"}, "consumer_max_concurrency: Input should be greater than or equal to 2"),
        ({"email_sender_name": "a\r\nBcc: b@c.io"}, "email_sender_name: String should match pattern"),
        ({"create_email_identity": "maybe"}, "create_email_identity: Input should be a valid boolean"),
        ({"throttle_rate": "0"}, "throttle_rate: Input should be greater than or equal to 1"),
        # CloudFormation would fail in the middle of the deployment.
        ({"throttle_rate": "16666667"}, "throttle_rate: Input should be less than or equal to 16666666"),
        ({"throttle_burst": "2147483648"}, "throttle_burst: Input should be less than or equal to 2147483647"),
        ({"quota_per_day": "2147483648"}, "quota_per_day: Input should be less than or equal to 2147483647"),
        ({"reconcile_interval_minutes": "0"}, "reconcile_interval_minutes: Input should be greater than or equal to 1"),
        ({"retry_attempts": "20", "retry_first_delay": "43200", "retry_max_delay": "43200"}, "add up to 9.9 days"),
        (
            {"stage": "production"},
            "set email_sender to other than example.com\n  production needs real addresses: set email_recipients to",
        ),
        ({"stage": "production", **REAL, "email_sender": "bot@Example.com"}, "set email_sender to other than"),
        ({"stage": "production", **REAL, "operator_email": "ops@example.com"}, "set operator_email to other than"),
        ({"api_keys": "1,1"}, "api_keys names a key twice"),
        ({"api_keys": "Bot"}, "api_keys: String should match pattern"),
        ({"quota_per_day": "0"}, "quota_per_day: Input should be greater than or equal to 1"),
        ({"access_logs": "yes"}, "access_logs: Input should be 'off', 'on' or 'account_role'"),
        ({"routes": "sales"}, "routes: this is not JSON (got 'sales')"),
        ({"routes": "{}"}, "routes: Dictionary should have at least 1 item"),
        ({"routes": {"Sales": {"channels": ["slack"]}}}, "routes.Sales.[key]: String should match pattern"),
        ({"routes": {"sales": {"channels": ["slak"]}}}, "routes.sales.channels: Input should be 'slack'"),
        ({"routes": {"sales": {"channels": ["callback"]}}}, "routes.sales.channels: Input should be 'slack'"),
        ({"routes": {"sales": {"channels": []}}}, "routes.sales: a topic needs at least one channel"),
        (
            {"routes": '{"sales": {"channels": ["slack"]}, "sales": {"channels": ["email"]}}'},
            "routes: it contains 'sales' twice (got",
        ),
        ({"routes": {"sales": {"channels": ["slack", "slack"]}}}, "routes.sales: a route names a channel twice"),
        ({"routes": {"sales": {"channels": ["slack"], "fallback": "slack"}}}, "a route names a channel twice"),
        (
            {"routes": {"sales": {"channel": ["slack"]}}},
            "a route has 'channels', 'fallback', 'where' and 'escalate_after', but no 'channel'",
        ),
        *(
            ({"routes": {"sales": {"channels": ["slack", "email", "teams"], "where": where}}}, said)
            for where, said in (
                ({"slack": "sales"}, "routes.sales: in 'where', 'slack' must be the id of a Slack channel"),
                ({"slack": ["C0SALES"]}, "'slack' must be the id of a Slack channel"),
                ({"email": "sales"}, "routes.sales: 'sales': this is not an email address"),
                ({"email": []}, "'email' must be 1 to 50 email addresses"),
                ({"email": ["a@b.io", "a..b@b.io"]}, "'a..b@b.io': this is not an email address"),
                ({"email": "sales@bücher.de"}, "SES takes ASCII only, so write the domain in Punycode (xn--…)"),
                ({"email": ["a@b.io"] * 51}, "'email' must be 1 to 50 email addresses"),
                ({"teams": "Sales!"}, "'teams' must be the name of a secret"),
                ({"teams": ["sales"]}, "'teams' must be the name of a secret"),
                ({"slak": "C0SALES"}, "Input should be 'slack'"),
                ({"slack": 5}, "Input should be a valid string"),
            )
        ),
        (
            {"routes": {"sales": {"channels": ["slack"], "where": {"email": "a@b.io"}}}},
            "'where' names email, which is no channel of the route",
        ),
        (
            {
                **REAL,
                "stage": "production",
                "routes": {"sales": {"channels": ["email"], "where": {"email": "sales@example.com"}}},
            },
            "set routes to other than example.com",
        ),
        (
            {"take": "true", "routes": {"sales": ROUTE | {"escalate_after": 0}}},
            "escalate_after is a number of minutes",
        ),
        ({"take": "true", "routes": {"sales": ROUTE | {"escalate_after": 10_081}}}, "from 1 to 10,080"),
        ({"routes": {"sales": ROUTE | {"escalate_after": 30}}}, "escalate_after needs take=true"),
        ({"routes": {f"topic-{n}": {"channels": ["slack"]} for n in range(50)}}, "routes take more than 2048 bytes"),
        ({"channels": "pigeon"}, "channels: Input should be 'slack'"),
        ({"stagee": "dev"}, "Unknown context key 'stagee': did you mean 'stage'?"),
        ({"email-sender": "a@b.io"}, "Unknown context key 'email-sender': did you mean 'email_sender'?"),
        ({"env": "prod"}, "Unknown context key 'env': docs/configuration.md lists"),
        ({"oncall": "a@b.io"}, "Unknown context key 'oncall': docs/configuration.md lists"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(context: Mapping[str, object], said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        loaded(context)
    assert said in str(refused.value)


def test_one_error_names_all_invalid_settings() -> None:
    with pytest.raises(InvalidConfig) as refused:
        loaded({"stage": "prod", "retention_days": "1"})
    assert "stage:" in str(refused.value)
    assert "retention_days:" in str(refused.value)


def test_context_keys_of_other_tools_are_ignored() -> None:
    assert (
        loaded({"aws:cdk:bundling-stacks": [], "@aws-cdk/core:x": True, "cli-telemetry": False, "acme:centre": "42"})
        == Config()
    )


@pytest.mark.parametrize(("stage", "watched"), [("dev", False), ("staging", True), ("production", True)])
def test_the_stage_determines_whether_alarms_exist_unless_the_deployer_sets_the_option_alarms(
    stage: str, *, watched: bool
) -> None:
    assert loaded({"stage": stage, **REAL}).watched is watched
    assert loaded({"stage": stage, **REAL, "alarms": "true"}).watched is True
    assert loaded({"stage": stage, **REAL, "alarms": "false"}).watched is False


def test_the_routes_setting_determines_the_deployed_channels_and_is_passed_unchanged_to_the_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"support": {"channels": ["slack"], "fallback": None}}
    real = {key: value for key, value in REAL.items() if key not in {"email_sender", "email_recipients"}}
    config = loaded({"stage": "production", **real, "routes": json.dumps(given)})
    assert config == loaded({"stage": "production", **real, "routes": given}), "without email nobody needs an address"
    assert config.deployed == (Channel.SLACK,)
    assert loaded({"routes": given, "channels": "email"}).deployed == (Channel.SLACK, Channel.EMAIL)
    escalating = loaded({"take": "true", "routes": {"sales": ROUTE | {"escalate_after": 30}}})
    assert "escalate_after" not in config.routes_variable, "a stage without it is deployed as before"
    for each in (config, Config(), escalating):
        monkeypatch.setenv("ROUTES", each.routes_variable)
        assert routes.__wrapped__() == each.routes


def test_the_local_stack_may_use_example_addresses_and_plain_http() -> None:
    assert loaded({"local": "true", "stage": "production", "slack_api_url": "http://127.0.0.1:1/api/"}).local


def test_a_retry_limit_in_the_context_applies_to_every_channel() -> None:
    config = loaded({"retry_attempts": "3"})
    for channel in Channel:
        assert config.retry(channel) == replace(RETRIES[channel], attempts=3)


@pytest.mark.parametrize(
    ("context", "single"),
    [
        ({}, True),
        ({"email_domain": "company.io"}, False),
        ({"create_email_identity": "false"}, False),
        ({"routes": {"sales": {"channels": ["slack"]}}}, False),
    ],
)
def test_only_a_stage_that_sends_mail_from_an_address_without_a_domain_identity_has_a_warning(
    context: Mapping[str, object],
    single: bool,  # noqa: FBT001
) -> None:
    assert loaded({**REAL, **context}).single_address is single
