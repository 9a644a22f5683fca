"""The console in a real browser, against the running stack."""

import re
from collections.abc import Iterator
from typing import Literal, get_args
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e import browser as browsers
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner, gone

Motion = Literal["no-preference", "reduce"]
Scheme = Literal["light", "dark"]
ARRIVAL_MS = 60_000
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "iframes": False}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as started:
        yield started


@pytest.fixture
def page(browser: Browser, bot: Bot) -> Iterator[Page]:
    yield from opened(browser, bot)


def opened(browser: Browser, bot: Bot, scheme: Scheme = "light", motion: Motion = "no-preference") -> Iterator[Page]:
    """The console, which must neither fail nor violate its own policy. Everything is mended afterwards."""
    context = browser.new_context(color_scheme=scheme, reduced_motion=motion)
    context.set_default_timeout(ARRIVAL_MS)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(bot.stack["console_url"])
    page.get_by_text("Live", exact=True).wait_for()
    try:
        yield page
    finally:
        context.close()
        for channel in ("slack", "email"):
            bot.console("POST", "/api/fault", {"channel": channel, "kind": "fine"})
    assert problems == []


def switch(page: Page, provider: str, how: str) -> None:
    page.get_by_role("group", name=f"{provider} is").get_by_label(how).check()
    page.get_by_text(f"{provider} is {how} now.").wait_for()


def runs(page: Page, name: str, *, on: bool) -> None:
    page.get_by_role("switch", name=name).set_checked(on)
    page.get_by_text(re.compile(f"The {name.lower()} {'runs' if on else 'is stopped'}\\.")).wait_for()


def send(page: Page, topic: str, description: str) -> str:
    """The id of the request that was accepted."""
    page.get_by_role("radio", name=re.compile(topic)).check()
    page.get_by_label("Description").fill(description)
    said_before = page.locator("#sent").inner_text()
    page.get_by_role("button", name="Send").click()
    return accepted(page, said_before)


def accepted(page: Page, said_before: str = "") -> str:
    said = page.locator("#sent")
    expect(said).not_to_have_text(said_before)
    expect(said).to_have_text(re.compile("^202 Accepted: .{36}"), timeout=ARRIVAL_MS)
    return said.inner_text().removeprefix("202 Accepted: ")


def request(page: Page, request_id: str) -> Locator:
    """The request in the list."""
    return page.locator("#requests > li").filter(has_text=request_id)


def message(page: Page, request_id: str) -> Locator:
    """The request's message in Slack, once it is there."""
    found = page.locator("#slack > li").filter(has_text=request_id)
    found.wait_for()
    return found


def reads(page: Page, request_id: str, status: str) -> None:
    expect(request(page, request_id).locator(".badge")).to_have_text(status, timeout=ARRIVAL_MS)


def test_a_request_is_seen_to_its_slack_message_and_what_the_customer_typed_stays_text(page: Page) -> None:
    typed = '<img src=x onerror="document.title=1"> <!channel> &amp; <script>document.title=1</script>'
    request_id = send(page, "sales", typed)
    reads(page, request_id, "delivered")
    expect(message(page, request_id).locator(".header")).to_have_text("New sales request")
    expect(message(page, request_id).locator(".section")).to_have_text(typed)
    shown = request(page, request_id)
    shown.locator("summary").click()
    expect(shown.locator(".steps")).to_contain_text(re.compile("accepted.*published.*slack: attempt 1, delivered"))
    expect(page.locator("img, main script")).to_have_count(0)
    expect(page).to_have_title("Assistance · local console")


