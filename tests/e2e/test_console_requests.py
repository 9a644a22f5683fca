"""Tests the console in a real browser: request views, search, added channels, a deployed stage, access."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from tests.e2e.bot import Bot
from tests.e2e.console import (
    ARRIVAL_MS,
    PHONE,
    SIZES,
    check_accessibility,
    console_of,
    fits,
    letters,
    message,
    open_request,
    opened,
    panel,
    repair,
    row,
)


@pytest.fixture
def page(browser: Browser, bot: Bot) -> Iterator[Page]:
    with opened(browser, bot.stack["console_url"]) as page:
        yield page


@contextmanager
def dead(bot: Bot, description: str) -> Iterator[str]:
    """Create a request that failed on Slack, with a dead letter, and was delivered by its fallback. Yields its id."""
    bot.console("POST", "/api/fault", {"channel": "slack", "kind": "refusing"})
    try:
        request_id = bot.post("sales", description)
        bot.until_status(request_id, "delivered")
    finally:
        repair(bot)
    yield request_id


def test_the_view_of_a_request_has_a_reloadable_url_and_a_copyable_api_call(page: Page, bot: Bot) -> None:
    said = {"reference": "it's 17", "customer": {"name": "Anna"}, "details": {"Seats": 40}}
    request_id = bot.post("sales", "It's a 'quoted' \"text\"", said)
    bot.until_status(request_id, "delivered")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("searchbox").fill("it's 17")
    expect(page).to_have_url(re.compile(r"\?q=it"))
    view = open_request(page, request_id)
    page.reload()
    expect(view.get_by_role("heading", name="It's a 'quoted'")).to_be_visible()
    expect(view.locator(".reached")).to_contain_text("Reached a human: Slack took the message.")
    view.get_by_role("button", name="Copy id").click()
    expect(view.locator("#request-result")).to_have_text("Copied the id.")
    assert page.evaluate("navigator.clipboard.readText()") == request_id
    view.get_by_role("button", name="Copy as curl").click()
    expect(view.locator("#request-result")).to_have_text("Copied the call.")
    pasted = subprocess.run(
        ["sh", "-c", page.evaluate("navigator.clipboard.readText()")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    again = bot.until_status(json.loads(pasted.stdout.rpartition("\n")[2])["id"], "delivered")
    assert again["reference"] == "it's 17"
    page.goto(page.url.replace(request_id, "00000000-0000-7000-8000-000000000000"))
    expect(page.get_by_role("heading", name="No such request")).to_be_visible()


def test_the_console_shows_a_right_to_left_sentence_with_its_full_stop_at_the_left(page: Page, bot: Bot) -> None:
    said = "\u05d0\u05e0\u05d9 \u05e6\u05e8\u05d9\u05da \u05e2\u05d6\u05e8\u05d4."
    request_id = bot.post("sales", said)
    bot.until_status(request_id, "delivered")
    shown = [row(page, request_id).locator(".text"), message(page, request_id).locator(".section").first]
    left_of_first_and_last = """element => {
        const range = document.createRange(), text = element.firstChild;
        return [0, text.length - 1].map(at => {
            range.setStart(text, at);
            range.setEnd(text, at + 1);
            return range.getBoundingClientRect().left;
        });
    }"""
    for element in shown:
        first, last = element.evaluate(left_of_first_and_last)
        assert last < first
    first, last = open_request(page, request_id).get_by_role("heading", name=said).evaluate(left_of_first_and_last)
    assert last < first


@pytest.mark.parametrize("size", SIZES)
def test_the_view_of_a_request_with_the_longest_description_shows_its_history_after_scrolling(
    browser: Browser, bot: Bot, size: str
) -> None:
    request_id = bot.post("sales", "word " * 799 + "end")
    bot.until_status(request_id, "delivered")
    with opened(browser, bot.stack["console_url"], SIZES[size]) as page:
        view = open_request(page, request_id)
        for found in (view.get_by_text("Published: from the outbox"), view.get_by_role("button", name="Copy id")):
            found.scroll_into_view_if_needed()
            expect(found).to_be_in_viewport(ratio=1)
        fits(page)


def test_a_request_can_be_taken_released_and_resent_in_the_consoles_view_of_the_request(page: Page, bot: Bot) -> None:
    request_id = bot.post("sales", "Once more")
    bot.until_status(request_id, "delivered")
    view = open_request(page, request_id)
    view.get_by_role("button", name="Take").click()
    expect(view.locator("#request-result")).to_have_text("Not done: enter the name of the person who takes it.")
    view.get_by_label("Who takes it").fill("Anna")
    view.get_by_role("button", name="Take").click()
    expect(view.locator(".reached")).to_contain_text("Anna handles it.")
    expect(view.get_by_role("button", name="Release")).to_be_focused()
    view.get_by_role("button", name="Release").click()
    expect(view.locator(".history")).to_contain_text(re.compile("Taken by Anna, via operator.*Released"))
    view.get_by_role("button", name="Resend").click()
    expect(view.locator(".history")).to_contain_text("a resend by an operator", timeout=ARRIVAL_MS)
    assert bot.until(request_id, lambda shown: len(shown["deliveries"]) > 1)


def test_a_change_of_the_request_keeps_the_channel_that_the_user_has_chosen_for_a_resend(page: Page, bot: Bot) -> None:
    request_id = bot.post("sales", "By which channel?")
    bot.until_status(request_id, "delivered")
    view = open_request(page, request_id)
    channel = view.get_by_label("Channel to resend by")
    expect(channel).to_have_value("slack")
    channel.select_option("email")
    bot.console("POST", "/api/take", {"id": request_id, "name": "Ben"})
    expect(view.locator(".reached")).to_contain_text("Ben handles it.")
    expect(channel).to_have_value("email")


def test_the_history_of_a_request_has_room_for_the_time_of_an_event_days_later(page: Page, bot: Bot) -> None:
    request_id = bot.post("sales", "Redriven after days")
    bot.until_status(request_id, "delivered")
    accepted = datetime.fromisoformat(bot.show(request_id)["created_at"])

    def later(document: Any) -> None:  # noqa: ANN401
        event = document["events"][-1]
        for time in (timedelta(minutes=17), timedelta(hours=5, minutes=15), timedelta(days=13, hours=23)):
            document["events"].append({**event, "at": (accepted + time).isoformat()})

    page.route("**/api/requests/*", lambda route: changed(route, later))
    times = open_request(page, request_id).locator(".history time")
    expect(times.nth(-3)).to_have_text("+17.0 min")
    expect(times.nth(-2)).to_have_text("+5.3 h")
    expect(times.nth(-1)).to_have_text("+14.0 d")
    assert times.evaluate_all("all => all.filter(each => each.scrollWidth > each.clientWidth).length") == 0
    page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("size", SIZES)
def test_a_details_long_label_leaves_room_for_the_values(browser: Browser, bot: Bot, size: str) -> None:
    request_id = bot.post("sales", "With a long label", {"details": {"L" * 60: "40"}})
    with opened(browser, bot.stack["console_url"], SIZES[size]) as page:
        facts = open_request(page, request_id).locator(".facts")
        widths = facts.evaluate("each => [each.clientWidth, each.querySelector('dd').clientWidth]")
        assert widths[1] > widths[0] / 2


def test_the_console_does_not_say_that_an_action_without_an_answer_failed(browser: Browser, bot: Bot) -> None:
    request_id = bot.post("sales", "Taken, but by whom?")
    bot.until_status(request_id, "delivered")

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page = browser.new_page()
    page.goto(bot.stack["console_url"])
    view = open_request(page, request_id)
    page.route("**/api/take", lose_the_answer)
    view.get_by_label("Who takes it").fill("Anna")
    view.get_by_role("button", name="Take").click()
    answer = "The console has not answered: perhaps it has done this, perhaps not."
    expect(view.locator("#request-result")).to_have_text(answer)
    expect(view.locator(".reached")).to_contain_text("Anna handles it.")
    page.close()


def test_a_request_delivered_by_a_channel_that_is_no_longer_deployed_can_be_resent_by_another(
    page: Page, bot: Bot
) -> None:
    request_id = bot.post("sales", "By a pager")
    bot.until_status(request_id, "delivered")
    by_pager = {"channel": "pager"}
    page.route("**/api/requests/*", lambda route: changed(route, lambda it: it["deliveries"][0].update(by_pager)))
    view = open_request(page, request_id)
    expect(view.get_by_label("Channel to resend by")).to_have_value("slack")
    view.get_by_role("button", name="Resend").click()
    expect(view.locator("#request-result")).to_have_text("A resend by slack is in the outbox.")
    page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("size", [{"width": 640, "height": 400}, {"width": 844, "height": 390}], ids=str)
def test_a_zoomed_laptop_and_a_phone_on_its_side_show_the_panel_that_the_user_chooses_and_no_other(
    browser: Browser, bot: Bot, size: ViewportSize
) -> None:
    panels = {"Send": "#send-panel", "Requests": "#requests-panel", "Received": "#side-panel"}
    with opened(browser, bot.stack["console_url"], size) as page:
        for name, chosen in panels.items():
            panel(page, name)
            for each in panels.values():
                expect(page.locator(each)).to_be_visible(visible=each == chosen)


@pytest.mark.parametrize(
    "how", [{"modifiers": ["ControlOrMeta"]}, {"modifiers": ["Shift"]}, {"button": "middle"}], ids=str
)
def test_a_request_can_be_opened_in_another_tab(page: Page, bot: Bot, how: dict[str, Any]) -> None:
    request_id = bot.post("sales", "For another tab")
    with page.context.expect_page() as other:
        row(page, request_id).click(**how)
    expect(other.value.get_by_role("heading", name="For another tab")).to_be_visible()
    expect(page.locator("#request-view")).to_be_hidden()
    assert page.context.pages == [page, other.value]


def test_the_request_list_of_the_console_can_be_searched_filtered_and_paged_and_is_ordered_newest_first(
    page: Page, bot: Bot
) -> None:
    ids = [bot.post("pricing" if number % 2 else "sales", f"many of {number}") for number in range(28)]
    page.get_by_role("searchbox").fill("MANY OF")
    rows, older = page.locator("#requests > li"), page.get_by_role("link", name="Older")
    # Without the search, the list looks the same: only its link shows that the search is done.
    expect(older).to_have_attribute("href", re.compile(f"q=MANY.*{ids[3]}"))
    expect(rows).to_have_count(25)
    expect(rows.first).to_contain_text("many of 27")
    older.click()
    expect(rows).to_have_count(3)
    page.reload()
    expect(rows).to_have_count(3)
    expect(row(page, ids[0])).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    expect(rows).to_have_count(25)
    page.get_by_label("Topic", exact=True).and_(page.locator("select")).select_option("sales")
    expect(rows).to_have_count(14)
    page.get_by_label("Channel", exact=True).and_(page.locator("select")).select_option("email")
    expect(rows).to_have_count(0)
    # If other tests have sent hundreds of requests to this stack, one search does not reach the oldest.
    expect(page.locator("#no-requests")).to_have_text(
        re.compile("^No request matches(: remove a filter, or shorten the search text| so far.*)[.]$")
    )
    page.get_by_role("searchbox").fill(ids[3])
    expect(rows).to_have_count(1)


def test_a_response_to_an_earlier_search_is_not_shown_as_the_result_of_the_present_search(page: Page) -> None:
    held: list[Route] = []
    calls = re.compile(r"/state\?")
    page.route(calls, lambda route: held.append(route))  # noqa: PLW0108 # Playwright sets attributes of it
    with page.expect_request(calls):
        pass
    page.get_by_role("searchbox").fill("nobody wrote this")
    expect(page).to_have_url(re.compile("q=nobody"))
    with page.expect_request(re.compile(r"/state\?.*q=nobody")):
        held[0].continue_()
    expect(page.locator("#searched")).to_be_empty()
    page.unroute(calls)  # which lets the held calls continue
    expect(page.locator("#searched")).to_contain_text("searched")


def test_a_response_that_arrives_after_the_filter_was_changed_does_not_reset_the_filter(page: Page, bot: Bot) -> None:
    bot.post("pricing", "of another topic")
    request_id = bot.post("sales", "of the chosen topic")
    expect(row(page, request_id)).to_be_visible()
    page.evaluate(
        """async () => {
            const { showList } = await import(new URL("/list.js", location.href).href);
            const topic = document.querySelector("#filters [name=topic]");
            topic.value = "sales";
            topic.dispatchEvent(new Event("input", { bubbles: true }));
            showList({ requests: [], next: null, unreadable: [] });
        }"""
    )
    page.wait_for_url("**/?topic=sales")
    expect(page.locator("#requests .topic", has_text="pricing")).to_have_count(0)
    expect(row(page, request_id)).to_be_visible()


def test_an_empty_page_of_older_requests_does_not_say_that_there_are_no_requests_yet(page: Page) -> None:
    page.evaluate("history.pushState(null, '', '/?status=failed&before=2026-01-01T00:00:00.000Z')")
    expect(page.locator("#no-requests")).to_contain_text("No older request matches:")
    page.evaluate("history.pushState(null, '', '/?before=2026-01-01T00:00:00.000Z')")
    expect(page.locator("#no-requests")).to_have_text("There is no older request.")
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("#no-requests")).to_be_hidden()


def test_going_back_to_another_search_changes_the_filter_that_has_the_focus(page: Page) -> None:
    status = page.get_by_label("Status")
    page.evaluate("history.pushState(null, '', '/?status=delivered')")
    status.focus()
    status.select_option("failed")
    expect(page).to_have_url(re.compile("status=failed"))
    page.go_back()
    expect(status).to_have_value("")


def changed(route: Route, change: Any) -> None:  # noqa: ANN401
    answer = route.fetch()
    document = answer.json()
    change(document)
    route.fulfill(response=answer, json=document)


def test_the_console_separates_how_far_it_searched_from_how_many_requests_it_cannot_read(page: Page) -> None:
    page.route("**/api/state*", lambda route: changed(route, lambda it: it["page"].update(unreadable=["a", "b"])))
    searched = page.locator("#searched")
    expect(searched).to_have_text("2 requests can't be read: 'assistance list' names them")
    page.get_by_role("searchbox").fill("nobody")
    expect(searched).to_have_text(re.compile("^searched .*(now|ago); 2 requests can't be read"))
    page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("size", SIZES)
def test_every_view_of_the_console_shows_an_additional_channel_and_none_shows_a_channel_not_deployed(
    browser: Browser, bot: Bot, size: str
) -> None:
    """The console derives each view from the channels of the stack: here without Slack, and with an additional one."""
    pager = {"name": "pager", "title": "Pager", "human": True}

    def stage(document: Any) -> None:  # noqa: ANN401
        document["destinations"] = [
            pager,
            *(destination for destination in document["destinations"] if destination["name"] != "slack"),
        ]
        document["routes"] = {"support": {"channels": ["pager"], "fallback": "email"}}

    def state(document: Any) -> None:  # noqa: ANN401
        for name in ("queues", "dead"):
            document[name]["pager"] = document[name].pop("slack")
        document["moving"] = document["page"]["requests"] = []
        document["switches"]["faults"] = {"pager": "failing", "email": "fine"}
        document["switches"]["workers"]["pager_consumer"] = document["switches"]["workers"].pop("slack_consumer")
        post = {"id": 0, "at": 0, "card": None, "texts": ["Ring!", "<b>40 seats</b>"], "body": {"text": "Ring!"}}
        document["panes"] = [
            {"channel": "pager", "title": "Pager", "kind": "webhook", "posts": [post]},
            *(each for each in document["panes"] if each["kind"] == "mail"),
        ]

    context = browser.new_context(viewport=SIZES[size], reduced_motion="reduce")
    page = context.new_page()
    page.route("**/api/stage", lambda route: changed(route, stage))
    page.route("**/api/state*", lambda route: changed(route, state))
    page.goto(bot.stack["console_url"])
    page.get_by_text("Live", exact=True).wait_for()
    expect(page.locator("[data-station='arrived:pager']")).to_contain_text("Pager")
    expect(page.get_by_label("Pager is")).to_have_value("failing")
    expect(page.get_by_role("button", name="Kill a process of the pager_consumer")).to_be_visible()
    expect(page.get_by_role("radio", name="support to Pager, else Email")).to_be_visible()
    expect(page.locator("#guide-step")).to_have_text("Step 1 of 8")
    assert "Slack" not in page.locator("#way").inner_text()
    fits(page)
    if size == "phone":
        page.locator("#panels").get_by_role("button", name="Received").click()
    expect(page.locator("#pane-pager .card")).to_contain_text("<b>40 seats</b>")
    expect(page.locator("#pane-slack")).to_have_count(0)
    check_accessibility(page)
    page.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.fixture
def deployed(bot: Bot, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of `assistance console` for the running local stack, which the console regards as a deployed one."""
    with console_of(bot.stack, *request.param) as address:
        yield address


