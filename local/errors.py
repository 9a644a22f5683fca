"""The errors of the local stack."""


class LocalFailure(Exception):
    """The stack can't start, or does not work as expected. The exception's text says why, and what to do."""


class DeadlineExceeded(LocalFailure):
    """An expected condition did not become true before the deadline."""
