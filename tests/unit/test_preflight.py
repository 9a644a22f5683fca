"""Tests the rules of the preflight check before a deployment, and the advice for each violation."""

from dataclasses import replace

import pytest

from deployment.facts import Caller, DeployedStack, Facts, Resource
from deployment.preflight import identity_of, problems, wrong_account
from deployment.problem import Problem, Target
from deployment.stuck_stack import TABLE
from infra.stages import load
from tests.unit.test_stage_files import PRODUCTION

CONFIG = load({"stage": "production", **PRODUCTION})
TARGET = Target("123456789012", "eu-central-1", "--region eu-central-1")
FACTS = Facts(node=24, has_ses=True, bootstrap=28, identity_exists=False, concurrency=1_000, stack=None)
IDENTITY = Resource("AWS::SES::EmailIdentity", CONFIG.email_sender, "CREATE_COMPLETE")
UP = DeployedStack("assistance-production", "UPDATE_COMPLETE", protected=True, resources=(IDENTITY,))


def only_problem(facts: Facts, target: Target = TARGET, **changes: object) -> Problem:
    """The only problem that the check reports. `changes`: settings of the stage. Fails if there are more or none."""
    (problem,) = problems(CONFIG.model_copy(update=changes), facts, target)
    return problem


def no_problem(facts: Facts, **changes: object) -> bool:
    return not problems(CONFIG.model_copy(update=changes), facts, TARGET)


def test_a_first_deployment_and_an_update_pass_the_preflight_check() -> None:
    assert no_problem(FACTS)
    assert no_problem(replace(FACTS, stack=UP, identity_exists=True))


def test_the_preflight_check_refuses_credentials_of_another_aws_account_and_names_both_accounts() -> None:
    other = Caller("999999999999", "arn:aws:iam::999999999999:user/anna")
    problem = wrong_account(CONFIG, other)
    assert problem
    assert "123456789012" in problem.description
    assert other.arn in problem.description
    assert "AWS_PROFILE" in problem.remedy
    assert wrong_account(CONFIG, replace(other, account="123456789012")) is None
    assert wrong_account(CONFIG.model_copy(update={"account": None}), other) is None


@pytest.mark.parametrize(("version", "expected"), [(0, "There is no Node.js"), (20, "Node.js 20 is too old")])
def test_an_unsupported_node_version_prevents_the_deployment(version: int, expected: str) -> None:
    assert only_problem(replace(FACTS, node=version)).description.startswith(expected)
    assert no_problem(replace(FACTS, node=22))


def test_a_region_without_ses_prevents_a_deployment_with_email() -> None:
    problem = only_problem(replace(FACTS, has_ses=False))
    assert "is not available in eu-central-1" in problem.description
    assert no_problem(replace(FACTS, has_ses=False), routes=load({"routes": {"sales": {"channels": ["slack"]}}}).routes)


def test_a_region_without_snapstart_prevents_a_deployment_with_snapstart() -> None:
    taipei = replace(TARGET, region="ap-east-2")
    assert "SnapStart is not available in ap-east-2" in only_problem(FACTS, taipei, snap_start=True).description
    assert not problems(CONFIG, FACTS, taipei)
    assert no_problem(FACTS, snap_start=True)


@pytest.mark.parametrize(
    ("version", "expected"), [(None, "is not prepared"), (5, "prepared by version 5, which is too old")]
)
def test_the_preflight_check_refuses_an_account_without_cdk_bootstrap_and_names_the_command_to_run(
    version: int | None, expected: str
) -> None:
    problem = only_problem(replace(FACTS, bootstrap=version))
    assert expected in problem.description
    assert "make bootstrap ARGS=aws://123456789012/eu-central-1" in problem.remedy


def test_the_preflight_check_refuses_to_create_an_ses_identity_that_exists_outside_the_stack() -> None:
    taken = replace(FACTS, identity_exists=True)
    assert "create_email_identity to false" in only_problem(taken).remedy
    others = replace(UP, resources=(replace(IDENTITY, name="other@company.io"),))
    assert CONFIG.email_sender in only_problem(replace(taken, stack=others)).description
    assert identity_of(CONFIG) == CONFIG.email_sender
    assert identity_of(CONFIG.model_copy(update={"email_domain": "company.io"})) == "company.io"
    assert identity_of(CONFIG.model_copy(update={"create_email_identity": False})) is None


