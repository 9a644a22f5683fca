"""The sender of mails: the identity that SES verifies, and the DNS records of a domain."""

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_ses as ses
from constructs import Construct

from infra.config import Config


def verify(scope: Construct, config: Config) -> None:
    """Let SES verify the domain, or else the sender's address.

    An identity belongs to the account, and other stages may send from it: it stays when the stack goes, unless the
    stack never came up. https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """
    domain, mail_from = config.email_domain, f"bounces.{config.email_domain}"
    # The return path of a domain of one's own makes SPF count for DMARC. It must be a subdomain that nothing else uses:
    # https://docs.aws.amazon.com/ses/latest/dg/mail-from.html. Easy DKIM with 2,048 bits is the construct's default.
    identity = (
        ses.EmailIdentity(scope, "Sender", identity=ses.Identity.domain(domain), mail_from_domain=mail_from)
        if domain
        else ses.EmailIdentity(scope, "Sender", identity=ses.Identity.email(config.email_sender))
    )
    identity.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
    if not domain:
        return
    # The local cloud makes no keys.
    keys = [] if config.local else identity.dkim_records
    records = {
        **{f"Dkim{n}": f"{it.name} CNAME {it.value}" for n, it in enumerate(keys, 1)},
        "MailFrom": f"{mail_from} MX 10 feedback-smtp.{Stack.of(scope).region}.amazonses.com",
        "Spf": f'{mail_from} TXT "v=spf1 include:amazonses.com ~all"',
        # Where the domain has one already, that holds: https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dmarc.html
        "Dmarc": f'_dmarc.{domain} TXT "v=DMARC1; p=none"',
    }
    for name, record in records.items():
        CfnOutput(scope, f"EmailDns{name}", value=record).override_logical_id(f"EmailDns{name}")
