"""Tests what `assistance doctor` finds, and its advice."""

import json
import socket
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from cli.commands import checks
from cli.errors import Failure
from cli.findings import Finding, State
from cli.stack import Stack
from local.slack_workspace import SlackError
from tests.cli.steps import Operator
from tests.fuzz_settings import DEEP
from tests.infra.template import synthesized

ACCOUNT = {"ProductionAccessEnabled": True, "SendingEnabled": True}


@pytest.fixture(autouse=True)
def deployed(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The functions' environment variables, which a test may change. Replaces the stack, which moto can't deploy."""
    variables = dict(operator.cloud.environment)
    monkeypatch.setattr(Stack, "environment", lambda *_: variables)
    monkeypatch.setattr(Stack, "resources", lambda *_: {})
    output = Stack.output
    monkeypatch.setattr(Stack, "output", lambda *it: variables["TOPIC_ARN"] if it[1] == "TopicArn" else output(*it))
    return variables


@pytest.fixture(autouse=True)
def account(operator: Operator) -> dict[str, Any]:
    """SES's response to `GetAccount`, which a test may change. Replaces the call, which moto does not support."""
    state: dict[str, Any] = dict(ACCOUNT)
    operator.session.events.register(
        "before-call.sesv2.GetAccount", lambda **_: (SimpleNamespace(status_code=200), state)
    )
    return state


def run_doctor(operator: Operator, stack: str = "assistance-dev") -> dict[str, tuple[str, str]]:
    """The state and the advice of each check, by the name of the check."""
    result = operator.run("--stack", stack, "doctor", "--json")
    return {finding["check"]: (finding["state"], finding["advice"]) for finding in json.loads(result.stdout)}


def test_the_doctor_command_reports_ok_for_each_passed_check(operator: Operator) -> None:
    findings = run_doctor(operator)
    in_order = {"Slack token", "Slack channel", "Channels' subscriptions", "Dead letters"}
    assert {check for check, (state, advice) in findings.items() if state == "ok" and not advice} >= in_order


def test_the_doctor_command_marks_a_check_that_it_skips_and_does_not_fail_because_of_it(operator: Operator) -> None:
    findings = run_doctor(operator)
    assert findings["Alarms"] == ("skipped", "")
    result = operator.run("doctor")
    assert "- Alarms: not checked" in result.stdout
    wrong = sum(state in {"wrong", "unknown"} for state, _ in findings.values())
    assert f"{wrong} of {len(findings)} checks did not pass" in result.stderr if wrong else result.exit_code == 0


@pytest.mark.parametrize(
    ("code", "check", "advice"),
    [
        ("invalid_auth", "Slack token", "secrets set"),
        ("not_in_channel", "Slack channel", "/invite"),
        ("missing_scope", "Slack channel", "channels:history"),
        ("channel_not_found", "Slack channel", "slack_channel"),
    ],
)
def test_the_doctor_command_translates_slacks_error_codes_into_advice(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, code: str, check: str, advice: str
) -> None:
    if check == "Slack token":
        operator.slack.fail("error", error=code)
    else:
        answer = operator.slack.workspace.call

        def call(method: str, token: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
            if method == "conversations.history":
                raise SlackError(code)
            return answer(method, token, arguments)

        monkeypatch.setattr(operator.slack.workspace, "call", call)
    state, said = run_doctor(operator)[check]
    assert (state, advice in said) == ("wrong", True)


def test_the_doctor_command_reports_an_empty_secret_an_unverified_sender_and_a_dead_letter(
    operator: Operator, deployed: dict[str, str]
) -> None:
    secrets = operator.session.client("secretsmanager")
    deployed["SLACK_TOKEN_SECRET"] = secrets.create_secret(Name="empty")["ARN"]
    deployed["EMAIL_SENDER"] = "unknown@elsewhere.example"
    operator.create_dead_letter()
    findings = run_doctor(operator)
    assert "secrets set" in findings["Slack token"][1]
    assert (findings["SES sender"][0], findings["Dead letters"][0]) == ("wrong", "wrong")
    assert operator.run("doctor").exit_code == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "error", "error": "fatal_error"},
        {"kind": "rate_limited", "retry_after": 1},
        {"kind": "drop"},
        {"kind": "garbled", "body": "[5]"},
        {"kind": "garbled", "body": DEEP},
    ],
)
def test_an_outage_of_slack_is_not_reported_as_a_bad_token(operator: Operator, fault: dict[str, Any]) -> None:
    operator.slack.fail(**fault)
    findings = run_doctor(operator)
    assert findings["Slack token"][0] == "unknown"
    assert "secrets set" not in findings["Slack token"][1]
    assert "Dead letters" in findings, "the other checks are still made"


