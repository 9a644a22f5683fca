"""Tests what each stage protects, what remains after its deletion, and what a deployer can add."""

import json
import re

import pytest

from infra.stages import load
from tests.infra.template import EXTRAS, VARIANTS, Template, as_list, synthesis, synthesized, target, text_of

STAGES = ("dev", "staging", "production")
# CloudFormation replaces a resource whose logical id changes, so its data, its URL or its history is lost.
STATEFUL = {
    "Table": "AWS::DynamoDB::GlobalTable",
    "TopicBFC7AF6E": "AWS::SNS::Topic",
    "EmailFeedbackTopic5FCFBADB": "AWS::SNS::Topic",
    "MonitoringOperatorsC36A9EA6": "AWS::SNS::Topic",
    "SlackConsumerQueueA91EB1F1": "AWS::SQS::Queue",
    "EmailConsumerQueueFE3D4885": "AWS::SQS::Queue",
    "SlackConsumerDlq45207617": "AWS::SQS::Queue",
    "SlackConsumerSubscriptionDlq1A7D15DE": "AWS::SQS::Queue",
    "EmailConsumerDlq91A16B81": "AWS::SQS::Queue",
    "EmailConsumerSubscriptionDlqBFEA805C": "AWS::SQS::Queue",
    "EmailFeedbackSubscriptionDlq425D9620": "AWS::SQS::Queue",
    "EmailFeedbackFailures5A97F89E": "AWS::SQS::Queue",
    "CallbackConsumerQueueE4223D5E": "AWS::SQS::Queue",
    "CallbackConsumerDlq0E259EFA": "AWS::SQS::Queue",
    "CallbackConsumerSubscriptionDlqE012065A": "AWS::SQS::Queue",
    "StreamProducerFailures02BCA38F": "AWS::SQS::Queue",
    "SlackConsumerToken": "AWS::SecretsManager::Secret",
    "CallbackConsumerSecret": "AWS::SecretsManager::Secret",
    "ServicesKeyD0BA42A3": "AWS::KMS::Key",
    "ApiRest4DEC74FE": "AWS::ApiGateway::RestApi",
    "ApiRestKey89BAA58B": "AWS::ApiGateway::ApiKey",
    "ApiFunctionLogs4B382957": "AWS::Logs::LogGroup",
    "StreamProducerFunctionLogsBED53E98": "AWS::Logs::LogGroup",
    "SlackConsumerFunctionLogs424A0910": "AWS::Logs::LogGroup",
    "CallbackConsumerFunctionLogs6E916079": "AWS::Logs::LogGroup",
    "EmailConsumerFunctionLogs81923CD7": "AWS::Logs::LogGroup",
    "EmailFeedbackFunctionLogs8EFFA81F": "AWS::Logs::LogGroup",
    "ReconcilerFunctionLogsCAD9A584": "AWS::Logs::LogGroup",
    "EmailConsumerSender3A26A5F1": "AWS::SES::EmailIdentity",
}
KINDS = set(STATEFUL.values())


@pytest.mark.parametrize(("stage", "without"), [("dev", {"MonitoringOperatorsC36A9EA6"}), ("production", set())])
def test_stateful_resources_keep_their_logical_ids(stage: str, without: set[str]) -> None:
    resources = synthesized(stage).resources
    found = {name: r["Type"] for name, r in resources.items() if r["Type"] in KINDS}
    assert found == {name: kind for name, kind in STATEFUL.items() if name not in without}


def cached(template: Template) -> set[str]:
    return {name for name, r in template.resources.items() if r.get("DeletionPolicy", "Delete") != "Delete"}


@pytest.mark.parametrize("stage", ["dev", "staging", "local"])
def test_destroying_a_dev_stage_removes_every_resource_except_the_ses_identity(stage: str) -> None:
    template = synthesized(stage)
    assert cached(template) == set(template.all("AWS::SES::EmailIdentity"))
    # CloudFormation deletes neither a non-empty bucket nor things created by a custom resource.
    assert not template.all("AWS::S3::Bucket")
    assert not [name for name, r in template.resources.items() if r["Type"].startswith("Custom::")]


KEPT = {
    "AWS::DynamoDB::GlobalTable", "AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup",
    "AWS::SES::EmailIdentity",
}  # fmt: skip


@pytest.mark.parametrize("variant", ["production", "everything"])
def test_destroying_production_retains_the_table_the_queues_the_secrets_the_logs_and_the_ses_identity(
    variant: str,
) -> None:
    template = synthesized(variant)
    expected = {name for kind in KEPT for name in template.all(kind)}
    assert expected <= cached(template)
    assert variant != "production" or expected == cached(template)
    assert all(template.resources[name]["UpdateReplacePolicy"] == "Retain" for name in expected)