def test_what_a_bot_says_about_its_customer_is_seen_as_slack_shows_it(page: Page, bot: Bot) -> None:
    customer = {"name": "Anna Example", "email": "anna@example.org", "phone": "+49 30 1234567"}
    said = {"customer": customer, "conversation_url": "https://app.example.com/42?a=1&b=2", "details": {"Plan": "Pro"}}
    body = {"topic": "sales", "description": "Does *40* fit? &amp; :)", **said}
    request_id = bot.call("POST", "/assistance-requests", body).json["id"]
    bot.until_status(request_id, "delivered")
    posted = message(page, request_id)
    expect(posted.locator(".section")).to_have_text("Does *40* fit? &amp; :)")
    expect(posted.get_by_role("link", name="anna@example.org")).to_have_attribute("href", "mailto:anna@example.org")
    expect(posted.get_by_role("link", name="+49 30 1234567")).to_have_attribute("href", "tel:+49301234567")
    opens = posted.get_by_role("link", name="Open conversation")
    expect(opens).to_have_attribute("href", "https://app.example.com/42?a=1&b=2")
    expect(posted.locator(".fields")).to_contain_text("Pro")
    expect(posted.locator(".context")).to_contain_text(re.compile("Today, .*[0-9]:[0-9]"))


def test_what_slack_refuses_comes_as_a_mail_that_can_do_nothing(page: Page, bot: Bot) -> None:
    switch(page, "Slack", "refusing")
    request_id = send(page, "sales", "<b>by mail</b>")
    reads(page, request_id, "delivered")
    expect(request(page, request_id)).to_contain_text("by email: slack failed")
    page.get_by_role("button", name="[Sales] <b>by mail</b>").first.click()
    expect(page.get_by_role("heading", name="[Sales] <b>by mail</b>")).to_be_visible()
    frame = page.frame_locator("#body")
    expect(frame.get_by_text("<b>by mail</b>")).to_be_visible()
    expect(frame.get_by_text("the Slack message could not be posted (is_archived)")).to_be_visible()
    assert page.locator("#body").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
    message_id = bot.mails(request_id)[0]["MessageId"]
    alone = bot.console("GET", f"/mail/{quote(message_id)}")
    assert alone.headers["content-security-policy"].endswith("; sandbox allow-popups allow-popups-to-escape-sandbox")


def test_a_mail_s_link_opens_a_tab_of_its_own(page: Page, bot: Bot) -> None:
    request_id = bot.post("pricing", "Come in", {"conversation_url": "https://app.example.com/42"})
    bot.until_status(request_id, "delivered")
    page.context.route("https://app.example.com/**", lambda route: route.fulfill(body="the conversation"))
    page.get_by_role("button", name="[Pricing] Come in").first.click()
    with page.context.expect_page() as opened:
        page.frame_locator("#body").get_by_role("link", name="Open conversation").click()
    expect(opened.value.get_by_text("the conversation")).to_be_visible()
    assert opened.value.evaluate("window.opener") is None
    expect(page.get_by_role("heading", name="[Pricing] Come in")).to_be_visible()


def press(page: Page, user: str, button: str, request_id: str) -> None:
    page.get_by_label("Whoever presses is").fill(user)
    of_request = page.locator(f"[value^='{request_id}']")
    message(page, request_id).get_by_role("button", name=button).and_(of_request).click()


def test_the_first_who_presses_has_the_request_and_the_second_is_told(page: Page, bot: Bot) -> None:
    request_id = send(page, "sales", "Who takes it?")
    press(page, "anna", "I'll take it", request_id)
    expect(message(page, request_id)).to_contain_text(re.compile("Taken by @anna, .*[0-9]:[0-9]"))
    expect(page.locator("#pressed")).to_have_text("@anna has pressed it.")
    assert bot.show(request_id)["taken"]["by"] == "@anna"
    expect(message(page, request_id).get_by_role("button", name="Release")).to_be_focused()
    expect(request(page, request_id).locator(".taken")).to_have_text("taken by @anna")
    press(page, "ben", "Release", request_id)
    told = "@anna has this request. They can release it, or an operator can."
    expect(page.locator("#pressed")).to_have_text(f"@ben is told: {told}")
    expect(message(page, request_id).locator(".whisper")).to_have_text(f"Only @ben sees: {told}")
    press(page, "anna", "Release", request_id)
    expect(message(page, request_id).get_by_role("button", name="I'll take it")).to_be_focused()
    expect(request(page, request_id).locator(".taken")).to_have_count(0)
    assert "taken" not in bot.show(request_id)


