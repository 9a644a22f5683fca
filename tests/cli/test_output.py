"""Tests `assistance output`, which prints values for AWS commands, such as a queue's URL."""

import json

from tests.cli.steps import Operator


def test_the_output_command_prints_only_the_value_of_the_named_stack_output_for_use_in_a_shell(
    operator: Operator,
) -> None:
    assert operator.run("output", "TableName").stdout == "table\n"
    assert json.loads(operator.run("output", "TableName", "--json").stdout) == {"TableName": "table"}


def test_the_output_command_without_a_name_prints_every_stack_output(operator: Operator) -> None:
    printed = dict(line.split(" ", 1) for line in operator.run("output").stdout.splitlines())
    assert printed == operator.outputs


def test_the_output_command_names_an_unknown_stack_output_in_its_error(operator: Operator) -> None:
    answer = operator.run("output", "NoSuchOutput")
    assert answer.exit_code != 0
    assert "NoSuchOutput" in str(answer.stderr or answer.exception)