@pytest.mark.parametrize("stage", STAGES)
def test_only_production_has_termination_protection(stage: str) -> None:
    assert synthesis(stage).termination_protection is (stage == "production")
    [replica] = synthesized(stage).only("AWS::DynamoDB::GlobalTable")["Replicas"]
    assert replica["DeletionProtectionEnabled"] is (stage == "production")


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_every_resource_that_stores_data_is_encrypted(variant: str) -> None:
    template = synthesized(variant)
    assert all(queue["SqsManagedSseEnabled"] is True for queue in template.all("AWS::SQS::Queue").values())
    key, properties = template.services_key()
    statements = properties["KeyPolicy"]["Statement"]
    services = [name for s in statements for name in as_list(s["Principal"].get("Service", []))]
    published_to = {
        target(policy["Topics"][0]): statement["Principal"]["Service"]
        for policy in template.all("AWS::SNS::TopicPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert set(published_to.values()) == set(services)
    for name, topic in template.all("AWS::SNS::Topic").items():
        # An AWS service can't use the AWS-managed key of SNS.
        if name in published_to:
            assert target(topic["KmsMasterKeyId"]) == key
        else:
            assert "alias/aws/sns" in json.dumps(topic["KmsMasterKeyId"])


@pytest.mark.parametrize(("variant", "identity"), [("dev", "assistance@example.com"), ("everything", "company.io")])
def test_the_ses_identity_stays_in_the_account_when_its_stack_is_deleted(variant: str, identity: str) -> None:
    [sender] = [it for it in synthesized(variant).resources.values() if it["Type"] == "AWS::SES::EmailIdentity"]
    assert sender["Properties"]["EmailIdentity"] == identity
    assert sender["UpdateReplacePolicy"] == "Retain"
    assert sender["DeletionPolicy"] == "RetainExceptOnCreate", "a deployment that failed can be repeated"


def test_the_stack_outputs_contain_the_dns_records_of_a_sender_domain_and_none_for_a_sender_address() -> None:
    outputs = synthesized("everything").document["Outputs"]
    records = [text_of(it["Value"]) for name, it in outputs.items() if name.startswith("EmailDns")]
    assert [record.split()[1] for record in records] == ["CNAME"] * 3 + ["MX", "TXT", "TXT"]
    mail_from = synthesized("everything").only("AWS::SES::EmailIdentity")["MailFromAttributes"]["MailFromDomain"]
    assert mail_from.endswith(".company.io"), "https://docs.aws.amazon.com/ses/latest/dg/mail-from.html"
    assert records[3:] == [
        f"{mail_from} MX 10 feedback-smtp.${{AWS::Region}}.amazonses.com",
        f'{mail_from} TXT "v=spf1 include:amazonses.com ~all"',
        '_dmarc.company.io TXT "v=DMARC1; p=none"',
    ]
    assert not [name for name in synthesized("production").document["Outputs"] if name.startswith("EmailDns")]


def test_a_stage_for_an_account_under_control_tower_has_alarm_actions_and_encrypted_logs_kept_for_a_year() -> None:
    """https://docs.aws.amazon.com/controltower/latest/controlreference/cloudwatch-rules.html, controls PR.1 to PR.4."""
    template = synthesized("everything")
    alarms, groups = template.all("AWS::CloudWatch::Alarm"), template.all("AWS::Logs::LogGroup")
    topic = target(template.document["Outputs"]["AlarmTopicArn"]["Value"])
    assert alarms
    for alarm in alarms.values():
        assert [target(action) for action in alarm["AlarmActions"]] == [topic]
        assert alarm.get("ActionsEnabled", True) is True
    subscribed = {target(it["TopicArn"]) for it in template.all("AWS::SNS::Subscription").values()}
    assert topic not in subscribed, "an operator gets one page per outage, not each of its alarms"
    [key] = {target(group["KmsKeyId"]) for group in groups.values()}
    assert min(group["RetentionInDays"] for group in groups.values()) >= 365
    [logs] = (
        it
        for it in template.resources[key]["Properties"]["KeyPolicy"]["Statement"]
        if "logs." in json.dumps(it["Principal"])
    )
    assert "log-group:*" in text_of(logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
    assert template.resources[key]["DeletionPolicy"] == template.resources[next(iter(groups))]["DeletionPolicy"]


def test_the_log_retention_can_be_set_to_more_than_a_year() -> None:
    governed = {"governed": "true"}
    kept = [load({**governed, **more}).logs_kept_days for more in ({}, {"log_retention_days": "731"})]
    assert kept == [365, 731]


def test_a_stack_output_lists_the_alarms_that_should_roll_back_a_deployment() -> None:
    template = synthesized("everything")
    told = json.loads(text_of(template.document["Outputs"]["RollbackConfiguration"]["Value"]).replace("${", "{"))
    assert told["MonitoringTimeInMinutes"] == 15
    pages = template.all("AWS::CloudWatch::CompositeAlarm")
    named = [re.sub(r"[{}]", "", trigger["Arn"]) for trigger in told["RollbackTriggers"]]
    assert set(named) < set(pages)
    assert not [name for name in named if "NotDelivering" in name], "a rollback mends no provider"
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackConfiguration.html
    assert 1 <= len(named) <= 5
    assert {trigger["Type"] for trigger in told["RollbackTriggers"]} == {"AWS::CloudWatch::CompositeAlarm"}


def test_the_api_and_ses_refuse_outdated_tls_versions(template: Template) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies-list.html
    assert "TLS13_1_2" in template.only("AWS::ApiGateway::RestApi")["SecurityPolicy"]
    assert template.only("AWS::SES::ConfigurationSet")["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}


def test_old_and_new_api_keys_are_valid_together_during_a_key_change() -> None:
    one, both = synthesized("production"), synthesized("everything")
    (old,) = one.all("AWS::ApiGateway::ApiKey")
    assert set(both.all("AWS::ApiGateway::ApiKey")) > {old}
    (plan,) = both.all("AWS::ApiGateway::UsagePlan")
    links = both.all("AWS::ApiGateway::UsagePlanKey")
    assert {target(link["KeyId"]) for link in links.values()} == set(both.all("AWS::ApiGateway::ApiKey"))
    assert {target(link["UsagePlanId"]) for link in links.values()} == {plan}
    assert set(one.all("AWS::ApiGateway::UsagePlanKey")) < set(links)
    assert target(one.document["Outputs"]["ApiKeyId"]["Value"]) == old
    assert target(both.document["Outputs"]["ApiKeyId"]["Value"]) != old, "the newest"


def test_access_logs_contain_no_request_body_query_string_header_or_path() -> None:
    stage = synthesized("everything").only("AWS::ApiGateway::Stage")
    logged = json.loads(stage["AccessLogSetting"]["Format"])
    assert {"$context.requestId", "$context.status", "$context.responseLatency", "$context.identity.apiKeyId"} <= set(
        logged.values()
    )
    for secret in ("body", "input", "$context.path", "apiKey", "authorizer", "overrid"):
        assert not [v for v in logged.values() if secret in v.removesuffix("apiKeyId")]
    assert not any(setting["DataTraceEnabled"] for setting in stage["MethodSettings"])
    logs = set(synthesized("everything").all("AWS::Logs::LogGroup")) - set(STATEFUL)
    (group,) = (name for name in logs if name.startswith("Api"))
    assert text_of(stage["AccessLogSetting"]["DestinationArn"]).endswith(f":log-group:${{{group}}}")
    assert synthesized("everything").all("AWS::Logs::LogGroup")[group]["RetentionInDays"] == 365


def test_the_account_wide_logging_role_of_api_gateway_is_retained_when_the_stack_is_deleted() -> None:
    template = synthesized("everything")
    (account,) = template.all("AWS::ApiGateway::Account")
    role = target(template.all("AWS::ApiGateway::Account")[account]["CloudWatchRoleArn"])
    assert {account, role} <= cached(template)
    (stage,) = template.all("AWS::ApiGateway::Stage")
    assert account in template.resources[stage]["DependsOn"], "a stage can't log before the account may"


def test_the_web_acl_inspects_no_request_bodies_and_answers_a_call_above_its_rate_limit_with_429() -> None:
    from infra.firewall import Firewall  # noqa: PLC0415 # it starts Node.js

    template = synthesized("everything")
    acl = template.only("AWS::WAFv2::WebACL")
    rate, *managed = acl["Rules"]
    statement = rate["Statement"]["RateBasedStatement"]
    plan = template.only("AWS::ApiGateway::UsagePlan")
    assert statement["Limit"] > statement["EvaluationWindowSec"] * plan["Throttle"]["RateLimit"]
    response = rate["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == 429
    assert json.loads(acl["CustomResponseBodies"]["TooMany"]["Content"])["status"] == 429
    # Every other managed baseline rule group of AWS inspects the body.
    groups = {rule["Statement"]["ManagedRuleGroupStatement"]["Name"] for rule in managed}
    assert groups == {"AWSManagedRulesAmazonIpReputationList"}, Firewall.__doc__
    assert all(part["VisibilityConfig"]["SampledRequestsEnabled"] is False for part in (acl, *acl["Rules"]))


def test_the_api_has_a_daily_quota_only_if_the_deployer_sets_one() -> None:
    assert synthesized("everything").only("AWS::ApiGateway::UsagePlan")["Quota"] == {"Limit": 10_000, "Period": "DAY"}
    assert "Quota" not in synthesized("production").only("AWS::ApiGateway::UsagePlan")


@pytest.mark.parametrize(
    ("variant", "traced"),
    [
        ("production", {"api"}),
        ("everything", {"api", "stream_producer", "slack_consumer", "email_consumer", "callback_consumer"}),
        ("nothing", set()),
    ],
)
def test_x_ray_tracing_covers_the_api_and_optionally_the_publication_and_the_delivery(
    variant: str, traced: set[str]
) -> None:
    template = synthesized(variant)
    assert traced == {
        function["Handler"].split(".")[0]
        for function in template.all("AWS::Lambda::Function").values()
        if function.get("TracingConfig") == {"Mode": "Active"}
    }
    assert bool(template.only("AWS::ApiGateway::Stage").get("TracingEnabled")) is bool(traced)
    assert ("xray:" in json.dumps(template.document)) is bool(traced)
