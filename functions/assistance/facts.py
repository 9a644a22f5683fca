"""The facts of a request that every channel shows besides its description."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from assistance import contact
from assistance.models import AssistanceRequest
from assistance.text import printable

_SHORTER: Final = (250, 120, 60)
"""To how many characters each text is shortened in turn, where a message has no room for all of them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A label, a text as it came, and where a reader gets by following it. None of them is empty."""

    label: str
    text: str
    href: str | None = None


def about(request: AssistanceRequest) -> tuple[Fact, ...]:
    """The customer, and what else the bot says, in its order."""
    return (*contacts(request), *details(request))


def conversation(request: AssistanceRequest) -> str | None:
    """Where a human can join the conversation."""
    return contact.link(request.conversation_url) if request.conversation_url else None


def shorter(request: AssistanceRequest) -> Iterator[tuple[Fact, ...]]:
    """All about the request, then less and less: each text says how much is missing, and the last how many are."""
    everything = about(request)
    yield everything
    for limit in _SHORTER:
        yield tuple(_shortened(fact, limit) for fact in everything)
    left_out = Fact("Left out", f"{len(request.details)} details: this message has no room for them")
    kept = contacts(request) + [left_out] * bool(request.details)
    yield tuple(_shortened(fact, _SHORTER[-1]) for fact in kept)


def contacts(request: AssistanceRequest) -> list[Fact]:
    """Who the customer is, and how to reach them."""
    customer, found = request.customer, []
    if customer and customer.name:
        found.append(Fact("Name", _shown(customer.name)))
    if customer and customer.email:
        address = contact.mailto(customer.email)
        # https://www.rfc-editor.org/rfc/rfc6068#section-2: a URL gives some of an address's characters a meaning.
        found.append(Fact("Email", _shown(customer.email), address and f"mailto:{quote(address, safe='@+')}"))
    if customer and customer.phone:
        number = contact.tel(customer.phone)
        found.append(Fact("Phone", _shown(customer.phone), number and f"tel:{number}"))
    if request.conversation_url and not conversation(request):
        found.append(Fact("Conversation", _shown(request.conversation_url)))
    return found


def details(request: AssistanceRequest) -> list[Fact]:
    """The other details that the bot has sent."""
    return [Fact(_shown(it.label), _shown(it.value)) for it in request.details]


def _shown(text: str) -> str:
    """The text, or a dash where there is none: no channel takes an empty one."""
    return printable(text).strip() or "-"


def _shortened(fact: Fact, limit: int) -> Fact:
    missing = len(fact.text) - limit
    # A text that leads somewhere stays whole: it is short, and readers copy it.
    return (
        fact if fact.href or missing <= 0 else replace(fact, text=f"{fact.text[:limit]}… ({missing} more characters)")
    )
