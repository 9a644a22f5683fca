"""Tests that the items written for version 1 have the same content as those that version 1 wrote itself."""

import json
from pathlib import Path

import pytest

from assistance.domain.record import Record
from assistance.store import legacy, mirror
from assistance.store.items import Accepted, Item, checked, plain, request_of
from assistance.store.requests import fresh_of
from assistance.store.schema import PARTITION_KEY, REQUEST, SORT_KEY
from tests.upgrade.versions import ARCHIVE

CORPUS = sorted(Path(ARCHIVE).parent.glob("items/*.json"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_delivery_item_copied_for_version_1_has_the_same_content_as_one_written_by_version_1(path: Path) -> None:
    items = [plain(item) for item in json.loads(path.read_text("utf-8"))["items"]]
    (request,) = (item for item in items if item[SORT_KEY] == REQUEST)
    record = legacy.record_of(request, items, _fresh(request))
    untouched = Record(record.topic, record.created_at, record.ttl, record.channels)
    olds = {item[SORT_KEY]: item for item in items}
    mirrored: list[Item] = [*mirror.items_of(request[PARTITION_KEY], untouched, record, olds)]
    assert {item[SORT_KEY] for item in mirrored} == olds.keys() - {REQUEST}
    assert legacy.record_of(request, mirrored, _fresh(request)) == record


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_importing_items_of_version_1_does_not_change_an_up_to_date_delivery_record(path: Path) -> None:
    items = [plain(item) for item in json.loads(path.read_text("utf-8"))["items"]]
    (request,) = (item for item in items if item[SORT_KEY] == REQUEST)
    record = legacy.record_of(request, items, _fresh(request))
    assert legacy.record_of(request, items, record) is record


def _fresh(item: Item) -> Record:
    return fresh_of(item, request_of(item), checked(Accepted, item))
