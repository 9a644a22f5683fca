"""Tests that local servers accept only requests of local programs and of their own pages."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from console.origin_checks import REFUSAL, admits
from local.slack_server import SlackServer
from local.webhooks import Webhooks

PORT = 4566
HERE = f"127.0.0.1:{PORT}"
PAGE = f"http://{HERE}"


@pytest.mark.parametrize(
    ("hosts", "origins", "sites"),
    [
        ([HERE], [], []),
        ([f"localhost:{PORT}"], [], []),
        ([f"LocalHost:{PORT}"], [], []),
        ([HERE], [PAGE], ["same-origin"]),
        ([f"localhost:{PORT}"], [f"http://localhost:{PORT}"], ["same-origin"]),
        ([HERE], [], ["none"]),
        ([HERE], [], ["same-origin"]),
    ],
)
def test_http_requests_of_local_programs_and_of_the_servers_own_pages_are_accepted(
    hosts: list[str], origins: list[str], sites: list[str]
) -> None:
    assert admits(PORT, hosts, origins, sites)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        [f"evil.example:{PORT}"],
        ["127.0.0.1"],
        ["127.0.0.1:80"],
        ["127.0.0.1:04566"],
        [f"127.0.0.1.:{PORT}"],
        [f"localhost.:{PORT}"],
        [f"127.1:{PORT}"],
        [f"2130706433:{PORT}"],
        [f"0.0.0.0:{PORT}"],
        [f"[::1]:{PORT}"],
        [f"[::ffff:127.0.0.1]:{PORT}"],
        [f"127.0.0.1.evil.example:{PORT}"],
        [f"bucket.localhost:{PORT}"],
        [f"evil@{HERE}"],
        [f" {HERE}"],
        [f"{HERE}, {HERE}"],
        [HERE, HERE],
        [HERE, "evil.example"],
    ],
)
def test_http_requests_with_another_host_name_are_refused(hosts: list[str]) -> None:
    assert not admits(PORT, hosts, [], [])


@pytest.mark.parametrize(
    "origins",
    [
        [""],
        ["null"],
        ["http://evil.example"],
        ["http://127.0.0.1"],
        ["http://127.0.0.1:4567"],
        [f"https://{HERE}"],
        [f"HTTP://{HERE}"],
        [f"{PAGE}/"],
        [f"{PAGE}.evil.example"],
        [f"http://localhost:{PORT}"],
        [PAGE, PAGE],
        [PAGE, "http://evil.example"],
    ],
)
def test_http_requests_from_pages_of_another_origin_are_refused(origins: list[str]) -> None:
    assert not admits(PORT, [HERE], origins, [])


@pytest.mark.parametrize(
    "sites", [[""], ["cross-site"], ["same-site"], ["None"], ["unheard-of"], ["none", "none"], ["none", "cross-site"]]
)
def test_http_requests_with_the_fetch_metadata_of_another_site_are_refused(sites: list[str]) -> None:
    assert not admits(PORT, [HERE], [], sites)


@pytest.fixture(params=["slack", "webhooks"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "slack":
        with SlackServer(token="xoxb-test", channels=("C0TEST",)) as slack:
            yield int(slack.origin.rpartition(":")[2])
    else:
        with Webhooks() as webhooks:
            yield int(webhooks.address("teams").split(":")[2].partition("/")[0])


def answer(port: int, method: str, *headers: tuple[str, str]) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, "/", skip_host=True)
        for name, value in (*headers, ("Content-Length", "0")):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "UNHEARD-OF"])
def test_a_local_server_refuses_a_foreign_request_with_any_method_and_closes_the_connection(
    port: int, method: str
) -> None:
    refused = answer(port, method, ("Host", "evil.example"))
    assert (refused.status, refused.headers["Connection"]) == (403, "close")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Host", "{here}"), ("hOST", "{here}")],
        [("Host", "{here}"), ("Origin", "http://{here}"), ("Origin", "http://evil.example")],
        [("Host", "{here}"), ("Sec-Fetch-Site", "same-origin"), ("sec-fetch-site", "cross-site")],
    ],
)
def test_a_local_server_refuses_http_requests_with_missing_or_duplicate_host_headers(
    port: int, headers: list[tuple[str, str]]
) -> None:
    sent = [(name, value.format(here=f"127.0.0.1:{port}")) for name, value in headers]
    assert answer(port, "GET", *sent).status == 403


def test_a_local_server_refuses_http_requests_without_headers_and_says_which_hosts_it_accepts(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /\r\n\r\n")  # HTTP/0.9
        page = connection.makefile("rb").read()
    assert b"Error code: 403" in page
    assert f"{REFUSAL}</p>".encode() in page