def test_a_small_lambda_concurrency_quota_prevents_deploying_production_and_causes_a_warning_elsewhere() -> None:
    small = replace(FACTS, concurrency=9)
    assert only_problem(small).fatal
    assert not only_problem(small, stage="staging").fatal
    assert "L-B99A9384" in only_problem(small).remedy
    assert not only_problem(replace(FACTS, concurrency=10)).fatal, "a new account's"
    assert only_problem(replace(FACTS, concurrency=10), consumer_max_concurrency=3).fatal


def test_the_concurrency_that_a_stage_can_use_includes_all_batches_that_lambda_reads_from_the_stream_at_once() -> None:
    # 5 batches of each of a new table's 4 shards; 2 of each of 3 queues; the API, the reconciler, the email feedback.
    assert no_problem(replace(FACTS, concurrency=29))
    assert "this stage can use 29: " in only_problem(replace(FACTS, concurrency=28)).description


def test_a_failed_first_deployment_prints_how_to_delete_the_stack() -> None:
    table = Resource(TABLE, "assistance-production-Table-1A2B", "DELETE_SKIPPED")
    failed = DeployedStack("assistance-production", "ROLLBACK_COMPLETE", protected=True, resources=(table,))
    problem = only_problem(replace(FACTS, stack=failed))
    assert "first deployment failed" in problem.description
    commands = [line.split()[1:3] for line in problem.remedy.splitlines() if line.startswith("    aws ")]
    assert commands == [
        ["cloudformation", "describe-stack-events"],
        ["dynamodb", "scan"],
        ["cloudformation", "update-termination-protection"],
        ["cloudformation", "delete-stack"],
        ["cloudformation", "wait"],
        ["dynamodb", "update-table"],
        ["dynamodb", "delete-table"],
    ]
    lines = [line for line in problem.remedy.splitlines() if line.startswith("    aws ")]
    assert all("--region eu-central-1" in line for line in lines)
    assert problem.remedy.count(f"--table-name {table.name} ") == 3
    assert no_problem(replace(FACTS, stack=replace(failed, protected=False))), "the CDK deletes it"


@pytest.mark.parametrize(
    ("status", "command"),
    [
        ("ROLLBACK_FAILED", "aws cloudformation delete-stack"),
        ("DELETE_FAILED", "aws cloudformation delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "aws cloudformation describe-stacks"),
    ],
)
def test_a_stack_in_a_status_that_cannot_be_updated_is_refused_with_repair_instructions(
    status: str, command: str
) -> None:
    problem = only_problem(replace(FACTS, stack=replace(UP, status=status)))
    assert status in problem.description
    assert f"{command} --stack-name assistance-production --region eu-central-1" in problem.remedy


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE", "CREATE_COMPLETE"])
def test_a_stack_in_a_status_that_can_be_updated_passes_the_preflight_check(status: str) -> None:
    assert no_problem(replace(FACTS, stack=replace(UP, status=status)))


def test_a_failed_first_deployment_that_created_no_table_prints_no_command_for_a_table() -> None:
    # CloudFormation lists the table without a name, if somebody may not create tables, for example.
    table = Resource(TABLE, "", "CREATE_FAILED")
    failed = DeployedStack("assistance-production", "ROLLBACK_COMPLETE", protected=True, resources=(table,))
    remedy = only_problem(replace(FACTS, stack=failed)).remedy
    assert "delete-stack" in remedy
    assert "dynamodb" not in remedy


def test_the_advice_never_contains_deleting_the_table_of_a_stack_that_was_deployed_before() -> None:
    table = Resource(TABLE, "assistance-production-Table-1A2B", "DELETE_FAILED")
    assert (
        "dynamodb"
        not in only_problem(replace(FACTS, stack=replace(UP, status="DELETE_FAILED", resources=(table,)))).remedy
    )


def test_the_preflight_check_reports_all_violated_rules_together() -> None:
    wrong = replace(FACTS, node=20, bootstrap=None, has_ses=False, concurrency=1)
    assert len(problems(CONFIG, wrong, TARGET)) == 4
