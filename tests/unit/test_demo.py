"""Tests the frames in which `make run` and `make demo` print messages."""

from local.demo import WIDTH, framed


def test_a_link_longer_than_a_line_is_printed_unbroken() -> None:
    link = "https://127.0.0.1:4566/take/" + "x" * 2 * WIDTH
    assert link in framed("Email", f"Take it here: {link} now.")
