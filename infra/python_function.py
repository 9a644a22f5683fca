"""The defaults of every Lambda function, and what its bundle holds."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, Duration, ILocalBundling, RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import PYTHON_VERSION, Config

ROOT: Final = Path(__file__).resolve().parent.parent
FUNCTIONS: Final = ROOT / "functions"
SHARED: Final = "assistance"
PLATFORM: Final = "aarch64-manylinux2014"


class BundlingFailed(Exception):
    """The bundle could not be made; the message says what to do."""


def _uv() -> str:
    for candidate in (shutil.which("uv"), ROOT / ".tools/bin/uv"):
        if candidate and Path(candidate).exists():
            return str(candidate)
    raise BundlingFailed("uv is needed to bundle the functions: run 'make install', or install uv.")


def _run(*command: str) -> None:
    try:
        # stdout belongs to the CDK CLI.
        subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise BundlingFailed(f"'{' '.join(error.cmd)}' failed with exit status {error.returncode}.") from error


@jsii.implements(ILocalBundling)
class _Bundle:
    """Builds a bundle without Docker: the wheels for the function's platform, not for the builder's."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        requirements = Path(output_dir) / "requirements.txt"
        _run(
            _uv(), "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project",
            "--format", "requirements-txt", "--output-file", str(requirements),
        )  # fmt: skip
        _run(
            _uv(), "pip", "install", "--quiet", "--require-hashes", "--requirements", str(requirements),
            "--python-platform", PLATFORM, "--python-version", PYTHON_VERSION,
            "--only-binary", ":all:", "--target", output_dir,
        )  # fmt: skip
        requirements.unlink()
        (Path(output_dir) / ".lock").unlink(missing_ok=True)
        for name in (self._folder, SHARED):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(FUNCTIONS / name, Path(output_dir) / name, ignore=ignored)
        return True


def _code(folder: str) -> lambda_.Code:
    others = [path.name for path in FUNCTIONS.iterdir() if path.name not in {folder, SHARED}]
    return lambda_.Code.from_asset(
        str(FUNCTIONS),
        exclude=[*others, "**/__pycache__"],
        # Of what comes out, so that a changed lock redeploys and an unchanged function does not.
        asset_hash_type=AssetHashType.OUTPUT,
        bundling=BundlingOptions(
            # Never used: the local bundling does not give up.
            image=DockerImage.from_registry("scratch"),
            local=_Bundle(folder),
        ),
    )


class PythonFunction(lambda_.Function):
    """A function whose code is `functions/<folder>` and `functions/assistance`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        folder: str,
        config: Config,
        timeout: Duration,
        environment: dict[str, str],
        memory_size: int = 512,
    ) -> None:
        # The construct does not exist yet, so the group is its sibling.
        group = logs.LogGroup(
            scope,
            f"{construct_id}Logs",
            retention=logs.RetentionDays[_RETENTION[config.log_retention_days]],
            removal_policy=RemovalPolicy.DESTROY,
        )
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime(f"python{PYTHON_VERSION}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            code=_code(folder),
            handler=f"{folder}.handler.lambda_handler",
            timeout=timeout,
            memory_size=memory_size,
            log_group=group,
            environment={
                "POWERTOOLS_SERVICE_NAME": folder,
                "POWERTOOLS_LOG_LEVEL": "INFO",
                # Two stages of one account keep their figures apart.
                "POWERTOOLS_METRICS_NAMESPACE": Stack.of(scope).stack_name,
                **environment,
            },
        )


_RETENTION: Final = {
    1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH",
    60: "TWO_MONTHS", 90: "THREE_MONTHS", 180: "SIX_MONTHS", 365: "ONE_YEAR",
}  # fmt: skip
