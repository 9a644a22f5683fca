"""A stack of functions alone, with their code bundled."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.bundle import FUNCTIONS
from infra.config import Config

if TYPE_CHECKING:
    from aws_cdk import Stack

FOLDERS = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def synthesized(folders: list[str], directory: Path) -> "Stack":
    """A stack of the functions in these folders, and nothing else. `directory`: where the CDK writes their bundles."""
    # Importing the CDK starts Node.js, and every process of a test run imports this module.
    from aws_cdk import Duration, Stack  # noqa: PLC0415

    from infra.app import new_app  # noqa: PLC0415
    from infra.python_function import PythonFunction  # noqa: PLC0415

    app = new_app(directory=str(directory))
    stack = Stack(app, "stack")
    for folder in folders:
        PythonFunction(stack, folder, folder=folder, config=Config(), timeout=Duration.seconds(1), environment={})
    app.synth()
    return stack
