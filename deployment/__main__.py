"""`make deploy`: check the account, build the template, list removed resources, and let the CDK deploy the template."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boto3.session import Session
from botocore.exceptions import ClientError

from assistance.platform.aws import AWS_ERRORS, error_code
from cli.encoding import replace_unknown_characters
from cli.errors import explained
from deployment import facts, preflight
from deployment.facts import Clients, Facts
from deployment.problem import Problem, Target
from deployment.removals import removed
from deployment.stuck_stack import is_deployed
from infra.config import Config
from infra.stages import InvalidConfig, settings

ROOT: Final = Path(__file__).resolve().parent.parent
CDK: Final = ROOT / "node_modules/.bin/cdk"
BUILT: Final = ROOT / ".build/deployment"
ALLOW: Final = "--allow-removals"
OUTPUTS: Final = "--outputs-file"
QUALIFIER: Final = "@aws-cdk/core:bootstrapQualifier"


class Refused(Exception):
    """Nothing was deployed. The exception's text says why."""


@dataclass(frozen=True, slots=True)
class Checks:
    """The result of the checks: the account and region, clients for it, and whether the deployment updates a stack."""

    target: Target
    clients: Clients
    deployed: bool


def main(arguments: Sequence[str]) -> None:
    """Check and deploy, with the deployer's `arguments`. If something is wrong, exit with a message that says what."""
    replace_unknown_characters()
    options, others = _parser().parse_known_args(arguments)
    profile = [f"--profile={options.profile}"] if options.profile else []
    try:
        context = _context(options.context)
        config = settings(context)
        checks = _check(config, context, options.profile)
        print("Building …", flush=True)
        given = [f"--context={pair}" for pair in options.context]
        built = subprocess.run([CDK, "synth", "--quiet", f"--output={BUILT}", *given, *profile], cwd=ROOT, check=False)
        if built.returncode:
            sys.exit(built.returncode)
        _compare(config, checks, arguments, allowed=options.allow_removals)
    except (InvalidConfig, Refused) as error:
        sys.exit(f"error: {error}")
    except AWS_ERRORS as error:
        sys.exit(f"error: {explained(error, hint='')}.")
    os.chdir(ROOT)
    os.execv(CDK, [str(CDK), "deploy", f"--app={BUILT}", *profile, *others])  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make deploy",
        description=__doc__,
        epilog="All other arguments are passed to 'cdk deploy'.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--profile", help="the AWS profile, instead of AWS_PROFILE")
    parser.add_argument(ALLOW, action="store_true", help="deploy even if channels, subscriptions or alarms are removed")
    return parser


def _context(pairs: Sequence[str]) -> dict[str, Any]:
    """The CDK's context: https://docs.aws.amazon.com/cdk/v2/guide/context.html. `pairs` override cdk.json."""
    for pair in pairs:
        if "=" not in pair:
            raise Refused(f"'-c {pair}' is not KEY=VALUE.")
    defaults: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return {**defaults, **dict(pair.split("=", 1) for pair in pairs)}


def _check(config: Config, context: Mapping[str, Any], profile: str | None) -> Checks:
    """Check everything that can be checked before the template is built. Raises `Refused` for a fatal problem."""
    # boto3 reads only AWS_DEFAULT_REGION, but the CDK prefers AWS_REGION:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html
    session = Session(profile_name=profile, region_name=os.environ.get("AWS_REGION"))
    region = config.region or session.region_name
    if not region:
        raise Refused("No AWS region: set AWS_REGION, or region in the stage's file.")
    clients = facts.clients_of(session, region)
    caller = facts.caller(clients)
    print(f"Checking {caller.account}, {region}, as {caller.arn} …", flush=True)
    if problem := preflight.wrong_account(config, caller):
        raise Refused(_shown([problem]))
    options = f"--region {region}" + (f" --profile {shlex.quote(profile)}" if profile else "")
    target = Target(caller.account, region, options)
    qualifier, has_ses = str(context.get(QUALIFIER, "hnb659fds")), facts.ses_is_in(session, region)

    def gathered() -> Facts:
        identity = preflight.identity_of(config)
        return facts.gathered(clients, stack=_stack(config), identity=identity, qualifier=qualifier, has_ses=has_ses)

    try:
        found = gathered()
    except ClientError as error:
        if error_code(error) not in facts.DENIED:
            raise
        clients = facts.clients_of(facts.reader(session, caller.account, region, qualifier), region)
        found = gathered()
    problems = preflight.problems(config, found, target)
    if any(problem.fatal for problem in problems):
        raise Refused(_shown(problems))
    for problem in problems:
        print(f"warning: {problem.description}\n  {problem.remedy}", file=sys.stderr)
    return Checks(target, clients, deployed=is_deployed(found.stack))


def _compare(config: Config, checks: Checks, arguments: Sequence[str], *, allowed: bool) -> None:
    """Print the resources that the deployment removes, or raise `Refused` with their list if that is not `allowed`.

    `arguments`: the deployer's, which the error repeats.
    """
    if not checks.deployed:
        return
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_GetTemplate.html
    found = checks.clients("cloudformation").get_template(StackName=_stack(config), TemplateStage="Original")
    after = json.loads((BUILT / f"{_stack(config)}.template.json").read_text("utf-8"))
    listed_removals = removed(found["TemplateBody"], after)
    if not listed_removals:
        return
    listed = "".join(f"\n  - {each}" for each in listed_removals)
    if allowed:
        print(f"This deployment removes from {_stack(config)}, in {checks.target.region}:{listed}", flush=True)
        return
    # The arguments that the deployer typed, without those that the Makefile adds.
    typed = [each for before, each in zip(["", *arguments], arguments, strict=False) if OUTPUTS not in {before, each}]
    again = shlex.quote(shlex.join([*typed, ALLOW]))
    kept = "\nProduction's queues and secrets would stay in the account, unused." * config.production
    raise Refused(
        f"Nothing was deployed. It would remove from {_stack(config)}, in {checks.target.region}:{listed}{kept}\n"
        f"Is a setting missing, in stages/{config.stage}.json or as -c? To remove them on purpose:\n"
        f"  make deploy ARGS={again}"
    )


def _shown(problems: Sequence[Problem]) -> str:
    return "Nothing was deployed.\n" + "\n".join(f"✗ {problem.description}\n  {problem.remedy}" for problem in problems)


def _stack(config: Config) -> str:
    return f"assistance-{config.stage}"


if __name__ == "__main__":
    main(sys.argv[1:])
