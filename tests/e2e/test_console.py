"""Tests the local console in a real browser: guide, sending, faults, channels, dead letters, keyboard."""

import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.bot import Bot
from tests.e2e.console import (
    ARRIVAL_MS,
    PHONE,
    SIZES,
    accepted,
    check_accessibility_light_and_dark,
    fits,
    letters,
    message,
    open_request,
    opened,
    pane,
    panel,
    press,
    reads,
    repair,
    row,
    runs,
    send,
    switch,
)
from tests.e2e.runner import Runner, wait_until_ended


@pytest.fixture(autouse=True)
def repaired(bot: Bot) -> Iterator[None]:
    yield
    repair(bot)


@pytest.fixture
def page(browser: Browser, bot: Bot) -> Iterator[Page]:
    with opened(browser, bot.stack["console_url"]) as page:
        yield page


@pytest.mark.parametrize("size", SIZES)
def test_the_consoles_guide_demonstrates_outbox_fallback_redrive_and_take_without_any_scrolling(
    browser: Browser, bot: Bot, size: str
) -> None:
    """The test clicks only elements that the guide points at. All of them are visible: clicking scrolls nothing."""
    with opened(browser, bot.stack["console_url"], SIZES[size], motion="reduce") as page:
        assert page.get_by_role("switch", name="Slow motion").is_checked()
        step, pointed = page.locator("#guide-step"), page.locator(".pointed")

        def follow(number: int, last: str) -> None:
            """In step `number`, click what the guide points at, up to the element `last`, which the caller clicks."""
            expect(step).to_have_text(f"Step {number} of 9", timeout=ARRIVAL_MS)
            for _ in range(4):
                expect(pointed).to_have_count(1)
                expect(pointed).to_be_in_viewport(ratio=0.95)
                # The guide may point at the next element at any moment. Click the one that was examined.
                element = pointed.element_handle()
                if element.evaluate("(element, last) => element.matches(last)", last):
                    return
                element.click()
                page.wait_for_function("last => document.querySelector(`${last}.pointed`)", arg=last)
            raise AssertionError(pointed)

        follow(1, "#send-button")
        page.locator("#send-button").click()
        follow(2, "#producer")
        page.locator("#producer").click()
        expect(step).to_have_text("Step 3 of 9", timeout=ARRIVAL_MS)
        page.locator("#times").select_option("5")
        follow(3, "#send-button")
        page.locator("#send-button").click()
        expect(page.locator("[data-station=outbox] .count")).to_have_text("5 waiting", timeout=ARRIVAL_MS)
        fits(page)
        page.locator("#times").select_option("1")
        follow(4, "#producer")
        page.locator("#producer").click()
        follow(5, "#fault-slack")
        page.locator("#fault-slack").select_option("refusing")
        expect(page.locator("[data-station='arrived:slack']")).to_have_class(re.compile("off"))
        follow(6, "#send-button")
        page.locator("#send-button").click()
        follow(7, "#fault-slack")
        page.locator("#fault-slack").select_option("fine")
        follow(8, "#redrive-all")
        # Other tests leave dead letters too.
        archived = page.locator("#letters > li", has_text="the Slack channel is archived").first
        expect(archived).to_contain_text("A human has it: Email took the message")
        fits(page)
        page.locator("#redrive-all").click()
        follow(9, "#slack button[name]")
        page.locator("#slack button[name].pointed").click()
        expect(step).to_have_text("Done", timeout=ARRIVAL_MS)
        fits(page)


@pytest.mark.parametrize("path", ["docs", "docs/"])
def test_the_api_reference_shows_the_operations_in_a_browser(browser: Browser, bot: Bot, path: str) -> None:
    with browser.new_page() as page:
        page.goto(f"{bot.stack['api_url'].rstrip('/')}/{path}")
        expect(page.get_by_role("heading", name="Assistance requests").first).to_be_visible()
        expect(page.get_by_text("/assistance-requests", exact=True).first).to_be_visible()


