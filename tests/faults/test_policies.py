"""Tests that the IAM roles allow the calls that follow a fault. xdist runs these tests in a separate process."""

from tests.infra.template import synthesized
from tests.infra.test_policies import refused
from tests.recorded_calls import Call


def test_the_iam_roles_allow_every_aws_call_that_follows_an_injected_fault(recorded_calls: set[Call]) -> None:
    assert recorded_calls
    assert not (found := refused(synthesized("every channel"), recorded_calls)), "\n".join(found)
