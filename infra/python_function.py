"""The construct of all Lambda functions, with their common settings."""

from collections.abc import Collection
from pathlib import Path
from typing import cast

import jsii
from aws_cdk import Annotations, AssetHashType, BundlingOptions, DockerImage, Duration, ILocalBundling, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import bundle
from infra.bundle import FUNCTIONS, SHARED
from infra.config import Config
from infra.linter_exceptions import accept, skip_checkov


@jsii.implements(ILocalBundling)
class Bundle:
    """Builds a function's bundle, its code and packages, on this machine. The CDK tries this before Docker."""

    def __init__(self, folder: str, python_version: str) -> None:
        self._folder = folder
        self._python_version = python_version

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        """Write the bundle to the directory. True means that the CDK needs no Docker."""
        bundle.build(self._folder, Path(output_dir), self._python_version)
        return True


def _code(scope: Construct, folder: str, python_version: str) -> lambda_.Code:
    others = [path.name for path in FUNCTIONS.iterdir() if path.name not in {folder, SHARED}]
    exclude = [*sorted(others), "**/__pycache__"]
    if not Stack.of(scope).bundling_required:
        return lambda_.Code.from_asset(str(FUNCTIONS), exclude=exclude)
    if not bundle.compiler(python_version):
        Annotations.of(scope).add_warning_v2(
            "assistance:no-byte-code",
            f"This machine has no Python {python_version} to compile '{folder}': the function will start more slowly.",
        )
    return lambda_.Code.from_asset(
        str(FUNCTIONS),
        exclude=exclude,
        asset_hash_type=AssetHashType.CUSTOM,
        asset_hash=bundle.fingerprint(folder, python_version),
        bundling=BundlingOptions(
            # A required argument that is never used, because `try_bundle` always returns True.
            image=DockerImage.from_registry("scratch"),
            local=Bundle(folder, python_version),
        ),
    )


class PythonFunction(lambda_.Function):
    """A function whose code is `functions/<folder>` and `functions/assistance`.

    `traced_with`: the values of the setting `tracing` with which X-Ray traces this function.
    """

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
        traced_with: Collection[str] = ("all",),
        snap_start: bool = False,
    ) -> None:
        # The log group and the role belong to `scope`, because the function needs them before it exists itself.
        group = logs.LogGroup(scope, f"{construct_id}Logs", removal_policy=config.removal_policy)
        cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = config.logs_kept_days
        # The role may write only to this log group. AWS's managed policy would let it create and write any log group.
        role = iam.Role(scope, f"{construct_id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime(
                f"python{config.python_version}",
                lambda_.RuntimeFamily.PYTHON,
                supports_snap_start=config.can_snap_start,
            ),
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            architecture=lambda_.Architecture.ARM_64,
            code=_code(scope, folder, config.python_version),
            handler=f"{folder}.handler.lambda_handler",
            timeout=timeout,
            memory_size=memory_size,
            role=role,
            log_group=group,
            # Of Lambda's own log lines, keep only warnings and errors: START and REPORT cost as much as our lines.
            # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
            logging_format=lambda_.LoggingFormat.JSON,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            tracing=lambda_.Tracing.ACTIVE if config.tracing in traced_with else lambda_.Tracing.DISABLED,
            environment={
                "POWERTOOLS_SERVICE_NAME": folder,
                "POWERTOOLS_LOG_LEVEL": "INFO",
                # pydantic would search the metadata of every package for plugins, and there are none.
                # https://docs.pydantic.dev/latest/concepts/plugins/#disabling-plugins
                "PYDANTIC_DISABLE_PLUGINS": "__all__",
                # A namespace for each stack keeps the metrics of an account's stages separate.
                "POWERTOOLS_METRICS_NAMESPACE": Stack.of(scope).stack_name,
                # A metric with data costs $0.30 a month, so a stage without alarms and dashboard emits none.
                **({} if config.watched else {"POWERTOOLS_METRICS_DISABLED": "true"}),
                **environment,
            },
        )
        accept(self, "AwsSolutions-L1", "The setting python_version chooses it. The tests run on the default version.")
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
        accept(role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's two actions for sending segments accept no resource.")
        skip_checkov(self, "CKV_AWS_115", "None is reserved, because a new account may have a concurrency of only 10.")
        skip_checkov(self, "CKV_AWS_116", "Failed events stay in a queue, in the event source's queue or in the table.")
        skip_checkov(self, "CKV_AWS_117", "It calls only public endpoints; a VPC would need a NAT gateway.")
        skip_checkov(
            self, "CKV_AWS_173", "Its environment contains no secret; Lambda encrypts it with a key of its own."
        )
        skip_checkov(
            group, "CKV_AWS_158", "CloudWatch Logs encrypts it with a key of its own; no description is logged."
        )
