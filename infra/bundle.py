"""Builds a function's zip: its folder, `assistance/`, the packages that both import, and their byte code.

No Docker: uv fetches the wheels for the function's platform, as uv.lock pins them.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
FUNCTIONS: Final = ROOT / "functions"
SHARED: Final = "assistance"
PLATFORM: Final = "aarch64-manylinux2014"
DEPENDENCIES: Final = ROOT / ".build" / "dependencies"
NO_BYTE_CODE: Final = shutil.ignore_patterns("__pycache__")

SERVICES: Final = frozenset({"dynamodb", "secretsmanager", "sesv2", "sns", "sqs"})
"""What the functions call. Of the other services botocore brings 25 MB of descriptions."""
ENDPOINTS: Final = frozenset({"dynamodb", "email", "secretsmanager", "sns", "sqs"})
"""The same by their names in botocore's endpoints, where SES's is `email`."""


class BundlingFailed(Exception):
    """The bundle could not be made; the message says what to do."""


def build(folder: str, output: Path, python_version: str, *, platform: str | None = PLATFORM) -> None:
    """Fill the directory with a function's bundle, for Lambda or (`None`) for this machine."""
    installed = dependencies(requirements(folder), python_version, platform)
    shutil.copytree(installed, output, dirs_exist_ok=True, ignore=partial(_needless, installed))
    _shorten(output / "botocore/data")
    own = [output / name for name in (folder, SHARED)]
    for path in own:
        shutil.copytree(FUNCTIONS / path.name, path, ignore=NO_BYTE_CODE)
    _compile(python_version, output, *own)


def dependencies(pinned: str, python_version: str, platform: str | None) -> Path:
    """These wheels, installed and compiled once for all functions that import the same.

    botocore is among them, although the runtime has one: what was tested is what runs.
    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    made_of = (pinned, python_version, str(platform), compiler(python_version) or "", Path(__file__).read_text("utf-8"))
    directory = DEPENDENCIES / hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    if directory.exists():
        return directory
    DEPENDENCIES.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: this may be stopped, or run twice at once.
    with TemporaryDirectory(dir=DEPENDENCIES) as parent:
        unfinished = Path(parent) / "installed"
        _uv(
            "pip", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:",
            "--python", sys.executable, "--python-version", python_version,
            *(("--python-platform", platform) if platform else ()),
            "--target", str(unfinished), "--requirements", "-",
            given=pinned,
        )  # fmt: skip
        _compile(python_version, unfinished, unfinished)
        with suppress(OSError):
            unfinished.rename(directory)
    return directory


def fingerprint(folder: str, python_version: str) -> str:
    """Return one hash of a bundle's sources, which tells whether it has to be deployed.

    Not a hash of the bundle itself, whose byte code may differ from one patch release of Python to the next.
    """
    compiled = "compiled" if compiler(python_version) else "not compiled"
    about = hashlib.sha256("\n".join((python_version, PLATFORM, compiled, requirements(folder))).encode())
    sources = [*(FUNCTIONS / folder).rglob("*"), *(FUNCTIONS / SHARED).rglob("*"), Path(__file__).resolve()]
    for path in sorted(sources):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            about.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return about.hexdigest()


def requirements(folder: str) -> str:
    """Return the packages of a function: the project's dependencies, and the group for its folder."""
    return locked("--no-dev", "--group", group(folder))


def group(folder: str) -> str:
    """The function's own dependency group, or that of consumers which need nothing of their own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    name = folder.replace("_", "-")
    return name if name in project["dependency-groups"] else "consumer"


def locked(*selection: str) -> str:
    """That part of uv.lock, as requirements with their hashes."""
    return _uv(
        "export", "--quiet", "--frozen", *selection, "--no-emit-project",
        "--no-header", "--no-annotate", "--format", "requirements-txt",
    )  # fmt: skip


@cache
def compiler(python_version: str) -> str | None:
    """An interpreter of the functions' Python, if this machine has one: another's byte code would be ignored."""
    if sys.implementation.name == "cpython" and python_version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    try:
        return _uv("python", "find", "--no-project", "--no-python-downloads", f"cpython@{python_version}").strip()
    except BundlingFailed:
        return None


def _needless(installed: Path, directory: str, names: list[str]) -> set[str]:
    """Return the files that would differ on another machine, and those that no function reads."""
    where = Path(directory).relative_to(installed).as_posix()
    if where == ".":
        # Scripts name the builder's interpreter. `slack` is the former name of `slack_sdk`.
        return {"bin", ".lock", "slack"}
    if where.endswith(".dist-info"):
        # It holds the scripts' hashes.
        return {"RECORD"}
    if where == "boto3":
        return {"examples"}
    if where in {"boto3/data", "botocore/data"}:
        return {name for name in names if name not in SERVICES and Path(directory, name).is_dir()}
    if where.startswith("botocore/data/"):
        return {"examples-1.json"}
    return set()


def _shorten(data: Path) -> None:
    """Leave of botocore's data what a client reads: the rest takes a quarter of the time that a client takes.

    Nothing reads the documentation of each shape, and endpoints are wanted of our services only. Unpacked, since a zip
    packs them again.
    """
    for packed in data.rglob("*.json.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    for path in data.rglob("*.json"):
        content = json.loads(path.read_text("utf-8"))
        if path.name == "service-2.json":
            content = _undocumented(content)
        elif path == data / "endpoints.json":
            for partition in content["partitions"]:
                partition["services"] = {
                    name: value for name, value in partition["services"].items() if name in ENDPOINTS
                }
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), "utf-8")


def _undocumented(description: Any) -> Any:  # noqa: ANN401
    # A member that is called so is an object, never a text.
    if isinstance(description, dict):
        return {
            name: _undocumented(part)
            for name, part in description.items()
            if not (name == "documentation" and isinstance(part, str))
        }
    return [_undocumented(part) for part in description] if isinstance(description, list) else description


def _compile(python_version: str, root: Path, *paths: Path) -> None:
    """Compile for where Lambda unpacks it. A zip's times are not the files', so byte code must not go by them.

    https://docs.python.org/3/reference/import.html#pyc-invalidation
    """
    if interpreter := compiler(python_version):
        _run(
            interpreter, "-m", "compileall", "-q", "-s", str(root), "-p", "/var/task",
            "--invalidation-mode", "unchecked-hash", *map(str, paths),
            # The order of a set is in the byte code.
            environment={"PYTHONHASHSEED": "0"},
        )  # fmt: skip


def _uv(*arguments: str, given: str | None = None) -> str:
    for candidate in (shutil.which("uv"), ROOT / ".tools/bin/uv"):
        if candidate and Path(candidate).exists():
            return _run(str(candidate), *arguments, given=given, environment=dict(os.environ))
    raise BundlingFailed("uv is needed to bundle the functions: run 'make install', or install uv.")


def _run(*command: str, environment: dict[str, str], given: str | None = None) -> str:
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, input=given, capture_output=True, text=True)
    if done.returncode:
        raise BundlingFailed(f"'{' '.join(command)}' failed with exit status {done.returncode}:\n{done.stderr}")
    return done.stdout
