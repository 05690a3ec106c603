"""Tables: what is counted, and that nothing lost is hidden."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agents.commands.output import as_json
from agents.evaluation.report import COLUMNS, cell, endings, markdown, missing, repeats, report, rows, trained_on
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.stats import Estimate, proportion
from agents.learning.seeds import TRAINING, VALIDATION

METRICS = {metric: 0.0 for metric, _ in COLUMNS.values()}


def result(
    policy: str, scenario: str, seed: int, *, end: str = "arrived", error: str = "", trace: str = "", **metrics: float
) -> EpisodeResult:
    values: dict[str, Any] = {"end": "error", "error": error} if error else {"end": end, "metrics": {**METRICS, **metrics}}
    return EpisodeResult(policy=policy, scenario=scenario, seed=seed, trace=trace, **values)


RESULTS = [
    *[result("a", "merge", seed, success=float(seed < 8), route_progress=0.5, nuplan_score=seed / 10) for seed in range(10)],
    *[result("b", "merge", seed, success=1.0, red_light=2.0) for seed in range(9)],
    result("b", "merge", 9, error="RuntimeError: gone"),
    *[
        result("a", "exit", seed, end="collision" if seed % 3 else "off_road", success=0.0, collision=1.0, trace=f"t/{seed}.trace")
        for seed in range(30)
    ],
]


def test_rows_are_per_scenario_and_policy_then_over_all() -> None:
    table = rows(RESULTS)
    assert [(r.scenario, r.policy, r.episodes, r.errors) for r in table] == [
        ("merge", "a", 10, 0),
        ("merge", "b", 9, 1),
        ("exit", "a", 30, 0),
        ("exit", "b", 0, 0),
        ("all scenarios", "a", 40, 0),
        ("all scenarios", "b", 9, 1),
    ]
    assert table[0].figures["success"] == proportion(8, 10)
    assert table[4].figures["success"] == proportion(8, 40)
    assert table[0].figures["nuPlan score"].value == pytest.approx(0.45)
    assert table[0].figures["nuPlan IQM"].value == pytest.approx(0.45)


def test_counts_become_rates_of_episodes() -> None:
    assert rows(RESULTS)[1].figures["red light"] == proportion(9, 9)


def test_lost_episodes_are_in_no_figure_but_told() -> None:
    table = rows(RESULTS)
    assert table[1].figures["success"].n == 9
    page = markdown(RESULTS, title="t")
    assert "| merge | b | 9 (+1 lost) |" in page
    assert "- b, merge, seed 9: RuntimeError: gone" in page
    assert report(RESULTS, title="t")["errors"] == 1


def test_markdown_is_a_table() -> None:
    page = markdown(RESULTS, title="a and b", command="closedloop eval a b")
    lines = [line for line in page.partition("## How episodes ended")[0].splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 4}
    assert len(lines) == 2 + 6
    assert page.startswith("# a and b\n\n```\nclosedloop eval a b\n```\n")
    assert len(re.findall(r"`t/\d+\.trace`", page)) == 30


def test_json_is_strict_and_complete() -> None:
    text = as_json(report(RESULTS, title="t"))
    back = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert len(back["results"]) == len(RESULTS)
    row = back["table"][0]
    assert row["success"] == {"value": 0.8, "low": pytest.approx(0.4902, abs=1e-4), "high": pytest.approx(0.9433, abs=1e-4), "n": 10}
    assert {"nuplan_score", "nuplan_score_iqm", "collision_at_fault"} <= row.keys()
    assert back["table"][3]["success"] == {"value": None, "low": None, "high": None, "n": 0}


def test_cells() -> None:
    assert cell(proportion(480, 500), "rate") == "96.0 [93.9, 97.4]"
    assert cell(proportion(0, 100), "rate") == "0.0 [0.0, 3.7]"  # Wilson's bound, wider than 3/n here
    assert cell(Estimate(value=0.5, low=float("nan"), high=float("nan"), n=1), "mean") == "0.50 [-, -]"
    assert cell(Estimate(value=float("nan"), low=float("nan"), high=float("nan"), n=0), "mean") == "-"


def test_output_has_no_nan() -> None:
    assert json.loads(as_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: (1,)})) == {"a": None, "b": [None, 1.5], "3": [1]}


def test_episodes_that_were_all_alike_are_told_and_only_those() -> None:
    same = [result("a", "recording", seed, duration=8.0, distance=71.5) for seed in range(3)]
    other = [result("b", "recording", seed, duration=8.0, distance=70.0 + seed) for seed in range(3)]
    single = [result("c", "recording", 0, duration=8.0, distance=71.5)]
    warning = repeats([*same, *other, *single])
    assert "a on recording" in warning
    assert "b on" not in warning
    assert "c on" not in warning
    assert warning in markdown([*same, *other], title="t")
    assert report([*same, *other], title="t")["warnings"] == [warning]
    assert repeats([*other, *single]) == ""


def test_how_episodes_ended_is_counted_everywhere() -> None:
    heading, body = endings(rows(RESULTS))
    assert heading == ["scenario", "policy", "arrived", "collision", "off_road", "error"]
    assert body == [
        ["merge", "a", "10", "0", "0", "0"],
        ["merge", "b", "9", "0", "0", "1"],
        ["exit", "a", "0", "20", "10", "0"],
        ["exit", "b", "0", "0", "0", "0"],
        ["all scenarios", "a", "10", "20", "10", "0"],
        ["all scenarios", "b", "9", "0", "0", "1"],
    ]
    page = markdown(RESULTS, title="t")
    assert "| scenario | policy | arrived | collision | off_road | error |" in page
    assert "| exit | a | 0 | 20 | 10 | 0 |" in page
    table = report(RESULTS, title="t")["table"]
    assert table[2]["ends"] == {**dict.fromkeys(table[2]["ends"], 0), "collision": 20, "off_road": 10}
    assert all(sum(row["ends"].values()) == row["episodes"] + row["errors"] for row in table)


def test_what_was_not_driven_is_named() -> None:
    undriven = [EpisodeResult(policy="b", scenario="merge", seed=s, end="interrupted", error="interrupted") for s in (2, 4, 5, 6)]
    results = [*(result("b", "merge", seed) for seed in (0, 1, 3)), *undriven]
    assert missing(results) == ["b on merge: 4 of 7 (seeds 2, 4 to 6)"]
    page = markdown(results, title="t")
    assert "## Interrupted: not driven\n\n- b on merge: 4 of 7 (seeds 2, 4 to 6)" in page
    assert "Lost to errors" not in page
    assert report(results, title="t")["interrupted"] is True
    assert report(RESULTS, title="t")["interrupted"] is False
    scattered = [EpisodeResult(policy="b", scenario="merge", seed=s, end="error", error="x") for s in range(0, 40, 2)]
    assert missing(scattered) == ["b on merge: 20 of 20 (seeds 0, 2, 4, 6, 8, 10, 12, 14, ...)"]


@pytest.mark.parametrize("seed", [VALIDATION, TRAINING, 5 * TRAINING])
def test_seeds_of_training_are_told(seed: int) -> None:
    results = [result("a", "merge", s) for s in (VALIDATION - 1, seed, seed + 1)]
    assert f"Seeds {seed} to {seed + 1} are not for judging" in trained_on(r.seed for r in results)
    assert trained_on([0, VALIDATION - 1]) == ""
    assert report(results, title="t")["warnings"] == [trained_on([seed, seed + 1])]
    assert trained_on([seed, seed + 1]) in markdown(results, title="t")
