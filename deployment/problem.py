"""A problem that prevents a deployment, or that the deployer should know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The place of the deployment. `options` lead AWS's command line there."""

    account: str
    region: str
    options: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A failed check, and what to do. If it is not `fatal`, the deployment goes on."""

    what: str
    do: str
    fatal: bool = True
