"""The kinds of failure that the channels' tables sort their providers' errors into."""

from enum import StrEnum


class Kind(StrEnum):
    """What an error means for a delivery. `docs/failures.md` lists every documented error with its kind."""

    PERMANENT = "permanent"
    """Trying again is pointless: dead-lettered with the reason, and the fallback is used."""
    TRANSIENT = "transient"
    """Worth another attempt, and the provider has surely not taken the message."""
    IN_DOUBT = "transient, in doubt"
    """Worth another attempt, but the provider may have taken the message."""
    RATE_LIMITED = "rate limited"
    """Turned away unseen: another attempt follows, and this one does not count."""
