"""The email checks of `assistance doctor`: the SES account, its quota, and the sender's DKIM."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from assistance.platform.aws import error_code
from cli.findings import Finding, State, ok_if
from cli.stack import Stack

SANDBOX: Final = "https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html"
_MAIL_FROM: Final = "https://docs.aws.amazon.com/ses/latest/dg/mail-from.html"
_VERIFY: Final = "docs/deployment.md#mail-from-your-own-domain"
_QUOTA_WARNING: Final = 0.8

Document = Mapping[str, Any]


def account(stack: Stack) -> Iterator[Finding]:
    """Check whether the SES account may send mails, whether to any address, and how much of its quota is used."""
    # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html
    found = stack.client("sesv2").get_account()
    free, state = found["ProductionAccessEnabled"], found.get("EnforcementStatus", "HEALTHY")
    reason = "SES has mailed the reason to the account's owner, and shows it under Account health"
    if not found["SendingEnabled"]:
        yield Finding("SES account", State.WRONG, "sending is paused", reason)
    elif state != "HEALTHY":
        yield Finding("SES account", State.WRONG, f"SES reviews the account: {state}", reason)
    else:
        # In a stage for tests, the sandbox is no problem: `_email_sender` then also checks each recipient.
        advice = f"request production access: {SANDBOX}"
        found_in = "may send to any address" if free else "in the sandbox: each recipient must be verified"
        yield ok_if("SES account", free or not _for_customers(stack), found_in, advice)
    yield _quota(found.get("SendQuota", {}))


def _for_customers(stack: Stack) -> bool:
    return stack.name.endswith("-production")


def _quota(quota: Document) -> Finding:
    day, second, sent = (quota.get(name, 0) for name in ("Max24HourSend", "MaxSendRate", "SentLast24Hours"))
    if not quota or day < 0:
        return Finding("SES quota", State.OK, "no limit")
    found = f"{sent:,.0f} of {day:,.0f} recipients used in 24 hours; at most {second:,.0f} a second"
    advice = (
        "request a higher quota for the account: https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html"
    )
    if sent < _QUOTA_WARNING * day:
        return Finding("SES quota", State.OK, found)
    return Finding("SES quota", State.WARNING if sent < day else State.WRONG, found, advice)


def sender(stack: Stack, address: str) -> Iterator[Finding]:
    """Check whether SES has verified the sender, and whether receiving servers can tell that its mails are genuine."""
    identities = _identities(stack, address)
    yield verified("SES sender", address, identities)
    at = {name: it for name, it in identities.items() if name != address}
    if at:
        # Check the nearest domain that SES knows: an identity for one address has by default no MAIL FROM domain.
        name, identity = next(iter(at.items()))
        yield _signature(name, identity.get("DkimAttributes", {}))
        yield _return_path(name, identity.get("MailFromAttributes", {}))
    elif identities:
        found = "not set up, because only the address is verified and not its domain"
        advice = f"verify the domain, or receiving servers will take the mails for forged: {_VERIFY}"
        yield ok_if("SES DKIM", not _for_customers(stack), found, advice)


def recipient(stack: Stack, address: str) -> Finding:
    """Check whether SES has verified a recipient: in its sandbox, SES sends only to verified addresses."""
    return verified("SES recipient", address, _identities(stack, address))


def verified(check: str, address: str, identities: Mapping[str, Document]) -> Finding:
    """Check whether SES has verified one of `identities`, by name: an address, its domain, or a parent domain.

    `check`: the finding's name.
    """
    holds = any(it["VerifiedForSendingStatus"] for it in identities.values())
    advice = (
        "publish the DNS records of SES DKIM below; SES looks for them for 72 hours"
        if any("@" not in name for name in identities)
        else "follow the link that SES mailed to it; 'aws sesv2 create-email-identity' sends a new one"
    )
    return ok_if(check, holds, f"{address} is {'' if holds else 'not '}verified", advice)


def _identities(stack: Stack, address: str) -> dict[str, Document]:
    """Return SES's identities for the address, its domain and the parent domains, by these names, the nearest first."""
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
    return ok_if("SES DKIM", status == "SUCCESS", f"{domain}: {status.lower()}", advice)


def _return_path(domain: str, mail_from: Document) -> Finding:
    own, status = mail_from.get("MailFromDomain"), mail_from.get("MailFromDomainStatus", "NOT_STARTED")
    if not own:
        # DMARC passes by DKIM alone: https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dmarc.html
        return Finding("SES MAIL FROM", State.OK, f"{domain}: amazonses.com, so DMARC rests on DKIM alone")
    advice = f"publish the records that the stack's outputs EmailDnsMailFrom and EmailDnsSpf name: {_MAIL_FROM}"
    return ok_if("SES MAIL FROM", status == "SUCCESS", f"{own}: {status.lower()}", advice)
