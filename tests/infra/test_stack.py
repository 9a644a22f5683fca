"""Tests properties of the whole stack, and of two stacks in one account."""

import json
import re
import tarfile
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from assistance.engine import links
from assistance.engine.publisher import MAX_BATCH_ENTRIES
from assistance.routing import ROUTES, Channel, Destination, RetryPolicy, named
from assistance.store.schema import (
    CREATED_AT,
    DUE_AT,
    DUE_INDEX,
    DUE_SHARD,
    INDEX_SHARDS,
    LEDGER_INDEX,
    LEDGER_SHARD,
    OUTBOX_INDEX,
    OUTBOX_SHARD,
    PARTITION_KEY,
    SORT_KEY,
    TTL,
)
from callback_consumer.egress import CONNECT_SECONDS, DEADLINE_SECONDS
from callback_consumer.secret import KEY_BYTES
from infra.config import PYTHON_VERSION
from infra.retries import RETRIES
from tests.infra.template import CONTEXTS, VARIANTS, Template, as_list, changed, synthesis, synthesized, target, text_of

ROOT = Path(__file__).parents[2]
EVERY = {path.parent.name for path in ROOT.glob("functions/*/handler.py")}
INTERACTIVE = {"slack_interactions", "take_page"}
FOLDERS = EVERY - INTERACTIVE - {f"{channel}_consumer" for channel in Channel if channel not in named(ROUTES.values())}
TAKING = {"local", "everything", "takes"}
SHARED = {"__init__", "addresses", "app", "batches", "bundle", "channel", "dashboard", "dead_letters", "domain",
          "email_sender", "encryption", "environment_size", "fingerprint", "firewall", "governed", "heartbeat",
          "interactive_function", "linter_exceptions", "monitoring", "openapi", "python_function", "retries", "routes",
          "stack", "stages", "table"}  # fmt: skip


def test_every_function_folder_has_a_construct_file_in_infra_and_vice_versa() -> None:
    assert {path.stem for path in ROOT.glob("infra/*.py")} - SHARED == EVERY


def folders(template: Template) -> set[str]:
    """Return the folders whose functions are deployed."""
    return {f["Handler"].partition(".")[0] for f in template.all("AWS::Lambda::Function").values()}


@pytest.mark.parametrize("variant", [*VARIANTS, "everything", "takes"])
def test_the_take_page_and_slack_button_functions_are_deployed_only_if_takes_are_on(variant: str) -> None:
    assert folders(synthesized(variant)) == FOLDERS | (INTERACTIVE if variant in TAKING else set())


def test_every_lambda_function_has_the_common_settings(template: Template) -> None:
    functions = template.all("AWS::Lambda::Function").values()
    groups = template.all("AWS::Logs::LogGroup")
    for function in functions:
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == f"python{PYTHON_VERSION}"
        # For a function without a log group Lambda creates one that no stack deletes.
        assert groups[target(function["LoggingConfig"]["LogGroup"])]["RetentionInDays"]
        assert (function["LoggingConfig"]["LogFormat"], function["LoggingConfig"]["SystemLogLevel"]) == ("JSON", "WARN")
        assert "ReservedConcurrentExecutions" not in function, "a new account may have 10 in all"


def test_every_function_has_a_separate_role_and_a_separate_log_group(template: Template) -> None:
    functions = template.all("AWS::Lambda::Function").values()
    assert len({target(function["Role"]) for function in functions}) == len(functions)
    assert len({target(function["LoggingConfig"]["LogGroup"]) for function in functions}) == len(functions)


def test_only_the_reconciler_may_query_the_outbox_index(template: Template) -> None:
    readers = {
        folder
        for folder in folders(template)
        for statement in template.statements(target(template.function(folder)[1]["Role"]))
        if f"/index/{OUTBOX_INDEX}" in str(statement["Resource"])
    }
    assert readers == {"reconciler"}
    assert "/index/*" not in str(template.document)


