"""Synthesis and deployment: the template that goes to AWS, by CloudFormation, into the embedded cloud."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.cloud import Cloud
from local.wait import until

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOYED_WITHIN: Final = 60
ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class DeployFailed(Exception):
    """The stack could not be synthesized or created; the message says why."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The stack's name and outputs."""

    name: str
    outputs: Mapping[str, str]


def synthesize(context: Mapping[str, object], out: Path) -> None:
    """Write the cloud assembly to `out`."""
    shutil.rmtree(out, ignore_errors=True)
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(out),
        "CDK_CONTEXT_JSON": json.dumps({**context, "local": "true", "aws:cdk:bundling-stacks": []}),
        # jsii warns of an old Node at length; what it needs of Node it finds.
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
    }
    done = subprocess.run(
        [sys.executable, "infra/app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DeployFailed(f"The stack can't be synthesized.\n{done.stderr.strip()}")


def deploy(cloud: Cloud, out: Path) -> Deployed:
    """Upload the assets and create the stack."""
    [assets_file] = out.glob("*.assets.json")
    name = assets_file.name.removesuffix(".assets.json")
    manifest = json.loads(assets_file.read_text())
    _upload(cloud.client("s3"), manifest["files"].values(), out)
    [template] = (file for file in manifest["files"].values() if file["source"]["path"] == f"{name}.template.json")
    [at] = template["destinations"].values()

    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        # By its address: a body of more than 51,200 bytes is refused.
        TemplateURL=f"{cloud.endpoint_url}/{at['bucketName']}/{at['objectKey']}",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )

    def ended() -> Any:  # noqa: ANN401
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        return None if stack["StackStatus"] == "CREATE_IN_PROGRESS" else stack

    stack = until(ended, seconds=DEPLOYED_WITHIN, what="the stack is created")
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [f"  {e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events
                   if e["ResourceStatus"].endswith("FAILED")]  # fmt: skip
        raise DeployFailed(f"The stack ended as {stack['StackStatus']}.\n" + "\n".join(reasons))
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Deployed(name, outputs)


def _upload(s3: Any, files: Any, out: Path) -> None:  # noqa: ANN401
    buckets: set[str] = set()
    for file in files:
        path = out / file["source"]["path"]
        for destination in file["destinations"].values():
            if destination["bucketName"] not in buckets:
                s3.create_bucket(Bucket=destination["bucketName"])
                buckets.add(destination["bucketName"])
            body = _zip(path) if file["source"]["packaging"] == "zip" else path.read_bytes()
            s3.put_object(Bucket=destination["bucketName"], Key=destination["objectKey"], Body=body)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder)), ZIP_EPOCH), path.read_bytes())
    return buffer.getvalue()