@pytest.mark.parametrize("deployed", [()], indirect=True, ids=["read only"])
def test_the_console_of_a_deployed_stage_shows_requests_and_has_no_fault_injection_switches(
    browser: Browser, bot: Bot, deployed: str
) -> None:
    with dead(bot, "whom did it reach") as request_id, opened(browser, deployed) as page:
        stage = bot.stack["stack_name"]
        expect(page).to_have_title(f"Assistance · {stage}")
        expect(page.locator("#stage")).to_have_text(stage)
        expect(page.locator("#mode")).to_contain_text("read only · customers' texts left out")
        expect(page.locator("#cost")).to_have_text(re.compile(r"^\d+ calls to AWS so far, less than a cent$"))
        for absent in (
            "#send-panel",
            "#pane-slack",
            "#pane-email",
            "#map button, #map input, #map select",
            "#slow-switch",
        ):
            expect(page.locator(absent).locator("visible=true")).to_have_count(0)
        page.get_by_role("searchbox").fill(request_id)
        view = open_request(page, request_id)
        expect(view.locator(".reached")).to_contain_text("Reached a human: Email took the message, instead of Slack.")
        expect(view.get_by_role("button")).to_have_text(["Copy id", "Copy as curl"])
        expect(letters(page, request_id)).to_contain_text("A human has it", timeout=ARRIVAL_MS)
        expect(page.locator("#side-panel").get_by_role("button", name="Redrive")).to_have_count(0)
        assert "whom did it reach" not in page.content()
        check_accessibility(page)
        fits(page)
        page.set_viewport_size(PHONE)
        check_accessibility(page)
        fits(page)