@pytest.mark.parametrize("token", ["xoxb-1111-SECRET1\nxoxb-2222-SECRET2", "xoxb\u20111111\u2011SECRET1"])
def test_a_slack_token_with_characters_not_allowed_in_an_http_header_is_reported_and_never_printed(
    operator: Operator, token: str
) -> None:
    operator.session.client("secretsmanager").put_secret_value(SecretId="slack-token", SecretString=token)
    result = operator.run("doctor", "--json")
    assert "SECRET1" not in result.output
    assert isinstance(result.exception, SystemExit)
    findings = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert (findings["Slack token"]["state"], "secrets set" in findings["Slack token"]["advice"]) == (
        "wrong",
        True,
    )
    assert "Dead letters" in findings, "the other checks are still made"


@pytest.mark.parametrize(
    ("check", "output", "value", "state"),
    [
        ("Secret teams", "TeamsSecretArn", "https://[x/SECRET1", "wrong"),
        ("Secret teams", "TeamsSecretArn", "https://hooks.example.com/x?sig=SECRET1", "ok"),
        ("Secret teams", "TeamsSecretArn", b"https://hooks.example.com/x?sig=SECRET1", "wrong"),
        ("Secret callback", "CallbackSecretArn", "SECRET1\u2011", "wrong"),
        ("Secret callback", "CallbackSecretArn", "whsec_" + "SECRET1A" * 4, "ok"),
        ("Secret slack-signing", "SlackSigningSecretArn", "SECRET1\u2011" * 4, "wrong"),
        ("Secret slack-signing", "SlackSigningSecretArn", '{"key":"SECRET1ASECRET1ASECRET1A"}', "wrong"),
        ("Secret slack-signing", "SlackSigningSecretArn", "SECRET1A" * 4, "ok"),
        ("Secret take", "TakeSecretArn", "SECRET1 SECRET1", "wrong"),
        ("Secret take", "TakeSecretArn", "SECRET1A" * 4, "ok"),
    ],
)
def test_an_unusable_secret_is_reported_and_never_printed(
    operator: Operator, check: str, output: str, value: str | bytes, state: str
) -> None:
    secrets = operator.session.client("secretsmanager")
    stored = {"SecretBinary": value} if isinstance(value, bytes) else {"SecretString": value}
    operator.outputs[output] = secrets.create_secret(Name="another", **stored)["ARN"]
    result = operator.run("doctor", "--json")
    assert "SECRET1" not in result.output
    findings = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert (findings[check]["state"], "secrets set" in findings[check]["advice"]) == (state, state == "wrong")
    assert "Dead letters" in findings, "the other checks are still made"


def test_the_doctor_command_checks_every_secret_of_the_stack(operator: Operator, deployed: dict[str, str]) -> None:
    # Routes name the Teams secrets in addition to the default one.
    route = {"channels": ["teams"], "fallback": None}
    deployed["ROUTES"] = json.dumps({"elsewhere": {**route, "where": {"teams": "elsewhere"}}, "sales": route})
    empty = operator.session.client("secretsmanager").create_secret(Name="empty")["ARN"]
    named = {name for variant in ("local", "every channel") for name in synthesized(variant).document["Outputs"]}
    secrets = {name for name in named if name.endswith("SecretArn")} - {"SlackTokenSecretArn"}
    operator.outputs |= dict.fromkeys(secrets, empty)
    findings = json.loads(operator.run("doctor", "--json").stdout)
    empties = [finding["check"] for finding in findings if finding["found"] == "the secret has no value"]
    assert len(empties) == len(secrets)


