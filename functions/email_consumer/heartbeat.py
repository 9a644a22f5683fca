"""The heartbeat of email: a mail to SES's mailbox simulator, which answers like a recipient's mail server.

If SES refuses every mail, because the sender is not verified or the account may not send, it also refuses this mail.
SES publishes an event about the simulator's answer, like about a bounce, and `email_feedback` counts the event. No
human gets the mail.
https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html#send-email-simulator
"""

from collections.abc import Iterator
from typing import Final

from assistance.engine.heartbeat import REQUEST_ID
from assistance.errors import DeliveryError
from assistance.platform import aws
from assistance.platform.aws import SESV2Client
from email_consumer.failures import classify
from email_consumer.settings import Settings

SIMULATOR: Final = "success@simulator.amazonses.com"
_TEXT: Final = "The heartbeat of a deployment checks whether mail can be sent. It is not for humans."
# For a delivery these errors are transient, because they may pass. For the heartbeat they are defects: no mail is sent.
_PAUSED: Final = frozenset({"AccessDeniedException", "SendingPausedException"})


def defects(ses: SESV2Client) -> Iterator[str]:
    """Yield the error code if SES sends no mail at all at present. Raises a `DeliveryError` for all other errors."""
    try:
        ses.send_email(
            FromEmailAddress=Settings.read().email_sender,
            Destination={"ToAddresses": [SIMULATOR]},
            Content={"Simple": {"Subject": {"Data": "Heartbeat"}, "Body": {"Text": {"Data": _TEXT}}}},
            ConfigurationSetName=Settings.read().email_configuration_set,
            EmailTags=[{"Name": "request_id", "Value": REQUEST_ID}],
        )
    except aws.AWS_ERRORS as error:
        failure: DeliveryError = classify(error)
        if failure.code not in _PAUSED:
            raise failure from error
        yield failure.code
