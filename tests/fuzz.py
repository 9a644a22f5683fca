"""How readers of foreign input are fuzzed: with the same inputs in every run, as many as take a second or two."""

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
"""JSON that no recursive parser reads."""
LONG_NUMBER: Final = "9" * 5_000
"""JSON that Python's parser refuses: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits."""
