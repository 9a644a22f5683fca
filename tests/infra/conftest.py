"""Fixtures: the synthesized templates."""

import pytest

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
