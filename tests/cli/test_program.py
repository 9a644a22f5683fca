"""Tests how Ctrl-C, a closed pipe and a full disk end `assistance` and `python -m local`: without a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from local.deploy import ROOT

INTERRUPTED: Final = """
import runpy, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "{module}":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
runpy.run_module("{package}", run_name="__main__")
"""
PRINTS: Final = """
from cli import app, program, render
app.app = lambda **_: {command}
program.start("cli.app")
"""
SHORT: Final = PRINTS.format(command="render.print_json([1])")
"""Python keeps this output in its buffer until the program ends."""
LONG: Final = PRINTS.format(command="render.print_json(['x'] * 100_000)")
TABLE: Final = PRINTS.format(command="render.table('Requests', ('id',), [('x',)])")
FULL: Final = Path("/dev/full")


def run(program: str, **where: Any) -> tuple[int, str]:  # noqa: ANN401
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, text=True, **{"stderr": subprocess.PIPE, **where}
    )
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    ("package", "module"),
    [("cli", "cli.app"), ("cli", "typer.rich_utils"), ("local", "local.stack")],
)
def test_ctrl_c_while_a_program_is_still_importing_modules_ends_it_silently_with_status_130(
    package: str, module: str
) -> None:
    assert run(INTERRUPTED.format(package=package, module=module)) == (130, "")


@pytest.mark.parametrize("program", [SHORT, LONG, TABLE])
def test_a_command_ends_silently_with_status_1_if_nobody_reads_its_output_any_more(program: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(program, stdout=writer) == (1, "")
        assert run(program, stdout=writer, stderr=writer) == (1, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("program", [SHORT, LONG, TABLE])
def test_a_command_that_writes_to_a_full_disk_says_so_in_one_line(program: str) -> None:
    with FULL.open("w") as full:
        assert run(program, stdout=full) == (1, "Error: [Errno 28] No space left on device.\n")


@pytest.mark.parametrize("program", [SHORT, TABLE])
def test_a_command_without_standard_output_succeeds(program: str) -> None:
    assert run(program, preexec_fn=lambda: os.close(1)) == (0, "")


def test_a_command_without_standard_error_prints_its_result_and_no_note(tmp_path: Path) -> None:
    program, result = PRINTS.format(command="(render.note('Stack'), render.print_json([1]))"), tmp_path / "result"
    with result.open("w") as output:
        assert run(program, stdout=output, preexec_fn=lambda: os.close(2)) == (0, "")
    assert json.loads(result.read_text()) == [1]


def test_a_command_without_standard_input_knows_that_nobody_can_answer_it() -> None:
    program = PRINTS.format(command="__import__('cli.options').options.at_a_terminal() and 1 / 0")
    assert run(program, preexec_fn=lambda: os.close(0)) == (0, "")
