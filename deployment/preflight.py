"""The checks before a deployment. Each returns a problem with advice, or None. No check calls an AWS API."""

from collections.abc import Callable
from typing import Final

from assistance.routing import Channel
from deployment.facts import Caller, Facts
from deployment.problem import Problem, Target
from deployment.stuck_stack import problem_of
from infra.batches import NEW_TABLE_SHARDS, PARALLELIZATION_FACTOR
from infra.config import Config

NODE: Final = 22
"""The oldest major version of Node.js that the CDK supports; it supported 20 until 2026-10-30.
https://docs.aws.amazon.com/cdk/v2/guide/node-versions.html"""
BOOTSTRAP: Final = 6
"""The oldest supported version of the CDK's bootstrap stack. CloudFormation checks the version later, by the rule
`CheckBootstrapVersion` of each template. https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html"""
WITHOUT_SNAPSTART: Final = frozenset({"ap-east-2", "ap-southeast-6"})
"""The regions without SnapStart, Taipei and New Zealand:
https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html#snapstart-supported-regions"""


Rule = Callable[[Config, Facts, Target], Problem | None]


def wrong_account(config: Config, caller: Caller) -> Problem | None:
    """A problem if the credentials belong to another account than the stage's."""
    if config.account in {None, caller.account}:
        return None
    return Problem(
        f"{config.stage} belongs to the AWS account {config.account}, but these credentials are for {caller.account}, "
        f"as {caller.arn}.",
        "Use other credentials: AWS_PROFILE=… make deploy …, or --profile in ARGS.",
    )


def old_node(_: Config, facts: Facts, __: Target) -> Problem | None:
    """A problem if there is no Node.js, or one that the CDK no longer supports."""
    if facts.node >= NODE:
        return None
    found = f"Node.js {facts.node} is too old" if facts.node else "There is no Node.js"
    return Problem(f"{found}: the CDK needs {NODE} or later.", "Get it from https://nodejs.org.")


def without_ses(config: Config, facts: Facts, target: Target) -> Problem | None:
    """A problem if the region has no SES, but the stage sends mails."""
    if facts.has_ses or Channel.EMAIL not in config.deployed:
        return None
    return Problem(
        f"SES sends the mails, but is not available in {target.region}.",
        "Choose another region (https://docs.aws.amazon.com/general/latest/gr/ses.html), or routes without email.",
    )


def without_snapstart(config: Config, _: Facts, target: Target) -> Problem | None:
    """A problem if the region has no SnapStart, but the stage uses it."""
    if not config.snap_start or target.region not in WITHOUT_SNAPSTART:
        return None
    return Problem(
        f"Lambda's SnapStart is not available in {target.region}.", "Leave snap_start out, or choose another region."
    )


def not_bootstrapped(_: Config, facts: Facts, target: Target) -> Problem | None:
    """A problem if the account and region are not bootstrapped for the CDK, or with a version that is too old."""
    if facts.bootstrap is not None and facts.bootstrap >= BOOTSTRAP:
        return None
    found = (
        "is not prepared" if facts.bootstrap is None else f"was prepared by version {facts.bootstrap}, which is too old"
    )
    where = f"aws://{target.account}/{target.region}"
    return Problem(f"{where} {found} for the CDK.", f"Run once: make bootstrap ARGS={where}")


def identity_taken(config: Config, facts: Facts, target: Target) -> Problem | None:
    """A problem if SES already has the sender's identity: the stack could not create it a second time."""
    own = facts.stack.names("AWS::SES::EmailIdentity") if facts.stack else []
    identity = identity_of(config)
    if not facts.identity_exists or identity is None or identity in own:
        return None
    return Problem(
        f"SES has {identity} in {target.region} already: another stack or a person has created it.",
        "Set create_email_identity to false: the stack then uses the existing one.",
    )


def too_little_concurrency(config: Config, facts: Facts, target: Target) -> Problem | None:
    """A problem if Lambda's quota is too small to run all functions at once. A new account's may be 10.

    Fatal only in production, and only if the quota is too small even with a single batch of the stream at once.
    """
    others = (
        3
        + (Channel.EMAIL in config.deployed)
        + (config.take and Channel.SLACK in config.deployed)
        + bool(config.linked)
    )
    least = config.consumer_max_concurrency * len(config.destinations) + others
    wanted = least - 1 + NEW_TABLE_SHARDS * PARALLELIZATION_FACTOR
    if facts.concurrency >= wanted:
        return None
    return Problem(
        f"Lambda runs {facts.concurrency} functions at once in this account, and this stage can use {wanted}: "
        "when it is busy, Lambda would refuse bots' calls.",
        # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
        "Ask AWS for more: aws service-quotas request-service-quota-increase --service-code lambda "
        f"--quota-code L-B99A9384 --desired-value 1000 {target.options}",
        fatal=config.production and facts.concurrency < least,
    )


def stuck_stack(_: Config, facts: Facts, target: Target) -> Problem | None:
    """A problem if CloudFormation can't update the stack in its current state, and the CDK can't replace it."""
    return problem_of(facts.stack, target.options) if facts.stack else None


RULES: Final[tuple[Rule, ...]] = (
    old_node, without_ses, without_snapstart, not_bootstrapped, identity_taken, too_little_concurrency, stuck_stack,
)  # fmt: skip


def identity_of(config: Config) -> str | None:
    """The SES identity that the stack would create, a domain or an address; None if it creates none."""
    wanted = config.create_email_identity and Channel.EMAIL in config.deployed
    return (config.email_domain or config.email_sender) if wanted else None


def problems(config: Config, facts: Facts, target: Target) -> list[Problem]:
    """The problems that all checks but `wrong_account` find."""
    return [problem for rule in RULES if (problem := rule(config, facts, target))]
