"""Tests that the roles allow the calls that follow a fault, which are recorded in a process of their own."""

from tests.infra.template import synthesized
from tests.infra.test_policies import refused
from tests.recorded_calls import Call


def test_the_roles_allow_every_call_that_follows_a_fault(recorded_calls: set[Call]) -> None:
    assert recorded_calls
    assert not (found := refused(synthesized("every channel"), recorded_calls)), "\n".join(found)
