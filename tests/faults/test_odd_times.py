"""Times that are wrong."""

from functools import partial

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.platform.clock import epoch_ms
from assistance.routing import Channel, Topic
from tests.faults.system import requests
from tests.faults.test_open_requests import published
from tests.faults.world import World

AN_HOUR = 3_600_000


def resent(record: Record, *, now: int) -> tuple[Record, None]:
    return transitions.resend(record, "resend-act", Channel.SLACK, now=now) or record, None


def test_a_resend_by_a_clock_that_is_fast_is_published_by_the_next_sweep(here: World) -> None:
    request_id = published(here, Topic.SALES, "key")
    here.settle()
    requests().change(request_id, partial(resent, now=epoch_ms(here.now) + AN_HOUR))
    # The stream misses it.
    here.read_stream()
    here.stream.clear()
    here.advance(600)
    answer = here.reconcile()
    assert answer
    assert answer["outbox"]["published"] == 1
