"""Corrects the IAM of MiniStack where it checks other permissions than AWS.

The deployed roles stay as they are for AWS. If a correction no longer fits a later MiniStack, MiniStack denies every
publish or every mail, and the end-to-end tests fail.
"""

import json
from email.utils import parseaddr
from typing import Any, Final

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import get_account_id
from ministack.services import sts

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
BATCHES: Final = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""The permission that AWS checks for each batch action: that of the single action."""

_extract_iam_action = iam_actions.extract_iam_action
_enforce_ses_v2 = app._enforce_ses_v2  # noqa: SLF001


def _action(*request: Any) -> str | None:  # noqa: ANN401
    action: str | None = _extract_iam_action(*request)
    return BATCHES.get(action or "", action)


def _send_email(*request: Any) -> Any:  # noqa: ANN401
    """Check the permission to send a mail for its sender's identity and its configuration set, instead of for `*`.

    Returns MiniStack's refusal, or None if the caller has the permission.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsimpleemailservicev2.html. The
    condition `ses:FromAddress` is the address without the sender's display name:
    https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html.
    """
    method, path, headers, body, query, request_id = request
    if (method, path) != ("POST", "/v2/email/outbound-emails"):
        return _enforce_ses_v2(*request)
    mail = json.loads(body)
    (_, sender), configuration_set = parseaddr(mail["FromEmailAddress"]), mail.get("ConfigurationSetName")
    names = [f"identity/{sender}", *([f"configuration-set/{configuration_set}"] if configuration_set else [])]
    for name in names:
        arn = f"arn:aws:ses:{app.extract_region(headers, query)}:{get_account_id()}:{name}"
        denied = app._enforce_data_plane(  # noqa: SLF001
            "sesv2",
            "ses:SendEmail",
            headers,
            query,
            request_id,
            resource_arn=arn,
            service_context={"ses:FromAddress": sender},
            named_resource=arn,
        )
        if denied:
            return denied
    return None


def correct() -> None:
    """Change the MiniStack of this process so that it checks the same permissions as AWS."""
    # MiniStack registers a session for each new process of a function, and first looks through all sessions for expired
    # ones. If another thread adds one meanwhile, that raises an error, and the call that needs the process gets a 502.
    sts._evict_expired_sessions = lambda: None  # noqa: SLF001 # these sessions do not expire
    iam_actions.extract_iam_action = _action
    app._enforce_ses_v2 = _send_email  # noqa: SLF001
