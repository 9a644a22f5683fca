"""Tests the console's texts about a request, and its search, without a network and with the table in memory."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from assistance.domain import takes, transitions
from assistance.domain.record import Record
from assistance.failures import Kind
from assistance.history import RequestRecord
from assistance.models import AssistanceRequest
from assistance.platform.clock import epoch_ms, timestamp
from assistance.routing import Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from cli.errors import Failure
from cli.stack import Stack
from console.actions import Actions
from console.dead_letters import DeadLetters
from console.error_explanations import meaning, tables
from console.history import events, reached
from console.search import MAX_SEARCHED, PAGE, Query, search
from tests.memory_table import MemoryTable
from tests.memory_table import table as in_memory

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MS = epoch_ms(NOW)
Event = Callable[[Record], Record]


@pytest.fixture
def requests() -> Requests:
    return Requests(Items(in_memory(MemoryTable())), lambda: NOW)


def accepted(requests: Requests, seconds: float = 0, **about: Any) -> str:  # noqa: ANN401
    """Store a request that was accepted `seconds` ago, and return its id. `about`: fields of the request."""
    created_at = timestamp(NOW - timedelta(seconds=seconds))
    members = {"id": str(uuid4()), "topic": "sales", "description": "help", "created_at": created_at, **about}
    request = AssistanceRequest.model_validate(members)
    return requests.accept(request, payload_hash="hash", retention=timedelta(days=90))[0].id


def shown(requests: Requests, *changes: Event) -> RequestRecord:
    request_id = accepted(requests)
    for change in changes:
        requests.change(request_id, lambda record, change=change: (change(record), None))  # type: ignore[misc]
    found = requests.get(request_id)
    assert found
    return found


def claimed(name: str, at: int = MS, place: str | None = None) -> Event:
    return lambda record: transitions.claim(record, name, f"{name}-{at}", now=at, until=at + 9, limit=6, place=place)[0]


def gave_up(name: str, at: int = MS) -> Event:
    return lambda record: transitions.gave_up(
        record, name, f"{name}-{at}", "is_archived", now=at + 5, in_doubt=False, settles=at
    )


def sent(name: str, at: int = MS) -> Event:
    return lambda record: transitions.sent(record, name, f"{name}-{at}", "1234.5", now=at + 250)


def test_the_console_shows_a_queued_request_as_not_yet_delivered(requests: Requests) -> None:
    found = reached(shown(requests))
    assert (found.reached, found.words) == ("not yet", "the request waits in the outbox for Slack.")


def test_the_consoles_history_of_a_fallback_delivery_says_how_to_repair_the_channel_that_failed(
    requests: Requests,
) -> None:
    record = shown(
        requests,
        claimed("slack", place="C1"),
        gave_up("slack"),
        claimed("fallback", MS + 10),
        sent("fallback", MS + 10),
    )
    found = reached(record)
    assert (found.reached, found.words) == ("yes", "Email took the message, instead of Slack.")
    first, failed, delivered = events(record)
    assert first.state == "accepted"
    assert (failed.state, failed.sent_to, failed.seconds) == ("failed", "C1", 0.005)
    assert failed.error
    assert (failed.error.means, failed.error.kind) == ("the Slack channel is archived", Kind.PERMANENT)
    assert "redrive" in failed.error.to_do
    assert (delivered.answered, delivered.note) == ("1234.5", "as the fallback, because Slack failed (is_archived)")


def test_the_console_shows_a_request_that_failed_on_every_channel_as_not_delivered(requests: Requests) -> None:
    record = shown(requests, claimed("slack"), gave_up("slack"), claimed("fallback"), gave_up("fallback"))
    found = reached(record)
    assert (found.reached, found.words) == ("no", "Slack and Email failed, and dead letters wait for a redrive.")


def test_the_consoles_history_lists_takes_and_releases_in_order(requests: Requests) -> None:
    record = shown(
        requests,
        claimed("slack"),
        sent("slack"),
        lambda record: takes.take(record, "one", by="@anna", via="slack", now=MS + 300)[0],
        lambda record: takes.release(record, "one", by="@anna", via="slack", now=MS + 400),
        lambda record: takes.take(record, "two", by="@ben", via="slack", now=MS + 500)[0],
    )
    assert [event.state for event in events(record)][-3:] == ["taken", "released", "taken"]
    assert reached(record).words == "Slack took the message. @ben handles it."


def test_the_console_has_an_explanation_and_advice_for_every_documented_error() -> None:
    for channel in Channel:
        codes = [code for table in tables(channel) for code in table.kinds]
        assert codes
        for code in codes:
            found = meaning(code, channel)
            assert found
            assert found.kind in set(Kind)
            assert found.means
            assert found.to_do
    assert meaning("http_503", "callback").kind is Kind.IN_DOUBT  # type: ignore[union-attr] # a code has a meaning
    assert meaning("never_heard_of", "slack").kind is None  # type: ignore[union-attr] # as above


def ids(requests: Requests, query: Query, *, texts: bool = True) -> tuple[list[str], str | None]:
    page = search(requests, query, texts=texts)
    return [record.request.id for record in page.records], page.next


@pytest.mark.parametrize("together", [7, 3 * PAGE])
def test_the_pages_of_the_request_list_contain_every_request_exactly_once(requests: Requests, together: int) -> None:
    """Many requests (`together`) were accepted in the same millisecond, also at the end of a page."""
    made = [accepted(requests, seconds=number // together) for number in range(2 * PAGE + 8)]
    pages, before = list[list[str]](), ""
    while True:
        found, after = ids(requests, Query(before=before))
        pages.append(found)
        if after is None:
            break
        before = after
    assert [len(page) for page in pages] == [PAGE, PAGE, 8]
    assert sorted(each for page in pages for each in page) == sorted(made)
    assert pages[0][0] in made[:together]


@pytest.mark.parametrize("text", ["anna", "EXAMPLE.org", "40 seats", "chat-17", "Plan: Pro"])
def test_a_search_covers_request_ids_references_descriptions_and_customers(requests: Requests, text: str) -> None:
    said: dict[str, Any] = {
        "customer": {"name": "Anna", "email": "a@example.org"},
        "details": [{"label": "Plan", "value": "Pro"}],
    }
    wanted = accepted(requests, description="A quote for 40 seats", reference="chat-17", **said)
    accepted(requests)
    for query in (text, wanted, wanted[:9]):
        assert ids(requests, Query.of({"q": query}))[0] == [wanted]


def test_a_search_without_access_to_customer_texts_covers_only_request_ids_and_references(requests: Requests) -> None:
    wanted = accepted(requests, description="secret", reference="chat-17", customer={"name": "Anna"})
    assert ids(requests, Query.of({"q": "chat-17"}), texts=False)[0] == [wanted]
    for text in ("secret", "anna"):
        assert ids(requests, Query.of({"q": text}), texts=False)[0] == []


def test_filters_select_requests_by_status_topic_and_channel(requests: Requests) -> None:
    sales, pricing = accepted(requests), accepted(requests, topic="pricing")
    requests.change(sales, lambda record: (sent("slack")(claimed("slack")(record)), None))
    assert ids(requests, Query(topic="pricing"))[0] == [pricing]
    assert ids(requests, Query(channel="slack"))[0] == [sales]
    assert ids(requests, Query(status="delivered"))[0] == [sales]
    assert ids(requests, Query(status="untaken", topic="sales"))[0] == [sales]
    assert ids(requests, Query(status="failed"))[0] == []


def test_a_search_reads_a_limited_number_of_requests_and_returns_where_to_continue(requests: Requests) -> None:
    oldest = accepted(requests, seconds=MAX_SEARCHED + 10, reference="rare")
    for number in range(MAX_SEARCHED):
        accepted(requests, seconds=number)
    page = search(requests, Query(text="rare"), texts=True)
    assert (page.records, page.searched) == ([], MAX_SEARCHED)
    assert page.next
    assert ids(requests, Query(text="rare", before=page.next))[0] == [oldest]


def test_a_request_list_page_with_an_invalid_start_position_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        Query.of({"before": "yesterday"})


@pytest.mark.parametrize("name", ["", " ", "\u200b", "A" * 61, "\udcff"])
def test_a_name_that_cannot_be_stored_or_shown_is_refused(name: str) -> None:
    stack = cast("Stack", SimpleNamespace(requests=lambda: None))
    acts = Actions(stack, cast("DeadLetters", None)).by_name()
    for act in ("take", "release"):
        with pytest.raises(Failure, match="name"):
            acts[act]({"id": "01900000-0000-7000-8000-000000000000", "name": name})
