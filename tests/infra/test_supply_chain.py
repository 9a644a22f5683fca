"""Tests that every installed package is locked by hash and comes from a public registry."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UV_LOCK = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
PACKAGES: list[dict[str, Any]] = [p for p in UV_LOCK["package"] if p["source"] != {"editable": "."}]


def files(package: dict[str, Any]) -> list[dict[str, Any]]:
    sdist = [package["sdist"]] if "sdist" in package else []
    return [*package.get("wheels", []), *sdist]


def test_every_python_package_is_locked_by_hash_and_downloaded_from_pypi() -> None:
    for package in PACKAGES:
        assert package["source"] == {"registry": "https://pypi.org/simple"}
        assert files(package)
        for file in files(package):
            assert file["hash"].startswith("sha256:")
            assert file["url"].startswith("https://files.pythonhosted.org/")


def test_no_package_is_built_during_its_installation() -> None:
    assert all(package.get("wheels") for package in PACKAGES), "a build would fetch its tools without a hash"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["uv"]["no-build-isolation-package"] == [project["project"]["name"]]
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


def test_make_install_uses_the_locked_version_of_uv() -> None:
    [uv] = (package for package in PACKAGES if package["name"] == "uv")
    requirements = (ROOT / "uv-requirements.txt").read_text("utf-8")
    assert re.findall(r"^\S+==\S+", requirements, re.MULTILINE) == [f"uv=={uv['version']}"], "run `make lock`"
    assert set(re.findall(r"--hash=(\S+)", requirements)) == {file["hash"] for file in files(uv)}, "run `make lock`"


def test_the_cdk_command_line_is_locked_by_hash_and_downloaded_from_the_public_npm_registry() -> None:
    asked = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    assert locked.pop("")["devDependencies"] == asked
    assert {name.removeprefix("node_modules/") for name in locked} >= set(asked)
    for package in locked.values():
        assert package["integrity"].startswith("sha512-")
        assert package.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/")
