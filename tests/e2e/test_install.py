"""`make install` works whatever the user's pip is set to."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_uv_is_installed_where_pip_installs_for_the_user_by_default(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    # pip decides where to install before it looks what, so this needs no network.
    (tmp_path / "uv-requirements.txt").touch()
    environment = {**os.environ, "PIP_USER": "1"}
    made = subprocess.run(
        ["make", ".tools/bin/uv"], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
