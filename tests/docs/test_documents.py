"""Tests links, make targets, diagrams and error messages in the documents."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import console
from infra import stages
from infra.config import Config
from tests import diagrams

ROOT = Path(__file__).resolve().parents[2]
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
]
PAGES = [path for path in TRACKED if path.suffix == ".md"]
MOST_LINES_OF_A_DECISION = 40
MOST_WORDS = 20
MESSAGE = re.compile(r"^## `(.+)`$", re.MULTILINE)
RETIRED = re.compile(
    r"\b(?:(?:a|the|its|one|two|both|which|named|mail's) letters?(?! case| of)|lanes?|forced sends?|let go|burning)\b",
    re.IGNORECASE,
)
"""Retired words: the documents say *dead letter*, *destination*, *resend*, *ended* and *urgent* instead."""
SOURCES = ("functions/", "deployment/", "infra/", "local/", "cli/", "console/", "tests/e2e/browser.py", "Makefile")


def prose(page: Path) -> str:
    """The text of the page without its code."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from the page's headings.

    https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#section-links
    """
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links in this repository."""
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", prose(page)):
        target = "".join(link)
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_an_existing_target(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", diagrams.PAGES, ids=lambda page: page.name)
def test_every_generated_diagram_is_up_to_date(page: Path) -> None:
    assert page.read_text("utf-8") == diagrams.page(page), "run: make docs"


def test_make_help_lists_every_make_target() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    [phony] = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {line.split()[0] for line in shown.splitlines()} == set(phony.replace("\\", "").split())


def test_the_configuration_page_explains_every_cdk_context_key() -> None:
    explained = re.findall(
        r"^\| `(\w+)` \|.*\|.*\|$", (ROOT / "docs/configuration.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(explained) == set(Config.model_fields) - {"local"}


def test_the_json_schema_of_stage_files_contains_every_key() -> None:
    assert json.loads((ROOT / "stages/schema.json").read_text("utf-8")) == stages.schema(), "run: make docs"


def test_all_documents_together_have_fewer_lines_than_the_lambda_functions() -> None:
    docs = [path for path in TRACKED if path.parent == ROOT / "docs" and path.suffix == ".md"]
    functions = [path for path in TRACKED if (ROOT / "functions") in path.parents and path.suffix == ".py"]
    assert lines(docs) < lines(functions)


def test_the_tour_states_in_how_many_files_its_steps_are() -> None:
    files: set[str] = set()
    for section in (ROOT / "docs/tour.md").read_text().split("\n## "):
        steps = "\n".join(re.findall(r"^\d+\. .*(?:\n   .*)*", section, re.MULTILINE))
        named = set(re.findall(r"\.\./(functions/[a-z_/]+\.py)", steps))
        for stated in re.findall(r"These (\d+) steps are in (\d+) files(?:; (\d+) of them)?", section):
            assert [int(each or 0) for each in stated] == [steps.count("\n") + 1, len(named), len(named & files)]
            files |= named
    assert files


def test_the_index_lists_every_document() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {path for path in PAGES if path.parent == ROOT / "docs"} <= linked | {index}


def test_the_runbook_states_how_often_the_console_of_a_stage_reads() -> None:
    [longest] = re.findall(r"LONGEST_WAIT = (\d+)", (ROOT / "console/page/main.js").read_text("utf-8"))
    shortest = console.POLL_MS // 1_000
    told = f"every {shortest} seconds, or every {shortest * int(longest)} seconds while nothing changes"
    assert told in (ROOT / "docs/operations.md").read_text("utf-8")


def test_the_glossary_is_short_and_each_of_its_words_is_used() -> None:
    glossary = ROOT / "docs/glossary.md"
    rows = re.findall(r"^- \*\*(.+)\*\*: ", glossary.read_text("utf-8"), re.MULTILINE)
    pages = [path for path in PAGES if path != glossary]
    written = " ".join(page.read_text("utf-8").lower() for page in pages)
    assert 0 < len(rows) <= MOST_WORDS
    for word in ", ".join(rows).split(", "):
        assert word in written, word


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_documents_use_the_words_of_the_glossary_and_none_of_the_replaced_words(page: Path) -> None:
    retired = RETIRED.findall(page.read_text("utf-8"))
    assert not retired, "see docs/glossary.md"


def test_each_decision_record_is_short_has_a_date_and_is_in_the_index_of_decisions() -> None:
    index = ROOT / "docs/decisions/README.md"
    decisions = [path for path in PAGES if path.parent == index.parent and path != index]
    assert {path.name for path in decisions} == set(links(index))
    for path in decisions:
        written = path.read_text("utf-8")
        assert re.search(r"^Date: \d{4}-\d\d-\d\d.*\. Status: (accepted|amended|superseded)", written, re.MULTILINE), (
            path.name
        )
        assert re.match(rf"# {path.name[:4]} · ", written), path.name
        assert len(written.splitlines()) <= MOST_LINES_OF_A_DECISION, path.name


def test_every_error_message_on_the_troubleshooting_page_occurs_in_the_code() -> None:
    """In a heading of the page, `…` stands for the variable part of the message."""
    sources = [
        " ".join(re.sub(r"\"\s*f?\"", "", path.read_text("utf-8")).split())
        for path in TRACKED
        if str(path.relative_to(ROOT)).startswith(SOURCES) and path.suffix in {".py", ""}
    ]
    messages = MESSAGE.findall((ROOT / "docs/troubleshooting.md").read_text("utf-8"))
    assert len(messages) > 10
    for message in messages:
        parts = message.split("…")
        assert any(all(part in source for part in parts) for source in sources), message


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)