def test_the_email_consumer_may_send_mail_only_from_the_configured_sender(template: Template) -> None:
    _, function = template.function("email_consumer")
    environment = function["Environment"]["Variables"]
    statements = [s for s in template.statements(target(function["Role"])) if "ses:" in str(s["Action"])]
    assert {str(statement["Action"]) for statement in statements} == {"ses:SendEmail"}
    (identities,) = (s for s in statements if ":identity/" in str(s["Resource"]))
    assert identities["Condition"] == {"StringEquals": {"ses:FromAddress": environment["EMAIL_SENDER"]}}
    (configuration_set,) = (s for s in statements if s is not identities)
    assert target(environment["EMAIL_CONFIGURATION_SET"]) in str(configuration_set["Resource"])


def test_ses_events_reach_the_email_feedback_function(template: Template) -> None:
    name, _ = template.function("email_feedback")
    topic = target(template.document["Outputs"]["EmailFeedbackTopicArn"]["Value"])
    (subscription,) = (s for s in template.all("AWS::SNS::Subscription").values() if target(s["TopicArn"]) == topic)
    assert target(subscription["Endpoint"]) == name
    destination = template.only("AWS::SES::ConfigurationSetEventDestination")["EventDestination"]
    assert target(destination["SnsDestination"]["TopicARN"]) == topic
    assert set(destination["MatchingEventTypes"]) == {"bounce", "complaint", "delivery", "reject"}


def test_every_sqs_queue_is_the_queue_of_a_channel_or_a_dead_letter_queue(template: Template) -> None:
    sources = [source["EventSourceArn"] for source in template.all("AWS::Lambda::EventSourceMapping").values()]
    queues = {target(source) for source in sources} & set(template.all("AWS::SQS::Queue"))
    assert queues | template.dead_letter_queues() == set(template.all("AWS::SQS::Queue"))