@pytest.mark.parametrize("deployed", [("--write", "--with-description")], indirect=True, ids=["writing"])
def test_each_changing_action_on_a_deployed_stage_must_be_confirmed_by_typing_the_name_of_the_stage(
    browser: Browser, bot: Bot, deployed: str
) -> None:
    with dead(bot, "for the operator") as request_id, opened(browser, deployed) as page:
        stage = bot.stack["stack_name"]
        found = letters(page, "for the operator")
        found.get_by_role("button", name="Discard").click(timeout=ARRIVAL_MS)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"This acts on {stage}")
        dialog.get_by_label(f"Type {stage}").fill("assistance-prod")
        dialog.get_by_role("button", name="Do it").click()
        expect(dialog).to_contain_text(f"This is not the stage's name, {stage}.")
        check_accessibility(page)
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        found.get_by_role("button", name="Discard").click()
        expect(dialog.get_by_label(f"Type {stage}")).not_to_have_attribute("aria-invalid", "true")
        page.keyboard.press("Escape")
        view = open_request(page, request_id)
        view.get_by_label("Who takes it").fill("Anna")
        view.get_by_role("button", name="Take").click()
        dialog.get_by_label(f"Type {stage}").fill(stage)
        page.keyboard.press("Enter")
        expect(view.locator(".reached")).to_contain_text("Anna handles it.", timeout=ARRIVAL_MS)
        assert bot.show(request_id)["taken"]["by"] == "Anna"


