"""The template, read by CloudFormation's own linter."""

import json

from cfnlint.api import ManualArgs, lint

from tests.infra.template import Template

# The CDK repeats in DependsOn what a reference says already. It does no harm.
REDUNDANT = "W3005"


def test_cfn_lint_finds_nothing(template: Template) -> None:
    found = lint(json.dumps(template.document), config=ManualArgs(ignore_checks=[REDUNDANT], regions=["us-east-1"]))
    assert not [f"{match.rule.id} {match.message}" for match in found]
