"""A stack of functions alone, with their code bundled."""

import sys
from pathlib import Path

from aws_cdk import Duration, Stack

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
