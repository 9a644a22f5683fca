"""Why an event was not dealt with. Lambda brings it twice more, and then puts it into the failures queue."""


class FeedbackError(Exception):
    """The message never holds an address or a customer's text."""


class NotYetRecorded(FeedbackError):
    """SES was quicker than our own record of the send: the event will make sense later."""


class DlqUnavailable(FeedbackError):
    """The dead-letter queue can't take the message now, so the delivery must not read `failed` yet."""


class MalformedEvent(FeedbackError):
    """Trying again is pointless: somebody must look at the event."""
