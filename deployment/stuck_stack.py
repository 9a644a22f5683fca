"""Advice for a stack that is in a state in which CloudFormation can't update it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html lists the states.
"""

from typing import Final

from deployment.facts import DeployedStack
from deployment.problem import Problem

TABLE: Final = "AWS::DynamoDB::GlobalTable"
FIRST_DEPLOYMENT_FAILED: Final = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})
"""States after a failed first deployment. Such a stack can only be deleted, which the CDK does automatically, unless
termination protection is on."""
NOT_BEGUN: Final = "REVIEW_IN_PROGRESS"
"""The state of a stack whose first change set nobody has executed. The stack has neither resources nor a template:
https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html"""


def problem_of(stack: DeployedStack, options: str) -> Problem | None:
    """A problem with advice if the deployer must first repair the stack. `options` end each AWS CLI command in it."""
    about = f"The stack {stack.name} is in the state {stack.status}"
    named = f"--stack-name {stack.name} {options}"
    if stack.status in FIRST_DEPLOYMENT_FAILED:
        if not stack.protected:
            return None
        steps = [_reason_command(named), *_deletion(stack, named, options)]
        return Problem(
            f"{about}: its first deployment failed, and termination protection keeps the CDK from deleting it.",
            _commands("Find out why it failed, correct the cause, delete the stack, and deploy again:", steps),
        )
    if stack.status == "DELETE_FAILED":
        steps = [
            _reason_command(named),
            f"aws cloudformation delete-stack {named}   # --retain-resources … to keep some",
        ]
        return Problem(
            f"{about}: CloudFormation could not delete all of it.",
            _commands("Finish the deletion, and deploy again:", [*steps, _wait_for_deletion(named)]),
        )
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        steps = [
            _reason_command(named),
            f"aws cloudformation continue-update-rollback {named}",
            f"aws cloudformation wait stack-rollback-complete {named}",
        ]
        return Problem(
            f"{about}: CloudFormation could not roll back a failed update.",
            _commands("Correct the cause, continue the rollback, and deploy again:", steps),
        )
    if stack.status.endswith("_IN_PROGRESS") and stack.status != NOT_BEGUN:
        shown = f"aws cloudformation describe-stacks {named} --query Stacks[0].StackStatus"
        return Problem(
            f"{about}: CloudFormation is still working on it.", _commands("Deploy again when it is done:", [shown])
        )
    return None


def is_deployed(stack: DeployedStack | None) -> bool:
    """Whether a deployment updates the stack, and so may remove resources from it. Otherwise it creates the stack."""
    return stack is not None and stack.status not in {NOT_BEGUN, *FIRST_DEPLOYMENT_FAILED}


def _deletion(stack: DeployedStack, named: str, options: str) -> list[str]:
    """The commands that delete a stack whose first deployment failed, and its table, which the deletion would keep.

    `options`: options of the AWS CLI, such as the region. `named`: the option with the stack's name, and `options`.
    """
    tables = [f"--table-name {name} {options}" for name in stack.names(TABLE)]
    return [
        *(f'aws dynamodb scan --select COUNT {table}   # it must say "Count": 0' for table in tables),
        f"aws cloudformation update-termination-protection --no-enable-termination-protection {named}",
        f"aws cloudformation delete-stack {named}",
        _wait_for_deletion(named),
        *(f"aws dynamodb update-table --no-deletion-protection-enabled {table}" for table in tables),
        *(f"aws dynamodb delete-table {table}" for table in tables),
    ]


def _reason_command(named: str) -> str:
    failed = "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]"
    return f'aws cloudformation describe-stack-events {named} --output table --query "{failed}"'


def _wait_for_deletion(named: str) -> str:
    return f"aws cloudformation wait stack-delete-complete {named}"


def _commands(what: str, commands: list[str]) -> str:
    return "\n    ".join([what, *commands])
