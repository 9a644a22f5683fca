"""Changes permissions where MiniStack's IAM differs from AWS's.

The roles are the deployed ones, unchanged; so it is the emulator that is corrected. A correction that no longer fits
the emulator denies every publish or every mail, which no end-to-end test survives.
"""

import json
from email.utils import parseaddr
from typing import Any, Final

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import get_account_id

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
BATCHES: Final = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""A batch takes the permission of what it is a batch of."""

_extract_iam_action = iam_actions.extract_iam_action
_enforce_ses_v2 = app._enforce_ses_v2  # noqa: SLF001


def _action(*request: Any) -> str | None:  # noqa: ANN401
    action: str | None = _extract_iam_action(*request)
    return BATCHES.get(action or "", action)


def _send_email(*request: Any) -> Any:  # noqa: ANN401
    """Hold a mail against its sender and its configuration set, instead of against `*`.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsimpleemailservicev2.html. A sender's
    name is another condition: https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html.
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
    """Let this process's MiniStack check the same permissions as AWS."""
    iam_actions.extract_iam_action = _action
    app._enforce_ses_v2 = _send_email  # noqa: SLF001
