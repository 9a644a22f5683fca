"""The manifest with which Slack creates the app that a stack uses to post messages.

https://docs.slack.dev/reference/app-manifest
"""

from typing import Any, Final

MAX_NAME: Final = 35
SCOPES: Final = ("chat:write", "channels:history", "groups:history")
"""The app's permissions: to post messages, and to search public and private channels for a message that was posted."""


def manifest(name: str, interactions_url: str | None) -> dict[str, Any]:
    """The app's manifest. `interactions_url`: what Slack calls when a user clicks a button; None without buttons."""
    interactivity = {"is_enabled": True, "request_url": interactions_url} if interactions_url else {"is_enabled": False}
    return {
        "display_information": {"name": name, "description": "Posts customers' requests, and shows who handles them."},
        "features": {"bot_user": {"display_name": name, "always_online": True}},
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            # With rotation, the token would expire after twelve hours, and this application does not renew tokens.
            "token_rotation_enabled": False,
        },
    }
