"""In doubt the consumer looks first: a look-up that fails, or takes long, costs no other request its delivery."""

import os
from unittest.mock import patch

import pytest

from assistance.routing import Channel
from tests.faults.breaker import Kind
from tests.faults.test_what_sinks_others import break_at, published, status
from tests.faults.world import World
from tests.integration.cloud import forget

OLD = "C0ANNEX"
"""It is looked up before C0ASSIST: places are read in the order of their names."""


@pytest.mark.parametrize("error", ["channel_is_limited_access", "access_denied", "internal_error"])
@pytest.mark.parametrize("posted", [Kind.CRASH_AFTER, Kind.CRASH_BEFORE])
def test_a_place_that_is_closed_by_now_fails_no_request_that_was_tried_elsewhere(
    here: World, error: str, posted: Kind
) -> None:
    with patch.dict(os.environ, {"SLACK_CHANNEL": OLD}):
        forget()
        published(here, key="old")
        break_at(here, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: here.consume(Channel.SLACK))
    forget()
    here.advance(60)
    new = [published(here, key=str(number)) for number in range(3)]
    break_at(here, "http.chat.postMessage", posted, lambda: here.consume(Channel.SLACK))
    here.slack.fail("error", error=error, holding=OLD)
    here.advance(200)
    here.consume(Channel.SLACK)
    assert [status(here, one) for one in new] == ["delivered"] * 3
    assert here.posts() == {(one, None): 1 for one in new}
