"""Builds the bundle of a Lambda function: its folder, `assistance/`, the packages that both import, and byte code.

It needs no Docker: uv downloads the wheels for Lambda's platform, in the versions that uv.lock pins.
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
"""The AWS services that the functions call. Bundles leave out botocore's descriptions of all other services, 25 MB."""
ENDPOINTS: Final = frozenset({"dynamodb", "email", "secretsmanager", "sns", "sqs"})
"""The AWS services that the functions call, by their names in botocore's `endpoints.json`, where SES is `email`."""


class BundlingFailed(Exception):
    """The bundle could not be built. The exception's text says why."""


def build(folder: str, output: Path, python_version: str, *, platform: str | None = PLATFORM) -> None:
    """Write a function's bundle to the directory `output`. `platform`: Lambda's, or None for this machine."""
    installed = dependencies(requirements(folder), python_version, platform)
    shutil.copytree(installed, output, dirs_exist_ok=True)
    own = [output / name for name in (folder, SHARED)]
    for path in own:
        shutil.copytree(FUNCTIONS / path.name, path, ignore=NO_BYTE_CODE)
    _compile(python_version, output, *own)


def dependencies(pinned: str, python_version: str, platform: str | None) -> Path:
    """Return a directory with the needed files of these packages, compiled. Each set of packages is installed once.

    `pinned`: the requirements with hashes, from `locked`. They include botocore, although Lambda's runtime has one, so
    that the tested version runs. `platform`: Lambda's, or None for this machine.
    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    made_of = (pinned, python_version, str(platform), compiler(python_version) or "", Path(__file__).read_text("utf-8"))
    directory = DEPENDENCIES / hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    if directory.exists():
        return directory
    DEPENDENCIES.mkdir(parents=True, exist_ok=True)
    # Install into a temporary directory and rename it when complete, because this process may be stopped, or another
    # one may install the same packages at the same time.
    with TemporaryDirectory(dir=DEPENDENCIES) as parent:
        installed, unfinished = Path(parent) / "installed", Path(parent) / "unfinished"
        _uv(
            "pip", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:",
            "--python", sys.executable, "--python-version", python_version,
            *(("--python-platform", platform) if platform else ()),
            "--target", str(installed), "--requirements", "-",
            given=pinned,
        )  # fmt: skip
        # A copy, because the installed files may be links into uv's cache.
        shutil.copytree(installed, unfinished, ignore=partial(_needless, installed))
        _shorten(unfinished / "botocore/data")
        _compile(python_version, unfinished, unfinished)
        with suppress(OSError):
            unfinished.rename(directory)
    return directory


def fingerprint(folder: str, python_version: str) -> str:
    """Return one hash of all sources of a bundle. The CDK deploys the bundle again if the hash has changed.

    The bundle itself can't be hashed, because its byte code may differ between patch releases of Python.
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
    """Return a function's pinned packages: the project's dependencies and the dependency group of its folder."""
    return locked("--no-dev", "--group", group(folder))


def group(folder: str) -> str:
    """The dependency group in pyproject.toml with the folder's name, or `consumer` if no group has this name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    name = folder.replace("_", "-")
    return name if name in project["dependency-groups"] else "consumer"


def locked(*selection: str) -> str:
    """Export a part of uv.lock as requirements with hashes. `selection`: options of `uv export`."""
    return _uv(
        "export", "--quiet", "--frozen", *selection, "--no-emit-project",
        "--no-header", "--no-annotate", "--format", "requirements-txt",
    )  # fmt: skip


@cache
def compiler(python_version: str) -> str | None:
    """The path of a CPython of that version on this machine, or None. Lambda ignores byte code of another version."""
    if sys.implementation.name == "cpython" and python_version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    try:
        return _uv("python", "find", "--no-project", "--no-python-downloads", f"cpython@{python_version}").strip()
    except BundlingFailed:
        return None


def _needless(installed: Path, directory: str, names: list[str]) -> set[str]:
    """Tell `shutil.copytree` which files to leave out: they differ by machine, or no function reads them."""
    where = Path(directory).relative_to(installed).as_posix()
    if where == ".":
        # Scripts in `bin` contain the path of this machine's Python. `slack` is the former name of `slack_sdk`.
        return {"bin", ".lock", "slack"}
    if where.endswith(".dist-info"):
        # `RECORD` contains the hashes of these scripts.
        return {"RECORD"}
    if where == "boto3":
        return {"examples"}
    if where in {"boto3/data", "botocore/data"}:
        return {name for name in names if name not in SERVICES and Path(directory, name).is_dir()}
    if where.startswith("botocore/data/"):
        return {"examples-1.json"}
    return set()


def _shorten(data: Path) -> None:
    """Remove the parts of botocore's data that no client needs. Loading them took a quarter of a client's start time.

    The parts are the documentation of each shape, and the endpoints of services that we don't call. The remaining
    files are stored decompressed, because the bundle's zip compresses them anyway.
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
    # `documentation` may also be the name of an AWS member, but then its value is an object and not a string.
    if isinstance(description, dict):
        return {
            name: _undocumented(part)
            for name, part in description.items()
            if not (name == "documentation" and isinstance(part, str))
        }
    return [_undocumented(part) for part in description] if isinstance(description, list) else description


def _compile(python_version: str, root: Path, *paths: Path) -> None:
    """Compile the Python files in `paths`. The byte code names them by their paths in Lambda, not by those in `root`.

    Python runs the byte code without comparing it to the source ("unchecked-hash"). By default Python compares the
    source's time, which is another one in a zip.

    https://docs.python.org/3/reference/import.html#pyc-invalidation
    """
    if interpreter := compiler(python_version):
        _run(
            interpreter, "-m", "compileall", "-q", "-s", str(root), "-p", "/var/task",
            "--invalidation-mode", "unchecked-hash", *map(str, paths),
            # Byte code contains sets in an order that depends on the hash seed.
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
