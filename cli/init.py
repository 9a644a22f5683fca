"""Implements `assistance init`: writes the file with a stage's settings."""

import os
from collections.abc import Callable, Mapping
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import boto3
import typer

from assistance.platform.aws import AWS_ERRORS
from cli import render
from cli.errors import Failure
from cli.operations import at_a_terminal
from infra.config import NEEDED
from infra.stages import DIRECTORY, SCHEMA, STAGES, InvalidConfig, file_of, load, shown

Ask = Callable[[str, str | None], str]
ASKED: Final[Mapping[str, str]] = {
    **NEEDED,
    "email_sender": "the address that mails come from",
    "email_recipients": "who gets the requests that go by email, separated by commas",
}


def command(
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(STAGES)}.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, as in docs/configuration.md.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the file with a stage's settings, which you then commit.

    At a terminal it asks for missing settings.
    """
    if stage not in STAGES:
        raise typer.BadParameter(f"a stage is one of {', '.join(STAGES)}", param_hint="STAGE")
    given: dict[str, str] = pairs(settings or [])
    if at_a_terminal():
        render.say("Enter takes what is in brackets, and else leaves the setting out.")
        given = asked(given, prompt, of_the_credentials())
    render.console().print(write(stage, given, DIRECTORY, force=force))
    render.say(f"Commit the file, then deploy: make deploy ARGS='-c stage={stage}'")


def asked(given: Mapping[str, Any], ask: Ask, known: Mapping[str, str]) -> dict[str, Any]:
    """Ask for the settings that were not given. An empty answer leaves a key out."""
    answers = {key: _answer(key, ask, known.get(key)) for key in ASKED if key not in given}
    return {**given, **{key: answer for key, answer in answers.items() if answer}}


def _answer(key: str, ask: Ask, known: str | None) -> str:
    """Ask until the answer can be deployed, so that one mistake does not cost the other answers."""
    while answer := ask(f"{key}: {ASKED[key]}", known).strip():
        try:
            load({key: answer}, f"'{answer}'", "Try again, or leave it empty.")
        except InvalidConfig as error:
            render.say(str(error))
        else:
            break
    return answer


def prompt(question: str, known: str | None) -> str:
    """Ask on the terminal. Nothing is an answer too."""
    return str(typer.prompt(question, default=known or "", show_default=bool(known), err=True))


def pairs(settings: list[str]) -> dict[str, str]:
    """`KEY=VALUE`, one by one. Raises `Failure`."""
    parts = [setting.partition("=") for setting in settings]
    for setting, (key, equals, _) in zip(settings, parts, strict=True):
        if not (key and equals):
            raise Failure(f"'{setting}' is not KEY=VALUE")
    return {key: value for key, _, value in parts}


def write(stage: str, settings: Mapping[str, Any], directory: Path, *, force: bool) -> str:
    """Write the stage's file, and return where it is. Raises `Failure`."""
    path = file_of(stage, directory)
    if path.exists() and not force:
        raise Failure(f"{shown(path)} exists already: edit it, or pass --force to overwrite it")
    try:
        config = load({**settings, "stage": stage}, shown(path), "Give each as KEY=VALUE. Nothing was written")
    except InvalidConfig as error:
        raise Failure(str(error)) from None
    # As the deployment would read them: numbers as numbers, lists as lists.
    kept = config.model_dump(mode="json", include=set(settings) - {"stage"}, exclude_none=True)
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps({SCHEMA: "./schema.json", **kept}, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return shown(path)


def of_the_credentials() -> dict[str, str]:
    """The account and the region of the present credentials, if there are any: as proposals."""
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    known = {"region": session.region_name} if session.region_name else {}
    try:
        account = session.client("sts").get_caller_identity()["Account"]
    except AWS_ERRORS:
        return known
    return {**known, "account": account}
