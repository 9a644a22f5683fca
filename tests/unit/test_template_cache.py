"""Tests the cache of the local stack's CloudFormation templates."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import fingerprint
from local import template_cache
from local.wait import until


class Synthesis:
    """A fake synthesis that writes a template, and counts how often it was called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        self.directory.mkdir()
        (self.directory / "manifest.json").touch()
        (self.directory / "template.json").write_text(f'{{"url": "http://front.invalid/take/{self.times}"}}', "utf-8")


@pytest.fixture
def synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synthesis:
    monkeypatch.setattr(template_cache, "CACHE", tmp_path / "kept")
    monkeypatch.setattr(template_cache, "SOURCES", ("cdk.json",))
    monkeypatch.delenv(template_cache.STAGES, raising=False)
    return Synthesis(tmp_path / "cdk.out")


def template(synthesis: Synthesis, **context: str) -> str:
    """The template for this CDK context, from the cache or synthesized, with the URL of the current run."""
    template_cache.assembly(synthesis.directory, context, synthesis)
    path = synthesis.directory / "template.json"
    template_cache.address(path, {"http://front.invalid": "http://127.0.0.1:4"})
    return path.read_text("utf-8")


def test_a_template_is_synthesized_once_per_cdk_context_and_gets_the_current_urls_of_the_local_servers(
    synthesis: Synthesis,
) -> None:
    first = '{"url": "http://127.0.0.1:4/take/1"}'
    assert [template(synthesis, stage="dev"), template(synthesis, stage="dev")] == [first, first]
    assert template(synthesis, stage="prod") == first.replace('1"', '2"')
    assert "front.invalid" in next((synthesis.directory.parent / "kept").glob("*/template.json")).read_text("utf-8")


def test_a_template_that_two_processes_need_at_the_same_time_is_synthesized_once(
    synthesis: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, waits = threading.Event(), threading.Event()
    second = Synthesis(tmp_path / "second" / "cdk.out")
    second.directory.parent.mkdir()

    def slow() -> None:
        begun.set()
        assert waits.wait(10)
        synthesis()

    def waiting(what: str, seconds: float, look: Callable[[], bool | None]) -> bool:
        if begun.is_set():
            waits.set()
        return until(what, seconds, look)

    monkeypatch.setattr(template_cache, "until", waiting)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(template_cache.assembly, synthesis.directory, {"stage": "dev"}, slow)
        assert begun.wait(10)
        other = pool.submit(template_cache.assembly, second.directory, {"stage": "dev"}, second)
        first.result()
        other.result()
    assert (synthesis.times, second.times) == (1, 0)
    assert (second.directory / "template.json").exists()


def test_a_template_is_synthesized_again_after_a_source_file_changed(
    synthesis: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    for text in ("{}", "{}", "{ }"):
        (tmp_path / "cdk.json").write_text(text, "utf-8")
        template(synthesis)
    assert synthesis.times == 2


def test_a_template_that_uses_a_stage_file_outside_the_repository_is_synthesized_each_time(
    synthesis: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(template_cache.STAGES, str(tmp_path))
    for _ in range(2):
        template(synthesis)
    assert synthesis.times == 2


def test_the_template_is_returned_although_the_cache_cannot_be_written(
    synthesis: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(template_cache, "CACHE", tmp_path / "file")
    assert "127.0.0.1" in template(synthesis) + template(synthesis)
    assert synthesis.times == 2


def test_the_cache_keeps_only_the_latest_templates(synthesis: Synthesis) -> None:
    for number in range(template_cache.MOST + 2):
        template(synthesis, number=str(number))
    assert len(list((synthesis.directory.parent / "kept").glob("*/manifest.json"))) == template_cache.MOST