def test_the_console_shows_each_step_of_a_request_and_escapes_customer_text(page: Page) -> None:
    typed = '<img src=x onerror="document.title=1"> <!channel> &amp; <script>document.title=1</script>'
    request_id = send(page, "sales", typed)
    reads(page, request_id, "delivered")
    expect(message(page, request_id).locator(".header")).to_have_text("New sales request")
    expect(message(page, request_id).locator(".section")).to_have_text(typed)
    view = open_request(page, request_id)
    expect(view.get_by_role("heading", name=typed)).to_be_visible()
    expect(view.locator(".history")).to_contain_text(re.compile("Accepted.*Published.*Slack: attempt 1 delivered"))
    expect(page.locator("img, main script")).to_have_count(0)
    expect(page).to_have_title("Assistance · local console")


def test_the_consoles_form_sends_every_field_of_a_request_and_the_slack_message_shows_each_field(
    page: Page, bot: Bot
) -> None:
    page.get_by_text("Customer, conversation, key").click()
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_label("Details", exact=True).fill("Plan: Pro: yearly\nSeats: 40\n\nTrial: false\nZip: 01234")
    request_id = send(page, "sales", "Does *40* fit? &amp; :)")
    posted = message(page, request_id)
    expect(posted.locator(".section")).to_have_text("Does *40* fit? &amp; :)")
    for text in ("Anna Example", "Pro: yearly", "40", "false", "01234", "chat-17"):
        expect(posted).to_contain_text(text)
    expect(posted.get_by_role("link", name="anna@example.org")).to_have_attribute("href", "mailto:anna@example.org")
    expect(posted.get_by_role("link", name="+49 30 1234567")).to_have_attribute("href", "tel:+49301234567")
    opens = posted.get_by_role("link", name="Open conversation")
    expect(opens).to_have_attribute("href", "https://app.example.com/conversations/42")
    expect(posted.locator(".context time")).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))
    assert bot.show(request_id)["reference"] == "chat-17"


def test_the_consoles_form_shows_an_error_of_the_api_at_the_field_that_the_error_names(page: Page) -> None:
    page.get_by_label("Description").fill(" ")
    page.get_by_text("Customer, conversation, key").click()
    page.get_by_label("Callback URL").fill("ftp://nowhere")
    page.locator("#send-button").click()
    for label in ("Description", "Callback URL"):
        expect(page.get_by_label(label)).to_have_attribute("aria-invalid", "true", timeout=ARRIVAL_MS)
    expect(page.get_by_label("Description")).to_be_focused()
    expect(page.locator("#description-wrong")).not_to_be_empty()
    expect(page.get_by_label("Callback URL")).to_have_accessible_description(re.compile("."))
    page.get_by_label("Callback URL").fill("")
    send(page, "sales", "Now it can be read")
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_the_console_says_that_five_calls_with_one_idempotency_key_are_one_request(page: Page) -> None:
    page.get_by_text("Customer, conversation, key").click()
    page.get_by_label("Idempotency-Key").fill(str(uuid.uuid4()))
    page.locator("#times").select_option("5")
    page.locator("#send-button").click()
    said = re.compile("^202 Accepted: .{36}, which was accepted before: the same key and payload are one request$")
    expect(page.locator("#sent")).to_have_text(said)


def test_the_console_shows_the_fallback_mail_in_a_sandboxed_frame_after_slack_refused_the_request(
    page: Page, bot: Bot
) -> None:
    switch(page, "Slack", "refusing")
    request_id = send(page, "sales", "<b>by mail</b>")
    reads(page, request_id, "delivered")
    expect(row(page, request_id)).to_contain_text("instead of Slack")
    pane(page, "Email")
    page.get_by_role("button", name="[Sales] <b>by mail</b>").first.click()
    expect(page.get_by_role("heading", name="[Sales] <b>by mail</b>")).to_be_visible()
    frame = page.frame_locator("#body")
    expect(frame.get_by_text("<b>by mail</b>")).to_be_visible()
    expect(frame.get_by_text("the Slack message could not be posted (is_archived)")).to_be_visible()
    assert page.locator("#body").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
    view = open_request(page, request_id)
    expect(view.locator(".reached")).to_contain_text("Reached a human: Email took the message, instead of Slack.")
    expect(view.locator(".history")).to_contain_text(
        re.compile("Published.*failed for good.*is_archived.*Unarchive.*Email: attempt 1 delivered.*as the fallback")
    )
    view.get_by_role("button", name="See it in Email").click()
    expect(page.get_by_role("heading", name="[Sales] <b>by mail</b>")).to_be_visible()


