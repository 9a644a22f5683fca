"""The running local stack: everything started, deployed and answering, and `.local/stack.json` that says where."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from local import http
from local.cloud import REGION, Cloud, free_port, running
from local.deploy import ROOT, deploy, synthesize
from local.slack_server import SlackServer
from local.wait import until

STATE: Final = ROOT / ".local"
STACK_FILE: Final = STATE / "stack.json"
LOCAL_TOKEN: Final = "xoxb-local"  # noqa: S105
LOCAL_CHANNEL: Final = "C0ASSIST"
SLACK_PORT: Final = 4567
ANSWERS_WITHIN: Final = 30


class AlreadyRunning(Exception):
    """Another run holds this folder."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """Where everything is. `slack` is None when the messages go to another Slack than ours."""

    cloud: Cloud
    slack: SlackServer | None
    slack_api_url: str
    api_url: str
    api_key: str
    name: str
    outputs: Mapping[str, str]

    def call(self, method: str, path: str, body: object = None) -> http.Answer:
        """Call the API with the key."""
        return http.call(method, f"{self.api_url}{path}", body=body, headers={"x-api-key": self.api_key})


@contextmanager
def started(overrides: Mapping[str, str]) -> Iterator[LocalStack]:
    """Start the stack; stop all of it when the context ends. `overrides` is CDK context."""
    _refuse_a_second()
    STATE.mkdir(exist_ok=True)
    with ExitStack() as stack:
        slack, slack_api_url, token, channel = _slack(stack)
        print("· starting the embedded cloud", flush=True)
        cloud = stack.enter_context(running(STATE / "ministack.log"))
        print("· synthesizing the stack", flush=True)
        context = {
            "slack_api_url": slack_api_url,
            "slack_channel": channel,
            "email_sender": "assistance@example.com",
            "email_recipients": "team@example.com",
            **overrides,
        }
        synthesize(context, STATE / "cdk.out")
        print(f"· deploying it to {cloud.endpoint_url}", flush=True)
        deployed = deploy(cloud, STATE / "cdk.out")
        cloud.client("secretsmanager").put_secret_value(
            SecretId=deployed.outputs["SlackTokenSecretArn"], SecretString=token
        )
        key = cloud.client("apigateway").get_api_key(apiKey=deployed.outputs["ApiKeyId"], includeValue=True)["value"]
        api_url = _api_url(cloud, deployed.outputs["ApiUrl"])
        local = LocalStack(cloud, slack, slack_api_url, api_url, key, deployed.name, deployed.outputs)
        until(lambda: local.call("GET", "/health").status == 200, seconds=ANSWERS_WITHIN, what="the API answers")  # noqa: PLR2004
        stack.callback(STACK_FILE.unlink, missing_ok=True)
        _describe(local)
        yield local


def _slack(stack: ExitStack) -> tuple[SlackServer | None, str, str, str]:
    """The server to post to: the real Slack if a token is given, else ours, unless another is named."""
    token, channel = os.environ.get("SLACK_BOT_TOKEN"), os.environ.get("SLACK_CHANNEL")
    url = os.environ.get("SLACK_API_URL")
    if token and channel:
        return None, url or "https://slack.com/api/", token, channel
    if url:
        return None, url, token or LOCAL_TOKEN, channel or LOCAL_CHANNEL
    server = SlackServer(token=LOCAL_TOKEN, channels=(LOCAL_CHANNEL,), port=free_port(SLACK_PORT))
    stack.enter_context(server)
    return server, server.url, LOCAL_TOKEN, LOCAL_CHANNEL


def _api_url(cloud: Cloud, aws_url: str) -> str:
    """The API's address here, for the address that it would have on AWS."""
    host, stage = aws_url.removeprefix("https://").split("/", 1)
    return f"{cloud.endpoint_url}/restapis/{host.split('.')[0]}/{stage}/_user_request_"


def _describe(local: LocalStack) -> None:
    description: dict[str, Any] = {
        "api_url": local.api_url,
        "api_key": local.api_key,
        "aws_endpoint_url": local.cloud.endpoint_url,
        "region": REGION,
        "stack_name": local.name,
        "slack_api_url": local.slack_api_url,
        "pid": os.getpid(),
        "outputs": dict(local.outputs),
    }
    if local.slack:
        description["slack_control_url"] = f"{local.slack.origin}/_control"
    written = STACK_FILE.with_suffix(".tmp")
    written.write_text(json.dumps(description, indent=2) + "\n")
    written.replace(STACK_FILE)


def _refuse_a_second() -> None:
    try:
        pid = int(json.loads(STACK_FILE.read_text())["pid"])
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, KeyError, ProcessLookupError):
        return
    except PermissionError:
        pass
    raise AlreadyRunning(f"A stack is already running here, as process {pid}. Stop it first: kill {pid}")
