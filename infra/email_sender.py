"""The SES identity of the mails' sender, and outputs with the DNS records for a domain."""

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_ses as ses
from constructs import Construct

from infra.config import Config


def verify(scope: Construct, config: Config) -> None:
    """Create the SES identity: for `email_domain` or, if this setting is missing, for the sender's address.

    If the stack is deleted, the identity is kept, because other stages of the account may send from it. Only if the
    stack's first deployment fails, it is deleted:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """
    domain, mail_from = config.email_domain, f"bounces.{config.email_domain}"
    # With a MAIL FROM domain under the sender's own domain, SPF counts for DMARC. It must be a subdomain that nothing
    # else uses: https://docs.aws.amazon.com/ses/latest/dg/mail-from.html. The construct's default is Easy DKIM with
    # 2,048 bits.
    identity = (
        ses.EmailIdentity(scope, "Sender", identity=ses.Identity.domain(domain), mail_from_domain=mail_from)
        if domain
        else ses.EmailIdentity(scope, "Sender", identity=ses.Identity.email(config.email_sender))
    )
    identity.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
    if not domain:
        return
    # The local emulator creates no DKIM keys.
    keys = [] if config.local else identity.dkim_records
    records = {
        **{f"Dkim{n}": f"{it.name} CNAME {it.value}" for n, it in enumerate(keys, 1)},
        "MailFrom": f"{mail_from} MX 10 feedback-smtp.{Stack.of(scope).region}.amazonses.com",
        "Spf": f'{mail_from} TXT "v=spf1 include:amazonses.com ~all"',
        # Only for a domain that has no DMARC record yet:
        # https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dmarc.html
        "Dmarc": f'_dmarc.{domain} TXT "v=DMARC1; p=none"',
    }
    for name, record in records.items():
        CfnOutput(scope, f"EmailDns{name}", value=record).override_logical_id(f"EmailDns{name}")
