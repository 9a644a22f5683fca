"""Turns an error of Slack's Web API into a `DeliveryError`.

An error code that is not listed here counts as transient and in doubt, since the message may have been posted.
On rate limits: https://docs.slack.dev/apis/web-api/rate-limits.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from slack_sdk.errors import SlackApiError

from assistance.errors import DeliveryError, RateLimited, TransientFailure
from assistance.failures import Kind, Table, failure, retry_after
from assistance.platform.clock import utc_now

AUTHENTICATION: Final = frozenset({"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"})
"""After these errors, the consumer reads the token from the secret again, and calls once more if it has changed."""

TOO_LONG: Final = "msg_blocks_too_long"
CONTENT_ERRORS: Final = frozenset(
    {
        "invalid_arguments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_too_large",
        TOO_LONG,
        "msg_too_long",
        "slack_connect_canvas_sharing_blocked",
        "slack_connect_file_link_sharing_blocked",
        "slack_connect_lists_sharing_blocked",
    }
)
"""Slack refused the message because of its content. If the message shows several requests, one of them or their number
may be the cause."""

# The errors that both methods have in common.
_COMMON: Final[Mapping[str, Kind]] = {
    "access_denied": Kind.PERMANENT,
    "accesslimited": Kind.PERMANENT,
    "account_inactive": Kind.PERMANENT,
    "deprecated_endpoint": Kind.PERMANENT,
    "ekm_access_denied": Kind.PERMANENT,
    "enterprise_is_restricted": Kind.PERMANENT,
    "fatal_error": Kind.IN_DOUBT,
    "internal_error": Kind.IN_DOUBT,
    "invalid_arg_name": Kind.PERMANENT,
    "invalid_arguments": Kind.PERMANENT,
    "invalid_array_arg": Kind.PERMANENT,
    "invalid_auth": Kind.PERMANENT,
    "invalid_charset": Kind.PERMANENT,
    "invalid_form_data": Kind.PERMANENT,
    "invalid_post_type": Kind.PERMANENT,
    "method_deprecated": Kind.PERMANENT,
    "missing_post_type": Kind.PERMANENT,
    "missing_scope": Kind.PERMANENT,
    "no_permission": Kind.PERMANENT,
    "not_allowed_token_type": Kind.PERMANENT,
    "not_authed": Kind.PERMANENT,
    "org_login_required": Kind.TRANSIENT,
    "ratelimited": Kind.RATE_LIMITED,
    "request_timeout": Kind.TRANSIENT,
    "service_unavailable": Kind.TRANSIENT,
    "team_access_not_granted": Kind.PERMANENT,
    "team_added_to_org": Kind.TRANSIENT,
    "token_expired": Kind.PERMANENT,
    "token_revoked": Kind.PERMANENT,
    "two_factor_setup_required": Kind.PERMANENT,
}

POST_MESSAGE_SOURCE: Final = "https://docs.slack.dev/reference/methods/chat.postMessage#errors"
POST_MESSAGE: Final[Mapping[str, Kind]] = {
    **_COMMON,
    "as_user_not_supported": Kind.PERMANENT,
    "attachment_payload_limit_exceeded": Kind.PERMANENT,
    "cannot_reply_to_message": Kind.PERMANENT,
    "channel_not_found": Kind.PERMANENT,
    "draft_already_deleted": Kind.PERMANENT,
    "draft_already_sent": Kind.PERMANENT,
    "draft_has_conflict": Kind.PERMANENT,
    "draft_not_found": Kind.PERMANENT,
    "duplicate_channel_not_found": Kind.PERMANENT,
    "duplicate_message_not_found": Kind.PERMANENT,
    "invalid_blocks": Kind.PERMANENT,
    "invalid_blocks_format": Kind.PERMANENT,
    "invalid_metadata_format": Kind.PERMANENT,
    "invalid_metadata_schema": Kind.PERMANENT,
    "is_archived": Kind.PERMANENT,
    "markdown_text_conflict": Kind.PERMANENT,
    "message_limit_exceeded": Kind.TRANSIENT,
    "messages_tab_disabled": Kind.PERMANENT,
    "metadata_must_be_sent_from_app": Kind.PERMANENT,
    "metadata_too_large": Kind.PERMANENT,
    "missing_file_data": Kind.PERMANENT,
    TOO_LONG: Kind.PERMANENT,
    "msg_too_long": Kind.PERMANENT,
    "no_text": Kind.PERMANENT,
    "not_in_channel": Kind.PERMANENT,
    "rate_limited": Kind.RATE_LIMITED,
    "restricted_action": Kind.PERMANENT,
    "restricted_action_non_threadable_channel": Kind.PERMANENT,
    "restricted_action_read_only_channel": Kind.PERMANENT,
    "restricted_action_thread_locked": Kind.PERMANENT,
    "restricted_action_thread_only_channel": Kind.PERMANENT,
    "slack_connect_canvas_sharing_blocked": Kind.PERMANENT,
    "slack_connect_file_link_sharing_blocked": Kind.PERMANENT,
    "slack_connect_lists_sharing_blocked": Kind.PERMANENT,
    "team_not_found": Kind.PERMANENT,
    "too_many_attachments": Kind.PERMANENT,
    "too_many_contact_cards": Kind.PERMANENT,
}

HISTORY_SOURCE: Final = "https://docs.slack.dev/reference/methods/conversations.history#errors"
HISTORY: Final[Mapping[str, Kind]] = {
    **_COMMON,
    "channel_is_limited_access": Kind.PERMANENT,
    "channel_not_found": Kind.PERMANENT,
    "invalid_cursor": Kind.TRANSIENT,
    "invalid_metadata_filter_keys": Kind.PERMANENT,
    "invalid_ts_latest": Kind.PERMANENT,
    "invalid_ts_oldest": Kind.PERMANENT,
    "not_in_channel": Kind.PERMANENT,
}

NOTES: Final[Mapping[str, str]] = {
    **dict.fromkeys(AUTHENTICATION, "also with a token that was just read from the secret"),
    "accesslimited": "an administrator's rule about networks",
    "channel_not_found": "also a private channel that the bot is not in",
    "fatal_error": "Slack may have posted the message, so the next attempt searches for it first",
    "internal_error": "Slack may have posted the message, so the next attempt searches for it first",
    "invalid_cursor": "the next search begins at the first page",
    "message_limit_exceeded": "a workspace's quota. It counts as an attempt, so that it leads to the fallback",
    "msg_too_long": "Slack's page listed it earlier",
    "not_in_channel": "invite the bot to the channel",
    "org_login_required": "a migration is going on, and ends by itself",
    "request_timeout": "Slack did not get the whole call",
    "team_added_to_org": "a migration is going on, and ends by itself",
}

TABLES: Final = (
    Table("Slack, `chat.postMessage`", POST_MESSAGE_SOURCE, POST_MESSAGE, NOTES),
    Table("Slack, `conversations.history`", HISTORY_SOURCE, HISTORY, NOTES),
)
DOCUMENTED: Final = {**POST_MESSAGE, **HISTORY}

_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_DEFAULT_RETRY_AFTER = 30.0


def code_of(error: SlackApiError) -> str | None:
    """Slack's error code; None if the answer has none, as when a proxy has sent it."""
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else None


def classify(error: SlackApiError) -> DeliveryError:
    """The `DeliveryError` for an error that Slack answered."""
    status = int(error.response.status_code)
    code = code_of(error)
    kind = DOCUMENTED.get(code or "", Kind.IN_DOUBT)
    if status == HTTPStatus.TOO_MANY_REQUESTS or kind is Kind.RATE_LIMITED:
        return RateLimited("ratelimited", retry_after=_retry_after(error))
    if code is None or not _CODE.fullmatch(code):
        # This is not Slack's JSON, but a proxy's page, or an incomplete answer. Slack may have got the message.
        return TransientFailure(f"http_{status}", in_doubt=True)
    return failure(kind, code, in_doubt=status >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _retry_after(error: SlackApiError) -> float:
    headers = {name.lower(): value for name, value in error.response.headers.items()}
    return retry_after(headers.get("retry-after", ""), utc_now()) or _DEFAULT_RETRY_AFTER
