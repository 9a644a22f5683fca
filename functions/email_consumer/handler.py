"""Delivers requests by email, through SES."""

from email.utils import formataddr
from functools import cache

from assistance import routing
from assistance.engine.consumer import consumer
from assistance.engine.links import take_url
from assistance.errors import TransientFailure
from assistance.models import Outgoing
from assistance.platform import aws
from assistance.platform.secret import secrets
from assistance.routing import Channel
from email_consumer.failures import classify
from email_consumer.heartbeat import defects
from email_consumer.message import compose, reply_to
from email_consumer.settings import Settings

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


def send(outgoing: Outgoing) -> str:
    """Send the request as a mail, even if an earlier one may have arrived: SES can't tell. Returns SES's message id."""
    url = take_url(outgoing, Settings.read().take_page, Settings.read().take_secret)
    try:
        answer = ses().send_email(
            # `formataddr` encodes what is not ASCII: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
            FromEmailAddress=formataddr((Settings.read().email_sender_name, Settings.read().email_sender)),
            Destination={"ToAddresses": recipients(outgoing.request.topic)},
            ReplyToAddresses=reply_to(outgoing.request),
            Content=compose(outgoing, take_url=url),
            # SES's events about this mail contain the tag, so that email_feedback finds the request. A tag's value may
            # have letters, digits, _ and -:
            # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html
            ConfigurationSetName=Settings.read().email_configuration_set,
            EmailTags=[{"Name": "request_id", "Value": outgoing.request.id}],
        )
    except aws.AWS_ERRORS as error:
        raise classify(error) from error
    match answer:
        case {"MessageId": str(message_id)} if message_id:
            return message_id
    raise TransientFailure("unexpected_answer", in_doubt=True)


lambda_handler = consumer(Channel.EMAIL, send, prepare=prepare, check=lambda: defects(ses()))
