"""The email checks of `assistance doctor`: the SES account, its quota, and the sender's DKIM."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from assistance.platform.aws import error_code
from cli.findings import Finding, State, judged
from cli.stack import Stack

SANDBOX: Final = "https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html"
_MAIL_FROM: Final = "https://docs.aws.amazon.com/ses/latest/dg/mail-from.html"
_VERIFY: Final = "docs/deployment.md#mail-from-your-own-domain"
_NEARLY_ALL: Final = 0.8

Document = Mapping[str, Any]


def account(stack: Stack) -> Iterator[Finding]:
    """Whether the account may send, to whom, and how much of its quota is left."""
    # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html
    found = stack.client("sesv2").get_account()
    free, state = found["ProductionAccessEnabled"], found.get("EnforcementStatus", "HEALTHY")
    reason = "SES has mailed the reason to the account's owner, and shows it under Account health"
    if not found["SendingEnabled"]:
        yield Finding("SES account", State.WRONG, "sending is paused", reason)
    elif state != "HEALTHY":
        yield Finding("SES account", State.WRONG, f"SES reviews the account: {state}", reason)
    else:
        # For trying, the sandbox does: each recipient is then looked at too.
        advice = f"request production access: {SANDBOX}"
        found_in = "out of the sandbox" if free else "in the sandbox: each recipient must be verified"
        yield judged("SES account", free or not _for_customers(stack), found_in, advice)
    yield _quota(found.get("SendQuota", {}))


def _for_customers(stack: Stack) -> bool:
    return stack.name.endswith("-production")


def _quota(quota: Document) -> Finding:
    day, second, sent = (quota.get(name, 0) for name in ("Max24HourSend", "MaxSendRate", "SentLast24Hours"))
    if not quota or day < 0:
        return Finding("SES quota", State.OK, "no limit")
    found = f"{sent:,.0f} of {day:,.0f} recipients in 24 hours, {second:,.0f} a second at most"
    advice = "ask for more, for the whole account: https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html"
    return judged("SES quota", sent < _NEARLY_ALL * day, found, advice)


def sender(stack: Stack, address: str) -> Iterator[Finding]:
    """Whether SES has verified the sender, and whether receivers can tell that its mails are genuine."""
    identities = _identities(stack, address)
    yield verified("SES sender", address, identities)
    at = {name: it for name, it in identities.items() if name != address}
    if at:
        # The nearest domain that SES knows. An address has no MAIL FROM of its own unless somebody gave it one.
        name, identity = next(iter(at.items()))
        yield _signature(name, identity.get("DkimAttributes", {}))
        yield _return_path(name, identity.get("MailFromAttributes", {}))
    elif identities:
        found = "none: SES knows the address alone, not its domain"
        alone = f"verify the domain, or mails will be taken for forged: {_VERIFY}"
        yield judged("SES DKIM", not _for_customers(stack), found, alone)


def recipient(stack: Stack, address: str) -> Finding:
    """Whether SES has verified a recipient, as it must in the sandbox."""
    return verified("SES recipient", address, _identities(stack, address))


def verified(check: str, address: str, identities: Mapping[str, Document]) -> Finding:
    """An address counts if it is verified itself, or its domain is."""
    holds = any(it["VerifiedForSendingStatus"] for it in identities.values())
    advice = (
        "publish the DNS records of SES DKIM below; SES looks for them for 72 hours"
        if any("@" not in name for name in identities)
        else "follow the link that SES mailed to it; 'aws sesv2 create-email-identity' sends a new one"
    )
    return judged(check, holds, f"{address} is {'' if holds else 'not '}verified", advice)


def _identities(stack: Stack, address: str) -> dict[str, Document]:
    """Return SES's identities for the address, for its domain and for the parent domains, the nearest first."""
    labels, client, found = address.rpartition("@")[2].split("."), stack.client("sesv2"), {}
    # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetEmailIdentity.html
    for name in (address, *(".".join(labels[start:]) for start in range(len(labels) - 1))):
        try:
            found[name] = client.get_email_identity(EmailIdentity=name)
        except ClientError as error:
            if error_code(error) != "NotFoundException":
                raise
    return found


def _signature(domain: str, dkim: Document) -> Finding:
    status, zone = dkim.get("Status", "NOT_STARTED"), dkim.get("SigningHostedZone", "dkim.amazonses.com")
    records = [f"{token}._domainkey.{domain} CNAME {token}.{zone}" for token in dkim.get("Tokens", ())]
    if status == "SUCCESS" and not dkim.get("SigningEnabled", True):
        advice = f"aws sesv2 put-email-identity-dkim-attributes --email-identity {domain} --signing-enabled"
        return Finding("SES DKIM", State.WRONG, f"{domain}: switched off", advice)
    advice = f"publish in DNS: {'; '.join(records)}" if records else f"set up Easy DKIM: {_VERIFY}"
    return judged("SES DKIM", status == "SUCCESS", f"{domain}: {status.lower()}", advice)


def _return_path(domain: str, mail_from: Document) -> Finding:
    own, status = mail_from.get("MailFromDomain"), mail_from.get("MailFromDomainStatus", "NOT_STARTED")
    if not own:
        # DMARC passes by DKIM alone: https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dmarc.html
        return Finding("SES MAIL FROM", State.OK, f"{domain}: amazonses.com, so DMARC rests on DKIM alone")
    advice = f"publish the records that the stack's outputs EmailDnsMailFrom and EmailDnsSpf name: {_MAIL_FROM}"
    return judged("SES MAIL FROM", status == "SUCCESS", f"{own}: {status.lower()}", advice)
