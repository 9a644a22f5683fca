"""The heartbeat of email: a mail to SES's simulator, which answers in place of a mail server.

SES refuses it for what it would refuse every mail for: an identity that is not verified, an account that may not send.
The simulator's answer comes back by the same way as bounces do, and `email_feedback` counts it. No human gets it.
https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html#send-email-simulator
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from assistance.engine.heartbeat import REQUEST_ID
from assistance.errors import DeliveryError
from assistance.platform import aws
from email_consumer.failures import classify
from email_consumer.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

SIMULATOR: Final = "success@simulator.amazonses.com"
_TEXT: Final = "The heartbeat of a deployment checks whether mail can be sent. It is not for humans."
# A delivery waits for these to pass, so they are transient; until then no mail is sent.
_PAUSED: Final = frozenset({"AccessDeniedException", "SendingPausedException"})


def broken(ses: "SESV2Client") -> Iterator[str]:
    """Yield why SES sends no mail. Raises a `DeliveryError` if it does not say."""
    try:
        ses.send_email(
            FromEmailAddress=settings().email_sender,
            Destination={"ToAddresses": [SIMULATOR]},
            Content={"Simple": {"Subject": {"Data": "Heartbeat"}, "Body": {"Text": {"Data": _TEXT}}}},
            ConfigurationSetName=settings().email_configuration_set,
            EmailTags=[{"Name": "request_id", "Value": REQUEST_ID}],
        )
    except aws.AWS_ERRORS as error:
        failure: DeliveryError = classify(error)
        if failure.code not in _PAUSED:
            raise failure from error
        yield failure.code
