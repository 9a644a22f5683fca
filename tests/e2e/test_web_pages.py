"""Tests that a web page in the developer's browser cannot attack the running stack.

The test gives the page everything that it would have to guess: ports, keys, tokens and paths. A browser lets a page
send simple requests anywhere, and read the responses of servers to which the host name of the page resolves (DNS
rebinding).
"""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote, urlencode, urlsplit

import boto3
import pytest
from playwright.sync_api import Browser, Page

from local import http
from tests.e2e.bot import Bot
from tests.e2e.browser import EVIL
from tests.e2e.runner import Runner

HANDLER = "def handler(event, context):\n    import os\n    return os.getuid()\n"
TRUST = {
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]
}
SEND = """
async (requests) => {
  for (const [method, url, body] of requests) {
    const options = { method, mode: "no-cors", credentials: "include" };
    await fetch(url, body === null ? options : { ...options, body }).catch(() => null);
  }
}
"""
CONNECT = """
async (url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onerror = () => resolve("refused");
})
"""


@dataclass(frozen=True)
class Attack:
    """A request that a page can send without a preflight request by the browser."""

    method: str
    url: str
    body: str | None = None


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of the attacker's own server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Have a look</title>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def in_the_query(bot: Bot, service: str, **arguments: str) -> str:
    """A query string for a call with the root user's access key and no valid signature, which MiniStack does not check.

    With the key in the query, not in a header, a web page may send the call without a preflight request.
    """
    scope = f"{bot.stack['credentials']['aws_access_key_id']}/20261127/us-east-1/{service}/aws4_request"
    names = {"Algorithm": "AWS4-HMAC-SHA256", "Credential": scope, "SignedHeaders": "host", "Signature": "0"}
    return urlencode({**arguments, **{f"X-Amz-{name}": value for name, value in names.items()}})


def attacks(bot: Bot, ports: set[tuple[str, int]]) -> list[Attack]:
    """Requests that try to run code as the developer, read secrets, post, and inject faults through every open port."""
    emulator, token = bot.stack["aws_endpoint_url"], slack_token(bot)
    with zipfile.ZipFile(code := io.BytesIO(), "w") as archive:
        archive.writestr("index.py", HANDLER)
    function = {
        "FunctionName": "evil",
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/evil",
        "Code": {"ZipFile": base64.b64encode(code.getvalue()).decode()},
    }
    role = in_the_query(bot, "iam", Action="CreateRole", RoleName="evil", AssumeRolePolicyDocument=json.dumps(TRUST))
    functions = f"{emulator}/2015-03-31/functions"
    posted = {"token": token, "channel": bot.stack["slack_channel"], "text": "evil"}
    console = bot.stack["console_url"].partition("/#")[0]
    return [
        Attack("GET", f"{emulator}/?{role}"),
        Attack("POST", f"{functions}?{in_the_query(bot, 'lambda')}", json.dumps(function)),
        Attack("POST", f"{functions}/evil/invocations?{in_the_query(bot, 'lambda')}", "{}"),
        Attack("GET", f"{emulator}/?{in_the_query(bot, 'sqs', Action='CreateQueue', QueueName='evil')}"),
        Attack("POST", f"{emulator}/", "Action=CreateQueue&QueueName=evil"),
        Attack("GET", f"{emulator}/_ministack/ses/messages"),
        Attack("POST", f"{emulator}/_ministack/config", '{"lambda_svc.LAMBDA_EXECUTOR": "evil"}'),
        Attack("POST", f"{bot.stack['api_url']}/assistance-requests?x-api-key={bot.stack['api_key']}", "{}"),
        Attack("GET", f"{bot.stack['slack_control_url']}/messages"),
        Attack("POST", f"{bot.stack['slack_api_url']}chat.postMessage?{urlencode(posted)}"),
        Attack("GET", f"{bot.stack['slack_api_url']}chat.postMessage?{urlencode(posted)}"),
        Attack("GET", f"{console}/"),
        Attack("GET", f"{console}/api/state"),
        Attack("POST", f"{console}/api/producer", '{"on": false}'),
        *(Attack(method, f"http://127.0.0.1:{port}/") for _, port in sorted(ports) for method in ("GET", "POST")),
    ]


def slack_token(bot: Bot) -> str:
    return bot.secrets.get_secret_value(SecretId=bot.outputs["SlackTokenSecretArn"])["SecretString"]