def test_an_api_key_with_characters_not_allowed_in_an_http_header_is_reported_and_never_printed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.outputs |= {"ApiUrl": "http://127.0.0.1:1", "ApiKeyId": "key"}
    value = {"value": "SECRET1\nSECRET1"}
    monkeypatch.setattr(Stack, "client", lambda *_: SimpleNamespace(get_api_key=lambda **_: value))
    result = operator.run("send", "sales", "help")
    assert isinstance(result.exception, SystemExit)
    assert "the API key holds a character" in result.output
    assert "SECRET1" not in result.output


def test_the_doctor_command_checks_only_deployed_channels_and_the_secrets_of_those_channels(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, secrets = dict(operator.outputs), operator.session.client("secretsmanager")
    outputs["EmailSecretArn"] = secrets.create_secret(Name="empty")["ARN"]
    for name in [name for name in outputs if name.startswith("Slack")]:
        del outputs[name]
    monkeypatch.setattr(operator, "outputs", outputs)
    findings = run_doctor(operator)
    assert not [check for check in findings if "Slack" in check]
    state, advice = findings["Secret email"]
    assert (state, "secrets set" in advice) == ("wrong", True)
    secrets.put_secret_value(SecretId="empty", SecretString="value")
    assert run_doctor(operator)["Secret email"] == ("ok", "")


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("ProductionAccessEnabled", False, "production access"),
        ("SendingEnabled", False, "mailed"),
        ("EnforcementStatus", "PROBATION", "mailed"),
    ],
)
def test_the_doctor_command_reports_an_ses_account_that_cannot_send_to_any_recipient_in_production(
    operator: Operator, account: dict[str, Any], field: str, value: object, advice: str
) -> None:
    assert run_doctor(operator)["SES account"] == ("ok", "")
    account[field] = value
    state, said = run_doctor(operator, "assistance-production")["SES account"]
    assert (state, advice in said) == ("wrong", True)


def test_the_ses_sandbox_is_accepted_in_dev_if_each_recipient_is_verified(
    operator: Operator, account: dict[str, Any]
) -> None:
    account["ProductionAccessEnabled"] = False
    findings = run_doctor(operator)
    assert findings["SES account"] == ("ok", "")
    assert findings["SES recipient"][0] == "wrong"


GENUINE = {
    "VerifiedForSendingStatus": True,
    "DkimAttributes": {"SigningEnabled": True, "Status": "SUCCESS", "Tokens": ["t1", "t2"]},
    "MailFromAttributes": {"MailFromDomain": "bounces.company.io", "MailFromDomainStatus": "SUCCESS"},
}


