"""Tests the templates with cdk-nag and cfn-lint: every finding is fixed, or accepted with a reason."""

import json

import pytest

from tests.build_cache import cached
from tests.infra.template import EXTRAS, VARIANTS, synthesis

# The CDK adds a DependsOn for resources that are referenced anyway, which is harmless.
REDUNDANT = "W3005"


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_cdk_nag_reports_no_violation_in_any_stage(variant: str) -> None:
    assert synthesis(variant).violations == []


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_cfn_lint_reports_no_violation_in_any_stage(variant: str) -> None:
    document = json.dumps(synthesis(variant).document)

    def found() -> list[str]:
        # The import takes a second, and the result is often in the cache.
        from cfnlint.api import ManualArgs, lint  # noqa: PLC0415

        matches = lint(document, config=ManualArgs(ignore_checks=[REDUNDANT], regions=["us-east-1"]))
        return [f"{match.rule.id} {match.message}" for match in matches]

    assert cached(f"{variant} linted", found) == []
