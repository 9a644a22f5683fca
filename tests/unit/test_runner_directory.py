"""Tests the directory of the local stack: other users can neither read it nor write to it."""

import os
import stat
from pathlib import Path

import pytest

from local.errors import LocalFailure
from local.main import main
from local.run_directory import locked, new_log, published

NOBODY = 65_534
GROUPS = [NOBODY] if os.geteuid() == 0 else [group for group in os.getgroups() if group != os.geteuid()]
"""Groups, usable by this user, that may have other members. A group with the user's own id is private to the user."""


def of_another_user(directory: Path, *, link: bool) -> Path:
    """A directory, or a link to one, that belongs to another user. Only root can make one; others get one of root's."""
    if os.geteuid():
        return next(each for each in sorted(Path("/").iterdir()) if each.is_symlink()) if link else Path("/")
    if link:
        (directory / "mine").mkdir()
        (directory / "link").symlink_to(directory / "mine")
    made = directory / ("link" if link else "theirs")
    made.mkdir(exist_ok=link)
    os.chown(made, NOBODY, NOBODY, follow_symlinks=False)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_the_directory_of_the_local_stack_and_its_files(tmp_path: Path) -> None:
    directory = tmp_path / "new" / ".local"
    with locked(directory), published(directory, {}):
        new_log(directory / "ministack.log").close()
        (directory / "tmp").mkdir()
        modes = {path.name: mode(path) for path in directory.iterdir()}
        assert modes == {"lock": 0o600, "stack.json": 0o600, "ministack.log": 0o600, "tmp": 0o700}
        assert mode(directory) == 0o700
    (tmp_path / "afterwards").touch()
    assert mode(tmp_path / "afterwards") != 0o600, "the process has its former umask again"


def test_files_of_an_earlier_run_become_readable_by_the_owner_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("lock", "ministack.log"):
        (tmp_path / name).write_text("old", "ascii")
        (tmp_path / name).chmod(0o664)
    with locked(tmp_path):
        with new_log(tmp_path / "ministack.log") as log:
            assert os.fstat(log.fileno()).st_size == 0
        assert {mode(tmp_path), mode(tmp_path / "lock"), mode(tmp_path / "ministack.log")} == {0o700, 0o600}


def test_a_log_file_is_not_opened_through_a_symbolic_link_of_another_user(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept", "ascii")
    (tmp_path / "ministack.log").symlink_to(precious)
    with new_log(tmp_path / "ministack.log") as log:
        log.write(b"new")
    assert precious.read_text("ascii") == "kept"


def test_a_directory_writable_by_others_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(LocalFailure, match="Another user may have put files into"), locked(tmp_path):
        pass
    assert (mode(tmp_path), list(tmp_path.iterdir())) == (0o1777, [])


@pytest.mark.parametrize("name", ["cdk.out", "tmp"])
def test_a_directory_with_a_folder_that_the_run_would_delete_is_refused_and_left_unchanged(
    tmp_path: Path, name: str
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").touch()
    with pytest.raises(LocalFailure, match=f"would delete '{tmp_path / name}'"), locked(tmp_path):
        pass
    assert (mode(tmp_path), list(tmp_path.rglob("*"))) == (0o755, [tmp_path / name, tmp_path / name / "precious"])


def test_the_folders_of_an_earlier_run_that_was_killed_do_not_prevent_a_new_run(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "tmp").mkdir()
    with locked(tmp_path):
        assert (tmp_path / "tmp").exists()


def test_an_empty_name_of_the_directory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--directory", ""])
    assert "the directory's name is empty" in capsys.readouterr().err


@pytest.mark.skipif(not GROUPS, reason="only root can give a file to a group to which it does not belong")
def test_a_directory_writable_by_a_group_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    directory, precious = tmp_path / "directory", tmp_path / "precious"
    precious.write_text("kept", "ascii")
    directory.mkdir()
    (directory / "lock").symlink_to(precious)
    os.chown(directory, -1, GROUPS[0])
    directory.chmod(0o775)
    with pytest.raises(LocalFailure, match="Another user may have put files into"), locked(directory):
        pass
    assert (mode(directory), precious.read_text("ascii")) == (0o775, "kept")


@pytest.mark.parametrize("link", [False, True])
def test_a_directory_or_link_of_another_user_is_refused(tmp_path: Path, *, link: bool) -> None:
    directory = of_another_user(tmp_path, link=link)
    with pytest.raises(LocalFailure, match="Another user may have put files into"), locked(directory):
        pass
