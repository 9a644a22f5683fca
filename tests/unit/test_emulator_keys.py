"""Tests that the local AWS emulator accepts only calls signed with an access key that this run issued."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local import keys

PORT = 4566
URL = f"http://127.0.0.1:{PORT}"
Scope: TypeAlias = dict[str, Any]
Event: TypeAlias = dict[str, Any]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
ROOT = Credentials("AKIAROOTROOTROOTROOT", "the root's secret")
SCOPE = f"{ROOT.access_key}/20261127/us-east-1/sqs/aws4_request"
ROLE = Credentials("ASIAROLEROLEROLEROLE", "the role's secret", "the role's token")
ROLE_ARN = "arn:aws:sts::000000000000:assumed-role/consumer/function"
FUNCTION = {
    "FunctionName": "consumer",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:consumer",
    "Role": "arn:aws:iam::000000000000:role/consumer",
}


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The sessions by access key that the emulator has issued to roles, so that a test can change them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT.secret_key)
    session = {"Arn": ROLE_ARN, "SecretAccessKey": ROLE.secret_key, "SessionToken": ROLE.token}
    sessions = {ROLE.access_key: session}
    monkeypatch.setattr("ministack.services.sts._sessions", sessions)
    return sessions


class Emulator:
    """A fake emulator behind the signature check. `calls`: the calls that passed the check, with their bodies."""

    def __init__(self) -> None:
        self.calls: list[tuple[Scope, bytes]] = []

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Event]], send: Send) -> None:
        event = await receive() if scope["type"] == "http" else {}
        self.calls.append((scope, event.get("body", b"")))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(scope: Scope, *chunks: bytes, gone: bool = False) -> tuple[list[Event], Emulator]:
    """Make a call with a body of these chunks. `gone`: the client disconnects before the end of the body.

    Returns the events of the response, and the emulator with the call if it passed the signature check.
    """
    emulator = Emulator()
    answered: list[Event] = []
    bodies: Iterator[Event] = iter(
        [
            *({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks[:-1]),
            {"type": "http.request", "body": (chunks or (b"",))[-1], "more_body": gone},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Event:
        return next(bodies)

    async def send(event: Event) -> None:
        answered.append(event)

    asyncio.run(keys.require_signature(emulator, PORT)(scope, receive, send))  # type: ignore[arg-type]
    return answered, emulator


def called(request: AWSRequest, **changed: object) -> Scope:
    """The ASGI scope of this request, as the server Hypercorn makes it. `changed`: other entries of the scope."""
    parts = urlsplit(request.prepare().url)
    headers = {"Host": f"127.0.0.1:{PORT}", **request.headers}
    return {
        "type": "http",
        "method": request.method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        **changed,
    }


def signed(credentials: Credentials, path: str = "/", body: bytes = b"", method: str = "POST") -> AWSRequest:
    request = AWSRequest(method, URL + path, data=body)
    SigV4Auth(credentials, "sqs", "us-east-1").add_auth(request)
    return request


def status(scope: Scope, *chunks: bytes) -> int:
    answered, emulator = ask(scope, *chunks)
    assert bool(emulator.calls) == (answered[0]["status"] == 200)
    return int(answered[0]["status"])


@pytest.mark.parametrize("credentials", [ROOT, ROLE])
def test_an_aws_call_signed_with_an_issued_access_key_reaches_the_emulator_unchanged(credentials: Credentials) -> None:
    scope = called(signed(credentials, "/a%20path/?b=%2F&a=&a=1", b"a body in chunks"))
    answered, emulator = ask(scope, b"a body ", b"in ", b"chunks")
    assert answered[0]["status"] == 200
    assert emulator.calls == [(scope, b"a body in chunks")]


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials("test", "test"),
        Credentials("test", ROOT.secret_key),
        Credentials("000000000000", "test"),
        Credentials("000000000000", ROOT.secret_key),
        Credentials("AKIAUNKNOWNUNKNOWNUN", "guessed"),
        Credentials(ROOT.access_key, "guessed"),
        Credentials(ROOT.access_key, ROOT.secret_key, "a token"),
        Credentials(ROLE.access_key, "guessed", ROLE.token),
        Credentials(ROLE.access_key, ROLE.secret_key, "guessed"),
        Credentials(ROLE.access_key, ROLE.secret_key),
    ],
)
def test_aws_calls_with_an_unknown_access_key_or_a_wrong_secret_are_refused(credentials: Credentials) -> None:
    assert status(called(signed(credentials))) == 403


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer xoxb",
        f"AWS {ROOT.access_key}:c2lnbmF0dXJl",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={ROOT.access_key}, SignedHeaders=host, Signature=0",
        f"AWS4-ECDSA-P256-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0",
    ],
)
def test_a_header_without_a_valid_signature_is_refused(authorization: str) -> None:
    request = AWSRequest("POST", URL + "/", headers={"Authorization": authorization, "X-Amz-Date": "20261127T000000Z"})
    assert status(called(request)) == 403


@pytest.mark.parametrize(
    "header",
    [
        ("Date", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        ("Date", "Mon, 01 Jan 0001 00:00:00 +2300"),
        ("X-Amz-Date", "\u0660"),
        ("Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=\u00e9"),
    ],
)
def test_an_unreadable_authorization_header_is_refused(header: tuple[str, str]) -> None:
    authorization = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0"
    dated = {"X-Amz-Date": "20261127T000000Z"} if header[0] == "Authorization" else {}
    request = AWSRequest("POST", URL + "/", headers={"Authorization": authorization, **dated})
    del request.headers[header[0]]
    request.headers[header[0]] = header[1]
    assert status(called(request)) == 403


def test_an_aws_call_without_credentials_is_refused() -> None:
    for path in ("/", "/bucket/key", "/_ministack/ses/messages", "/_ministack/ready", "/_local/ses/fault", "/health"):
        assert status(called(AWSRequest("GET", URL + path))) == 403


def test_aws_calls_signed_in_the_query_string_or_in_a_form_are_refused() -> None:
    request = AWSRequest("GET", URL + "/?Action=ListQueues")
    SigV4QueryAuth(ROOT, "sqs", "us-east-1").add_auth(request)
    assert status(called(request)) == 403
    request = AWSRequest("GET", URL + "/bucket/key")
    HmacV1QueryAuth(ROOT).add_auth(request)
    assert status(called(request)) == 403
    form = f"Action=ListQueues&AWSAccessKeyId={ROOT.access_key}&X-Amz-Credential={ROOT.access_key}/".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert status(called(AWSRequest("POST", URL + "/", headers=kind, data=form)), form) == 403


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"},
        {"path": "/other", "raw_path": b"/other"},
        {"query_string": b"Action=DeleteQueue"},
    ],
)
def test_a_signature_is_valid_only_for_the_call_that_was_signed(changed: Scope) -> None:
    request = signed(ROOT, "/?Action=ListQueues", b"body")
    assert status(called(request), b"body") == 200
    assert status(called(request), b"another body") == 403
    assert status(called(request, **changed), b"body") == 403


def test_a_call_of_a_role_that_names_two_access_keys_is_refused() -> None:
    role, root = (called(signed(each)) for each in (ROLE, Credentials("test", "test")))
    both = {**role, "headers": [*(pair for pair in root["headers"] if pair[0] == b"authorization"), *role["headers"]]}
    assert status(both) == 403
    headers = [
        (name, value.replace(b"Credential=", b"Credential=test/, Credential=") if name == b"authorization" else value)
        for name, value in role["headers"]
    ]
    assert status({**role, "headers": headers}) == 403


@pytest.mark.parametrize("path", ["/restapis/id/dev/_user_request_", "/restapis/id/dev/_user_request_/requests/1\n2"])
def test_the_deployed_api_accepts_unsigned_calls(path: str) -> None:
    scope = called(AWSRequest("POST", URL + "/"), path=path)
    assert status(scope) == 200
    foreign = [(name, b"evil.example" if name == b"host" else value) for name, value in scope["headers"]]
    assert status({**scope, "headers": foreign}) == 403


@pytest.mark.parametrize(
    "path",
    [
        "/restapis/id/dev",
        "/restapis/id/dev/_user_request_other",
        "/restapis//dev/_user_request_/",
        "/restapis/id/_user_request_/",
        "/restapis/id/dev/more/_user_request_/",
        "/bucket/restapis/id/dev/_user_request_/",
        "//restapis/id/dev/_user_request_/",
        "/_aws/execute-api/id/dev/",
    ],
)
def test_unsigned_calls_to_paths_that_resemble_the_deployed_api_are_refused(path: str) -> None:
    assert status(called(AWSRequest("POST", URL + "/"), path=path)) == 403


def test_websocket_connections_are_closed_and_asgi_lifespan_events_are_forwarded() -> None:
    answered, emulator = ask({**called(signed(ROOT)), "type": "websocket"})
    assert [event["type"] for event in answered] == ["websocket.close"]
    assert emulator.calls == []
    assert ask({"type": "lifespan"})[1].calls == [({"type": "lifespan"}, b"")]


def test_a_call_with_an_incomplete_body_never_reaches_the_emulator() -> None:
    answered, emulator = ask(called(signed(ROOT, body=b"half")), b"ha", gone=True)
    assert (answered, emulator.calls) == ([], [])


def test_the_aws_access_key_of_a_function_cannot_be_derived_from_the_function_name(
    monkeypatch: pytest.MonkeyPatch, sessions: dict[str, Any]
) -> None:
    before: Callable[..., dict[str, str]] = lambda_runtime.execution_credentials
    for module in (lambda_runtime, lambda_svc):
        monkeypatch.setattr(module, "execution_credentials", before)
    monkeypatch.setattr("ministack.app.AUTH", True)
    derived = before(FUNCTION)
    del sessions[derived["AWS_ACCESS_KEY_ID"]]
    keys.make_function_keys_unguessable()
    given = [module.execution_credentials(FUNCTION) for module in (lambda_runtime, lambda_svc)]
    for name in derived:
        assert len({derived[name], *(each[name] for each in given)}) == 3
    assert derived["AWS_ACCESS_KEY_ID"] not in sessions
    for each in given:
        session = sessions[each["AWS_ACCESS_KEY_ID"]]
        assert session["Arn"] == ROLE_ARN.replace("/function", "/consumer")
        credentials = Credentials(
            *(each[f"AWS_{part}"] for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
        )
        assert status(called(signed(credentials))) == 200
