"""From suites to plans, and what plans are said to find."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.suite import PlanError
from agents.gate.design import Design, GatedMetric
from agents.gate.metrics import METRICS, MetricError, goodness, reading, share
from agents.gate.plan import Pair, configuration, identity, plan_from, run_id
from agents.gate.power import outlook
from agents.gate.verdict import referee_for
from scenarios import ScenarioError, load_suite, suite_names


def suite_file(folder: Path, text: str) -> str:
    path = folder / "exam.yaml"
    path.write_text("version: 1\nname: exam\n" + text)
    return str(path)


ROBOTS, GAMES = ("lasted", "at_goal"), ("share",)  # metrics of robot tasks, and of arcade games, alone
METRIC = "metrics:\n  - {metric: success, margin: 0.02}\n"


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_package_can_be_gated(name: str) -> None:
    suite = load_suite(name)
    if suite.tasks:
        pytest.importorskip("mujoco", reason="the extra `robots` is not installed")
    plan = plan_from(suite)
    assert plan.episodes == sum(each.episodes for each in (*suite.entries, *suite.tasks))
    assert plan.warnings == ()
    assert plan.rounds >= 10
    assert [m.priority for m in plan.design.metrics] == sorted(m.priority for m in suite.metrics)
    safety = [m.name for m in plan.design.metrics if m.priority == 1]
    assert ({"success"} if suite.tasks else {"collision_at_fault", "off_road"}) <= set(safety)


def test_a_round_is_the_suite_in_small(brief: str, tmp_path: Path) -> None:
    text = (
        METRIC
        + "episodes: 4\nseed: 10\nentries:\n  - {scenario: brief.yaml}\n  - {scenario: brief.yaml/hard, episodes: 8, family: other}\n"
    )
    plan = plan_from(load_suite(suite_file(tmp_path, text)))
    assert plan.rounds == 4
    assert plan.design.per_round == (1, 2)
    assert list(plan.round(1)) == [Pair(0, 11), Pair(1, 12), Pair(1, 13)]
    assert [pair for r in range(4) for pair in plan.round(r)] == [
        Pair(s, seed) for r in range(4) for s, seed in ((0, 10 + r), (1, 10 + 2 * r), (1, 11 + 2 * r))
    ]
    assert plan.design.scopes == ("all", "brief", "other")
    assert plan.where["brief/hard", 13] == Pair(1, 13)


def test_budgets_without_a_common_divisor_are_warned_of(brief: str, tmp_path: Path) -> None:
    text = METRIC + "entries:\n  - {scenario: brief.yaml, episodes: 7}\n  - {scenario: brief.yaml/hard, episodes: 20}\n"
    plan = plan_from(load_suite(suite_file(tmp_path, text)))
    assert plan.rounds == 1
    assert any("7, 20" in warning and "1 rounds" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("entries:\n  - {scenario: brief.yaml}\n", 1, "expected the key 'metrics'"),
        ("metrics:\n  - {metric: sucess, margin: 0.02}\nentries:\n  - {scenario: brief.yaml}\n", 4, "did you mean 'success'?"),
        ("metrics:\n  - {metric: distance, margin: 0.02}\nentries:\n  - {scenario: brief.yaml}\n", 4, "a metric that can be gated"),
        (METRIC + "entries:\n  - {scenario: brief.yaml}\n  - {scenario: brief.yaml/hard, family: all}\n", 7, "stands for the whole suite"),
    ],
)
def test_suites_that_cannot_be_gated_say_where(brief: str, tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_from(load_suite(suite_file(tmp_path, text)))
    (problem,) = caught.value.problems
    assert problem.line == line
    assert said in str(problem)


def test_one_result_does_not_stand_for_two(brief: str, tmp_path: Path) -> None:
    text = METRIC + "episodes: 3\nentries:\n  - {scenario: brief.yaml}\n  - {scenario: brief.yaml, seed: 2}\n"
    with pytest.raises(PlanError, match="entries 1 and 2 both drive 'brief' with seed 2"):
        plan_from(load_suite(suite_file(tmp_path, text)))


def test_the_name_of_a_run_says_what_it_depends_on(brief: str, tmp_path: Path) -> None:
    plan = plan_from(load_suite(suite_file(tmp_path, METRIC + "entries:\n  - {scenario: brief.yaml}\n")))
    who = {"baseline": identity("idm"), "candidate": identity("highway")}
    config = configuration(plan, who, full=False, compile=False)
    json.dumps(config)
    assert run_id(config) == run_id(configuration(plan, who, full=False, compile=False))
    others = [
        configuration(plan, {**who, "candidate": identity("merge")}, full=False, compile=False),
        configuration(plan, {**who, "candidate": identity("highway@visible")}, full=False, compile=False),
        configuration(plan, who, full=True, compile=False),
        configuration(replace(plan, design=replace(plan.design, alpha=0.01)), who, full=False, compile=False),
    ]
    assert len({run_id(c) for c in (config, *others)}) == 5
    assert identity("highway")["sha256"]


def test_goodness_is_1_at_best() -> None:
    assert goodness({"success": 1.0}, "success") == 1.0
    assert goodness({"collision": 1.0}, "collision") == 0.0
    assert goodness({"red_light": 0.0}, "red_light") == 1.0
    assert goodness({"red_light": 2.0}, "red_light") == 0.0
    assert goodness({"nuplan_score": 0.25}, "nuplan_score") == 0.25
    for metrics, said in (({}, "no 'success'"), ({"success": math.nan}, "not a finite number")):
        with pytest.raises(MetricError, match=said):
            goodness(metrics, "success")
    with pytest.raises(MetricError, match="between 0 and 1"):
        goodness({"nuplan_score": 1.5}, "nuplan_score")


@pytest.mark.parametrize(("name", "value", "good"), [("impact", 3.0, 0.8), ("lane_offset", 0.1, 0.8), ("ttc_min", 0.75, 0.25)])
def test_figures_with_a_unit_are_shares_of_their_range(name: str, value: float, good: float) -> None:
    assert goodness({name: value}, name) == pytest.approx(good)
    assert reading(good, name) == pytest.approx(value)
    assert share({name: value}, name) == pytest.approx(good if name == "ttc_min" else 1.0 - good)
    assert goodness({name: 1e9}, name) == float(METRICS[name].better == "higher")  # beyond the range is as its end
    with pytest.raises(MetricError, match=f"{name}=-0.5: must be at least 0 "):
        goodness({name: -0.5}, name)


def test_reading_is_the_inverse_of_goodness() -> None:
    for name, metric in METRICS.items():
        if metric.kind == "score":
            assert [reading(goodness({name: metric.span * x}, name), name) for x in (0.0, 0.3, 1.0)] == pytest.approx(
                [0.0, 0.3 * metric.span, metric.span]
            )
    assert math.isnan(reading(math.nan, "impact"))


def test_every_metric_is_one_of_an_episode(brief: str) -> None:
    from agents.evaluation.rollout import rollout
    from agents.policies.base import load_policy
    from scenarios import load, sample

    (result,) = rollout(load_policy("idm"), [sample(load(brief), 0)])
    assert all(0.0 <= goodness(result.metrics, name) <= 1.0 for name in METRICS if name not in (*ROBOTS, *GAMES))


def test_every_metric_of_games_is_one_of_an_episode() -> None:
    from agents.arcade.policies import load_arcade_policy
    from agents.evaluation.rollout_arcade import rollout_arcade

    (result,) = rollout_arcade(load_arcade_policy("random", "rally"), "rally", [0])
    assert all(0.0 <= goodness(result.metrics, name) <= 1.0 for name in (*GAMES, "success"))
    assert goodness(result.metrics, "share") == result.metrics["won"] / (result.metrics["won"] + result.metrics["lost"])


def test_every_metric_of_robots_is_one_of_an_episode() -> None:
    pytest.importorskip("mujoco", reason="the extra `robots` is not installed")
    from agents.evaluation.rollout_robots import rollout_robots
    from agents.robots.policies import load_robot_policy

    (result,) = rollout_robots(load_robot_policy("expert", "reach"), "reach", [0])
    assert all(0.0 <= goodness(result.metrics, name) <= 1.0 for name in (*ROBOTS, "success"))


def test_what_is_said_to_be_found_is_found() -> None:
    """The outlook against the referee itself, on pairs made as the outlook assumes."""
    design = Design(metrics=(GatedMetric(name="success", margin=0.06),), families=("a",), per_round=(4,))
    (found,) = outlook(design, 100)
    assert found.detectable is not None
    rng = np.random.default_rng(1)

    def share(drop: float, verdict: str) -> float:
        hits = 0
        for _ in range(60):
            referee = referee_for(design)
            d = rng.choice([-1.0, 1.0, 0.0], size=(100, 4, 1), p=[drop + 0.02, 0.02, 0.96 - drop])
            kept = worse = False
            for row in d:
                referee.add(row)
            kept, worse = bool(referee.kept[0]), bool(referee.worse[0])
            hits += {"regression": worse, "pass": kept}[verdict]
        return hits / 60

    assert share(found.detectable, "regression") >= 0.8  # 90 %
    assert share(0.5 * found.detectable, "regression") <= 0.8
    assert share(0.0, "pass") == pytest.approx(found.keeps_up, abs=0.2)


def test_more_episodes_find_smaller_drops() -> None:
    design = Design(metrics=(GatedMetric(name="success", margin=0.02),), families=("a",), per_round=(1,))
    found = [outlook(design, rounds)[0] for rounds in (3, 60, 600)]
    assert found[0].detectable is None
    assert found[0].pairs is None
    assert found[1].detectable is not None
    assert found[2].detectable is not None
    assert found[2].detectable < found[1].detectable
    assert found[2].keeps_up > found[0].keeps_up
