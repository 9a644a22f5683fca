"""Reads the settings of a stage from `stages/<stage>.json` and the CDK's context, which overrides the file."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from infra.config import Config
from infra.config.values import once

DIRECTORY: Final = Path(os.environ.get("ASSISTANCE_STAGES") or Path(__file__).resolve().parent.parent / "stages")
STAGES: Final[tuple[str, ...]] = get_args(Config.model_fields["stage"].annotation)
SCHEMA: Final = "$schema"
"""The member of a stage's file that tells editors its JSON Schema: `schema.json` in the same folder."""
_KEYS: Final = Config.model_fields.keys() - {"local"}


class InvalidConfig(Exception):
    """The settings are invalid. The exception's text says which, and why."""


def settings(context: Mapping[str, Any], directory: Path = DIRECTORY) -> Config:
    """The settings of the context's stage, from the stage's file and from the context. Raises `InvalidConfig`."""
    stage = context.get("stage", "dev")
    if stage not in STAGES or str(context.get("local", "")).lower() == "true":
        return load(context)
    path = file_of(stage, directory)
    if path.exists():
        return load({**read(path), **context}, shown(path), f"Set it in {shown(path)}, or with -c key=value.")
    if stage == "production":
        raise InvalidConfig(
            f"There is no {shown(path)}. Production needs a file with its settings, so that no setting changes because "
            "somebody forgets it on the command line. 'assistance init production' writes the file."
        )
    return load(context)


def load(
    context: Mapping[str, Any], what: str = "The context", advice: str = "Set it with -c key=value or in cdk.json."
) -> Config:
    """Parse and check the settings in this context. Raises `InvalidConfig`.

    `what` and `advice` begin and end the error's text. Keys with a colon or a hyphen belong to the CDK and other tools,
    and are ignored unless they resemble a setting.
    """
    for name in context.keys() - Config.model_fields.keys():
        if ":" not in name and (_similar(name) or "-" not in name):
            raise _unknown(name, "context key")
    values = {name: context[name] for name in Config.model_fields if context.get(name) is not None}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [
            f"  {': '.join([*_part(detail['loc']), detail['msg'].removeprefix('Value error, ')])}"
            + (f" (got {detail['input']!r})" if detail["loc"] else "")
            for detail in error.errors(include_url=False)
        ]
        raise InvalidConfig("\n".join([f"{what} can't be deployed:", *lines, advice])) from None


def file_of(stage: str, directory: Path = DIRECTORY) -> Path:
    """Return the path of the file with the stage's settings, which may not exist."""
    return directory / f"{stage}.json"


def read(path: Path) -> dict[str, Any]:
    """Return the settings in a stage's file. Raises `InvalidConfig`, such as for an unknown key."""
    try:
        held = json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    except UnicodeDecodeError:
        raise InvalidConfig(f"{shown(path)} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidConfig(
            f"{shown(path)} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except ValueError as error:
        raise InvalidConfig(f"{shown(path)}: {error}.") from None
    if not isinstance(held, dict):
        raise InvalidConfig(f'{shown(path)} must contain a JSON object, such as {{"take": true}}.')
    for name in held.keys() - _KEYS - {SCHEMA}:
        raise _unknown(name, f"key in {shown(path)}")
    if held.get("stage", path.stem) != path.stem:
        raise InvalidConfig(
            f"{shown(path)} contains the stage {held['stage']!r}, but the file's name must be the stage's name."
        )
    return {name: value for name, value in held.items() if name != SCHEMA}


def schema() -> dict[str, Any]:
    """The JSON Schema of a stage's file."""
    described = Config.model_json_schema()
    described["title"] = "Settings of a stage"
    described["properties"] = {
        SCHEMA: {"type": "string"},
        **{name: value for name, value in described["properties"].items() if name in _KEYS},
    }
    return described


def shown(path: Path) -> str:
    """A path as messages show it: relative to the current folder if the path is inside this folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _similar(name: str) -> list[str]:
    return difflib.get_close_matches(name.lower().replace("-", "_"), _KEYS, n=1)


def _unknown(name: str, kind: str) -> InvalidConfig:
    close = _similar(name)
    meant = f"did you mean '{close[0]}'?" if close else "docs/configuration.md lists all keys."
    return InvalidConfig(f"Unknown {kind} '{name}': {meant}")


def _part(loc: tuple[int | str, ...]) -> list[str]:
    return [".".join(part for part in loc if isinstance(part, str))] if loc else []


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201
