"""Starts Chromium: the one installed on the machine, or the one that `make browser` downloads."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from local.deploy import ROOT

FETCHED = ROOT / ".build" / "chromium"
NAMES = ("chromium", "google-chrome", "chromium-browser")
EVIL = "evil.example"
"""The host name of the attacker's web page, which resolves to this machine."""
ARGUMENTS = (
    # Chromium's sandbox does not work as root, as in many containers. The tests open only this project's pages.
    "--no-sandbox",
    # Nobody looks at the picture, and without a GPU it would be drawn by emulating one.
    "--disable-gpu",
    "--disable-software-rasterizer",
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
)


def executable() -> str | None:
    """Return the path of the browser, or None if there is none."""
    fetched = FETCHED / "chromium"
    return str(fetched) if fetched.exists() else next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running() -> Iterator[Browser]:
    """The browser without a window.

    If no browser is installed the test is skipped. If the environment variable `BROWSER` requires one, the test fails.
    """
    path = executable()
    if path is None:
        reason = "the console's tests need Chromium: 'make browser' installs it"
        (pytest.fail if os.environ.get("BROWSER") == "required" else pytest.skip)(reason)
    environment = dict(os.environ)
    if path.startswith(str(FETCHED)):
        # The download includes libraries and a font that a minimal machine lacks.
        environment |= {"LD_LIBRARY_PATH": str(FETCHED / "al2023" / "lib"), "FONTCONFIG_PATH": str(FETCHED / "fonts")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, env={**environment})
        try:
            yield browser
        finally:
            browser.close()
