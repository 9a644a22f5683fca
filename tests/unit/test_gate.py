"""Which requests a listener of the local stack takes: those of programs on this machine, and of its own pages."""

import pytest

from local.gate import admits

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
def test_programs_on_this_machine_and_its_own_pages_are_admitted(
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
def test_no_other_name_of_this_machine_is_admitted(hosts: list[str]) -> None:
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
def test_no_page_of_another_origin_is_admitted(origins: list[str]) -> None:
    assert not admits(PORT, [HERE], origins, [])


@pytest.mark.parametrize(
    "sites", [[""], ["cross-site"], ["same-site"], ["None"], ["unheard-of"], ["none", "none"], ["none", "cross-site"]]
)
def test_no_request_that_a_page_of_another_site_has_made_is_admitted(sites: list[str]) -> None:
    assert not admits(PORT, [HERE], [], sites)
