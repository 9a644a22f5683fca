"""Settings for fuzz tests of parsers: the same inputs in every run, for a second or two."""

from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZED: Final = settings(
    max_examples=200,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DEEP: Final = "[" * 100_000
"""JSON that is nested too deeply for a recursive parser."""
LONG_NUMBER: Final = "9" * 5_000
"""JSON with a number that is too long for Python's parser: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits."""


_TEXT: Final = st.text(max_size=20) | st.sampled_from(
    ["", " ", "\u200b", "\x00", "\u202e", "javascript:x", "a@b\r\nBcc: c@d"]
)
_VALUE: Final = JSON | _TEXT
CALL: Final = st.fixed_dictionaries(
    {"topic": st.just("sales"), "description": st.just("help")},
    optional={
        "customer": st.dictionaries(st.sampled_from(["name", "email", "phone", "company"]), _VALUE) | _VALUE,
        "conversation_url": _VALUE,
        "reference": _VALUE,
        "details": st.dictionaries(_TEXT, _VALUE, max_size=22) | _VALUE,
        "callback_url": _VALUE,
        "priority": _VALUE,
    },
)
"""A bot's call whose optional members may hold anything."""
