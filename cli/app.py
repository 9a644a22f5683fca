"""`assistance`: the operator's command line.

Exit status: 0 the command succeeded; 1 it failed or did only a part, and stderr says why; 2 its arguments are invalid;
130 Ctrl-C stopped it; at a question Ctrl-C means no, so 1. If the program that reads its output has ended, such as
`head`, it ends silently with status 1.
"""

from functools import partial
from typing import Annotated

import typer

from cli import dead_letters, hints, init
from cli import stack as stacks
from cli.commands import checks, logs_and_switches, repairs, requests, takes_and_erasure
from cli.console import console
from cli.encoding import replace_unknown_characters
from cli.options import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: assistance --local dead-letters list. "
    "Exit status: 0 done, 1 failed or partly done, 2 invalid arguments.",
)
for commands in (requests, takes_and_erasure, logs_and_switches, repairs, checks):
    app.add_typer(commands.app)
app.add_typer(dead_letters.app, name="dead-letters")
app.command("init", epilog="Example: assistance init production operator_email=oncall@your.org")(init.command)
app.command(epilog="Example: assistance --stack assistance-production console")(console)


@app.callback()
def main_(
    context: typer.Context,
    stack: Annotated[
        str | None,
        typer.Option(envvar="ASSISTANCE_STACK", metavar="NAME", help="The CloudFormation stack: assistance-<stage>."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="The AWS profile, instead of AWS_PROFILE.")
    ] = None,
    region: Annotated[str | None, typer.Option(envvar="AWS_REGION", metavar="REGION", help="The AWS region.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The stack that 'make run' started here.")] = False,
) -> None:
    """Operate the assistance stack: send, follow and list requests, redrive dead letters, check the deployment.

    Every command names its stack on stderr. There is no default: pass --stack or --local, or set ASSISTANCE_STACK.
    Credentials, region and endpoint come from the ordinary AWS environment variables and profiles.
    """
    typed = {
        f"--{name}": value
        for name, value in (("stack", stack), ("region", region), ("profile", profile))
        if value is not None and (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
    if local:
        for option in typed:
            raise typer.BadParameter(
                f"it means the stack that 'make run' started: pass no {option} with it", param_hint="--local"
            )
        hints.remember("--local")
        context.obj = stacks.local
        return
    # Commands that we suggest must also work in a terminal without ASSISTANCE_STACK, so they contain the options.
    chosen = ({"--stack": stack} if stack else {}) | typed
    hints.remember(*(part for pair in chosen.items() for part in pair))
    context.obj = partial(stacks.deployed, stack, profile=profile, region=region)


def main() -> None:
    """Run the command line."""
    replace_unknown_characters()
    app(prog_name="assistance")
