"""Notes on some of the providers' documented errors, for `docs/failures.md` and the console."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from assistance.routing import Channel

NOTES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        Channel.SLACK: {
            "accesslimited": "an administrator's rule about networks",
            "account_inactive": "also with a token that was just read from the secret",
            "channel_not_found": "also a private channel that the bot is not in",
            "fatal_error": "Slack may have posted the message, so the next attempt searches for it first",
            "internal_error": "Slack may have posted the message, so the next attempt searches for it first",
            "invalid_auth": "also with a token that was just read from the secret",
            "invalid_cursor": "the next search begins at the first page",
            "message_limit_exceeded": "a workspace's quota. It counts as an attempt, so that it leads to the fallback",
            "msg_too_long": "Slack's page listed it earlier",
            "not_authed": "also with a token that was just read from the secret",
            "not_in_channel": "invite the bot to the channel",
            "org_login_required": "a migration is going on, and ends by itself",
            "request_timeout": "Slack did not get the whole call",
            "team_added_to_org": "a migration is going on, and ends by itself",
            "token_expired": "also with a token that was just read from the secret",
            "token_revoked": "also with a token that was just read from the secret",
        },
        Channel.EMAIL: {
            "AccessDeniedException": "a policy may still be taking effect",
            "AccountSuspendedException": "SES says: permanently restricted",
            "ExpiredTokenException": "the SDK renews the function's credentials",
            "InternalFailure": "the answer is a 500: SES may have sent the mail",
            "InternalServiceErrorException": "the answer is a 500: SES may have sent the mail",
            "LimitExceededException": "a quota",
            "MessageRejected": "also if the sender is not verified, or in the sandbox a recipient",
            "NotFoundException": "the configuration set does not exist any more",
            "RequestExpired": "a clock is wrong, or the call was on its way for too long",
            "RequestTimeoutException": "SES did not get the whole call",
            "SendingPausedException": "sending was paused, and may be resumed",
            "ServiceUnavailable": "the answer is a 503: SES may have sent the mail",
            "ThrottlingException": "also if the daily quota is used up",
            "TooManyRequestsException": "also if the daily quota is used up",
        },
        Channel.TEAMS: {
            "http_400": "the workflow is turned off, or does not take a card",
            "http_401": "the URL's signature is wrong, or the trigger asks its callers to sign in: let anyone call it",
            "http_403": "the workflow's owner, or a policy, forbids the call",
            "http_404": "the workflow does not exist any more",
            "http_410": "the workflow does not exist any more",
            "http_413": "the card is larger than the trigger accepts, which no card of this project is",
            "http_429": "a `Retry-After` counts up to half an hour; the back-off is added",
        },
    }
)
"""Maps each channel to its notes, which are by error code."""
