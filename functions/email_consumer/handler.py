"""Delivers requests by email, through SES."""

from collections.abc import Iterator, Sequence
from email.utils import formataddr
from functools import cache
from typing import TYPE_CHECKING, Final

from assistance import routing
from assistance.engine.consumer import consumer
from assistance.engine.heartbeat import REQUEST_ID
from assistance.engine.links import take_url
from assistance.errors import DeliveryError, TransientFailure
from assistance.models import Outgoing
from assistance.platform import aws
from assistance.platform.metrics import Metric, measure
from assistance.platform.secret import secrets
from assistance.routing import Channel
from email_consumer.failures import classify
from email_consumer.message import compose, reply_to
from email_consumer.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sesv2.type_defs import EmailContentTypeDef

# For a delivery these errors are transient, because they may pass. For the heartbeat they are defects: no mail is sent.
_PAUSED: Final = frozenset({"AccessDeniedException", "SendingPausedException"})

ses = cache(aws.ses)


def prepare() -> None:
    """Create the clients that sends share, before several threads would do so at the same time."""
    ses()
    if Settings.read().take_page:
        secrets()


def recipients(topic: str) -> list[str]:
    """The addresses to which requests of that topic are sent at present."""
    own = routing.place(topic, Channel.EMAIL)
    return list(own if isinstance(own, tuple) else Settings.read().email_recipients)


def mail(request_id: str, to: list[str], content: "EmailContentTypeDef", reply_to: Sequence[str] = ()) -> str:
    """Send a mail about a request. Returns SES's message id, or raises a `DeliveryError`."""
    settings = Settings.read()
    try:
        answer = ses().send_email(
            # `formataddr` encodes what is not ASCII: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
            FromEmailAddress=formataddr((settings.email_sender_name, settings.email_sender)),
            Destination={"ToAddresses": to},
            ReplyToAddresses=reply_to,
            Content=content,
            # SES's events about this mail contain the tag, so that email_feedback finds the request. A tag's value may
            # have letters, digits, _ and -:
            # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html
            ConfigurationSetName=settings.email_configuration_set,
            EmailTags=[{"Name": "request_id", "Value": request_id}],
        )
    except aws.AWS_ERRORS as error:
        raise classify(error) from error
    match answer:
        case {"MessageId": str(message_id)} if message_id:
            return message_id
    raise TransientFailure("unexpected_answer", in_doubt=True)


def send(outgoing: Outgoing) -> str:
    """Send the request as a mail, even if an earlier one may have arrived: SES can't tell. Returns SES's message id."""
    request, settings = outgoing.request, Settings.read()
    content = compose(outgoing, take_url=take_url(outgoing, settings.take_page, settings.take_secret))
    return mail(request.id, recipients(request.topic), content, reply_to(request))


def defects() -> Iterator[str]:
    """Yield the error code if SES sends no mail at all at present. Raises a `DeliveryError` for all other errors.

    Sends a mail to SES's mailbox simulator, which answers like a recipient's mail server. If SES refuses every mail,
    because the sender is not verified or the account may not send, it also refuses this mail. SES publishes an event
    about the simulator's answer, as about a bounce, and `email_feedback` counts the event. No human gets the mail.
    https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html#send-email-simulator
    """
    text = "The heartbeat of a deployment checks whether mail can be sent. It is not for humans."
    content: EmailContentTypeDef = {"Simple": {"Subject": {"Data": "Heartbeat"}, "Body": {"Text": {"Data": text}}}}
    try:
        mail(REQUEST_ID, ["success@simulator.amazonses.com"], content)
    except DeliveryError as failure:
        if failure.code not in _PAUSED:
            raise
        yield failure.code
        return
    # `email_feedback` adds 1 for each of SES's reports. If SES sends none, this 0 is the hour's only value. Without it
    # the alarm would go off hours late, since CloudWatch uses older values if some are missing:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    measure(Metric.MAIL_FEEDBACK, 0, channel=Channel.EMAIL)


lambda_handler = consumer(Channel.EMAIL, send, prepare=prepare, check=defects)