def test_a_link_in_a_mail_shown_by_the_console_opens_a_separate_tab(page: Page, bot: Bot) -> None:
    request_id = bot.post("pricing", "Come in", {"conversation_url": "https://app.example.com/42"})
    bot.until_status(request_id, "delivered")
    page.context.route("https://app.example.com/**", lambda route: route.fulfill(body="the conversation"))
    pane(page, "Email")
    page.get_by_role("button", name="[Pricing] Come in").first.click()
    with page.context.expect_page() as other:
        page.frame_locator("#body").get_by_role("link", name="Open conversation").click()
    expect(other.value.get_by_text("the conversation")).to_be_visible()
    assert other.value.evaluate("window.opener") is None


def test_the_first_person_who_clicks_takes_the_request_and_a_second_person_sees_who_has_taken_it(
    page: Page, bot: Bot
) -> None:
    request_id = send(page, "sales", "Who takes it?")
    press(page, " ", "I'll take it", request_id)
    expect(page.locator("#pressed")).to_have_text("Enter the name of the user who clicks.")
    press(page, "anna", "I'll take it", request_id)
    expect(message(page, request_id)).to_contain_text("Taken by @anna")
    expect(page.locator("#pressed")).to_have_text("@anna has clicked the button.")
    assert bot.show(request_id)["taken"]["by"] == "@anna"
    expect(message(page, request_id).get_by_role("button", name="Release")).to_be_focused()
    expect(row(page, request_id).locator(".taken")).to_have_text("taken by @anna")
    press(page, "ben", "Release", request_id)
    answer = "@anna has this request. They can release it, or an operator can."
    expect(page.locator("#pressed")).to_have_text(f"@ben gets the answer: {answer}")
    expect(message(page, request_id).locator(".whisper")).to_have_text(f"Only @ben sees: {answer}")
    press(page, "anna", "Release", request_id)
    expect(message(page, request_id).get_by_role("button", name="I'll take it")).to_be_focused()
    expect(row(page, request_id).locator(".taken")).to_have_count(0)


def test_the_console_explains_the_retries_of_a_failing_email_channel(page: Page) -> None:
    switch(page, "Email", "failing")
    request_id = send(page, "pricing", "in bad weather")
    reads(page, request_id, "retrying")
    view = open_request(page, request_id)
    expect(view.locator(".reached")).to_contain_text("Not yet: the request waits for Email")
    expect(view.locator(".history")).to_contain_text(
        re.compile("failed, and another follows.*in doubt.*ServiceUnavailable.*Email: next attempt")
    )
    switch(page, "Email", "fine")
    expect(view.locator(".reached")).to_contain_text("Reached", timeout=ARRIVAL_MS)


def test_the_console_reads_the_state_less_often_while_nothing_changes(page: Page) -> None:
    page.wait_for_function(
        """() => {
            const reads = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/api/state"));
            const [before, last] = reads.slice(-2);
            return last?.startTime - before?.startTime > 1_900;
        }"""
    )


def test_a_request_waits_in_the_outbox_while_the_stream_producer_is_stopped(page: Page, bot: Bot) -> None:
    runs(page, "Reconciler", on=False)
    runs(page, "Producer", on=False)
    request_id = send(page, "sales", "patience")
    expect(page.locator("[data-station=outbox] .count")).to_have_text("1 waiting", timeout=ARRIVAL_MS)
    expect(page.locator("[data-station=producer]")).to_contain_text("stopped")
    expect(page.locator("#story")).to_contain_text("1 request in the outbox")
    reads(page, request_id, "accepted")
    assert bot.show(request_id)["status"] == "accepted"
    runs(page, "Producer", on=True)
    runs(page, "Reconciler", on=True)
    reads(page, request_id, "delivered")


def test_requests_are_delivered_after_a_lambda_process_was_killed(page: Page, runner: Runner) -> None:
    reads(page, send(page, "sales", "has a worker start"), "delivered")
    page.get_by_role("button", name="Kill a process of the slack_consumer").click()
    result = page.locator("#switch-result")
    expect(result).to_have_text(re.compile("^Killed process"))
    [pid] = re.findall(r"\d+", result.inner_text())
    wait_until_ended({int(pid)})
    reads(page, send(page, "sales", "has another start"), "delivered")


