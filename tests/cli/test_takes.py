"""Tests `assistance take`, `release` and `list --untaken`."""

import json

import pytest

from tests.cli.steps import Operator


def delivered(operator: Operator, description: str) -> str:
    request_id = operator.cloud.post("sales", description)
    operator.cloud.produce()
    operator.deliver()
    return request_id


def untaken(operator: Operator) -> list[str]:
    return [each["id"] for each in operator.json("list", "--untaken")]


def test_the_take_command_assigns_a_request_to_a_person_and_a_second_take_names_that_person(operator: Operator) -> None:
    request_id = delivered(operator, "help")
    assert operator.run("take", request_id, "--as", "Anna").exit_code == 0
    second = operator.run("take", request_id, "--as", "Ben")
    assert second.exit_code == 1
    assert f"Anna has taken request {request_id} already: after" in " ".join(second.output.split())
    assert operator.cloud.show(request_id)["taken"].items() >= {"by": "Anna", "via": "operator"}.items()
    assert "by Anna via operator" in operator.run("status", request_id).output


@pytest.mark.parametrize("name", ["", " \n", "\u200b"])
def test_a_name_without_a_visible_character_takes_and_releases_nothing(operator: Operator, name: str) -> None:
    request_id = delivered(operator, "help")
    refused = operator.run("take", request_id, "--as", name)
    assert (refused.exit_code, "taken" in operator.cloud.show(request_id)) == (2, False)
    operator.run("take", request_id, "--as", " Anna ")
    assert operator.run("release", request_id, "--as", name).exit_code == 2
    assert operator.cloud.show(request_id)["taken"]["by"] == "Anna"


@pytest.mark.parametrize(("name", "why"), [("ü" * 61, "at most 60 characters"), ("A\udcff", "UTF-8")])
def test_a_name_that_a_record_or_a_callback_cannot_hold_takes_and_releases_nothing(
    operator: Operator, name: str, why: str
) -> None:
    request_id = delivered(operator, "help")
    refused = operator.run("take", request_id, "--as", name)
    assert (refused.exit_code, "taken" in operator.cloud.show(request_id)) == (2, False)
    assert why in " ".join(refused.output.split())
    operator.run("take", request_id, "--as", "Anna")
    assert operator.run("release", request_id, "--as", name).exit_code == 2


def test_other_people_and_the_bot_see_an_operators_name_on_one_line_without_control_characters(
    operator: Operator,
) -> None:
    request_id = delivered(operator, "help")
    operator.run("take", request_id, "--as", "Eve\x1b[31m\nadmin \u202eevE")
    assert operator.cloud.show(request_id)["taken"]["by"] == "Eve\ufffd[31m admin evE"


def test_another_person_can_take_a_request_that_was_released(operator: Operator) -> None:
    request_id = delivered(operator, "help")
    operator.run("take", request_id, "--as", "Anna")
    assert operator.json("release", request_id) == {"released": "Anna"}
    assert operator.json("take", request_id, "--as", "Ben")["by"] == "Ben"


def test_the_operator_who_takes_or_releases_a_request_is_printed_for_an_audit_log(operator: Operator) -> None:
    request_id = delivered(operator, "help")
    for act in ("take", "release"):
        line = json.loads(operator.run(act, request_id, "--as", "Anna").stderr)
        assert (line["message"], line["request_id"], line["name"]) == (act, request_id, "Anna")
        assert line["operator"].startswith("arn:aws:")


def test_releasing_a_request_that_nobody_has_taken_is_an_error(operator: Operator) -> None:
    request_id = delivered(operator, "help")
    result = operator.run("release", request_id)
    assert result.exit_code == 1
    assert "nobody has taken request" in result.output


def test_the_list_of_untaken_requests_contains_a_request_until_a_person_takes_it(operator: Operator) -> None:
    one, other = delivered(operator, "one"), delivered(operator, "other")
    assert set(untaken(operator)) == {one, other}
    operator.run("take", one, "--as", "Anna")
    assert untaken(operator) == [other]
    operator.run("release", one)
    assert set(untaken(operator)) == {one, other}
