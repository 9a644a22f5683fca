"""Sample requests: with every field, and with every field at its maximum length."""

from typing import Any, Final

from hypothesis import strategies as st

from assistance.domain.record import Attempt, Delivery, Kind, StandsInFor
from assistance.models import MAX_DESCRIPTION_CHARACTERS, AssistanceRequest, Customer, Detail, Outgoing
from assistance.routing import Channel, Topic
from assistance.text import is_blank

ID: Final = "01900000-0000-7000-8000-000000000000"
# The API accepts no other URL.
DESCRIPTIONS: Final = st.text(min_size=1, max_size=MAX_DESCRIPTION_CHARACTERS).filter(lambda text: not is_blank(text))
# The characters that become longest in each encoding.
WIDEST: Final = ["&", "<", "\x00", '"', "\\", "*", "[", "{", "é", "漢", "🙂"]
LONGEST: Final = st.sampled_from(WIDEST).map(lambda one: one * MAX_DESCRIPTION_CHARACTERS)
DOUBTS: Final = (Attempt("attempt", 0, in_doubt=True),)


def request(description: str = "help", id_: str = ID, **said: Any) -> AssistanceRequest:  # noqa: ANN401
    """A request about sales without optional fields. `said`: optional fields, and other values of topic and time."""
    members = {"topic": Topic.SALES, "created_at": "2026-01-01T00:00:00.000Z"} | said
    return AssistanceRequest(id=id_, description=description, **members)


def fullest(one: str, *, url: str | None = None) -> dict[str, Any]:
    """Every optional field at its maximum length, filled with the character `one`. `url`: the URL to use."""
    return {
        "customer": Customer(name=one * 200, email=one * 320, phone=one * 50),
        "conversation_url": url or one * 2_000,
        "reference": one * 200,
        "details": tuple(Detail(label=one * 60, value=one * 500) for _ in range(20)),
    }


ANNA: Final = Customer(name="Anna Example", email="anna@example.org", phone="+49 30 1234567")
LONG_URL: Final = "https://app.example.com/" + "x" * 1_976
# Valid email addresses and phone numbers of maximum length: as links they are longer than as text.
REACHABLE: Final = Customer(
    name="x" * 200, email=f"{'%' * 64}@{'x' * 60}.{'y' * 60}.{'z' * 60}.de", phone="+" + "1" * 15
)
SAID: Final = st.fixed_dictionaries(
    {},
    optional={
        "customer": st.builds(
            Customer,
            name=st.none() | st.text(min_size=1, max_size=200),
            email=st.sampled_from([None, "anna@example.org", "anna at example"]) | st.text(min_size=1, max_size=320),
            phone=st.sampled_from([None, "+49 30 1234567", "call me"]) | st.text(min_size=1, max_size=50),
        )
        | st.just(REACHABLE),
        "conversation_url": st.sampled_from(["https://app.example.com/42?a=1&b=2", "app.example.com", LONG_URL]),
        "reference": st.text(min_size=1, max_size=200),
        "details": st.lists(
            st.builds(Detail, label=st.text(min_size=1, max_size=60), value=st.text(min_size=1, max_size=500)),
            max_size=20,
        ).map(tuple),
    },
)
REQUESTS: Final = st.builds(
    lambda description, said: request(description, **said),
    DESCRIPTIONS | LONGEST,
    SAID | st.sampled_from(WIDEST).map(fullest) | st.sampled_from(WIDEST).map(lambda one: fullest(one, url=LONG_URL)),
)


RESENT: Final[dict[str, Any]] = {"name": "resend-by hand", "kind": Kind.RESEND}


def to_send(asked: AssistanceRequest, doubts: tuple[Attempt, ...] = (), **said: Any) -> Outgoing:  # noqa: ANN401
    """The request with its own delivery to Slack, and its earlier attempts in doubt. `said`: other values of it."""
    delivery = Delivery(**{"name": Channel.SLACK, "destination": Channel.SLACK, "kind": Kind.OWN} | said)
    return Outgoing(asked, delivery, 4_000_000_000, doubts)


OUTGOING: Final = st.builds(
    lambda asked, in_doubt, said: to_send(asked, DOUBTS * in_doubt, **said),
    st.builds(request, st.text(max_size=40).map(lambda short: f"?{short}")) | REQUESTS,
    st.booleans(),
    st.sampled_from(
        [
            *[{}] * 3,
            RESENT,
            {"alone": True},
            {"cause": StandsInFor(Channel.EMAIL, "rejected")},
        ]
    ),
)
