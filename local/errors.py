"""The error of the local stack."""


class LocalFailure(Exception):
    """The stack can't be started or does not do what it should; the message says why, and what to do."""


class NotInTime(LocalFailure):
    """The deadline of a wait has passed."""
