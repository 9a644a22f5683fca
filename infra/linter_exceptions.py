"""Accepts findings of the security linters cdk-nag and checkov, with a reason next to the resource.

cdk-nag runs in the tests, checkov with `make checkov`.
"""

from typing import cast

from aws_cdk import Acknowledgment, CfnResource, Stack, Token, Validations
from constructs import IConstruct


def accept(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept a finding of cdk-nag in this construct and in its children."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def arn(construct: IConstruct, service_to_resource: str) -> str:
    """The ARN of, say, `ses:identity/*` as cdk-nag writes it: values known only on deployment become `<AWS::…>`."""
    stack, (service, _, rest) = Stack.of(construct), service_to_resource.partition(":")
    where = {"Partition": stack.partition, "Region": stack.region, "AccountId": stack.account}
    known = {name: f"<AWS::{name}>" if Token.is_unresolved(value) else value for name, value in where.items()}
    return f"arn:{known['Partition']}:{service}:{known['Region']}:{known['AccountId']}:{rest}"


def skip_checkov(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept a finding of checkov in the CloudFormation resource of this construct.

    https://www.checkov.io/2.Basics/Suppressing%20and%20Skipping%20Policies.html
    """
    resource = construct if CfnResource.is_cfn_resource(construct) else construct.node.default_child
    found = cast(CfnResource, resource)
    skipped = (found.get_metadata("checkov") or {"skip": []})["skip"]
    found.add_metadata("checkov", {"skip": [*skipped, {"id": rule, "comment": reason}]})
