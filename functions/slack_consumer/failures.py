"""Turns an error of Slack's Web API into a `DeliveryError`. Unlisted codes count as transient and in doubt."""

import re
from http import HTTPStatus
from typing import Final

from slack_sdk.errors import SlackApiError

from assistance.errors import DeliveryError, RateLimited
from assistance.failures import Kind, Table, by_code, failure, retry_after
from assistance.platform.clock import utc_now

TOO_LONG: Final = "msg_blocks_too_long"
CONTENT_ERRORS: Final = by_code(
    permanent="""
        invalid_arguments invalid_blocks invalid_blocks_format invalid_metadata_format invalid_metadata_schema
        metadata_too_large msg_blocks_too_long msg_too_long slack_connect_canvas_sharing_blocked
        slack_connect_file_link_sharing_blocked slack_connect_lists_sharing_blocked
    """
)
"""Slack refused the message because of its content. If the message shows several requests, one of them or their number
may be the cause."""

# The errors that both methods have in common.
_COMMON: Final = by_code(
    permanent="""
        access_denied accesslimited account_inactive deprecated_endpoint ekm_access_denied
        enterprise_is_restricted invalid_arg_name invalid_arguments invalid_array_arg invalid_auth
        invalid_charset invalid_form_data invalid_post_type method_deprecated missing_post_type missing_scope
        no_permission not_allowed_token_type not_authed team_access_not_granted token_expired token_revoked
        two_factor_setup_required
    """,
    transient="org_login_required request_timeout service_unavailable team_added_to_org",
    in_doubt="fatal_error internal_error",
    rate_limited="ratelimited",
)
_POSTING: Final = by_code(
    permanent="""
        as_user_not_supported attachment_payload_limit_exceeded cannot_reply_to_message channel_not_found
        draft_already_deleted draft_already_sent draft_has_conflict draft_not_found duplicate_channel_not_found
        duplicate_message_not_found is_archived markdown_text_conflict messages_tab_disabled
        metadata_must_be_sent_from_app missing_file_data no_text not_in_channel restricted_action
        restricted_action_non_threadable_channel restricted_action_read_only_channel
        restricted_action_thread_locked restricted_action_thread_only_channel team_not_found
        too_many_attachments too_many_contact_cards
    """,
    transient="message_limit_exceeded",
    rate_limited="rate_limited",
)
POST_MESSAGE: Final = _COMMON | CONTENT_ERRORS | _POSTING
HISTORY: Final = _COMMON | by_code(
    permanent="""
        channel_is_limited_access channel_not_found invalid_metadata_filter_keys invalid_ts_latest
        invalid_ts_oldest not_in_channel
    """,
    transient="invalid_cursor",
)
TABLES: Final = (
    Table(
        "Slack, `chat.postMessage`", "https://docs.slack.dev/reference/methods/chat.postMessage#errors", POST_MESSAGE
    ),
    Table(
        "Slack, `conversations.history`",
        "https://docs.slack.dev/reference/methods/conversations.history#errors",
        HISTORY,
    ),
)
DOCUMENTED: Final = POST_MESSAGE | HISTORY

_NO_ANSWER: Final = frozenset({"connection_error", "timeout", "unexpected_answer"})
_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_DEFAULT_RETRY_AFTER = 30.0


def may_blame_content(code: str | None) -> bool:
    """Whether the content of a message may have caused this error.

    Slack documents `internal_error` for any error of its own, and it may return codes that it does not document.
    """
    if code is None or code in _NO_ANSWER or code.startswith("http_"):
        return False
    return DOCUMENTED.get(code, Kind.IN_DOUBT) is Kind.IN_DOUBT


def classify(error: SlackApiError) -> DeliveryError:
    """The `DeliveryError` for an error that Slack answered."""
    status = int(error.response.status_code)
    # Without Slack's code, this is a proxy's page, or an incomplete answer. Slack may have got the message.
    code = f"http_{status}"
    match error.response.data:
        case {"error": str(named)} if _CODE.fullmatch(named):
            code = named
    kind = DOCUMENTED.get(code, Kind.IN_DOUBT)
    if status == HTTPStatus.TOO_MANY_REQUESTS or kind is Kind.RATE_LIMITED:
        asked = {name.lower(): value for name, value in error.response.headers.items()}.get("retry-after", "")
        return RateLimited("ratelimited", retry_after=retry_after(asked, utc_now()) or _DEFAULT_RETRY_AFTER)
    return failure(kind, code, in_doubt=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
