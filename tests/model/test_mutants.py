"""Tests that the domain's unit tests and the model detect every small change to the domain."""

import pytest

from tests.build_cache import cached
from tests.model.mutants import mutants_of, results
from tests.model.test_walk import SOURCES


def test_the_mutation_command_changes_only_the_named_functions() -> None:
    assert {mutant.function for mutant in mutants_of(["publish", "final"])} == {"publish", "final"}


def test_the_mutation_command_rejects_an_unknown_function_name() -> None:
    with pytest.raises(ValueError, match="publishes"):
        mutants_of(["publish", "publishes"])


def test_a_unit_test_or_the_model_checker_detects_each_mutation_of_the_domain_code() -> None:
    def survivors() -> list[str]:
        return [str(each.mutant) for each in results() if each.test is None and each.world is None]

    assert cached("survivors", survivors, (*SOURCES, "tests/unit")) == []
