"""What a deployed function's zip holds. Installs the pinned wheels, as `cdk synth` does."""

from pathlib import Path

import pytest

from infra import python_function
from infra.config import PYTHON_VERSION
from infra.python_function import FUNCTIONS, SHARED, Bundle, dependencies


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(python_function, "DEPENDENCIES", tmp_path / "dependencies")
    dependencies.cache_clear()
    output = tmp_path / "bundle"
    Bundle("reconciler", PYTHON_VERSION).try_bundle(str(output))
    dependencies.cache_clear()
    return output


def test_a_bundle_holds_its_own_code_and_wheels_for_lambda(bundle: Path) -> None:
    assert {path.name for path in FUNCTIONS.iterdir()} & {path.name for path in bundle.iterdir()} == {
        "reconciler",
        SHARED,
    }
    abi = f"cpython-{PYTHON_VERSION.replace('.', '')}-aarch64"
    compiled = {path.name for path in bundle.rglob("*.so")}
    assert any(abi in name for name in compiled)
    assert all(abi in name or "abi3" in name or "aarch64" in name for name in compiled)


def test_a_bundle_holds_nothing_of_the_machine_that_made_it(bundle: Path) -> None:
    assert not list(bundle.rglob("__pycache__"))
    assert not (bundle / "bin").exists()
    assert not [
        path for path in bundle.rglob("*") if path.is_file() and str(bundle.parent).encode() in path.read_bytes()
    ]
