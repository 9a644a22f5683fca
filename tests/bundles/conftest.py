"""Every function's bundle, made once: as it is deployed, and for this machine."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from aws_cdk import Duration, Stack

from infra import bundle
from infra.app import new_app
from infra.bundle import FUNCTIONS
from infra.config import Config
from infra.python_function import PythonFunction

FOLDERS = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def synthesized(folders: list[str], directory: Path) -> Stack:
    """A stack of these functions and nothing else, with their code bundled."""
    app = new_app(directory=str(directory))
    stack = Stack(app, "stack")
    for folder in folders:
        PythonFunction(stack, folder, folder=folder, config=Config(), timeout=Duration.seconds(1), environment={})
    app.synth()
    return stack


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """What `cdk deploy` would zip, by function."""
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
    """The same, with wheels for this machine and its Python."""
    directory = tmp_path_factory.mktemp("local")
    for folder in FOLDERS:
        bundle.build(folder, directory / folder, HERE, platform=None)
    return {folder: directory / folder for folder in FOLDERS}


@pytest.fixture(scope="session")
def client() -> Path:
    """AWS's runtime client, and what it needs."""
    return bundle.dependencies(bundle.locked("--only-group", "runtime"), HERE, None)
