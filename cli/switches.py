"""Implements `assistance enable` and `disable`: stops or starts a part of the stack."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from cli.errors import Failure
from cli.stack import Stack

# https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html
# The states `Enabling`, `Disabling` and `Creating` end by themselves.
_ON: Final = frozenset({"Enabled", "Enabling", "Creating"})
_OFF: Final = frozenset({"Disabled", "Disabling"})
# UpdateSchedule resets every setting that the call leaves out, so pass on the current values:
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
_KEPT_SETTINGS: Final = (
    "Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target",
    "Description", "KmsKeyArn", "StartDate", "EndDate",
)  # fmt: skip


class Part(StrEnum):
    """A part of the stack that can be stopped and started."""

    STREAM = "stream"
    RECONCILER = "reconciler"
    CONSUMER = "consumer"
    HEARTBEAT = "heartbeat"

    @property
    def of_a_channel(self) -> bool:
        """Whether each channel has a part of this kind, so that the command must name a channel."""
        return self in {Part.CONSUMER, Part.HEARTBEAT}


def switch(stack: Stack, part: Part, destination: str | None, *, on: bool, wait: Callable[[], bool]) -> tuple[str, str]:
    """Start a part, or stop it if `on` is False. Returns its state before and after, such as `enabled`.

    `destination`: the channel or `callback` whose part it is; None if the stack has only one such part. `wait` waits
    before the state is read again, and returns False when the time is over. Raises `Failure` and what boto3 raises.
    """
    if part in {Part.RECONCILER, Part.HEARTBEAT}:
        return _schedule(stack, f"{part}{destination or ''}", on=on)
    folder = "stream_producer" if part is Part.STREAM else f"{destination}_consumer"
    return _event_source(stack, folder, on=on, wait=wait)


def _event_source(stack: Stack, folder: str, *, on: bool, wait: Callable[[], bool]) -> tuple[str, str]:
    client = stack.client("lambda")
    sources = client.list_event_source_mappings(FunctionName=stack.function(folder))["EventSourceMappings"]
    if len(sources) != 1:
        raise Failure(f"{folder} has {len(sources)} event sources instead of one: deploy the stack again")
    uuid, before = sources[0]["UUID"], str(sources[0]["State"])
    if before not in (_ON if on else _OFF):
        client.update_event_source_mapping(UUID=uuid, Enabled=on)

    def state() -> str:
        return str(client.get_event_source_mapping(UUID=uuid)["State"])

    while (after := state()) != ("Enabled" if on else "Disabled"):
        if not wait():
            break
    return before.lower(), after.lower()


def schedules(stack: Stack) -> dict[str, str]:
    """The names of the stack's schedules, by the part that they run: `reconciler`, `heartbeatslack` and so on.

    The part comes from the logical id in infra/reconciler.py or infra/heartbeat.py, without the CDK's hash of eight
    characters.
    """
    found = stack.resources("AWS::Scheduler::Schedule")
    return {id_[:-8].lower().removesuffix("schedule"): name for id_, name in found.items()}


def _schedule(stack: Stack, runs: str, *, on: bool) -> tuple[str, str]:
    name = schedules(stack).get(runs)
    if name is None:
        raise Failure(f"the stack {stack.name} has no such schedule: only a stage with alarms has heartbeats")
    client = stack.client("scheduler")
    schedule: dict[str, Any] = client.get_schedule(Name=name)
    wanted = "ENABLED" if on else "DISABLED"
    if schedule["State"] != wanted:
        settings = {key: schedule[key] for key in _KEPT_SETTINGS if key in schedule}
        client.update_schedule(**settings, State=wanted)
    return str(schedule["State"]).lower(), str(client.get_schedule(Name=name)["State"]).lower()
