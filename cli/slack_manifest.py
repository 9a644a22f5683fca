"""The manifest from which Slack creates the app that a stack needs.

https://docs.slack.dev/reference/app-manifest
"""

from typing import Any, Final

MAX_NAME: Final = 35
SCOPES: Final = ("chat:write", "channels:history", "groups:history")
"""To post, and to look up in public and in private channels what was posted."""


def manifest(name: str, interactions_url: str | None) -> dict[str, Any]:
    """The manifest. `interactions_url`: where Slack tells of pressed buttons, if messages have any."""
    interactivity = {"is_enabled": True, "request_url": interactions_url} if interactions_url else {"is_enabled": False}
    return {
        "display_information": {"name": name, "description": "Posts customers' requests, and shows who handles them."},
        "features": {"bot_user": {"display_name": name, "always_online": True}},
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            # A rotating token would expire after twelve hours, and nothing here renews it.
            "token_rotation_enabled": False,
        },
    }
