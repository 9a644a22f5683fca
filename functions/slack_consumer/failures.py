"""What an error of Slack's means for a delivery.

https://docs.slack.dev/reference/methods/chat.postMessage#errors and https://docs.slack.dev/apis/web-api/rate-limits.
An error that is not listed here is taken for transient.
"""

import re
from http import HTTPStatus
from typing import Final

from slack_sdk.errors import SlackApiError

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure

AUTHENTICATION: Final = frozenset({"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"})
PERMANENT: Final = AUTHENTICATION | {
    "access_denied",
    "as_user_not_supported",
    "attachment_payload_limit_exceeded",
    "blocked_by_resource_policy",
    "cannot_reply_to_message",
    "channel_not_found",
    "channel_type_not_supported",
    "deprecated_endpoint",
    "duplicate_channel_not_found",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_arg_name",
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_charset",
    "invalid_form_data",
    "invalid_metadata_format",
    "invalid_metadata_schema",
    "invalid_post_type",
    "is_archived",
    "messages_tab_disabled",
    "metadata_must_be_sent_from_app",
    "metadata_too_large",
    "method_deprecated",
    "missing_args",
    "missing_post_type",
    "missing_scope",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_permission",
    "no_text",
    "not_allowed_token_type",
    "not_in_channel",
    "org_login_required",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
    "team_access_not_granted",
    "team_not_found",
    "too_many_attachments",
    "too_many_contact_cards",
    "two_factor_setup_required",
}

_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_DEFAULT_RETRY_AFTER = 30.0


def code_of(error: SlackApiError) -> str | None:
    """The error that Slack names, if it names one: what has come back need not be Slack's own JSON."""
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else None


def classify(error: SlackApiError) -> DeliveryError:
    """The failure that an answer of Slack's stands for."""
    status = int(error.response.status_code)
    code = code_of(error)
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in {"ratelimited", "rate_limited", "message_limit_exceeded"}:
        return RateLimited("ratelimited", retry_after=_retry_after(error))
    if code is None or not _CODE.fullmatch(code):
        # Not Slack's own JSON: a proxy's page, a cut-off answer. Whoever wrote it may have passed the message on.
        return TransientFailure(f"http_{status}", in_doubt=True)
    if code in PERMANENT:
        return PermanentFailure(code)
    return TransientFailure(code, in_doubt=status >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _retry_after(error: SlackApiError) -> float:
    headers = {name.lower(): value for name, value in error.response.headers.items()}
    try:
        return max(float(headers["retry-after"]), 1.0)
    except (KeyError, ValueError):
        return _DEFAULT_RETRY_AFTER
