"""The model and the domain's unit tests notice every change to the domain that somebody could see."""

import os

import pytest

from tests.model.equivalent import EQUIVALENT
from tests.model.mutants import results


@pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes: make soak")
def test_the_changes_that_nobody_notices_are_those_known_to_be_equivalent() -> None:
    survivors = {each.mutant for each in results() if each.by is None}
    assert survivors == set(EQUIVALENT)
