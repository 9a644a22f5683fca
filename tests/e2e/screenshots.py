"""Takes the pictures in docs/images: the console after a short play with it, in light and in dark."""

import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize

from local.deploy import ROOT
from tests.e2e import browser as browsers
from tests.e2e.runner import Runner
from tests.e2e.test_console import Scheme, reads, request, send, switch

PICTURES: dict[str, Scheme] = {"console.png": "light", "console-dark.png": "dark"}
IMAGES = ROOT / "docs" / "images"
# All of the page: a frame that is out of sight is not painted.
SIZE: ViewportSize = {"width": 1280, "height": 2280}


def main() -> None:
    """Play, and take them."""
    with tempfile.TemporaryDirectory() as directory:
        runner = Runner(Path(directory))
        try:
            take(runner.running()["console_url"])
        finally:
            runner.close()


def take(console_url: str) -> None:
    """What is pictured: a delivery, a fallback, a dead letter and a retry."""
    IMAGES.mkdir(exist_ok=True)
    with browsers.running() as browser:
        page = browser.new_page(viewport=SIZE, device_scale_factor=1, reduced_motion="reduce")
        page.set_default_timeout(60_000)
        page.goto(console_url)
        page.get_by_text("Live", exact=True).wait_for()
        reads(page, send(page, "sales", "A customer asks for a quote for 40 seats."), "delivered")
        switch(page, "Slack", "refusing")
        reads(page, send(page, "sales", "Does the *team* plan include support?"), "delivered")
        switch(page, "Email", "refusing")
        reads(page, send(page, "pricing", "What does the yearly plan cost?"), "failed")
        switch(page, "Email", "fine")
        switch(page, "Slack", "failing")
        retried = send(page, "sales", "Can someone call me back today?")
        reads(page, retried, "retrying")
        request(page, retried).locator("summary").click()
        page.locator("#letters > tr").first.wait_for()
        page.frame_locator("#body").get_by_text("Does the").first.wait_for()
        page.evaluate("document.activeElement.blur()")
        for name, scheme in PICTURES.items():
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
