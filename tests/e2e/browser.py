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


def executable() -> str | None:
    """Return the path of the browser, or None if there is none."""
    fetched = FETCHED / "chromium"
    return str(fetched) if fetched.exists() else next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running(*arguments: str) -> Iterator[Browser]:
    """The browser without a window, started with these command-line arguments.

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
        # Chromium's sandbox does not work as root, as in many containers. The tests open only this project's pages.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", *arguments], env={**environment}
        )
        try:
            yield browser
        finally:
            browser.close()
