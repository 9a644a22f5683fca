"""The defaults of every Lambda function, and what its bundle holds."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, cast

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, Duration, ILocalBundling, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import Config
from infra.review import accept, skip_checkov

ROOT: Final = Path(__file__).resolve().parent.parent
FUNCTIONS: Final = ROOT / "functions"
SHARED: Final = "assistance"
PLATFORM: Final = "aarch64-manylinux2014"
DEPENDENCIES: Final = ROOT / ".build" / "dependencies"


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


@cache
def dependencies(python_version: str) -> Path:
    """What uv.lock pins, as wheels for the functions' platform, installed once for all functions.

    boto3 is among it, although the runtime has one: what was tested is what runs.
    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    directory = DEPENDENCIES / f"python{python_version}"
    requirements = DEPENDENCIES / f"python{python_version}.txt"
    shutil.rmtree(directory, ignore_errors=True)
    DEPENDENCIES.mkdir(parents=True, exist_ok=True)
    _run(
        _uv(), "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project",
        "--format", "requirements-txt", "--output-file", str(requirements),
    )  # fmt: skip
    _run(
        _uv(), "pip", "install", "--quiet", "--require-hashes", "--requirements", str(requirements),
        "--python-platform", PLATFORM, "--python-version", python_version,
        "--only-binary", ":all:", "--link-mode", "copy", "--target", str(directory),
    )  # fmt: skip
    # Scripts name the builder's interpreter, and the records their hashes: neither runs on Lambda, and both would make
    # an unchanged function look changed on another machine.
    shutil.rmtree(directory / "bin", ignore_errors=True)
    _remove([directory / ".lock", *directory.glob("*.dist-info/RECORD")])
    return directory


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@jsii.implements(ILocalBundling)
class Bundle:
    """Builds a bundle without Docker: the wheels for the function's platform, not for the builder's."""

    def __init__(self, folder: str, python_version: str) -> None:
        self._folder = folder
        self._python_version = python_version

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        """Fill the directory, as the CDK asks before it would turn to Docker."""
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(dependencies(self._python_version), output_dir, dirs_exist_ok=True, ignore=no_bytecode)
        for name in (self._folder, SHARED):
            shutil.copytree(FUNCTIONS / name, Path(output_dir) / name, ignore=no_bytecode)
        return True


def _code(folder: str, python_version: str) -> lambda_.Code:
    others = [path.name for path in FUNCTIONS.iterdir() if path.name not in {folder, SHARED}]
    return lambda_.Code.from_asset(
        str(FUNCTIONS),
        exclude=[*sorted(others), "**/__pycache__"],
        # Of what comes out, so that a changed lock redeploys and an unchanged function does not.
        asset_hash_type=AssetHashType.OUTPUT,
        bundling=BundlingOptions(
            # Never used: the local bundling does not give up.
            image=DockerImage.from_registry("scratch"),
            local=Bundle(folder, python_version),
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
        traced: bool = True,
    ) -> None:
        # The construct does not exist yet, so the group and the role are its siblings.
        group = logs.LogGroup(scope, f"{construct_id}Logs", removal_policy=config.removal_policy)
        cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = config.log_retention_days
        # Its own log group and no other: AWS's managed policy would let it write, and re-create, any group.
        role = iam.Role(scope, f"{construct_id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime(f"python{config.python_version}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            code=_code(folder, config.python_version),
            handler=f"{folder}.handler.lambda_handler",
            timeout=timeout,
            memory_size=memory_size,
            role=role,
            log_group=group,
            tracing=lambda_.Tracing.ACTIVE if traced and config.tracing else lambda_.Tracing.DISABLED,
            environment={
                "POWERTOOLS_SERVICE_NAME": folder,
                "POWERTOOLS_LOG_LEVEL": "INFO",
                # Two stages of one account keep their figures apart.
                "POWERTOOLS_METRICS_NAMESPACE": Stack.of(scope).stack_name,
                **environment,
            },
        )
        accept(self, "AwsSolutions-L1", "The deployer chooses: python_version. The default is what the tests run on.")
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
        accept(role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's two actions for sending segments know no resources.")
        skip_checkov(self, "CKV_AWS_115", "A new account may have a concurrency of 10 in all: nothing is reserved.")
        skip_checkov(self, "CKV_AWS_116", "What is given up is kept: by its queue, its event source or the table.")
        skip_checkov(self, "CKV_AWS_117", "It calls public endpoints of AWS and Slack only; a VPC would need a NAT.")
        skip_checkov(
            self, "CKV_AWS_173", "Its environment holds names, no secret; Lambda encrypts it with its own key."
        )
        skip_checkov(group, "CKV_AWS_158", "CloudWatch Logs encrypts with its own key, and no description is logged.")
