"""Tests the frames in which `make run` and `make demo` print messages."""

from local.demo import WIDTH, framed


def test_make_demo_prints_a_link_longer_than_the_line_width_without_a_line_break() -> None:
    link = "https://127.0.0.1:4566/take/" + "x" * 2 * WIDTH
    assert link in framed("Email", f"Take it here: {link} now.")
