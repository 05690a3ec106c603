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
    assert scenarios.suite_names() == ["arcade", "atari", "driving", "nightly", "release", "robots", "smoke"]
    suites = {name: scenarios.load_suite(name) for name in scenarios.suite_names()}
    families = scenarios.names()
    for name in ("driving", "nightly", "release"):
        assert sorted(entry.scenario.id for entry in suites[name].entries) == [f"{f}/{v}" for f in families for v in ("easy", "hard")]
    assert {entry.scenario.name for entry in suites["smoke"].entries} < {*families}
    assert all((entry.episodes, entry.seed) == (20, 100_000) for entry in suites["driving"].entries)
    shrinks = {"arcade": 0, "atari": 0, "driving": 3, "nightly": 3, "release": 3, "robots": 0, "smoke": 0}
    assert {name: suite.shrink for name, suite in suites.items()} == shrinks
    for suite in suites.values():
        assert suite.description
        assert min(metric.priority for metric in suite.metrics) == 1
        assert all(entry.family == entry.scenario.name for entry in suite.entries)
        assert all(each.family == each.task for each in suite.tasks)
        assert bool(suite.entries) != bool(suite.tasks)


def test_no_two_suites_share_an_episode() -> None:
    seen: set[tuple[str, int]] = set()
    for name in scenarios.suite_names():
        for entry in scenarios.load_suite(name).entries:
            mine = {(entry.scenario.name, seed) for seed in range(entry.seed, entry.seed + entry.episodes)}
            if entry.scenario.variant != "hard":  # easy and hard share seeds
                assert not seen & mine
                seen |= mine


def test_robot_tasks_override_the_suite(tmp_path: Path) -> None:
    text = "episodes: 5\nseed: 9\ntasks:\n  - {task: reach}\n  - {task: push_cube, episodes: 3, seed: 1, family: hands}\n"
    path = suite(tmp_path, text)
    found = scenarios.load_suite(path).tasks
    assert [(t.task, t.family, t.episodes, t.seed) for t in found] == [("reach", "reach", 5, 9), ("push_cube", "hands", 3, 1)]
    assert scenarios.is_suite(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tasks: [{task: reach}]\nentries: [{scenario: merge}]\n",
            "expected the key 'entries' (scenarios) or 'tasks' (of robots or games)",
        ),
        ("description: of nothing\n", "expected the key 'entries' (scenarios) or 'tasks' (of robots or games)"),
        ("tasks: [{task: reach}, {task: reach}]\n", "tasks[1]: expected each task once for each seed"),
        ("tasks: [{tusk: reach}]\n", "tusk"),
    ],
)
def test_suites_of_robot_tasks_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenarios.load_suite(suite(tmp_path, text))
    assert message in str(refused.value)


def test_metrics_have_margins_and_priorities(tmp_path: Path) -> None:
    text = "metrics:\n  - {metric: success, margin: 0.02, family_margin: 0.1, priority: 3}\n  - {metric: comfort, margin: 1}\n"
    found = scenarios.load_suite(suite(tmp_path, text + "entries:\n  - {scenario: merge, family: joining}\n"))
    assert [(m.metric, m.margin, m.family_margin, m.priority) for m in found.metrics] == [
        ("success", 0.02, 0.1, 3),
        ("comfort", 1.0, None, 2),
    ]
    assert found.entries[0].family == "joining"
    assert str(found.error(("metrics", 1, "metric"), "expected another")).endswith(
        "exam.yaml:5:14: metrics[1].metric: expected another (got 'comfort')"
    )


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
        ("metrics:\n  - {metric: success}\nentries:\n  - {scenario: merge}\n", 4, "expected the key 'margin'"),
        ("metrics:\n  - {metric: success, margin: 2}\nentries:\n  - {scenario: merge}\n", 4, "at most 1"),
        ("metrics:\n  - {metric: success, margin: 0}\nentries:\n  - {scenario: merge}\n", 4, "at least 0.001"),
        ("metrics:\n  - {metric: success, margin: 2 %}\nentries:\n  - {scenario: merge}\n", 4, "a number"),
        ("metrics:\n  - {metric: success, margin: 0.1, prio: 1}\nentries:\n  - {scenario: merge}\n", 4, "did you mean 'priority'?"),
        ("metrics:\n  - {metric: success, margin: 0.1, priority: 0}\nentries:\n  - {scenario: merge}\n", 4, "at least 1"),
        ("metrics:\n  - {metric: off road, margin: 0.1}\nentries:\n  - {scenario: merge}\n", 4, "a letter, then"),
        (
            "metrics:\n  - {metric: success, margin: 0.1}\n  - {metric: success, margin: 0.2}\nentries:\n  - {scenario: merge}\n",
            5,
            "each metric once",
        ),
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