@pytest.mark.parametrize("deployed", [()], indirect=True, ids=["hidden"])
def test_the_console_makes_no_calls_while_its_browser_tab_is_in_the_background(browser: Browser, deployed: str) -> None:
    context = browser.new_context()
    context.clock.install()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/state" in request.url else None)
    page.goto(deployed)
    page.get_by_text("Live", exact=True).wait_for()
    with page.expect_response("**/api/state*"):
        context.clock.run_for(10_500)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    before = len(asked)
    context.clock.run_for(120_000)
    assert len(asked) == before
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
    with page.expect_response("**/api/state*"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    context.close()


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
def test_the_console_refuses_actions_requested_by_other_web_pages_or_without_the_token(
    bot: Bot, headers: dict[str, str]
) -> None:
    assert bot.console("POST", "/api/producer", {"on": False}, **headers).status == 403
    [mapping] = [
        each
        for each in bot.lambda_.list_event_source_mappings()["EventSourceMappings"]
        if ":dynamodb:" in each["EventSourceArn"]
    ]
    assert mapping["State"] == "Enabled"


@pytest.mark.parametrize("path", ["/", "/api/state", "/requests/00000000-0000-7000-8000-000000000000"])
def test_the_console_refuses_requests_whose_host_header_has_another_host_name(bot: Bot, path: str) -> None:
    answer = bot.console("GET", path)
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )
    assert bot.console("GET", path, Host="evil.example").status == 403


