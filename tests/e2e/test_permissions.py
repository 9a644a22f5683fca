"""Tests that the local stack enforces IAM: a missing permission fails here as it would on AWS."""

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.bot import Bot


def test_a_local_lambda_function_can_make_only_the_aws_calls_that_its_role_allows(bot: Bot) -> None:
    sts = boto3.client(
        "sts", endpoint_url=bot.stack["aws_endpoint_url"], region_name=bot.stack["region"], **bot.stack["credentials"]
    )
    [consumer] = [
        function
        for function in bot.lambda_.list_functions()["Functions"]
        if "SlackConsumer" in function["FunctionName"]
    ]
    keys = sts.assume_role(RoleArn=consumer["Role"], RoleSessionName="test")["Credentials"]
    sqs = boto3.client(
        "sqs",
        endpoint_url=bot.stack["aws_endpoint_url"],
        region_name=bot.stack["region"],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert sqs.get_queue_attributes(QueueUrl=bot.outputs["SlackQueueUrl"], AttributeNames=["QueueArn"])["Attributes"]
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.get_queue_attributes(QueueUrl=bot.outputs["EmailQueueUrl"], AttributeNames=["QueueArn"])
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.purge_queue(QueueUrl=bot.outputs["SlackQueueUrl"])
