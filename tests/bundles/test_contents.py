"""Tests the exact content of each function's zip file. Installs the pinned wheels, as `cdk synth` does."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.regions import EndpointResolver

from assistance.routing import DESTINATIONS
from infra import bundle
from infra.bundle import ENDPOINTS, FUNCTIONS, ROOT, SERVICES, SHARED
from infra.config import PYTHON_VERSION
from tests.bundles.bundled import FOLDERS, HERE, synthesized

EVERY = {
    *("annotated_types", "aws_lambda_powertools", "botocore", "dateutil", "jmespath", "pydantic", "pydantic_core"),
    *("six.py", "typing_extensions.py", "typing_inspection", "urllib3"),
}
# Powertools' idempotency imports boto3.
CONSUMER = {"boto3", "s3transfer"}
ONLY = {
    "api": {"uuid6"},
    **{f"{destination}_consumer": CONSUMER for destination in DESTINATIONS},
    "callback_consumer": {"h11", "standardwebhooks", *CONSUMER},
    "slack_consumer": {"slack_sdk", *CONSUMER},
    # Powertools' parameters import boto3 too.
    "slack_interactions": {"slack_sdk", *CONSUMER},
    "take_page": CONSUMER,
}

# The limits are 250 and 50: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MEGABYTES, ZIPPED_MEGABYTES = 25, 9
# A file's local header and its entry in the directory, each followed by the file's name:
# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 and 4.3.12
ZIP_HEADERS = 30 + 46
MORE = {"slack_consumer": (4, 1), "slack_interactions": (4, 1)}

FINGERPRINTS = """
import json, sys
from infra.bundle import build, fingerprint
from pathlib import Path
build("api", Path(sys.argv[1]), "%(here)s")
print(json.dumps({folder: fingerprint(folder, "%(here)s") for folder in sys.argv[2:]}))
"""

each = pytest.mark.parametrize("folder", FOLDERS)


@each
def test_a_function_bundle_contains_its_own_folder_the_shared_folder_and_only_the_listed_packages(
    deployed: Mapping[str, Path], folder: str
) -> None:
    names = {path.name for path in deployed[folder].iterdir() if path.suffix != ".dist-info"} - {"__pycache__"}
    assert names == {folder, SHARED} | EVERY | ONLY.get(folder, set())


@each
def test_a_function_declares_exactly_the_packages_that_it_imports(folder: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = [*project["project"]["dependencies"], *project["dependency-groups"][bundle.group(folder)]]
    modules = [*(FUNCTIONS / folder).rglob("*.py"), *(FUNCTIONS / SHARED).rglob("*.py")]
    imported = {name for path in modules for name in imports(ast.parse(path.read_text("utf-8")))}
    third_party = imported - sys.stdlib_module_names - {folder, SHARED}
    assert third_party == {re.split(r"[>\[]", name)[0].replace("-", "_") for name in declared}


def imports(tree: ast.AST) -> Iterator[str]:
    """The packages that are imported when the code runs, not only when its types are checked."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import():
                yield from (alias.name.split(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module.split(".")[0]
            case _:
                yield from imports(node)


@each
def test_a_function_bundle_contains_the_botocore_models_of_only_the_aws_services_that_it_uses(
    deployed: Mapping[str, Path], folder: str
) -> None:
    data = {path.name for path in (deployed[folder] / "botocore/data").iterdir()}
    assert data == SERVICES | {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_botocore_sends_the_same_http_requests_with_a_shortened_service_model(
    deployed: Mapping[str, Path], service: str
) -> None:
    ours, whole = (described(loader, service) for loader in (shortened(deployed["api"]), Loader()))
    assert ours == whole
    # Only the documentation texts are left out.
    assert "documentation" not in json.dumps(shortened(deployed["api"]).load_service_model(service, "service-2"))


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_shortened_endpoint_ruleset_resolves_to_the_same_endpoint_in_every_region(
    deployed: Mapping[str, Path], name: str
) -> None:
    ours, whole = (EndpointResolver(loader.load_data("endpoints")) for loader in (shortened(deployed["api"]), Loader()))
    for partition in whole.get_available_partitions():
        regions = whole.get_available_endpoints(name, partition, allow_non_regional=True)
        assert ours.get_available_endpoints(name, partition, allow_non_regional=True) == regions
        for region in regions:
            assert ours.construct_endpoint(name, region) == whole.construct_endpoint(name, region)


def shortened(folder: Path) -> Loader:
    return Loader(extra_search_paths=[str(folder / "botocore/data")], include_default_search_paths=False)


def described(loader: Loader, service: str) -> dict[str, object]:
    """Every operation of a service: its HTTP call, its input and output shapes, and the rules for its endpoint."""
    model = ServiceModel(loader.load_service_model(service, "service-2"))
    operations = {name: model.operation_model(name) for name in model.operation_names}
    return {
        "rules": loader.load_service_model(service, "endpoint-rule-set-1"),
        "metadata": model.metadata,
        **{
            name: (operation.http, [_shape(shape) for shape in (operation.input_shape, operation.output_shape)])
            for name, operation in operations.items()
        },
        **{shape.name: _shape(shape) for shape in map(model.shape_for, model.shape_names)},
    }


def _shape(shape: Shape | None) -> object:
    if shape is None:
        return None
    members = {name: (member.name, member.serialization) for name, member in getattr(shape, "members", {}).items()}
    return shape.name, shape.type_name, shape.serialization, shape.metadata, members


@each
def test_the_size_of_a_function_bundle_stays_below_its_limit(deployed: Mapping[str, Path], folder: str) -> None:
    files = [path for path in deployed[folder].rglob("*") if path.is_file()]
    names = sum(len(str(path.relative_to(deployed[folder]))) for path in files)
    zipped = sum(deflated(path.read_bytes()) for path in files) + len(files) * ZIP_HEADERS + 2 * names
    more, more_zipped = MORE.get(folder, (0, 0))
    assert sum(path.stat().st_size for path in files) <= (MEGABYTES + more) * 1e6
    assert zipped <= (ZIPPED_MEGABYTES + more_zipped) * 1e6


@cache
def deflated(content: bytes) -> int:
    """The size of a file in a zip. Most files are in every bundle, so that each is compressed once."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return len(compressor.compress(content)) + len(compressor.flush())


@each
def test_native_extension_modules_in_a_bundle_are_built_for_lambdas_platform(
    deployed: Mapping[str, Path], folder: str
) -> None:
    libraries = list(deployed[folder].rglob("*.so"))
    assert libraries
    for library in libraries:
        # e_machine, EM_AARCH64: https://man7.org/linux/man-pages/man5/elf.5.html
        assert int.from_bytes(library.read_bytes()[18:20], "little") == 183
        assert f".cpython-{PYTHON_VERSION.replace('.', '')}-" in library.name


@each
def test_every_module_is_precompiled_to_bytecode_that_does_not_depend_on_file_modification_times(
    deployed: Mapping[str, Path], folder: str
) -> None:
    if not bundle.compiler(PYTHON_VERSION):
        assert not list(deployed[folder].rglob("*.pyc"))
        return
    tag = f"cpython-{PYTHON_VERSION.replace('.', '')}"
    modules = [path for path in deployed[folder].rglob("*.py") if "-" not in path.stem]
    compiled = {path: path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc" for path in modules}
    assert {*deployed[folder].rglob("*.pyc")} == {*compiled.values()}
    for module, byte_code in compiled.items():
        header = byte_code.read_bytes()[:16]
        # PEP 552: the file contains a hash of its source, which Python does not check.
        assert (header[4:8], header[8:]) == (b"\1\0\0\0", importlib.util.source_hash(module.read_bytes()))
        assert PYTHON_VERSION != HERE or header[:4] == importlib.util.MAGIC_NUMBER


@each
def test_a_function_bundle_contains_no_file_path_of_the_build_machine(
    deployed: Mapping[str, Path], folder: str
) -> None:
    places = [str(place).encode() for place in (ROOT, deployed[folder].parent, sys.prefix, sys.base_prefix)]
    for path in deployed[folder].rglob("*"):
        assert not path.is_file() or not any(place in path.read_bytes() for place in places), path


def test_assets_built_in_another_checkout_are_identical_and_a_source_change_alters_only_the_affected_assets(
    tmp_path: Path,
) -> None:
    """CloudFormation does not deploy an asset again whose hash is the same."""
    bundle.build("api", tmp_path / "here", HERE)
    before = {folder: bundle.fingerprint(folder, HERE) for folder in FOLDERS}
    checkout = tmp_path / "elsewhere"
    for name in ("functions", "infra"):
        shutil.copytree(ROOT / name, checkout / name, ignore=bundle.NO_BYTE_CODE)
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, checkout / name)

    def elsewhere(name: str) -> dict[str, str]:
        command = [sys.executable, "-c", FINGERPRINTS % {"here": HERE}, str(tmp_path / name), *FOLDERS]
        path = f"{ROOT / '.tools/bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, cwd=checkout, env=os.environ | {"PATH": path}, check=True, capture_output=True)
        hashes: dict[str, str] = json.loads(done.stdout)
        return hashes

    assert elsewhere("there") == before
    assert contents(tmp_path / "there") == contents(tmp_path / "here")

    (checkout / "functions/reconciler/untaken.py").write_text("changed = 1\n", "utf-8")
    after = elsewhere("reconciler changed")
    assert {folder for folder in FOLDERS if after[folder] != before[folder]} == {"reconciler"}

    (checkout / "functions/assistance/text.py").write_text("changed = 1\n", "utf-8")
    assert not set(elsewhere("all changed").items()) & set(before.items())


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_bundle_is_not_precompiled_and_the_cdk_warns_if_lambdas_python_version_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aws_cdk.assertions import Annotations, Match  # noqa: PLC0415 # it starts Node.js

    compiled = bundle.fingerprint("api", PYTHON_VERSION)
    monkeypatch.setattr(bundle, "compiler", lambda _: None)
    stack = synthesized(["api"], tmp_path)
    notice = f"This machine has no Python {PYTHON_VERSION} to compile 'api'.*"
    Annotations.from_stack(stack).has_warning("*", Match.string_like_regexp(notice))
    assert list(tmp_path.rglob("uuid6/__init__.py"))
    assert not list(tmp_path.rglob("*.pyc"))
    assert bundle.fingerprint("api", PYTHON_VERSION) != compiled
