"""Synthesizes the CloudFormation template and deploys it to the local emulator."""

import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from local import process, template_cache
from local.cloud import Cloud
from local.errors import LocalFailure
from local.run_directory import new_log
from local.wait import until

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

ROOT: Final = Path(__file__).resolve().parent.parent
SYNTHESIS_SECONDS: Final = 180
DEPLOYMENT_SECONDS: Final = 120
SKIPPED: Final = {"__pycache__"}
QUICK: Final = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Assembly:
    """The synthesized output of the CDK app: the template and the assets, such as the functions' code."""

    directory: Path
    stack_name: str

    @property
    def template(self) -> Path:
        """The path of the template. The CDK lists it among the assets, too."""
        return self.directory / f"{self.stack_name}.template.json"

    def assets(self) -> Iterator[tuple[str, str, Path]]:
        """Return the bucket, the key and the path of every asset."""
        manifest = json.loads((self.directory / f"{self.stack_name}.assets.json").read_text("utf-8"))
        for asset in manifest["files"].values():
            for destination in asset["destinations"].values():
                yield destination["bucketName"], destination["objectKey"], self.directory / asset["source"]["path"]


def assemble(directory: Path, context: Mapping[str, str], addresses: Mapping[str, str]) -> Assembly:
    """The synthesized output for this context, from a cache if possible.

    `addresses`: this run's addresses, by the placeholders in the context. Addresses change with each run, and the
    cached template must not.
    """
    if not shutil.which("node"):
        raise LocalFailure("The CDK needs Node.js, but there is no 'node' on the PATH: get it from https://nodejs.org.")
    template_cache.assembly(directory, context, lambda: synthesize(directory, context))
    found = Assembly(directory, f"assistance-{context['stage']}")
    template_cache.address(found.template, addresses)
    return found


def synthesize(directory: Path, context: Mapping[str, str]) -> None:
    """Let the CDK app write the template and assets for this context to the directory. Raises `LocalFailure`."""
    log = directory.with_name("synth.log")
    environment = os.environ | {
        "CDK_OUTDIR": str(directory),
        # The CDK's validation of the template would double the time; it runs in `make synth` and `make deploy`.
        "CDK_VALIDATION": "false",
        # Let Python write byte code: without it, importing the CDK takes 8 s instead of 1 s.
        "PYTHONDONTWRITEBYTECODE": "",
        # The functions run in this virtual environment, so their bundles need no dependencies.
        "CDK_CONTEXT_JSON": json.dumps({**context, "local": "true", "aws:cdk:bundling-stacks": []}),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,19,20,21,22,23",
        "JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }
    with new_log(log) as output:
        app = process.start(ROOT / "infra/app.py", cwd=ROOT, env=environment, stdout=output)
        try:
            status = app.wait(SYNTHESIS_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LocalFailure(f"The template was not synthesized in {SYNTHESIS_SECONDS} s: see {log}.") from error
        finally:
            process.stop(app)
    if status:
        raise LocalFailure(f"The template can't be synthesized:\n{log.read_text('utf-8', 'replace').strip()}")


def deploy(cloud: Cloud, assembly: Assembly) -> dict[str, str]:
    """Create the stack in the emulator and return its outputs. Raises `LocalFailure`."""
    template = _upload(cloud, assembly)[assembly.template]
    cloudformation = cloud.session.client("cloudformation", endpoint_url=cloud.url, config=QUICK)
    cloudformation.create_stack(
        StackName=assembly.stack_name, TemplateURL=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )

    def finished() -> Mapping[str, Any] | None:
        stack = cloudformation.describe_stacks(StackName=assembly.stack_name)["Stacks"][0]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    stack = until(f"Stack {assembly.stack_name} is deployed", DEPLOYMENT_SECONDS, finished)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise LocalFailure(
            f"Stack {assembly.stack_name} is {stack['StackStatus']}:\n{_failures(cloudformation, assembly.stack_name)}"
        )
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _upload(cloud: Cloud, assembly: Assembly) -> dict[Path, str]:
    """Upload the assets to their buckets, as `cdk deploy` does. Returns the URL of each asset by its path."""
    s3 = cloud.session.client("s3", endpoint_url=cloud.url, config=QUICK.merge(Config(s3={"addressing_style": "path"})))
    contents: dict[Path, bytes] = {}
    urls: dict[Path, str] = {}
    buckets: set[str] = set()
    for bucket, key, path in assembly.assets():
        if bucket not in buckets:
            s3.create_bucket(Bucket=bucket)
            buckets.add(bucket)
        if path not in contents:
            contents[path] = _zipped(path) if path.is_dir() else path.read_bytes()
        s3.put_object(Bucket=bucket, Key=key, Body=contents[path])
        urls[path] = f"{cloud.url}/{bucket}/{key}"
    return urls


def _zipped(directory: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not SKIPPED.intersection(path.parts):
                archive.write(path, path.relative_to(directory))
    return content.getvalue()


def _failures(cloudformation: "CloudFormationClient", stack_name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    return "\n".join(
        f"  {event.get('LogicalResourceId')}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events)
        if event.get("ResourceStatus", "").endswith("_FAILED")
    )
