"""Starts the local stack: synthesizes the template, deploys it, and waits until the API answers."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from assistance.routing import Channel
from local import cloud as clouds
from local import http
from local.cloud import Cloud
from local.deploy import Assembly, assemble, deploy
from local.errors import LocalFailure
from local.slack import REAL_API_URL, Slack, from_context
from local.slack_workspace import OURS
from local.take_page_proxy import TakePageProxy
from local.wait import until
from local.webhooks import Webhooks

START_SECONDS: Final = 60
ANSWER_SECONDS: Final = 60
FRONT: Final = "http://front.invalid"
SLACK: Final = "http://slack.invalid"
"""Placeholders in a template for the addresses of the local servers (`FRONT`: take pages), which differ in each run."""
_TEAMS_SECRET: Final = re.compile("Teams([A-Za-z0-9]+)SecretArn")
DEFAULTS: Final = {
    "stage": "dev",
    "email_sender": "assistance@example.com",
    "email_sender_name": "Assistance",
    "email_recipients": "team@example.com",
    # As in production, so that the local stack has the same resources.
    "alarms": "true",
    "take": "true",
    # Short delays, because a user of the console waits for retries, also after a killed attempt.
    "consumer_timeout_seconds": "15",
    "retry_max_delay": "20",
    "retry_doubt_delay": "5",
    # High limits, so that scripts may send and poll hundreds of requests at the same time.
    "throttle_rate": "1000",
    "throttle_burst": "2000",
}

PrintLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """The running stack: its API's URL and key, its outputs, and the local servers."""

    name: str
    api_url: str
    api_key: str
    outputs: Mapping[str, str]
    cloud: Cloud
    slack: Slack
    webhooks: Webhooks

    def call(self, method: str, path: str, body: object = None) -> http.Answer:
        """Call a path of the HTTP API with the API key. Raises `http.NoAnswer`."""
        return http.call(method, f"{self.api_url}{path}", body=body, headers={"x-api-key": self.api_key})

    def topics(self) -> list[str]:
        """Return the topics from the environment of a deployed function."""
        functions = self.cloud.session.client("lambda", endpoint_url=self.cloud.url).list_functions()["Functions"]
        told = (function.get("Environment", {}).get("Variables", {}).get("ROUTES") for function in functions)
        return list(json.loads(next(filter(None, told))))

    @property
    def takes(self) -> bool:
        """Whether buttons in Slack take requests."""
        return "SlackInteractionsUrl" in self.outputs

    def _secret(self, output: str) -> str | None:
        """The value of the secret whose ARN is in this output; None if there is no such output."""
        if output not in self.outputs:
            return None
        secrets = self.cloud.session.client("secretsmanager", endpoint_url=self.cloud.url)
        return secrets.get_secret_value(SecretId=self.outputs[output])["SecretString"]

    def document(self) -> dict[str, Any]:
        """Return the content of `stack.json`, for scripts."""
        server = self.slack.server
        return {
            "api_url": self.api_url,
            "api_key": self.api_key,
            "aws_endpoint_url": self.cloud.url,
            "region": clouds.REGION,
            "credentials": self.cloud.root_key,
            "stack_name": self.name,
            "slack_api_url": self.slack.api_url,
            "slack_channel": self.slack.channel,
            "slack_control_url": server.control_url if server else None,
            "slack_interactions_url": f"{self.api_url}/slack/interactions" if self.takes else None,
            "slack_signing_secret": self.slack.signing_secret if self.takes else None,
            "callback_secret": self._secret("CallbackSecretArn"),
            "outputs": dict(self.outputs),
        }


@contextmanager
def running(directory: Path, overrides: Mapping[str, str], print_line: PrintLine) -> Iterator[Stack]:
    """Run the stack and its local servers while the context is entered.

    `directory`: for the template and logs. `overrides`: CDK context. `print_line` gets messages about the progress.
    """
    with from_context(overrides) as slack, Webhooks() as webhooks, TakePageProxy() as front:
        addresses = {FRONT: front.url}
        settings = {"slack_api_url": slack.api_url, "slack_channel": slack.channel}
        if slack.api_url != REAL_API_URL:
            addresses[SLACK] = slack.origin
            settings["slack_api_url"] = slack.api_url.replace(slack.origin, SLACK, 1)
        settings |= {"slack_app_id": OURS.app_id} if slack.server else {}
        context = {**DEFAULTS, "public_url": FRONT, **overrides, **settings}
        print_line("Starting MiniStack …")
        with clouds.running(directory) as cloud:
            print_line("Synthesizing the template, or reading it from the cache …")
            assembly = assemble(directory / "cdk.out", context, addresses)
            until("MiniStack answers", START_SECONDS, cloud.ready)
            print_line(f"Deploying {assembly.stack_name} to {cloud.url} …")
            try:
                stack = _deployed(cloud, assembly, slack, webhooks)
                front.api_url = stack.api_url
            except (BotoCoreError, ClientError) as error:
                raise LocalFailure(f"The template was not deployed: {error} See {cloud.log}.") from error
            print_line("Waiting for the API …")
            until("The API answers GET /health", ANSWER_SECONDS, lambda: _healthy(stack))
            yield stack


def _deployed(cloud: Cloud, assembly: Assembly, slack: Slack, webhooks: Webhooks) -> Stack:
    outputs = deploy(cloud, assembly)
    _put_secrets(cloud, outputs, slack, webhooks)
    api_url, api_key = _api_url(cloud, outputs), _api_key(cloud, outputs)
    if slack.server:
        interactions = f"{api_url}/slack/interactions"
        slack.server.call_app = lambda body, headers: (
            http.call("POST", interactions, body=body.encode(), headers=headers).status
        )
    return Stack(assembly.stack_name, api_url, api_key, outputs, cloud, slack, webhooks)


def _api_url(cloud: Cloud, outputs: Mapping[str, str]) -> str:
    """The API's URL at MiniStack, which has the API's id in the path: AWS's is https://<api>.execute-api.…/<stage>."""
    host, _, stage = outputs["ApiUrl"].removeprefix("https://").partition("/")
    return f"{cloud.url}/restapis/{host.split('.')[0]}/{stage.strip('/')}/_user_request_"


def _api_key(cloud: Cloud, outputs: Mapping[str, str]) -> str:
    gateway = cloud.session.client("apigateway", endpoint_url=cloud.url)
    return gateway.get_api_key(apiKey=outputs["ApiKeyId"], includeValue=True)["value"]


def _put_secrets(cloud: Cloud, outputs: Mapping[str, str], slack: Slack, webhooks: Webhooks) -> None:
    """Store Slack's token and signing secret. For each other channel that has a secret, store a local webhook's URL."""
    values = {"SlackTokenSecretArn": slack.token, "SlackSigningSecretArn": slack.signing_secret}
    values |= {f"{channel.capitalize()}SecretArn": webhooks.address(channel) for channel in Channel}
    # Secrets that routes name: the secret of the output `TeamsBillingSecretArn` gets the URL with `teams/billing`.
    for output in outputs:
        if name := _TEAMS_SECRET.fullmatch(output):
            values[output] = webhooks.address(f"{Channel.TEAMS}/{name[1].lower()}")
    secrets = cloud.session.client("secretsmanager", endpoint_url=cloud.url)
    for output in values.keys() & outputs.keys():
        secrets.put_secret_value(SecretId=outputs[output], SecretString=values[output])


def _healthy(stack: Stack) -> bool | None:
    try:
        return stack.call("GET", "/health").status == HTTPStatus.OK or None
    except http.NoAnswer:
        return None