def test_nobody_presses_without_a_name(page: Page) -> None:
    request_id = send(page, "sales", "Whoever you are")
    press(page, " ", "I'll take it", request_id)
    expect(page.locator("#pressed")).to_have_text("Say who presses it.")
    expect(message(page, request_id)).not_to_contain_text("Taken by")


def test_the_form_sends_all_that_a_bot_may_say(page: Page, bot: Bot) -> None:
    page.get_by_text("The customer and the conversation").click()
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_label("Details", exact=True).fill("Plan: Pro: yearly\nSeats: 40\n\nTrial: false\nZip: 01234")
    request_id = send(page, "sales", "With everything")
    for text in (
        "Anna Example",
        "anna@example.org",
        "+49 30 1234567",
        "Pro: yearly",
        "40",
        "false",
        "01234",
        "chat-17",
    ):
        expect(message(page, request_id)).to_contain_text(text)
    expect(message(page, request_id).get_by_role("link", name="Open conversation")).to_be_visible()
    assert bot.show(request_id)["reference"] == "chat-17"


def test_what_both_refuse_is_a_dead_letter_until_it_is_redriven(page: Page) -> None:
    for provider in ("Slack", "Email"):
        switch(page, provider, "refusing")
    request_id = send(page, "pricing", "to nobody")
    letters = page.locator("#letters > tr").filter(has_text=request_id)
    expect(letters).to_have_count(2, timeout=ARRIVAL_MS)
    expect(letters.filter(has_text="MessageRejected")).to_have_count(1)
    reads(page, request_id, "failed")
    for provider in ("Slack", "Email"):
        switch(page, provider, "fine")
    page.get_by_role("button", name=f"Redrive {request_id} on email").click()
    reads(page, request_id, "delivered")
    expect(page.locator("#redriven")).to_have_text("1 redriven.")
    expect(letters).to_have_count(1, timeout=ARRIVAL_MS)


def test_what_email_does_on_a_bad_day_is_retried(page: Page) -> None:
    switch(page, "Email", "rate-limited")
    request_id = send(page, "pricing", "in bad weather")
    expect(request(page, request_id)).to_contain_text(
        "email: next attempt, turned away (TooManyRequestsException)", timeout=ARRIVAL_MS
    )
    switch(page, "Email", "failing")
    in_doubt = send(page, "pricing", "in worse weather")
    expect(request(page, in_doubt)).to_contain_text("ServiceUnavailable, in doubt", timeout=ARRIVAL_MS)
    switch(page, "Email", "fine")
    reads(page, request_id, "delivered")


def test_without_its_producer_a_request_waits_in_the_outbox(page: Page, bot: Bot) -> None:
    runs(page, "Reconciler", on=False)
    runs(page, "Stream producer", on=False)
    try:
        request_id = send(page, "sales", "patience")
        expect(page.locator("[data-station=outbox] .count")).to_have_text("1 waiting", timeout=ARRIVAL_MS)
        expect(page.locator("[data-station=producer]")).to_contain_text("stopped")
        expect(page.locator("#story")).to_contain_text("1 request in the outbox")
        reads(page, request_id, "accepted")
        assert bot.show(request_id)["status"] == "accepted"
    finally:
        runs(page, "Stream producer", on=True)
        runs(page, "Reconciler", on=True)
    reads(page, request_id, "delivered")


def test_a_worker_is_killed(page: Page, runner: Runner) -> None:
    reads(page, send(page, "sales", "has a worker start"), "delivered")
    page.get_by_label("Worker process").select_option("slack_consumer")
    page.get_by_role("button", name="Kill one").click()
    said = page.locator("#done")
    expect(said).to_have_text(re.compile("^Killed process"))
    [pid] = re.findall(r"\d+", said.inner_text())
    gone({int(pid)})
    reads(page, send(page, "sales", "has another start"), "delivered")


