"""Errors about events of SES. Lambda retries an event twice, and then puts it into the queue for failed events."""


class FeedbackError(Exception):
    """An event could not be handled. The text never contains an address or a customer's text."""


class NotYetRecorded(FeedbackError):
    """The event's mail, or its arrival, is not recorded yet, since this event was faster. A retry may find it."""


class DlqUnavailable(FeedbackError):
    """The dead-letter queue can't take the request's message now. A retry will put it there."""


class MalformedEvent(FeedbackError):
    """The event can't be parsed. A retry is pointless: an operator must inspect the event."""
