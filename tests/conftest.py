"""Credentials that lead nowhere, so no test can reach a real account; and what the functions call is recorded."""

import os
from collections.abc import Iterator

import pytest

from tests.recorded_calls import Call, record

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    POWERTOOLS_SERVICE_NAME="assistance",
    POWERTOOLS_METRICS_NAMESPACE="assistance",
)
# The CDK warns at every start about a Node out of support; the variable lists the versions to be quiet about.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")
os.environ.pop("AWS_PROFILE", None)
os.environ.pop("AWS_ENDPOINT_URL", None)


@pytest.fixture(scope="session", autouse=True)
def recorded_calls() -> Iterator[set[Call]]:
    """What the functions have called so far, in whatever tests have run."""
    with record() as calls:
        yield calls


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the recorded calls comes after all that makes some."""
    items.sort(key=lambda item: item.path.name == "test_policies.py")
