"""Tests what the preflight check before a deployment asks AWS, and how it reads the responses. AWS is moto."""

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from deployment.__main__ import main
from deployment.facts import (
    Clients,
    DeployedStack,
    Facts,
    caller,
    clients_of,
    gathered,
    node_version,
    reader,
    ses_is_in,
)

REGION = "eu-central-1"
STACK = "assistance-staging"
TEMPLATE = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {}}}})


@pytest.fixture
def aws() -> Iterator[Clients]:
    """moto, with a fake for the one call that moto does not support."""
    with mock_aws():
        session = boto3.Session()
        lambda_ = session.client("lambda", region_name=REGION)
        stubber = Stubber(lambda_)
        limits = {"ConcurrentExecutions": 1_000, "UnreservedConcurrentExecutions": 900}
        stubber.add_response("get_account_settings", {"AccountLimit": limits})
        with stubber:
            others = clients_of(session, REGION)
            yield lambda service: lambda_ if service == "lambda" else others(service)


def looked(clients: Clients, **changes: Any) -> Facts:  # noqa: ANN401
    asked = {"stack": STACK, "identity": "help@company.io", "qualifier": "hnb659fds", "has_ses": True, **changes}
    return gathered(clients, **asked)


def test_the_preflight_check_finds_neither_bootstrap_nor_identity_nor_stack_in_an_empty_aws_account(
    aws: Clients,
) -> None:
    facts = looked(aws)
    assert facts == Facts(
        node_version(), has_ses=True, bootstrap=None, identity_exists=False, concurrency=900, stack=None
    )
    assert caller(aws).account == "123456789012"


def test_the_preflight_check_finds_the_bootstrap_version_the_ses_identity_and_the_stack_of_the_account(
    aws: Clients,
) -> None:
    aws("ssm").put_parameter(Name="/cdk-bootstrap/other/version", Value="28", Type="String")
    aws("sesv2").create_email_identity(EmailIdentity="help@company.io")
    aws("cloudformation").create_stack(StackName=STACK, TemplateBody=TEMPLATE, EnableTerminationProtection=True)
    facts = looked(aws, qualifier="other")
    assert (facts.bootstrap, facts.identity_exists) == (28, True)
    assert facts.stack
    assert (facts.stack.status, facts.stack.protected) == ("CREATE_COMPLETE", True)
    assert len(facts.stack.names("AWS::SQS::Queue")) == 1


def test_the_preflight_check_reads_no_ses_identities_in_a_region_without_ses(aws: Clients) -> None:
    def without_ses(service: str) -> Any:  # noqa: ANN401
        assert service != "sesv2"
        return aws(service)

    assert not looked(without_ses, has_ses=False).identity_exists


def test_the_aws_sdk_lists_the_regions_that_have_ses() -> None:
    session = boto3.Session()
    assert ses_is_in(session, "eu-central-1")
    assert ses_is_in(session, "us-gov-west-1")
    assert not ses_is_in(session, "eu-south-2")


def test_the_preflight_check_reports_a_denied_aws_call_as_an_error_and_not_as_a_missing_stack(aws: Clients) -> None:
    cloudformation = boto3.client("cloudformation", region_name=REGION)
    with Stubber(cloudformation) as stubber:
        stubber.add_client_error("describe_stacks", "AccessDenied")
        with pytest.raises(ClientError):
            looked(lambda service: cloudformation if service == "cloudformation" else aws(service))


def test_the_preflight_check_in_a_pipeline_assumes_the_role_created_by_cdk_bootstrap(aws: Clients) -> None:
    session = reader(boto3.Session(), "123456789012", REGION, "hnb659fds")
    assert (
        "assumed-role/cdk-hnb659fds-lookup-role-123456789012-eu-central-1/" in caller(clients_of(session, REGION)).arn
    )


def test_the_preflight_check_uses_the_region_in_the_environment_variables_like_the_cdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    with mock_aws(), pytest.raises(SystemExit, match="these credentials are for 123456789012"):
        main(["-c", "stage=dev", "-c", "account=210987654321"])
    assert f"Checking 123456789012, {REGION}," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "said"),
    [
        # The deployer has not executed the first change set, so the stack has neither resources nor a template.
        ("REVIEW_IN_PROGRESS", "the CDK deploys"),
        # The first deployment failed, for example because of what the deployer now leaves out. The CDK deletes the
        # stack before it creates it anew.
        ("ROLLBACK_COMPLETE", "the CDK deploys"),
        ("ROLLBACK_FAILED", "the CDK deploys"),
        ("UPDATE_COMPLETE", "It would remove from assistance-staging, in eu-central-1:\n  - the queue Queue"),
    ],
)
def test_a_stack_that_was_never_deployed_loses_no_resources_by_its_next_deployment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, said: str
) -> None:
    def deploy(*_: object) -> None:
        raise SystemExit("the CDK deploys")

    found = Facts(
        node=24, has_ses=True, bootstrap=28, identity_exists=False, concurrency=900, stack=DeployedStack(STACK, status)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setattr("deployment.facts.gathered", lambda *_, **__: found)
    monkeypatch.setattr("deployment.__main__.BUILT", tmp_path)
    monkeypatch.setattr("deployment.__main__.subprocess.run", lambda *_, **__: CompletedProcess([], 0))
    monkeypatch.setattr("deployment.__main__.os.execv", deploy)
    (tmp_path / f"{STACK}.template.json").write_text('{"Resources": {}}', "utf-8")
    with mock_aws():
        cloudformation = boto3.client("cloudformation", region_name=REGION)
        if status != "REVIEW_IN_PROGRESS":
            cloudformation.create_stack(StackName=STACK, TemplateBody=TEMPLATE)
        with pytest.raises(SystemExit, match=said):
            main(["-c", "stage=staging"])
