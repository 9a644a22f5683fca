"""The stack, read by strict reviewers: every finding is mended, or accepted with its reason beside the resource."""

import json

import pytest
from cdk_nag import AwsSolutionsChecks
from cfnlint.api import ManualArgs, lint

from tests.infra.template import EXTRAS, VARIANTS, built, synthesized

# The CDK repeats in DependsOn what a reference says already. It does no harm.
REDUNDANT = "W3005"


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_cdk_nag_finds_nothing_in_any_stage(variant: str) -> None:
    with built(variant) as (app, _):
        report = AwsSolutionsChecks(app).validate_scope(app)
        assert not [f"{violation.rule_name} {violation.description}" for violation in report.violations]


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_cfn_lint_finds_nothing_in_any_stage(variant: str) -> None:
    document = json.dumps(synthesized(variant).document)
    found = lint(document, config=ManualArgs(ignore_checks=[REDUNDANT], regions=["us-east-1"]))
    assert not [f"{match.rule.id} {match.message}" for match in found]
