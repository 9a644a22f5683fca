"""Checks that each function's environment variables fit: Lambda would refuse larger ones only during the deployment."""

import json
from collections.abc import Mapping
from typing import Any, Final

MAX_BYTES: Final = 4_096
"""The maximum size of a function's variables: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
# The value of a template's reference to a resource, with names as CloudFormation generates them; X is random.
_REFERENCES: Final[Mapping[str, str]] = {
    "AWS::SQS::Queue": "https://sqs.{region}.amazonaws.com/{account}/{stack}-{id}-XXXXXXXXXXXX",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{stack}-{id}-XXXXXXXXXXXX",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{id}-XXXXXXXXXXXX-XXXXXX",
}
_NAME: Final = "{stack}-{id}-XXXXXXXXXXXX"
_ACCOUNT: Final = "123456789012"


def problem_of(template: Mapping[str, Any], *, stack: str, region: str) -> str | None:
    """Describe the first function whose variables are too large for Lambda; None if all fit.

    `stack` and `region`: the stack's name, and the region of its deployment.
    """
    resources = template["Resources"]
    where = {"account": _ACCOUNT, "region": region, "stack": stack}
    known = {"AWS::AccountId": _ACCOUNT, "AWS::Region": region, "AWS::URLSuffix": "amazonaws.com"} | {
        id_: _REFERENCES.get(resource["Type"], _NAME).format(**where, id=id_) for id_, resource in resources.items()
    }
    for function in (it["Properties"] for it in resources.values() if it["Type"] == "AWS::Lambda::Function"):
        variables = {name: _text(value, known) for name, value in function["Environment"]["Variables"].items()}
        # Lambda counts the bytes of a JSON object, where each quote in a value has a backslash. This issue quotes such
        # an object: https://github.com/github-aws-runners/terraform-aws-github-runner/issues/3594
        size = len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())
        if size > MAX_BYTES:
            folder = function["Handler"].partition(".")[0]
            return (
                f"the variables of the function {folder} would take about {size:,} bytes, but Lambda allows "
                f"{MAX_BYTES:,}: name fewer topics or places in routes, or fewer email_recipients"
            )
    return None


def _text(value: Any, known: Mapping[str, str]) -> str:  # noqa: ANN401
    """A value of the template as text. `known`: the text for each reference, by the logical id."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(_text(part, known) for part in parts)
    return known[value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]]
