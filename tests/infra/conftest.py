"""The templates under test."""

import os

import pytest

# jsii warns at every start about a Node out of support; the variable lists the versions to be quiet about.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from tests.infra.template import VARIANTS, Template, synthesized


@pytest.fixture(scope="session", params=VARIANTS)
def template(request: pytest.FixtureRequest) -> Template:
    return synthesized(request.param)


@pytest.fixture(scope="session")
def dev() -> Template:
    return synthesized("dev")


@pytest.fixture(scope="session")
def staging() -> Template:
    return synthesized("staging")


@pytest.fixture(scope="session")
def production() -> Template:
    return synthesized("production")
