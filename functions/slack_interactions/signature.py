"""Checks that a call comes from Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from slack_sdk.signature import SignatureVerifier

from assistance.errors import UnusableSecret

# Slack's signing secrets have 32 hexadecimal digits, but Slack does not document their form. So refuse only what people
# store by mistake: a token of Slack, JSON with keys and values as Secrets Manager's console stores it, or NAME=value.
_SECRET: Final = re.compile(r"(?!xox|xapp-)[A-Za-z0-9._~+/-]{16,}=*")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


def read(text: str) -> list[str]:
    """The signing secrets: one, or during a change both the new one and the old one. Raises `UnusableSecret`."""
    secrets = text.split()
    if not all(_SECRET.fullmatch(secret) for secret in secrets):
        raise UnusableSecret("the secret holds something else than signing secrets, separated by spaces")
    return secrets


def is_signed(body: str, headers: Mapping[str, set[str]], secrets: Iterable[str]) -> bool:
    """Whether the body was signed with one of the secrets within five minutes. `headers` has names in lower case."""
    timestamps, signatures = headers.get("x-slack-request-timestamp", set()), headers.get("x-slack-signature", set())
    if len(timestamps) != 1 or len(signatures) != 1:
        return False
    [timestamp], [signature] = timestamps, signatures
    # For other values the SDK raises errors that it does not document.
    if not _SECONDS.fullmatch(timestamp) or not signature.isascii():
        return False
    return any(SignatureVerifier(secret).is_valid(body, timestamp, signature) for secret in secrets)
