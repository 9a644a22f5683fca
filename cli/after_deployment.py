"""The last step of `make deploy`: runs `assistance doctor`, then `assistance smoke`, on each deployed stack.

It reads the stacks' names from the file that `cdk deploy --outputs-file` writes. Exit status 1 if a check or the test
of a topic fails.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from assistance.platform.aws import AWS_ERRORS
from cli import hints, render, smoke, stack
from cli.doctor import DEAD_LETTERS, DOMAIN, examine
from cli.encoding import replace_unknown_characters
from cli.errors import Failure, explained
from cli.findings import Finding, State

_MAY_FAIL: Final = frozenset({DEAD_LETTERS, DOMAIN})
"""The doctor's checks that may fail after a deployment. Dead letters may come from an earlier outage. The domain's DNS
record may not exist yet, because the first deployment creates its target."""


def region(outputs: Mapping[str, str]) -> str:
    """Return the stack's region, from the ARN of its SNS topic. `outputs`: the stack's outputs, by their names."""
    return outputs["TopicArn"].split(":")[3]


def failed_checks(findings: Sequence[Finding]) -> list[str]:
    """The names of the failed checks, without those that may fail. A check that could not run has not failed."""
    return [finding.check for finding in findings if finding.state is State.WRONG and finding.check not in _MAY_FAIL]


def check(found: stack.Stack) -> bool:
    """Run and print the doctor's checks and, if they succeed, the smoke test. Returns whether all succeeded."""
    render.note(f"Stack: {found.title}")
    findings = []
    for finding in examine(found):
        findings.append(finding)
        render.finding(finding)
    if missing := failed_checks(findings):
        render.note(
            f"{found.name} is deployed, but these checks failed: {', '.join(missing)}. No test request was sent."
        )
        render.note(f"Correct what they name, then run: {hints.command('smoke')}")
        return False
    render.note("Sending a request for each topic, whose text says that it is a test:")
    results = list(smoke.run(found, smoke.patience()))
    for result in results:
        render.smoke(result)
    return not any(result.problem for result in results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. The result is the exit status."""
    replace_unknown_characters()
    parser = argparse.ArgumentParser(prog="make deploy")
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--profile")
    # `make deploy` passes all its arguments; the CDK uses the others.
    options, _ = parser.parse_known_args(arguments)
    deployed: Mapping[str, Mapping[str, str]] = json.loads(options.outputs.read_text("utf-8"))
    passed = True
    for name, outputs in deployed.items():
        where = {"profile": options.profile, "region": region(outputs)}
        chosen = {"--stack": name, **{f"--{option}": value for option, value in where.items() if value}}
        hints.remember(*(part for pair in chosen.items() for part in pair))
        try:
            passed &= check(stack.deployed(name, **where))
        except (Failure, *AWS_ERRORS) as error:
            render.note(f"Error: {error if isinstance(error, Failure) else explained(error)}.")
            passed = False
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
