"""`make bootstrap`: checks that the credentials belong to the named account, then runs `cdk bootstrap`."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from boto3.session import Session

from assistance.platform.aws import AWS_ERRORS
from cli.errors import explained
from deployment import facts
from deployment.__main__ import CDK

_TARGET: Final = re.compile(r"aws://(\d{12})/([a-z0-9-]+)")


def main(arguments: Sequence[str]) -> None:
    """Bootstrap the account and region that the arguments name, or exit with a message that says what is wrong."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile")
    options, others = parser.parse_known_args(arguments)
    targets = [found.groups() for each in others if (found := _TARGET.fullmatch(each))]
    if not targets:
        sys.exit("error: Name the account and the region: make bootstrap ARGS=aws://ACCOUNT/REGION")
    try:
        session = Session(profile_name=options.profile)
        for account, region in targets:
            caller = facts.caller(facts.clients_of(session, region))
            if caller.account != account:
                sys.exit(f"error: {account} is another account: these credentials are of {caller.account}.")
    except AWS_ERRORS as error:
        sys.exit(f"error: {explained(error, hint='')}.")
    profile = [f"--profile={options.profile}"] if options.profile else []
    os.execv(CDK, [str(CDK), "bootstrap", *profile, *others])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
