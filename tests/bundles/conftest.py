"""Fixtures: the bundles of all functions, built once as deployed and once for this machine."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import bundle
from tests.bundles.bundled import FOLDERS, HERE, synthesized


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The directories that `cdk deploy` would zip, by function."""
    directory = tmp_path_factory.mktemp("deployed")
    stack = synthesized(FOLDERS, directory)
    template = json.loads((directory / stack.template_file).read_text("utf-8"))
    return {
        resource["Properties"]["Handler"].split(".")[0]: directory
        / f"asset.{resource['Properties']['Code']['S3Key'].removesuffix('.zip')}"
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    }


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The bundles of all functions with wheels for this machine and its Python version, by function."""
    directory = tmp_path_factory.mktemp("local")
    for folder in FOLDERS:
        bundle.build(folder, directory / folder, HERE, platform=None)
    return {folder: directory / folder for folder in FOLDERS}


@pytest.fixture(scope="session")
def client() -> Path:
    """The directory of AWS's Lambda runtime client and the packages that it needs."""
    return bundle.dependencies(bundle.locked("--only-group", "runtime"), HERE, None)
