"""Tests that each path without a fault makes the same AWS calls in memory and on moto."""

from collections import Counter

import pytest

from assistance.routing import Topic
from tests.faults.paths import EACH_PATH, unbroken
from tests.faults.world import world


def test_each_path_makes_the_same_aws_calls_with_the_in_memory_table_as_with_moto() -> None:
    """So faults that the fault tests inject in memory cover the calls that the functions make on moto."""
    with world() as system:
        in_memory = {(name, topic): unbroken(system, name, topic) for name, topic in EACH_PATH}
    with world(moto=True) as system:
        on_moto = {(name, topic): unbroken(system, name, topic) for name, topic in EACH_PATH}
    assert in_memory == on_moto


@pytest.mark.parametrize("topic", list(Topic))
def test_a_delivery_that_succeeds_at_the_first_attempt_makes_four_database_writes_and_no_read(topic: Topic) -> None:
    """One write accepts the request, one marks it as published, and two belong to the attempt."""
    with world() as system:
        calls = unbroken(system, "delivered at once", topic)
    table = Counter(call for call in calls if call.startswith("dynamodb."))
    assert table == {"dynamodb.PutItem": 3, "dynamodb.UpdateItem": 1}
    assert [call for call in calls if call.startswith("dynamodb.")].index("dynamodb.UpdateItem") == 1