@pytest.fixture
def domain(operator: Operator, deployed: dict[str, str]) -> dict[str, Any]:
    """SES's response about the sender's domain, which a test may change. Replaces the call, which moto can't answer."""
    deployed["EMAIL_SENDER"] = "bot@mail.company.io"
    known: dict[str, Any] = json.loads(json.dumps(GENUINE))

    def answer(params: dict[str, Any], **_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
        if params["url_path"].endswith("/company.io"):
            return SimpleNamespace(status_code=200), known
        return SimpleNamespace(status_code=404), {"Error": {"Code": "NotFoundException", "Message": ""}}

    operator.session.events.register("before-call.sesv2.GetEmailIdentity", answer)
    return known


def test_a_sender_in_a_subdomain_of_a_verified_domain_passes_the_checks_of_sender_dkim_and_mail_from(
    operator: Operator,
    domain: dict[str, Any],
) -> None:
    findings = run_doctor(operator)
    assert {findings[check] for check in ("SES sender", "SES DKIM", "SES MAIL FROM")} == {("ok", "")}


@pytest.mark.parametrize(
    ("wrong", "check", "advice"),
    [
        ({"VerifiedForSendingStatus": False}, "SES sender", "DNS records"),
        (
            {"DkimAttributes": {"SigningEnabled": True, "Status": "PENDING", "Tokens": ["t1", "t2"]}},
            "SES DKIM",
            "t1._domainkey.company.io CNAME t1.dkim.amazonses.com; t2._domainkey",
        ),
        ({"DkimAttributes": {"SigningEnabled": False, "Status": "SUCCESS"}}, "SES DKIM", "--signing-enabled"),
        ({"DkimAttributes": {"SigningEnabled": True, "Status": "NOT_STARTED"}}, "SES DKIM", "set up Easy DKIM"),
        (
            {"MailFromAttributes": {"MailFromDomain": "bounces.company.io", "MailFromDomainStatus": "FAILED"}},
            "SES MAIL FROM",
            "EmailDnsMailFrom",
        ),
    ],
)
def test_a_sender_domain_with_missing_dns_records_is_reported_with_the_records_to_publish(
    operator: Operator, domain: dict[str, Any], wrong: dict[str, Any], check: str, advice: str
) -> None:
    domain |= wrong
    state, said = run_doctor(operator)[check]
    assert (state, advice in said) == ("wrong", True)


@pytest.mark.parametrize(("stage", "state"), [("dev", "ok"), ("production", "wrong")])
def test_a_verified_sender_address_without_its_domain_is_accepted_in_dev_and_reported_in_production(
    operator: Operator, stage: str, state: str
) -> None:
    found_state, advice = run_doctor(operator, f"assistance-{stage}")["SES DKIM"]
    assert (found_state, "mail-from-your-own-domain" in advice) == (state, state == "wrong")


@pytest.mark.parametrize(
    ("quota", "state"),
    [
        ({"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 159.0}, "ok"),
        ({"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 160.0}, "warning"),
        ({"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 200.0}, "wrong"),
        ({"Max24HourSend": -1.0, "MaxSendRate": 1.0, "SentLast24Hours": 160.0}, "ok"),
    ],
)
def test_the_doctor_warns_of_a_nearly_used_up_ses_quota_and_reports_a_used_up_one_as_wrong(
    operator: Operator, account: dict[str, Any], quota: dict[str, float], state: str
) -> None:
    account["SendQuota"] = quota
    findings = run_doctor(operator)
    assert findings["SES quota"][0] == state
    assert ("manage-sending-quotas" in findings["SES quota"][1]) == (state != "ok")


def test_a_warning_does_not_change_the_exit_status_of_the_doctor_command(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("SES quota", State.WARNING, "160 of 200 recipients used", "request a higher quota")]
    monkeypatch.setattr(checks, "examine", lambda _: found)
    result = operator.run("doctor")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["! SES quota: 160 of 200 recipients used", "    request a higher quota"]


OWN_NAME: Final = "api.company.io"
GATEWAYS_NAME: Final = "a1.execute-api.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("found_names", "state"), [({OWN_NAME, GATEWAYS_NAME}, "ok"), ({GATEWAYS_NAME}, "wrong"), ((), "skipped")]
)
def test_a_custom_domain_without_a_dns_record_is_reported_with_the_records_target_if_the_machine_finds_other_names(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, found_names: Collection[str], state: str
) -> None:
    answer = socket.getaddrinfo

    def getaddrinfo(host: str, *of: Any, **how: Any) -> list[Any]:  # noqa: ANN401
        if host not in {OWN_NAME, GATEWAYS_NAME}:
            return answer(host, *of, **how)
        if host not in found_names:
            raise socket.gaierror
        return answer("127.0.0.1", *of, **how)

    assert "API domain" not in run_doctor(operator)
    operator.outputs |= {
        "ApiUrl": f"https://{OWN_NAME}/assistance",
        "ApiGatewayUrl": f"https://{GATEWAYS_NAME}/dev",
        "DomainTarget": "d-1.execute-api.us-east-1.amazonaws.com",
    }
    monkeypatch.setattr("cli.stack.socket.getaddrinfo", getaddrinfo)
    found, advice = run_doctor(operator)["API domain"]
    assert (found, "point it at d-1.execute-api.us-east-1.amazonaws.com" in advice) == (state, state == "wrong")


def test_a_function_whose_reserved_concurrency_is_0_is_reported(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "functions", lambda _: {"api": "stack-Api", "slack_consumer": "stack-Slack"})
    reserves = {"stack-Api": {"ReservedConcurrentExecutions": 5}, "stack-Slack": {"ReservedConcurrentExecutions": 0}}

    def answer(params: dict[str, Any], **_: object) -> tuple[SimpleNamespace, dict[str, int]]:
        name = params["url_path"].split("/")[-2]
        return SimpleNamespace(status_code=200), reserves[name]

    operator.session.events.register("before-call.lambda.GetFunctionConcurrency", answer)
    assert run_doctor(operator)["Concurrency"] == (
        "wrong",
        "let it run: aws lambda delete-function-concurrency --function-name stack-Slack",
    )
    reserves["stack-Slack"] = {}
    operator.session.events.register(
        "before-call.lambda.GetAccountSettings",
        lambda **_: (SimpleNamespace(status_code=200), {"AccountLimit": {"ConcurrentExecutions": 10}}),
    )
    assert run_doctor(operator)["Concurrency"][0] == "ok"


def test_a_check_for_which_the_operator_lacks_permission_has_the_result_unknown_and_the_other_checks_run(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> dict[str, str]:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "GetFunctionConfiguration")

    monkeypatch.setattr(Stack, "environment", denied)
    findings = run_doctor(operator)
    assert findings["Slack"][0] == findings["SES sender"][0] == "unknown"
    assert "GetFunctionConfiguration" in findings["Slack"][1]
    assert findings["Dead letters"][0] == "ok"


def test_a_check_of_an_output_that_the_stack_lacks_has_the_result_unknown_and_the_other_checks_run(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "the stack has no output: deploy it again"

    def missing(*_: object) -> str:
        raise Failure(said)

    before = run_doctor(operator)
    monkeypatch.setattr(Stack, "output", missing)
    after = run_doctor(operator)
    unknown = {
        check for check, found in after.items() if found == ("unknown", "the stack has no output: deploy it again")
    }
    assert unknown
    assert {check: found for check, found in after.items() if check not in unknown}.items() <= before.items()


def test_the_doctor_command_checks_every_slack_channel_recipient_and_teams_secret_that_a_route_names(
    operator: Operator, deployed: dict[str, str], account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    account["ProductionAccessEnabled"] = False
    where = {"slack": "C0SALES", "email": ["sales@company.io"], "teams": "sales"}
    route = {"channels": ["slack", "email", "teams"], "fallback": None}
    routes = {"sales": {**route, "where": where}, "pricing": {**route, "where": where}, "support": route}
    deployed["ROUTES"] = json.dumps(routes)
    secret = operator.session.client("secretsmanager").create_secret(Name="sales")["ARN"]
    teams = {"TeamsSalesSecretArn": secret, "TeamsQueueUrl": operator.outputs["SlackQueueUrl"]}
    monkeypatch.setattr(operator, "outputs", {**operator.outputs, **teams})
    findings = json.loads(operator.run("doctor", "--json").stdout)

    def states(check: str) -> dict[str, str]:
        return {it["found"].partition(":")[0]: it["state"] for it in findings if it["check"] == check}

    assert states("Slack channel") == {"C0ASSIST can be read": "ok", "C0SALES": "wrong"}
    assert states("SES recipient") == {
        "sales@example.com is not verified": "wrong",
        "sales@company.io is not verified": "wrong",
    }
    assert states("Secret teams-sales") == {"the secret has no value": "wrong"}


def test_the_doctor_command_does_not_check_a_default_place_that_no_route_uses(
    operator: Operator, deployed: dict[str, str], account: dict[str, Any]
) -> None:
    account["ProductionAccessEnabled"] = False
    deployed["SLACK_CHANNEL"] = "assistance"
    where = {"slack": "C0ASSIST", "email": [deployed["EMAIL_SENDER"]]}
    deployed["ROUTES"] = json.dumps({"sales": {"channels": ["slack"], "fallback": "email", "where": where}})
    findings = json.loads(operator.run("doctor", "--json").stdout)
    found = [it["found"] for it in findings if it["check"] in {"Slack channel", "SES recipient"}]
    assert found == ["C0ASSIST can be read", f"{deployed['EMAIL_SENDER']} is not verified"]


def test_the_doctor_command_does_not_demand_a_default_teams_secret_that_no_route_uses(
    operator: Operator, deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody stores a value in it. `make deploy` would send no test request after a deployment, and would fail.
    deployed["ROUTES"] = json.dumps({"sales": {"channels": ["slack", "teams"], "where": {"teams": "sales"}}})
    client = operator.session.client("secretsmanager")
    teams = {
        "TeamsSecretArn": client.create_secret(Name="default")["ARN"],
        "TeamsSalesSecretArn": client.create_secret(Name="sales", SecretString="https://a.example/x")["ARN"],
        "TeamsQueueUrl": operator.outputs["SlackQueueUrl"],
    }
    monkeypatch.setattr(operator, "outputs", {**operator.outputs, **teams})
    findings = {each["check"]: each for each in json.loads(operator.run("doctor", "--json").stdout)}
    assert (findings["Secret teams"]["state"], findings["Secret teams-sales"]["state"]) == ("skipped", "ok")


OPERATORS = "arn:aws:sns:us-east-1:123456789012:operators"
ACTIVE = f"{OPERATORS}:9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"


@pytest.mark.parametrize(
    ("subscriptions", "state", "found", "advice"),
    [
        ({"ops@company.io": ACTIVE}, "ok", "confirmed", ""),
        ({"ops@company.io": "PendingConfirmation"}, "wrong", "not confirmed: ops@company.io", "open the link"),
        # SNS deletes a subscription that nobody confirms within 48 hours. A deployment does not create it again.
        ({}, "wrong", "they notify nobody", f"aws sns subscribe --topic-arn {OPERATORS}"),
        # SNS still lists a subscription for some days after its reader has ended it.
        ({"ops@company.io": "Deleted"}, "wrong", "they notify nobody", f"aws sns subscribe --topic-arn {OPERATORS}"),
        ({"old@company.io": "Deleted", "ops@company.io": ACTIVE}, "ok", "confirmed", ""),
        # `make deploy` prints the findings, and the jobs of a pipeline log them.
        ({"https://pages.example.com/x/SECRET1": "PendingConfirmation"}, "wrong", "pages.example.com", "open the link"),
    ],
)
def test_the_doctor_command_reports_an_operator_whom_the_alarms_do_not_reach_and_shows_no_key_of_a_paging_service(
    operator: Operator, subscriptions: dict[str, str], state: str, found: str, advice: str
) -> None:
    listed = [{"Endpoint": endpoint, "SubscriptionArn": arn} for endpoint, arn in subscriptions.items()]

    def answer(params: dict[str, Any], **_: object) -> tuple[SimpleNamespace, dict[str, Any]] | None:
        if params["body"]["TopicArn"] != OPERATORS:
            return None
        return SimpleNamespace(status_code=200), {"Subscriptions": listed}

    operator.outputs["OperatorTopicArn"] = OPERATORS
    operator.session.events.register("before-call.sns.ListSubscriptionsByTopic", answer)
    result = operator.run("doctor", "--json")
    assert "SECRET1" not in result.output
    [finding] = [finding for finding in json.loads(result.stdout) if finding["check"] == "Alarms"]
    assert finding["state"] == state
    assert found in finding["found"]
    assert advice in finding["advice"]


def test_the_doctor_command_names_a_channel_whose_subscription_somebody_has_deleted(operator: Operator) -> None:
    sns, topic = operator.session.client("sns"), operator.cloud.environment["TOPIC_ARN"]
    [slack] = [
        it["SubscriptionArn"]
        for it in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        if it["Endpoint"].endswith(f":{operator.outputs['SlackQueueUrl'].rpartition('/')[2]}")
    ]
    sns.unsubscribe(SubscriptionArn=slack)
    [finding] = [
        it for it in json.loads(operator.run("doctor", "--json").stdout) if it["check"] == "Channels' subscriptions"
    ]
    assert (finding["state"], finding["found"]) == ("wrong", "SNS passes no messages to: slack")
    assert "undo-a-change-by-hand" in finding["advice"]
