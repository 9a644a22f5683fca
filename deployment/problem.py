"""A problem that prevents a deployment, or that the deployer should know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The account and region of the deployment. `options`: region and profile, as options for the AWS CLI."""

    account: str
    region: str
    options: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A failed check: what is wrong, and what to do. If it is not `fatal`, the deployment continues with a warning."""

    description: str
    remedy: str
    fatal: bool = True
