"""Tests that another user of the developer's machine cannot attack the running stack.

That user can connect to every port, list every process with its command line, and read every file whose mode allows it.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.process import command_line
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner

PROGRAM = Path(__file__).with_name("other_user.py")
NOBODY = 65_534
Call = tuple[str, str, dict[str, str], str | None]

as_another_user = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def tried(runner: Runner, calls: Sequence[Call], files: Sequence[str] = ()) -> dict[str, Any]:
    """Let another user make these calls, and read these files in the runner's directory. Returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM)],
        input=json.dumps({"user": NOBODY, "calls": calls, "files": files}),
        cwd=runner.directory,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def signed(bot: Bot, credentials: Credentials, *, in_query: bool = False) -> Call:
    """A signed AWS call that reads Slack's token from the emulator."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"}
    body = json.dumps({"SecretId": bot.outputs["SlackTokenSecretArn"]})
    request = AWSRequest("POST", f"{bot.stack['aws_endpoint_url']}/", headers=headers, data=body.encode())
    (SigV4QueryAuth if in_query else SigV4Auth)(credentials, "secretsmanager", bot.stack["region"]).add_auth(request)
    return "POST", str(request.prepare().url), dict(request.headers.items()), body


def derived(function: dict[str, Any]) -> Credentials:
    """The access keys that MiniStack, the local emulator, by default derives from the function's ARN and role.

    Other users of the machine can see both. `function`: its configuration."""
    digest = hashlib.sha256(f"{function['FunctionArn']}:{function['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{part}:{digest}".encode()).hexdigest() for part in ("secret", "token"))
    return Credentials(f"ASIA{digest[:16].upper()}", secret, token)


@as_another_user
def test_guessed_aws_access_keys_cannot_read_a_secret_from_the_emulator(bot: Bot, runner: Runner) -> None:
    bot.until_status(bot.post("sales", "has every function started"), "delivered")
    root = bot.stack["credentials"]["aws_access_key_id"]
    functions = bot.lambda_.list_functions()["Functions"]
    guessed = [
        Credentials("test", "test"),
        Credentials("000000000000", "test"),
        Credentials("AKIAIOSFODNN7EXAMPLE", "guessed"),
        Credentials(root, "guessed"),
        Credentials(root, "test"),
        *(derived(dict(function)) for function in functions),
    ]
    calls = [signed(bot, credentials, in_query=way) for credentials in guessed for way in (False, True)]
    calls += [(method, url, {**headers, "Authorization": ""}, body) for method, url, headers, body in calls]
    assert {status for status, _ in tried(runner, calls)["answers"]} == {403}
    own = Credentials(root, bot.stack["credentials"]["aws_secret_access_key"])
    [(status, body)] = tried(runner, [signed(bot, own)])["answers"]
    assert (status, json.loads(body)["SecretString"][:5]) == (200, "xoxb-"), "the attack itself is sound"


@as_another_user
def test_aws_calls_of_another_local_user_without_an_access_key_are_refused_and_change_nothing(
    bot: Bot, runner: Runner
) -> None:
    emulator, outputs = bot.stack["aws_endpoint_url"], bot.outputs
    root = bot.stack["credentials"]["aws_access_key_id"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    forged = {"Action": "CreateQueue", "QueueName": "evil"}
    calls: list[Call] = [
        ("GET", f"{emulator}/", {}, None),
        ("GET", f"{emulator}/cdk-hnb659fds-assets-000000000000-us-east-1?list-type=2", {}, None),
        ("GET", f"{emulator}/?{urlencode(forged)}", {}, None),
        ("GET", f"{emulator}/?{urlencode({**forged, 'AWSAccessKeyId': root})}", {}, None),
        ("POST", f"{emulator}/", form, urlencode({**forged, "AWSAccessKeyId": root, "X-Amz-Credential": root})),
        ("POST", f"{emulator}/", {**form, "Authorization": f"AWS {root}:c2lnbmVk"}, urlencode(forged)),
        ("POST", outputs["SlackQueueUrl"], form, "Action=PurgeQueue"),
        ("POST", f"{emulator}/2015-03-31/functions/evil/invocations", {}, "{}"),
        ("OPTIONS", f"{emulator}/bucket/key", {}, None),
        *(
            (method, f"{emulator}{path}", {}, None)
            for method in ("GET", "POST", "PUT")
            for path in ("/_ministack/ses/messages", "/_ministack/sqs/messages", "/_ministack/ready", "/health")
        ),
        ("POST", f"{emulator}/_ministack/config", {}, "{}"),
        ("GET", f"{emulator}/_aws/lambda-url/{'0' * 32}/", {}, None),
        ("PUT", f"{emulator}/_local/ses/fault", {}, '{"kind": "failing"}'),
        ("GET", f"{emulator}/_local/ses/fault", {}, None),
    ]
    assert {status for status, _ in tried(runner, calls)["answers"]} == {403}
    assert not [url for url in bot.sqs.list_queues()["QueueUrls"] if "evil" in url]


@as_another_user
def test_calls_to_the_url_of_the_deployed_api_need_the_api_key_and_cannot_reach_other_emulated_services(
    bot: Bot, runner: Runner
) -> None:
    api, form = bot.stack["api_url"], {"Content-Type": "application/x-www-form-urlencoded"}
    unknown = f"{bot.stack['aws_endpoint_url']}/restapis/unknown/dev/_user_request_"
    query = urlencode({"Action": "CreateQueue", "QueueName": "evil"})
    target = {"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"}
    before = bot.stored()
    smuggled: list[Call] = [
        ("POST", "/assistance-requests", {}, '{"topic": "sales", "description": "forged"}'),
        ("GET", f"/?{query}", {}, None),
        ("POST", "/", form, query),
        ("POST", "/", target, '{"QueueName": "evil"}'),
        ("PUT", "/evil", {}, "an object"),
        ("POST", "/@connections/evil", {}, "{}"),
        ("GET", "/../../../../_ministack/ses/messages", {}, None),
    ]
    calls = [(method, url + path, headers, body) for url in (api, unknown) for method, path, headers, body in smuggled]
    assert {status for status, _ in tried(runner, calls)["answers"]} <= {403, 404}
    assert bot.stored() == before
    assert not [url for url in bot.sqs.list_queues()["QueueUrls"] if "evil" in url]


@as_another_user
def test_the_local_slack_server_and_the_console_refuse_callers_without_the_secret(bot: Bot, runner: Runner) -> None:
    slack, channel = bot.stack["slack_api_url"], bot.stack["slack_channel"]
    console = bot.stack["console_url"].partition("/#")[0]
    origin = slack.removesuffix("/api/")
    before = bot.everything_on_slack()
    post = json.dumps({"channel": channel, "text": "evil"})
    on_slack: list[Call] = [
        (method, url, {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}, body)
        for token in ("", "xoxb-local", "xoxb-")
        for method, url, body in (
            ("POST", f"{slack}chat.postMessage", post),
            ("GET", f"{slack}conversations.history?channel={channel}", None),
            ("GET", f"{origin}/_control/messages", None),
            ("GET", f"{origin}/_control/fault", None),
            ("PUT", f"{origin}/_control/fault", '{"kind": "drop"}'),
        )
    ]
    for status, body in tried(runner, on_slack)["answers"]:
        assert status == 404 or json.loads(body)["error"] in {"not_authed", "invalid_auth"}
    on_the_console: list[Call] = [
        (method, f"{console}{path}", {"X-Console": token}, body)
        for token in ("", "1", "guessed")
        for method, path, body in (
            ("GET", "/api/state", None),
            ("POST", "/api/producer", '{"on": false}'),
            ("POST", "/api/redrive", "{}"),
        )
    ]
    assert {status for status, _ in tried(runner, on_the_console)["answers"]} == {403}
    assert bot.everything_on_slack() == before


@as_another_user
def test_another_local_user_cannot_read_any_secret_from_files_and_processes(bot: Bot, runner: Runner) -> None:
    pids = [runner.process.pid, *runner.descendants()]
    names = [".", *(path.name for path in runner.directory.iterdir())]
    assert {"stack.json", "ministack.log", "synth.log", "lock", "tmp", "cdk.out"} < set(names)
    files = [*names, *(f"/proc/{pid}/{name}" for pid in pids for name in ("environ", "fd"))]
    assert tried(runner, [], files)["read"] == dict.fromkeys(files)
    told = " ".join(tried(runner, [], [f"/proc/{pid}/cmdline" for pid in pids])["read"].values())
    assert "embedded.py" in told
    slack_token = bot.secrets.get_secret_value(SecretId=bot.outputs["SlackTokenSecretArn"])["SecretString"]
    keys = bot.stack["credentials"].values()
    control, token = (
        bot.stack[name].rpartition(by)[2] for name, by in (("slack_control_url", "/"), ("console_url", "="))
    )
    for secret in (*keys, bot.stack["api_key"], slack_token, control, token):
        assert secret not in told


def test_command_lines_contain_no_secret_of_the_stack(bot: Bot, runner: Runner) -> None:
    told = " ".join(command_line(pid) for pid in (runner.process.pid, *runner.descendants()))
    assert "embedded.py" in told
    for secret in (*bot.stack["credentials"].values(), bot.stack["api_key"]):
        assert secret not in told


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("sqs", "list_queues"),
        ("sns", "list_topics"),
        ("dynamodb", "list_tables"),
        ("s3", "list_buckets"),
        ("lambda", "list_functions"),
        ("cloudformation", "list_stacks"),
    ],
)
def test_botocore_reports_the_emulators_refusal_of_a_wrong_access_key_as_access_denied(
    bot: Bot,
    service: Any,  # noqa: ANN401
    operation: str,
) -> None:
    client: Any = boto3.client(
        service,
        endpoint_url=bot.stack["aws_endpoint_url"],
        region_name=bot.stack["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with pytest.raises(ClientError, match=r"AccessDenied.*stack\.json"):
        getattr(client, operation)()
