"""Shared parts of all commands: the choice of the stack, options, confirmations and errors."""

import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import typer
from typer.core import TyperGroup

from assistance.errors import TableUnavailable, Unreadable
from assistance.platform.aws import AWS_ERRORS
from cli import render
from cli.errors import Failure, explained
from cli.stack import Stack

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]
WithDescription: TypeAlias = Annotated[
    bool, typer.Option("--with-description", help="Also show the customer's texts, which may hold personal data.")
]
RequestId: TypeAlias = Annotated[
    str, typer.Argument(metavar="REQUEST_ID", help="The id from the API's answer, or at least its first 8 characters.")
]
StackFinder: TypeAlias = Callable[[], Stack]
_LONGEST: Final = timedelta(days=36_500)
_UNITS: Final = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class CommandGroup(TyperGroup):
    """A group of commands that prints an expected error as one line and exits with status 1."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The command with that name, with its options as --help shall show them; None if there is no such command."""
        command = super().get_command(ctx, cmd_name)
        if command:
            _show_values(command.get_params(ctx))
        return command

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401
        """The options that stand before the name of a command, such as `--stack`, as --help shall show them."""
        params = super().get_params(ctx)
        _show_values(params)
        return params

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command that the operator typed. An expected error ends it with one line on stderr and status 1."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # Typer lets pydantic check the values of an enum, and prints pydantic's name for the error.
            error.message = error.message.removeprefix("Value error, ")
            raise
        except Failure as error:
            line = str(error)
        except AWS_ERRORS as error:
            line = explained(error)
        except TableUnavailable as error:
            cause = error.__cause__
            line = explained(cause) if isinstance(cause, AWS_ERRORS) else f"the table can't answer ({error})"
        except Unreadable as error:
            line = f"an item of the table can't be read ({error}): see UnreadableItems in docs/operations.md"
        render.note(f"Error: {line}" if line.endswith((".", "?")) else f"Error: {line}.")
        raise typer.Exit(1)


def _show_values(params: Iterable[Any]) -> None:
    """Let --help show what an operator may type as an option's value, instead of the value's Python type."""
    for param in params:
        written = "|".join(param.type_descriptor.choices or (param.name.upper(),))
        # An argument's column stays empty, because --help shows the argument's name beside it.
        bare = param.param_type_name == "argument" or param.is_flag
        param.display_type = partial(_shown, "" if bare else written)


def _shown(value: str, _: object) -> str:
    return value


def stack_of(context: typer.Context) -> Stack:
    """The stack that the command line names. Prints the stack's name on stderr, because stdout is for the result."""
    find: StackFinder = context.obj
    stack = find()
    render.note(f"Stack: {stack.title}")
    return stack


def at_a_terminal() -> bool:
    """Whether standard input is a terminal, so that the command can ask a person."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask the operator, unless `yes`; a no ends the command. Raises `Failure` if standard input is no terminal."""
    if yes:
        return
    if not at_a_terminal():
        raise Failure("this command asks for confirmation, but there is no terminal: pass --yes to confirm")
    typer.confirm(question, abort=True, err=True)


def duration(text: str) -> timedelta:
    """Parse an age such as `90s`, `5m`, `2h` or `7d`, at most 36,500 days. Raises `typer.BadParameter`."""
    number, unit = text[:-1], text[-1:]
    if not (number.isdecimal() and number.isascii() and unit in _UNITS):
        raise typer.BadParameter(f"{text!r} is not an age: write it like 90s, 5m, 2h or 7d.")
    # `int` refuses more than 4,300 digits; 20 are enough to see that a number is too large.
    count = int(number.lstrip("0")[:20] or 0)
    if count > _LONGEST / _UNITS[unit]:
        raise typer.BadParameter(f"The age is too large: at most {_LONGEST.days}d.")
    return count * _UNITS[unit]
