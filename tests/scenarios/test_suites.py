"""Suites: what is judged, as strictly read as scenarios."""

from __future__ import annotations

from pathlib import Path

import pytest

import scenarios
from scenarios import ScenarioError

MINIMAL = "version: 1\nname: mine\nduration: 30 s\nroad: {kind: highway}\nego: {lane: main.0}\n"


def suite(folder: Path, text: str) -> Path:
    path = folder / "exam.yaml"
    path.write_text("version: 1\nname: exam\n" + text)
    return path


def test_the_suites_of_the_package() -> None:
    assert scenarios.suite_names() == ["driving", "smoke"]
    driving, smoke = scenarios.load_suite("driving"), scenarios.load_suite("smoke")
    families = scenarios.names()
    assert sorted(entry.scenario.id for entry in driving.entries) == [f"{f}/{v}" for f in families for v in ("easy", "hard")]
    assert sorted(entry.scenario.id for entry in smoke.entries) == families
    assert all((entry.episodes, entry.seed) == (20, 100_000) for entry in driving.entries)
    assert driving.description


def test_entries_override_the_suite_and_may_be_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINIMAL + "variants:\n  wet: {duration: 40 s}\n")
    path = suite(tmp_path, "episodes: 3\nseed: 7\nentries:\n  - {scenario: mine.yaml/wet, episodes: 5}\n  - {scenario: merge, seed: 9}\n")
    entries = scenarios.load_suite(path).entries
    assert [(e.scenario.id, e.episodes, e.seed) for e in entries] == [("mine/wet", 5, 7), ("merge", 3, 9)]
    assert scenarios.is_suite(path)
    assert scenarios.is_suite("driving")
    assert not scenarios.is_suite(tmp_path / "mine.yaml")
    assert not scenarios.is_suite("merge")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "expected the key 'entries'"),
        ("entries: []\n", 3, "at least 1"),
        ("entries:\n  - merge\n", 4, "expected a mapping"),
        ("entries:\n  - {scenario: merge, episode: 3}\n", 4, "did you mean 'episodes'?"),
        ("entries:\n  - {scenario: mrege}\n", 4, "did you mean 'merge'?"),
        ("entries:\n  - {scenario: merge/hardd}\n", 4, "scenario without mistakes"),
        ("entries:\n  - {scenario: merge}\n  - {scenario: merge}\n", 5, "raise episodes instead"),
        ("entries:\n  - {scenario: merge, episodes: 0}\n", 4, "at least 1"),
        ("entries:\n  - {scenario: merge, seed: -1}\n", 4, "at least 0"),
        ("entries:\n  - {scenario: ../mine.yaml}\n", 4, "inside the suite's folder"),
        ("entries:\n  - {scenario: /tmp/mine.yaml}\n", 4, "inside the suite's folder"),
        ("entries:\n  - {scenario: nowhere.yaml}\n", 4, "scenario without mistakes"),
        ("seed: 1.5\nentries:\n  - {scenario: merge}\n", 3, "whole number"),
    ],
)
def test_bad_suites(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = suite(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        scenarios.load_suite(path)
    assert any(p.line == line and message in str(p) and p.file.endswith("exam.yaml") for p in caught.value.problems), str(caught.value)


def test_mistakes_in_a_scenario_of_a_suite_are_told_with_their_own_lines(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINIMAL.replace("30 s", "30 m"))
    with pytest.raises(ScenarioError) as caught:
        scenarios.load_suite(suite(tmp_path, "entries:\n  - {scenario: mine.yaml}\n"))
    assert [(Path(p.file).name, p.line) for p in caught.value.problems] == [("exam.yaml", 4), ("mine.yaml", 3)]


def test_an_unknown_suite() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'driving'"):
        scenarios.load_suite("drving")


def test_a_suite_is_not_named_otherwise_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("version: 1\nname: exam\nentries:\n  - {scenario: merge}\n")
    with pytest.raises(ScenarioError, match="did you mean 'other'"):
        scenarios.load_suite(path)
