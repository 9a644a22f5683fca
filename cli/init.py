"""Implements `assistance init`: writes the file with a stage's settings."""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from assistance.platform.aws import AWS_ERRORS
from cli import render
from cli.errors import Failure
from cli.options import at_a_terminal
from cli.stack import new_session
from infra.config import NEEDED
from infra.stages import DIRECTORY, SCHEMA, STAGES, InvalidConfig, file_of, load, shown

Ask = Callable[[str, str | None], str]
ASKED_SETTINGS: Final[Mapping[str, str]] = {
    **NEEDED,
    "email_sender": "the address that mails come from",
    "email_recipients": "who gets the requests that go by email, separated by commas",
}


_RESERVED: Final = frozenset({"stage", "local"})
"""Settings that no file has: the file's name is the stage, and only `make run` deploys to the local emulator."""


def command(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help=f"One of {', '.join(STAGES)}.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, as in docs/configuration.md.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the file with a stage's settings, which you then commit.

    At a terminal the command asks for missing settings.
    """
    if stage not in STAGES:
        raise typer.BadParameter(f"a stage is one of {', '.join(STAGES)}", param_hint="STAGE")
    given: dict[str, str] = pairs(settings or [])
    _keep_existing(file_of(stage, DIRECTORY), force=force)
    if at_a_terminal():
        render.note("Press Enter to accept the value in brackets. Without brackets, Enter leaves the setting out.")
        given = ask_for_settings(given, prompt, from_credentials(), stage)
    where, lacking = write(stage, given, DIRECTORY, force=force)
    render.console().print(where)
    deploy = f"then deploy: make deploy ARGS='-c stage={stage}'"
    if not lacking:
        render.note(f"Commit the file, {deploy}")
        return
    render.note("\n".join(["Not set:", *(f"  {key}: {ASKED_SETTINGS[key]}" for key in lacking)]))
    if "region" in lacking:
        render.note("'make deploy' needs the region, from the file or from AWS_REGION.")
    render.note(f"Set what you need in {where}, commit it, {deploy}")


def ask_for_settings(given: Mapping[str, Any], ask: Ask, known: Mapping[str, str], stage: str) -> dict[str, Any]:
    """Return the given settings and the answers for missing ones; an empty answer leaves a setting out.

    `ask` gets a question and the answer to propose, from `known`. Raises `Failure` if a given setting is invalid.
    """
    # The default sender is not in the deployer's domain, so propose one that is.
    sender = {"email_sender": f"assistance@{given['email_domain']}"} if given.get("email_domain") else {}
    try:
        _check(stage, {**sender, **given}, given, "The command", "Nothing was written")
    except InvalidConfig as error:
        raise Failure(str(error)) from None
    answers = {**sender, **given}
    for key in ASKED_SETTINGS:
        if key not in given and (answer := _answer(key, ask, {**sender, **known}.get(key), answers, stage)):
            answers[key] = answer
    return answers


def _answer(key: str, ask: Ask, known: str | None, others: Mapping[str, Any], stage: str) -> str:
    """Ask for a setting until the answer is valid or empty, so that a mistake does not lose the answers in `others`."""
    while answer := ask(f"{key}: {ASKED_SETTINGS[key]}", known).strip():
        try:
            _check(stage, {**others, key: answer}, [key], f"'{answer}'", "Try again, or leave it empty.")
        except InvalidConfig as error:
            render.note(str(error))
        else:
            break
    return answer


def _check(stage: str, settings: Mapping[str, Any], keys: Iterable[str], what: str, advice: str) -> None:
    """Raise `InvalidConfig` if one of these settings is invalid, or if production can't use the values of `keys`.

    A missing setting is no error. `what` and `advice` begin and end the error's text.
    """
    lacking = load({**settings, "stage": "dev"}, what, advice).lacking
    if stage == "production" and (wrong := [f"  {lacking[key]}" for key in keys if key in lacking]):
        raise InvalidConfig("\n".join([f"{what} can't be deployed:", *wrong, advice]))


def prompt(question: str, known: str | None) -> str:
    """Ask on the terminal, with `known` as the default. The answer may be empty."""
    return str(typer.prompt(question, default=known or "", show_default=bool(known), err=True))


def pairs(settings: list[str]) -> dict[str, str]:
    """Parse settings, each written as `KEY=VALUE`. Raises `Failure`."""
    parts = [setting.partition("=") for setting in settings]
    for setting, (key, equals, _) in zip(settings, parts, strict=True):
        if not (key and equals):
            raise Failure(f"'{setting}' is not KEY=VALUE")
    given = {key: value for key, _, value in parts}
    if reserved := given.keys() & _RESERVED:
        raise Failure(f"leave out {min(reserved)}=…: the first argument is the stage, and only 'make run' sets local")
    return given


def write(stage: str, settings: Mapping[str, Any], directory: Path, *, force: bool) -> tuple[str, list[str]]:
    """Write the stage's file, and return its path and the names of the settings that production still needs.

    Raises `Failure` if a setting is invalid, or if the file exists and `force` is False.
    """
    path = file_of(stage, directory)
    _keep_existing(path, force=force)
    try:
        config = load({**settings, "stage": stage}, shown(path), "Nothing was written")
    except InvalidConfig as error:
        lacking = [f"{key}=…" for key in ASKED_SETTINGS if key not in settings and key in str(error)]
        given = shlex.join(f"{key}={value}" for key, value in settings.items())
        again = f". Complete 'assistance init {stage} {' '.join([given, *lacking]).strip()}'" if lacking else ""
        raise Failure(f"{error}{again}") from None
    # The parsed values: numbers as JSON numbers, lists as JSON lists.
    kept = config.model_dump(mode="json", include=set(settings) - {"stage"}, exclude_none=True)
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps({SCHEMA: "./schema.json", **kept}, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return shown(path), [key for key in ASKED_SETTINGS if key in config.lacking]


def _keep_existing(path: Path, *, force: bool) -> None:
    """Raise `Failure` if the file exists and `force` is False."""
    if path.exists() and not force:
        raise Failure(f"{shown(path)} exists already: edit it, or pass --force to overwrite it")


def from_credentials() -> dict[str, str]:
    """The settings `account` and `region`, from the credentials, to propose as answers; unknown ones are left out."""
    known = dict[str, str]()
    try:
        session = new_session(None, os.environ.get("AWS_REGION") or None)
        known |= {"region": session.region_name} if session.region_name else {}
        account = session.client("sts").get_caller_identity()["Account"]
    except AWS_ERRORS:
        return known
    return {**known, "account": account}