def test_everything_can_be_reached_and_done_by_keyboard_and_the_focus_is_seen(page: Page) -> None:
    keys = page.keyboard
    keys.press("Tab")
    keys.press("Enter")  # the link that skips to the form
    keys.press("Tab")
    keys.press("ArrowRight")
    expect(page.get_by_role("radio", name=re.compile("pricing"))).to_be_checked()
    keys.press("Tab")
    keys.press("ControlOrMeta+a")
    keys.type("typed by hand")
    keys.press("ControlOrMeta+Enter")
    request_id = accepted(page)
    reads(page, request_id, "delivered")
    # What can be done with a pointer, a group of radio buttons being one, has its turn and is seen to have it.
    controls = page.locator(
        ":is(button, a, select, textarea, input:not([type=radio]), input:checked, summary, [tabindex='0']):visible"
    )
    left = ["nothing tried yet"]
    # Another round for what has come meanwhile, such as a dead letter. What no key reaches stays unreached.
    for _ in range(3):
        for _ in range(2 * controls.count() if left else 0):
            keys.press("Tab")
            element = page.evaluate_handle("document.activeElement")
            if element.evaluate("e => e === document.body"):
                continue  # round once more
            assert element.evaluate("e => e.tagName === 'IFRAME' || getComputedStyle(e).outlineStyle !== 'none'"), (
                element
            )
            element.evaluate("e => { e.reached = true }")
        left = controls.evaluate_all("all => all.filter(e => !e.reached).map(e => e.outerHTML)")
    assert left == []


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_no_rule_of_accessibility_is_broken(browser: Browser, bot: Bot, scheme: Scheme) -> None:
    for page in opened(browser, bot, scheme, "reduce"):
        page.get_by_text("The customer and the conversation").click()
        taken = send(page, "sales", "for one to take")
        press(page, "anna", "I'll take it", taken)
        press(page, "ben", "Release", taken)
        message(page, taken).locator(".whisper").wait_for()
        switch(page, "Slack", "refusing")
        request_id = send(page, "sales", "for all to read")
        reads(page, request_id, "delivered")
        page.locator("#letters > tr").first.wait_for()
        request(page, request_id).locator("summary").click()
        moving = (
            "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
        )
        assert page.evaluate(moving) == 0
        found = Axe().run(page, options=WCAG)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Console": ""},
        {"X_Console": "1"},
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
def test_the_console_refuses_acts_of_foreign_pages_and_without_the_token(bot: Bot, headers: dict[str, str]) -> None:
    assert bot.console("POST", "/api/producer", {"on": False}, **headers).status == 403
    [mapping] = [
        each
        for each in bot.lambda_.list_event_source_mappings()["EventSourceMappings"]
        if ":dynamodb:" in each["EventSourceArn"]
    ]
    assert mapping["State"] == "Enabled"


@pytest.mark.parametrize("path", ["/", "/api/state"])
def test_no_other_name_leads_to_it(bot: Bot, path: str) -> None:
    assert bot.console("GET", path).status == 200
    assert bot.console("GET", path, Host="evil.example").status == 403


def test_the_page_shows_nothing_of_the_stack_without_the_token(bot: Bot, browser: Browser) -> None:
    answer = bot.console("GET", "/api/state", X_Console="guessed")
    assert (answer.status, list(answer.json)) == (403, ["error"])
    page = browser.new_page()
    page.goto(bot.stack["console_url"].partition("#")[0])
    expect(page.locator("#connection")).to_have_text(
        "open the address that 'make run' has printed, with the token at its end; stack.json has it as console_url"
    )
    # Neither does it say that there are no requests and no dead letters.
    expect(page.locator("main")).to_be_hidden()
    page.close()


def test_a_tab_takes_the_next_runs_token_and_removes_it_from_the_address(bot: Bot, browser: Browser) -> None:
    address, _, token = bot.stack["console_url"].partition("#")
    page = browser.new_page()
    page.goto(f"{address}#token=of-the-run-before")
    expect(page.locator("#connection")).to_have_class("lost")
    page.goto(f"{address}#{token}")  # no new page is loaded
    page.get_by_text("Live", exact=True).wait_for()
    assert page.url == address
    page.reload()
    page.get_by_text("Live", exact=True).wait_for()
    page.close()


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"topic": "sales", "description": ' + b"[" * 60_000, b"\xff", b""])
def test_an_act_with_unreadable_arguments_gets_400(bot: Bot, body: bytes) -> None:
    assert bot.console("POST", "/api/send", body).status == 400
