"""Tests that the domain's unit tests and the model detect every small change to the domain."""

import os

import pytest

from tests.model.mutants import results


@pytest.mark.skipif("SOAK" not in os.environ, reason="takes a minute: make soak")
def test_a_unit_test_or_the_walk_detects_every_change_to_the_domain() -> None:
    assert [each.mutant for each in results() if each.by is None] == []