def test_the_console_shows_the_reason_of_a_dead_letter_and_can_redrive_discard_and_open_dead_letters(
    page: Page,
) -> None:
    for title in ("Slack", "Email"):
        switch(page, title, "refusing")
    request_id = send(page, "pricing", "to nobody")
    pane(page, "Dead letters")
    found = letters(page, "to nobody")
    expect(found).to_have_count(2, timeout=ARRIVAL_MS)
    by_email = found.filter(has_text="Email: SES rejected the mail")
    expect(by_email).to_contain_text("No human has it yet. Email and Slack failed, and dead letters wait")
    expect(by_email).to_contain_text(re.compile("failed .*expires in 13 d"))
    found.filter(has_text="Slack: the Slack channel is archived").get_by_role("button", name="Discard").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This can't be undone.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(found).to_have_count(2)
    found.filter(has_text="Slack: the Slack channel is archived").get_by_role("button", name="Discard").click()
    dialog.get_by_role("button", name="Do it").click()
    expect(page.locator("#dead-result")).to_have_text("1 discarded.", timeout=ARRIVAL_MS)
    expect(found).to_have_count(1, timeout=ARRIVAL_MS)
    by_email.get_by_role("link", name="Open the request").click()
    expect(page).to_have_url(re.compile(f"/requests/{request_id}$"))
    view = page.locator("#request-view")
    expect(view.locator(".reached")).to_contain_text("Reached nobody")
    for title in ("Slack", "Email"):
        switch(page, title, "fine")
    view.get_by_role("button", name="Redrive Email").click()
    expect(view.locator(".reached")).to_contain_text("Reached a human: Email took the message", timeout=ARRIVAL_MS)
    expect(found).to_have_count(0, timeout=ARRIVAL_MS)
    # The button that had the focus is gone.
    expect(page.locator("#request-title")).to_be_focused()


def test_the_console_can_be_used_with_the_keyboard_alone_and_shows_the_keyboard_focus(page: Page) -> None:
    keys = page.keyboard
    page.get_by_label("Description").focus()
    keys.press("ControlOrMeta+a")
    keys.type("typed by hand")
    keys.press("ControlOrMeta+Enter")
    request_id = accepted(page)
    reads(page, request_id, "delivered")
    # Each clickable element (one per group of radio buttons) gets the focus, and the focus is visible.
    controls = page.locator(
        ":is(button, a, select, textarea, input:not([type=radio]), input:checked, summary, [tabindex='0']):visible"
    )
    left = ["nothing tried yet"]
    # New elements, such as a dead letter, may appear meanwhile. Further rounds reach them, but not an element that no
    # key can reach.
    for _ in range(3):
        for _ in range(2 * controls.count() if left else 0):
            keys.press("Tab")
            element = page.evaluate_handle("document.activeElement")
            if element.evaluate("e => e === document.body"):
                continue  # the focus has left the page, and begins again at its first element
            assert element.evaluate("e => e.tagName === 'IFRAME' || getComputedStyle(e).outlineStyle !== 'none'"), (
                element
            )
            element.evaluate("e => { e.reached = true }")
        left = controls.evaluate_all("all => all.filter(e => !e.reached).map(e => e.outerHTML)")
    assert left == []
    row(page, request_id).focus()
    keys.press("Enter")
    expect(page.locator("#request-title")).to_be_focused()


def test_the_console_breaks_no_accessibility_rule_in_the_light_and_in_the_dark_colour_scheme(
    browser: Browser, bot: Bot
) -> None:
    with opened(browser, bot.stack["console_url"], motion="reduce") as page:
        page.get_by_text("Customer, conversation, key").click()
        taken = send(page, "sales", "for one to take")
        press(page, "anna", "I'll take it", taken)
        press(page, "ben", "Release", taken)
        message(page, taken).locator(".whisper").wait_for()
        switch(page, "Slack", "refusing")
        request_id = send(page, "sales", "for all to read")
        reads(page, request_id, "delivered")
        check_accessibility_light_and_dark(page)
        moving = (
            "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s' || "
            "getComputedStyle(e).animationName !== 'none').length"
        )
        assert page.evaluate(moving) == 0
        open_request(page, request_id)
        pane(page, "Dead letters")
        letters(page, "for all to read").first.wait_for()
        check_accessibility_light_and_dark(page)
        pane(page, "Email")
        page.set_viewport_size(PHONE)
        for name in ("Send", "Requests", "Received", "Dead letters"):
            panel(page, name)
            check_accessibility_light_and_dark(page)
            fits(page)
