"""Tests TLS: all clients and threads share one set of trusted certificates."""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import botocore.session
import pytest
import trustme
from slack_sdk import WebClient

from assistance.platform import aws, tls
from slack_consumer import web_api
from slack_interactions import response_url
from tests.receiver import Receiver

Serve = Callable[[str], Receiver]
OWN = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def serve(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Returns a function that starts a TLS server in place of AWS, with a certificate for the given host name."""
    started: list[Receiver] = []
    for variable in OWN:
        monkeypatch.delenv(variable, raising=False)

    def start(name: str) -> Receiver:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(server)
        started.append(Receiver(server).__enter__())
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{started[-1].port}")
        return started[-1]

    forget()
    yield start
    for each in started:
        each.__exit__()
    forget()


def forget() -> None:
    tls._context.cache_clear()  # noqa: SLF001
    aws._session.cache_clear()  # noqa: SLF001


def noting(names: list[str], method: Callable[..., None]) -> Callable[..., None]:
    """A wrapper of the method that adds the method's name to `names` at each call."""

    def noted(*given: object, **named: object) -> None:
        names.append(method.__name__)
        method(*given, **named)

    return noted


def read() -> None:
    aws.table("table").get_item(Key={"pk": "a", "sk": "b"})


def test_the_ca_certificates_are_read_once_for_all_clients_and_threads(
    serve: Serve, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server, reads = serve("localhost"), list[str]()
    server.answers = [(200, {"content-length": "0"})] * 25

    for name in ("load_verify_locations", "load_default_certs"):
        monkeypatch.setattr(ssl.SSLContext, name, noting(reads, getattr(ssl.SSLContext, name)))
    table, secrets = aws.table("table"), aws.secrets()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: table.get_item(Key={"pk": str(number), "sk": "b"}), range(12)))
        list(pool.map(lambda _: secrets.get_secret_value(SecretId="slack"), range(12)))
    server.answers = [b'HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{"ok": true}']
    assert web_api.call(WebClient.api_test, f"https://localhost:{server.port}/", "xoxb-none")["ok"]
    server.answers = [(200, {"content-length": "0"})]
    assert response_url.send(f"https://localhost:{server.port}/", {"text": "answers a press"})
    assert len(server.calls) == 26
    assert len(reads) == 1


def test_threads_that_need_the_ca_certificates_at_the_same_time_wait_for_one_that_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget()
    reads, create = Barrier(2), ssl.create_default_context

    def create_with_another() -> ssl.SSLContext:
        # Wait for a second thread that reads the certificates, too. If they are read once, none comes.
        with suppress(BrokenBarrierError):
            reads.wait(timeout=0.3)
        return create()

    monkeypatch.setattr(ssl, "create_default_context", create_with_another)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: tls.context(), range(2))
    forget()
    assert first is second


def test_a_connection_to_aws_has_every_setting_of_botocore_but_the_tls_context(serve: Serve) -> None:
    """Without `TCP_NODELAY`, each call with a body waits 40 ms for the server's delayed acknowledgement."""
    serve("localhost")

    def settings(client: Any) -> dict[str, str]:  # noqa: ANN401
        kept = client._endpoint.http_session._manager.connection_pool_kw  # noqa: SLF001
        return {name: repr(value) for name, value in kept.items() if name != "ssl_context"}

    ours = settings(aws.secrets())
    assert ours == settings(botocore.session.get_session().create_client("secretsmanager", config=aws.QUICK))
    assert str((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)) in ours["socket_options"]


def test_the_ca_certificates_of_botocore_are_used_if_python_finds_none(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("localhost")
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert tls.context().cert_store_stats()["x509_ca"]
    assert tls.context().verify_mode is ssl.CERT_REQUIRED


def test_a_slack_call_without_tls_reads_no_ca_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted() -> None:
        raise AssertionError("certificates are read")

    monkeypatch.setattr(tls, "context", unwanted)
    with Receiver() as server:
        server.answers = [b'HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{"ok": true}']
        assert web_api.call(WebClient.api_test, f"http://127.0.0.1:{server.port}/", "xoxb-none")["ok"]


@pytest.mark.parametrize("name", ["localhost.example.com", "localhost"])
def test_a_server_without_a_trusted_certificate_gets_no_call(
    serve: Serve, trusted: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name != "localhost":
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server = serve(name)
    with pytest.raises(aws.AWS_ERRORS) as failed:
        read()
    assert aws.error_code(failed.value) == "SSLError"
    assert server.calls == []


@pytest.mark.parametrize("variable", OWN)
def test_the_ca_certificates_configured_by_the_operator_replace_the_default_ones(
    serve: Serve, trusted: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(trusted))
    server = serve("localhost")
    read()
    assert len(server.calls) == 1
