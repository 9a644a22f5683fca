"""What can stand in the way of a deployment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Where it would be deployed: `options` are what AWS's command line needs to go there."""

    account: str
    region: str
    options: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not hold, and what to do. One that is not `fatal` stops nothing."""

    what: str
    do: str
    fatal: bool = True
