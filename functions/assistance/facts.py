"""The facts of a request: labelled texts, such as the customer's name, that channels show besides the description."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from assistance import contact
from assistance.models import AssistanceRequest
from assistance.text import printable

_SHORTER: Final = (250, 120, 60)
"""If the facts do not fit into a message, each fact is shortened to 250 characters, then to 120, then to 60."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled text, and the URL to which the text links, or None. Neither label nor text is empty."""

    label: str
    text: str
    href: str | None = None


def about(request: AssistanceRequest) -> tuple[Fact, ...]:
    """The customer's name and contact details, then the bot's other details in the order in which it sent them."""
    return (*contacts(request), *details(request))


def conversation(request: AssistanceRequest) -> str | None:
    """The URL at which a human can join the customer's conversation. None if there is none that can be trusted."""
    return contact.link(request.conversation_url) if request.conversation_url else None


def shorter(request: AssistanceRequest) -> Iterator[tuple[Fact, ...]]:
    """Yields all facts of the request, then ever shorter versions of them.

    A shortened text says how many characters are missing. The last version has no `details`, and says their number.
    """
    everything = about(request)
    yield everything
    for limit in _SHORTER:
        yield tuple(_shortened(fact, limit) for fact in everything)
    left_out = Fact("Left out", f"{len(request.details)} details: this message has no room for them")
    kept = contacts(request) + [left_out] * bool(request.details)
    yield tuple(_shortened(fact, _SHORTER[-1]) for fact in kept)


def contacts(request: AssistanceRequest) -> list[Fact]:
    """The customer's name and contact details, and the conversation's URL if no link can be made of it."""
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
    """The details that the bot has sent."""
    return [Fact(_shown(it.label), _shown(it.value)) for it in request.details]


def _shown(text: str) -> str:
    """The text, made safe to show. A dash if it is empty, since no channel accepts an empty text."""
    return printable(text).strip() or "-"


def _shortened(fact: Fact, limit: int) -> Fact:
    missing = len(fact.text) - limit
    # A text with a link is not shortened: it is short, and readers may copy it.
    return (
        fact if fact.href or missing <= 0 else replace(fact, text=f"{fact.text[:limit]}… ({missing} more characters)")
    )