def test_the_page_that_shows_a_mail_is_sandboxed_by_a_content_security_policy(bot: Bot) -> None:
    request_id = bot.post("pricing", "mail")
    bot.until_status(request_id, "delivered")
    alone = bot.console("GET", f"/mail/{bot.mails(request_id)[0]['MessageId']}")
    assert alone.headers["content-security-policy"].endswith("; sandbox allow-popups allow-popups-to-escape-sandbox")


def test_the_console_shows_no_data_of_the_stack_without_the_token(bot: Bot, browser: Browser) -> None:
    answer = bot.console("GET", "/api/state", X_Console="guessed")
    assert (answer.status, list(answer.json)) == (403, ["error"])
    page = browser.new_page()
    page.goto(bot.stack["console_url"].partition("#")[0])
    expect(page.locator("#connection")).to_have_text(
        "open the address that 'make run' has printed, with the token at its end; stack.json has it as console_url"
    )
    # The page does not say either that there are no requests and no dead letters.
    expect(page.locator("main")).to_be_hidden()
    page.close()


def test_an_open_console_tab_accepts_the_token_of_a_new_run_and_removes_the_token_from_the_url(
    bot: Bot, browser: Browser
) -> None:
    address, _, token = bot.stack["console_url"].partition("#")
    page = browser.new_page()
    page.goto(f"{address}#token=of-the-run-before")
    expect(page.locator("#connection")).to_have_class("lost")
    page.goto(f"{address}#{token}")  # only the fragment changes, so the page is not loaded again
    page.get_by_text("Live", exact=True).wait_for()
    assert page.url == address
    page.reload()
    page.get_by_text("Live", exact=True).wait_for()
    page.close()


def test_a_console_tab_that_gets_the_token_of_another_console_shows_the_other_consoles_stage(
    bot: Bot, browser: Browser
) -> None:
    def other(document: Any) -> None:  # noqa: ANN401
        document["stack"] = "assistance-other"
        document["routes"] = {"support": {"channels": ["slack"], "fallback": "email"}}

    with opened(browser, bot.stack["console_url"]) as page:
        page.route("**/api/stage", lambda route: changed(route, other))
        page.goto(bot.stack["console_url"])  # only the fragment changes
        expect(page.locator("#stage")).to_have_text("assistance-other")
        expect(page.locator("#topics input")).to_have_count(1)
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"topic": "sales", "description": ' + b"[" * 60_000, b"\xff", b""])
def test_an_action_with_unreadable_arguments_gets_400(bot: Bot, body: bytes) -> None:
    assert bot.console("POST", "/api/send", body).status == 400
