"""The CDK app. Only this module reads the CDK's context and the AWS account."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "functions")]

from aws_cdk import Annotations, App, DefaultStackSynthesizer, Environment, Tags  # noqa: E402

from infra import environment_size  # noqa: E402
from infra.bundle import BundlingFailed  # noqa: E402
from infra.config import Config  # noqa: E402
from infra.stack import AssistanceStack  # noqa: E402
from infra.stages import InvalidConfig, settings  # noqa: E402


def new_app(context: Mapping[str, Any] | None = None, directory: str | None = None) -> App:
    """An app with the context of cdk.json, whose feature flags must also apply when the CDK CLI does not run the app.

    Values from the CLI and from `context` override those of cdk.json. `directory`: the output folder, by default the
    CDK's.
    """
    defaults = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return App(context={**defaults, **(context or {})}, outdir=directory)


def build(app: App, config: Config) -> AssistanceStack:
    """Add the stack of this configuration to the app. Raises `InvalidConfig` for a wrong AWS account or region."""
    if config.local:
        # The local emulator has no bootstrap stack whose version could be checked.
        environment = Environment(account="000000000000", region="us-east-1")
        synthesizer = DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
    else:
        account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
        if config.account and account not in {None, "", config.account}:
            raise InvalidConfig(
                f"{config.stage} belongs to the AWS account {config.account}, but these credentials are for {account}: "
                "use other credentials, for example with AWS_PROFILE."
            )
        environment = Environment(account=config.account or account, region=config.region or region)
        synthesizer = DefaultStackSynthesizer()
    if config.certificate_arn and environment.region not in {None, config.certificate_arn.split(":")[3]}:
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-custom-domains.html
        raise InvalidConfig(f"certificate_arn must name a certificate in {environment.region}, the region of the API")
    stack = AssistanceStack(
        app,
        f"assistance-{config.stage}",
        config=config,
        env=environment,
        synthesizer=synthesizer,
        termination_protection=config.production,
        description="Assistance requests from bots, delivered by Slack, email or Teams.",
    )
    Tags.of(stack).add("application", "assistance")
    Tags.of(stack).add("stage", config.stage)
    if config.example_addresses and not config.local:
        keys = " and ".join(config.example_addresses)
        Annotations.of(stack).add_warning_v2("assistance:example-addresses", f"No mail will arrive: set {keys}.")
    if config.production and config.single_address:
        said = "Receiving servers may take the mails for forged: set email_domain, see docs/deployment.md."
        Annotations.of(stack).add_warning_v2("assistance:single-address", said)
    if config.operator_email and not config.watched:
        said = "operator_email has no effect, because this stage has no alarms: set alarms=true."
        Annotations.of(stack).add_warning_v2("assistance:no-alarms", said)
    return stack


def synthesize(app: App, config: Config) -> None:
    """Write the template. Raises `InvalidConfig` also for settings that are too long for the functions' variables."""
    stack = build(app, config)
    artifact = app.synth().get_stack_by_name(stack.stack_name)
    # An unknown region is `unknown-region`, as long as the longest of the real ones.
    found = environment_size.problem_of(artifact.template, stack=stack.stack_name, region=artifact.environment.region)
    if found:
        raise InvalidConfig(f"{config.stage} can't be deployed: {found}.")


def main() -> None:
    """Synthesize the template, or exit with a message that says what is wrong."""
    app = new_app()
    try:
        synthesize(app, settings(app.node.get_all_context()))
    except (InvalidConfig, BundlingFailed) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
