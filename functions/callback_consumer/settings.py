"""The settings of the callback consumer."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The callback consumer's environment variables."""

    callback_secret: str  # the ARN of the secret with the signing keys
    callback_loopback: bool = False  # True if bots at http://127.0.0.1 may be called: only `make run` sets it
