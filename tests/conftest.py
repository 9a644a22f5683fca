"""Fixtures for all tests: credentials that reach no real account, and a recording of the functions' AWS calls."""

import functools
import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import botocore.session
import moto.core.models
import moto.core.responses
import moto.core.utils
import pytest
from botocore.hooks import EventAliaser
from botocore.loaders import create_loader
from botocore.model import Shape
from hypothesis import HealthCheck, settings
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from xdist.scheduler import LoadScopeScheduling

from assistance.routing import Channel
from tests.recorded_calls import Call, record

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    POWERTOOLS_SERVICE_NAME="assistance",
    POWERTOOLS_METRICS_NAMESPACE="assistance",
)
# The CDK warns at every start about an outdated Node version, except for the versions in this variable.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")
os.environ.pop("AWS_PROFILE", None)
os.environ.pop("AWS_ENDPOINT_URL", None)
# `make test` sets these variables. With them, a make started by a test would also print its folder.
for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
    os.environ.pop(name, None)


# Every boto3 session would read and parse the descriptions of the AWS services again, and every test has new sessions.
vars(botocore.session)["create_loader"] = functools.cache(create_loader)

# Every session and client would translate the names of events again, and always to the same names.
_event_names: dict[str, str] = {}
_shared = property(lambda _: _event_names, lambda _, __: None)
EventAliaser._alias_name_cache = _shared  # type: ignore[attr-defined] # noqa: SLF001

# moto computes both anew for each answer. Its services import the first function by name, when they are first used.
vars(moto.core.utils)["camelcase_to_underscores"] = functools.cache(moto.core.utils.camelcase_to_underscores)
vars(moto.core.responses)["method_names_from_class"] = functools.cache(moto.core.utils.method_names_from_class)

# moto computes anew, for each member of each answer, the names under which it looks for the member's value. In a dict,
# whose class has no names of its own, they depend only on the member.
_names_of_member = XFormedAttributePicker.get_possible_keys
_known_names: dict[tuple[str, Shape], list[str]] = {}


def _names_of_known_member(picker: XFormedAttributePicker, context: AttributePickerContext) -> Iterable[str]:
    if type(context.obj) is not dict:
        return _names_of_member(picker, context)
    member = (context.key, context.shape)
    if member not in _known_names:
        _known_names[member] = list(_names_of_member(picker, context))
    return _known_names[member]


XFormedAttributePicker.get_possible_keys = _names_of_known_member  # type: ignore[method-assign,assignment]

# For every `mock_aws()` moto would create thousands of objects that answer calls of the library `requests`. No test
# calls AWS with that library.
moto.core.models.RESPONSES_METHODS.clear()

# By default, Python looks for garbage after 2,000 new objects, and would search large tables again and again.
gc.set_threshold(50_000, 20, 100)

# No test fails because a busy machine is slow.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")

WITH_MOTO: Final = {"cli", "integration"}
BY_FILE: Final = {"test_install.py", "test_runner.py", "test_take.py", "test_traces.py"}
"""Test files that one process runs as a whole, because the tests in the file share a local stack or replayed steps."""
IN_A_BROWSER: Final = {"test_console.py", "test_console_requests.py", "test_take_page.py", "test_web_pages.py"}
LONGEST: Final = (
    "in a browser",
    "e2e",
    "with moto",
    "test_take.py",
    "faults",
    "infra",
    "test_runner.py",
    "test_traces.py",
)
"""The scopes (groups of tests that one process runs) that take longest, in the order in which they start."""
POLICIES: Final = "test_policies.py"
FAULT_POINTS: Final = "fault points"
STATES: Final = "states"
"""Names of two properties that tests record. The summary at the end of a run lists their values."""
STACK_SLOTS: Final = 2**16


@pytest.fixture(scope="session", autouse=True)
def recorded_calls() -> Iterator[set[Call]]:
    """The AWS calls that functions have made in all tests so far."""
    with record() as calls:
        yield calls


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Run each test in a frame so large that all its calls fit into one chunk of Python's stack.

    The stack has chunks of 16 KB. A call that does not fit into the last chunk maps another one, and its return unmaps
    it: a loop at that depth spends a third of its time on this. A frame that asks for more gets a larger chunk:
    `push_chunk` in https://github.com/python/cpython/blob/3.13/Python/pystate.c.
    """
    test = pyfuncitem.obj

    def with_deep_stack(*arguments: object, **named: object) -> object:
        return test(*arguments, **named)

    with_deep_stack.__code__ = with_deep_stack.__code__.replace(co_stacksize=STACK_SLOTS)
    pyfuncitem.obj = functools.wraps(test)(with_deep_stack)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that check the recorded calls last. Refuse two tests of one name: xdist would run only one."""
    names = Counter(item.nodeid for item in items)
    if twice := [name for name, times in names.items() if times > 1]:
        raise pytest.UsageError(f"two tests of one name: {', '.join(twice)}")
    items.sort(key=lambda item: item.path.name == POLICIES)


class _Scopes(LoadScopeScheduling):  # type: ignore[misc] # untyped
    """Four processes share the tests on two cores, because tests of local stacks mostly wait.

    Tests that record AWS calls and the tests that check the recording run in the same process, and so do tests that
    share a local stack. Tests that take long start first. The unit tests, one file at a time, and the model checks, one
    at a time, start last, so that no process waits long for another at the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        last = path.name == POLICIES and path.parent.name == "infra"
        if path.parent.name in WITH_MOTO or last:
            return "with moto"
        if path.parent.name == "e2e" and path.name in IN_A_BROWSER:
            return "in a browser"
        if path.parent.name == "unit" or path.name in BY_FILE:
            return path.name
        return nodeid if path.parent.name == "model" else path.parent.name

    def _assign_work_unit(self, node: Any) -> None:  # noqa: ANN401
        ranks = {scope: LONGEST.index(scope) for scope in self.workqueue if scope in LONGEST}
        if ranks:
            self.workqueue.move_to_end(min(ranks, key=ranks.__getitem__), last=False)
        super()._assign_work_unit(node)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the recorded properties. The hook is in this file, since xdist's main process reads no other conftest.py."""
    passed = terminalreporter.getreports("passed")
    for count in (FAULT_POINTS, STATES):
        lines = sorted(
            f"{report.nodeid.partition('[')[2].rstrip(']')}: {value:,}" if isinstance(value, int) else str(value)
            for report in passed
            for name, value in report.user_properties
            if name == count
        )
        if lines:
            terminalreporter.section(count)
            for line in lines:
                terminalreporter.write_line(line)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:  # noqa: ANN401
    """Return the scheduler that xdist, which calls this hook, is to use."""
    return _Scopes(config, log)


@pytest.fixture
def added_channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    """A channel that a developer has added to `Channel`, and nowhere else."""
    channel = str.__new__(Channel, "pigeon")
    channel._name_, channel._value_ = "PIGEON", "pigeon"
    monkeypatch.setitem(Channel._member_map_, channel.name, channel)
    monkeypatch.setitem(Channel._value2member_map_, channel.value, channel)
    monkeypatch.setattr(Channel, "_member_names_", [*Channel._member_names_, channel.name])
    return channel
