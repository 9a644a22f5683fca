"""Tests that settings that are too long for a function's environment variables are refused before a deployment."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import environment_size
from infra.stages import InvalidConfig, load
from tests.infra.template import CONTEXTS, REAL, synthesized

DEPARTMENTS = [f"department{number}" for number in range(22)]
PRODUCTION = {"stage": "production", **REAL}


def routes(count: int, route: Mapping[str, object]) -> str:
    return json.dumps({f"topic-{number:02}": route for number in range(count)})


@pytest.mark.parametrize(
    ("context", "folder"),
    [
        # A secret of its own for the workflow of each of 22 departments.
        (
            {"routes": json.dumps({name: {"channels": ["teams"], "where": {"teams": name}} for name in DEPARTMENTS})},
            "teams_consumer",
        ),
        (
            {
                "email_recipients": ",".join(f"firstname.lastname{number:02}@company.io" for number in range(50)),
                "routes": routes(32, {"channels": ["slack"], "fallback": "email"}),
            },
            "email_consumer",
        ),
        # The reconciler also has the URLs of all queues. Lambda counts a backslash for each quote.
        ({"channels": "teams", "routes": routes(36, {"channels": ["slack"], "fallback": "email"})}, "reconciler"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_into_the_variables_of_a_function_are_refused_before_the_deployment(
    tmp_path: Path, context: Mapping[str, str], folder: str
) -> None:
    from infra.app import new_app, synthesize  # noqa: PLC0415 # the import starts Node.js

    app = new_app({**PRODUCTION, **context, "aws:cdk:bundling-stacks": []}, str(tmp_path))
    config = load(app.node.get_all_context())
    with pytest.raises(InvalidConfig, match=f"the variables of the function {folder} would take about [45],"):
        synthesize(app, config)


@pytest.mark.parametrize("variant", CONTEXTS)
def test_the_settings_of_every_tested_stage_fit_into_the_variables_of_the_functions(variant: str) -> None:
    template = synthesized(variant)
    assert environment_size.problem_of(template.document, stack=template.stack_name, region="eu-central-1") is None