@pytest.mark.parametrize(
    ("kind", "policy_kind", "attached"),
    [("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"), ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics")],
)
def test_queues_and_sns_topics_refuse_calls_without_tls(
    template: Template, kind: str, policy_kind: str, attached: str
) -> None:
    protected = {
        target(reference)
        for policy in template.all(policy_kind).values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for reference in policy[attached]
    }
    assert protected == set(template.all(kind))


def test_the_stream_event_source_gives_up_a_failing_record_after_a_limited_time_without_giving_up_its_batch(
    template: Template,
) -> None:
    source = template.event_source("stream_producer")
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["BisectBatchOnFunctionError"] is True
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < source["MaximumRetryAttempts"] <= 10
    # A stream keeps records for a day: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
    assert 0 < source["MaximumRecordAgeInSeconds"] < 86_400
    failures = target(source["DestinationConfig"]["OnFailure"]["Destination"])
    role = target(template.function("stream_producer")[1]["Role"])
    assert any(
        "sqs:SendMessage" in as_list(s["Action"]) and target(s["Resource"]) == failures
        for s in template.statements(role)
        if not isinstance(s["Resource"], list)
    )


def test_the_stream_producers_batch_size_is_a_multiple_of_the_sns_batch_size(template: Template) -> None:
    assert template.event_source("stream_producer")["BatchSize"] % MAX_BATCH_ENTRIES == 0


def test_the_outbox_index_has_enough_shards_for_the_throttle_of_api_gateway() -> None:
    """Each entry is written and removed. A partition takes 1,000 writes a second, and hashes don't spread evenly."""
    assert INDEX_SHARDS * 1_000 >= 2 * 10_000 * 1.1


def test_a_reconciler_run_times_out_before_the_next_scheduled_run_and_is_not_retried(template: Template) -> None:
    name, function = template.function("reconciler")
    schedule = template.schedule("reconciler")
    (minutes,) = re.findall(r"rate\((\d+) minutes?\)", schedule["ScheduleExpression"])
    assert target(schedule["Target"]["Arn"]) == name
    assert function["Timeout"] < 60 * int(minutes)
    for patience in (schedule["Target"]["RetryPolicy"], template.invoke_config("reconciler")):
        assert patience["MaximumRetryAttempts"] == 0
        assert patience["MaximumEventAgeInSeconds"] <= 60 * int(minutes)


def test_the_table_has_on_demand_billing_a_stream_a_ttl_backups_and_a_sparse_index(template: Template) -> None:
    table = template.only("AWS::DynamoDB::GlobalTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["StreamSpecification"]["StreamViewType"] in {"NEW_IMAGE", "NEW_AND_OLD_IMAGES"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL, "Enabled": True}
    assert [key["AttributeName"] for key in table["KeySchema"]] == [PARTITION_KEY, SORT_KEY]
    indexes = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    # Two indexes are sparse: only unpublished items and only tracked records have the shard attribute.
    assert indexes == {
        OUTBOX_INDEX: [OUTBOX_SHARD, CREATED_AT],
        LEDGER_INDEX: [LEDGER_SHARD, CREATED_AT],
        DUE_INDEX: [DUE_SHARD, DUE_AT],
    }
    (replica,) = table["Replicas"]
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_two_stages_can_share_an_account(staging: Template, production: Template) -> None:
    assert staging.stack_name != production.stack_name
    assert not names(staging) & names(production)


def names(template: Template) -> set[tuple[str, str, str]]:
    """The physical names that the template sets.

    The name of an inline policy is unique within its role, so it is left out.
    """
    return {
        (resource["Type"], key, value)
        for resource in template.resources.values()
        if resource["Type"] != "AWS::IAM::Policy"
        for key, value in resource.get("Properties", {}).items()
        if isinstance(value, str) and (key.endswith("Name") or key == "EmailIdentity") and key != "MetricName"
    }


def test_the_slack_secret_is_created_without_a_value(template: Template) -> None:
    secrets = template.all("AWS::SecretsManager::Secret")
    token = secrets[target(template.document["Outputs"]["SlackTokenSecretArn"]["Value"])]
    assert not {"SecretString", "GenerateSecretString"} & set(token)


def test_the_signing_key_of_callbacks_is_generated_at_deployment(template: Template) -> None:
    secrets = template.all("AWS::SecretsManager::Secret")
    generated = secrets[target(template.document["Outputs"]["CallbackSecretArn"]["Value"])]["GenerateSecretString"]
    # Letters and digits in groups of four are valid Base64.
    assert generated["ExcludePunctuation"] is True
    assert generated["PasswordLength"] % 4 == 0
    assert generated["PasswordLength"] // 4 * 3 in KEY_BYTES


@pytest.mark.parametrize("folder", ["api", "callback_consumer"])
def test_only_the_callback_consumer_of_the_local_stage_may_call_loopback_addresses(
    template: Template, folder: str
) -> None:
    variables = template.function(folder)[1]["Environment"]["Variables"]
    assert variables["CALLBACK_LOOPBACK"] == str(template == synthesized("local"))


def test_a_dns_query_times_out_before_its_callback_and_a_callback_times_out_before_its_consumer(
    template: Template,
) -> None:
    _, function = template.function("callback_consumer")
    resolver = dict(option.split(":") for option in function["Environment"]["Variables"]["RES_OPTIONS"].split())
    assert int(resolver["timeout"]) * int(resolver["attempts"]) < CONNECT_SECONDS < DEADLINE_SECONDS
    assert function["Timeout"] > DEADLINE_SECONDS


def test_the_stack_outputs_have_names_without_generated_suffixes(template: Template) -> None:
    outputs = template.document["Outputs"]
    assert {"ApiUrl", "ApiKeyId", "TableName", "TopicArn", "SlackTokenSecretArn"} <= set(outputs)
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in outputs)


def test_an_upgrade_updates_consumers_before_publishers_and_publishers_before_the_api(template: Template) -> None:
    deployed = {template.function(folder)[0]: folder for folder in folders(template)}
    consumers = {folder for folder in deployed.values() if folder.endswith("_consumer")}
    last = {"api"} | (set(deployed.values()) & INTERACTIVE)
    publishers = set(deployed.values()) - consumers - last
    waits_for = {
        folder: {deployed[name] for name in as_list(template.resources[id_].get("DependsOn", [])) if name in deployed}
        for id_, folder in deployed.items()
    }
    assert all(waits_for[folder] == set() for folder in consumers)
    assert all(waits_for[folder] == consumers for folder in publishers)
    assert all(waits_for[folder] == publishers for folder in last)


@pytest.mark.parametrize("variant", ["takes", "everything"])
def test_x_ray_does_not_trace_the_take_page_whose_urls_contain_take_links(variant: str) -> None:
    template = synthesized(variant)
    (stage,) = template.all("AWS::ApiGateway::Stage").values()
    assert stage["TracingEnabled"], "API Gateway traces the other calls"
    rule = template.only("AWS::XRay::SamplingRule")["SamplingRule"]
    assert (rule["FixedRate"], rule["ReservoirSize"], rule["Priority"]) == (0, 0, 1)
    api = template.only("AWS::ApiGateway::RestApi")["Name"]
    assert (rule["ServiceType"], rule["ServiceName"]) == ("AWS::ApiGateway::Stage", f"{api}/{stage['StageName']}")
    for base in ("", "/assistance", "/production"):
        assert fnmatchcase(f"{base}/take/token", rule["URLPath"])
        assert not fnmatchcase(f"{base}/assistance-requests/take", rule["URLPath"])
    assert len(rule["RuleName"]) <= 32
    assert template.function("take_page")[1].get("TracingConfig", {}).get("Mode") != "Active"


def test_only_functions_that_sign_or_verify_take_links_can_read_the_signing_secret() -> None:
    template = synthesized("takes")
    (secret,) = (name for name in template.all("AWS::SecretsManager::Secret") if name.startswith("TakePage"))
    readers = {
        folder
        for folder in folders(template)
        for statement in template.statements(target(template.function(folder)[1]["Role"]))
        if "secretsmanager" in str(statement["Action"]) and secret in str(statement["Resource"])
    }
    assert readers == {"email_consumer", "take_page"}
    (api,) = template.all("AWS::ApiGateway::RestApi")
    starts = {text_of(template.function(folder)[1]["Environment"]["Variables"]["TAKE_PAGE"]) for folder in readers}
    region, suffix = "${AWS::Region}", "${AWS::URLSuffix}"
    assert starts == {f"https://${{{api}}}.execute-api.{region}.{suffix}/staging/take/"}
    generated = template.all("AWS::SecretsManager::Secret")[secret]["GenerateSecretString"]
    assert links.read("a" * generated["PasswordLength"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_tag_of_a_resource_is_also_a_tag_of_the_stack(variant: str) -> None:
    """SES refuses an identity that has a tag twice: https://github.com/aws/aws-cdk/issues/35298."""
    found = synthesis(variant)
    artifacts = found.manifest["artifacts"].values()
    [stack] = [each for each in artifacts if each["type"] == "aws:cloudformation:stack"]
    resources = found.document["Resources"].values()
    tags = [tag["Key"] for each in resources for tag in as_list(each["Properties"].get("Tags", []))]
    assert {"application", "stage"} <= set(tags)
    assert not set(stack["properties"].get("tags", {})) & set(tags)


# Every role of the account may use an AWS-managed key through its service:
# https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-key. With this flag the CDK
# grants the use of every key that has the alias as well.
NOT_WANTED = {"@aws-cdk/aws-kms:applyImportedAliasPermissionsToPrincipal"}


def test_every_feature_flag_that_the_cdk_recommends_is_set() -> None:
    """Setting a flag after the first deployment may replace a resource."""
    import aws_cdk  # noqa: PLC0415 # it starts Node.js

    [library] = (Path(aws_cdk.__file__).parent / "_jsii").glob("*.tgz")
    with tarfile.open(library) as archive:
        flags = archive.extractfile("package/recommended-feature-flags.json")
        assert flags
        recommended = json.load(flags)
    context = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    assert set(recommended) - set(context) == NOT_WANTED
    different = {flag for flag, value in recommended.items() if context.get(flag, value) != value}
    assert different == {"@aws-cdk/core:target-partitions"}, "GovCloud is one of ours too"


def test_each_consumer_gets_changed_retry_limits_of_its_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[Destination, RetryPolicy] = {
        channel: RetryPolicy(2 + number, 9 + number) for number, channel in enumerate(Channel)
    }
    monkeypatch.setattr("infra.config.RETRIES", {**RETRIES, **limits})
    template = changed(CONTEXTS["every channel"])
    for channel, limit in limits.items():
        variables = template.function(f"{channel}_consumer")[1]["Environment"]["Variables"]
        assert (variables["RETRY_ATTEMPTS"], variables["RETRY_FIRST_DELAY"]) == (
            str(limit.attempts),
            str(limit.first_delay),
        )