def attackable_state(bot: Bot) -> dict[str, object]:
    """The state that a successful attack would change."""
    credentials, endpoint = bot.stack["credentials"], bot.stack["aws_endpoint_url"]
    iam = boto3.client("iam", endpoint_url=endpoint, region_name=bot.stack["region"], **credentials)
    mappings = bot.lambda_.list_event_source_mappings()["EventSourceMappings"]
    return {
        "roles": sorted(role["RoleName"] for role in iam.list_roles()["Roles"]),
        "functions": sorted(function["FunctionName"] for function in bot.lambda_.list_functions()["Functions"]),
        "queues": bot.sqs.list_queues()["QueueUrls"],
        "sources": [mapping["State"] for mapping in mappings],
        "evil": [text for text in map(str, bot.everything_on_slack()) if "evil" in text],
    }


@pytest.mark.parametrize("name", [EVIL, "127.0.0.1", "localhost"])
def test_http_requests_sent_by_a_foreign_web_page_are_refused_and_change_nothing(
    bot: Bot, runner: Runner, browser: Browser, site: int, name: str
) -> None:
    tried, before = attacks(bot, runner.ports()), attackable_state(bot)
    page = browser.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda response: answers.append((response.url, response.status)))
    page.goto(f"http://{name}:{site}/")
    answers.clear()
    page.evaluate(SEND, [[each.method, each.url, each.body] for each in tried])
    assert [status for _, status in answers] == [403] * len(tried), answers
    emulator = urlsplit(bot.stack["api_url"])
    assert page.evaluate(CONNECT, f"ws://{emulator.netloc}{emulator.path}") == "refused"
    page.close()
    assert attackable_state(bot) == before


def test_a_foreign_web_page_can_neither_show_the_console_in_a_frame_nor_navigate_to_the_console(
    bot: Bot, browser: Browser, site: int
) -> None:
    console = bot.stack["console_url"]
    page = browser.new_page()
    page.goto(f"http://{EVIL}:{site}/")
    with page.expect_response(lambda response: response.url in console) as framed:
        page.evaluate("url => { document.body.innerHTML = `<iframe src='${url}'></iframe>` }", console)
    with page.expect_response(lambda response: response.url in console) as opened:
        page.evaluate("url => { location.href = url }", console)
    assert (framed.value.status, opened.value.status) == (403, 403)
    page.close()


def rebound(page: Page, url: str, path: str) -> str:
    """The text that the attacker's page reads from `path` once its host name resolves to the server at `url`."""
    page.goto(f"http://{EVIL}:{urlsplit(url).port}/")
    return str(page.evaluate("async (path) => (await fetch(path)).text()", path))


def test_a_web_page_that_uses_dns_rebinding_to_this_machine_can_read_nothing(bot: Bot, browser: Browser) -> None:
    request_id = bot.post("pricing", "for the page to read")
    bot.until_status(request_id, "delivered")
    page = browser.new_page()
    key = quote(bot.stack["api_key"])
    for url, path in (
        (bot.stack["aws_endpoint_url"], "/_ministack/ses/messages"),
        (bot.stack["aws_endpoint_url"], f"/?{in_the_query(bot, 'secretsmanager', Action='ListSecrets')}"),
        (bot.stack["aws_endpoint_url"], f"{urlsplit(bot.stack['api_url']).path}/health?key={key}"),
        (bot.stack["slack_control_url"], f"{urlsplit(bot.stack['slack_control_url']).path}/messages"),
        (bot.stack["console_url"], "/"),
        (bot.stack["console_url"], "/api/state"),
    ):
        read = rebound(page, url, path)
        assert "from its own web page only" in read, read
    page.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": EVIL},
        {"Host": "localhost"},
        {"Origin": f"http://{EVIL}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_every_listening_socket_is_bound_to_the_loopback_address_and_refuses_foreign_web_pages(
    bot: Bot, runner: Runner, method: str, headers: dict[str, str]
) -> None:
    ports = runner.ports()
    named = (bot.stack[name] for name in ("aws_endpoint_url", "slack_api_url", "console_url"))
    assert {urlsplit(url).port for url in named} < {port for _, port in ports}, "the webhooks' port is missing"
    assert {address for address, _ in ports} == {"127.0.0.1"}
    for _, port in ports:
        assert http.call(method, f"http://127.0.0.1:{port}/", headers=headers).status == 403
