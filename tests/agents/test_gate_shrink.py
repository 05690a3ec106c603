"""Failures explained: classes, clusters, delta debugging, and small scenarios that still fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from agents import cli
from agents.evaluation.rollout import TraceRule, rollout
from agents.gate import trials
from agents.gate.ddmin import Search, ddmin
from agents.gate.explain import Planted, shrink_all
from agents.gate.failures import circumstances, failure_of, nearest_first, shares, side_of, speed_band, worded
from agents.gate.shrink import shrink
from agents.gate.trials import Hunt, hunt_all
from agents.playback.fingerprint import fingerprint
from agents.playback.trace import Trace
from agents.playback.verify import verify
from agents.policies.base import load_policy
from scenarios.explicit import explicit, text_of
from scenarios.schema import ScenarioModel


def run(search: Search[Any, Any], holds: Callable[[Any], bool]) -> tuple[Any, int]:
    """What a search finds, and how many trials it took."""
    count, answer = 0, None
    try:
        wanted = next(search)
        while True:
            count += len(wanted)
            answer = next((i for i, trial in enumerate(wanted) if holds(trial)), None)
            wanted = search.send(answer)
    except StopIteration as end:
        return end.value, count


@pytest.mark.parametrize("blamed", [(), (3,), (0, 17), (5, 6, 19), tuple(range(0, 20, 3)), tuple(range(20))])
def test_delta_debugging_finds_exactly_those_to_blame(blamed: tuple[int, ...]) -> None:
    found, count = run(ddmin(range(20)), lambda part: set(blamed) <= set(part))
    assert found == blamed
    assert count <= 20 * 20 + 3 * 20


def test_delta_debugging_is_one_minimal_whatever_fails() -> None:
    """Not monotonic: some parts fail, others do not, by the flip of a coin. No item of what is found can be left out."""
    for seed in range(40):
        coin = np.random.default_rng(seed)
        fails: dict[tuple[int, ...], bool] = {tuple(range(9)): True}

        def holds(part: tuple[int, ...], fails: dict[tuple[int, ...], bool] = fails, coin: Any = coin) -> bool:
            return fails.setdefault(tuple(part), bool(coin.random() < 0.3))

        found, _ = run(ddmin(range(9)), holds)
        assert fails[found]
        assert not any(holds(rest) for rest in itertools.combinations(found, max(len(found) - 1, 0)) if rest != found)


def test_nothing_to_leave_out_takes_no_trial() -> None:
    assert run(ddmin(()), lambda part: True) == ((), 0)


@pytest.mark.parametrize(
    ("end", "metrics", "failure"),
    [
        ("arrived", {"success": 1.0}, ""),
        ("collision", {"success": 0.0, "collision": 1.0, "collision_at_fault": 1.0}, "collision at fault"),
        ("collision", {"success": 0.0, "collision": 1.0, "collision_at_fault": 0.0}, "collision"),
        ("off_road", {"success": 0.0, "off_road": 1.0, "red_light": 1.0}, "off road"),
        ("arrived", {"success": 0.0, "red_light": 2.0}, "red light run"),
        ("lost", {"success": 0.0}, "cannot reach the goal any more"),
        ("time", {"success": 0.0, "route_progress": None}, "time ran out"),
    ],
)
def test_classes_of_failure(end: str, metrics: dict[str, float | None], failure: str) -> None:
    assert failure_of(end, metrics) == failure


@pytest.mark.parametrize(
    ("ahead", "left", "side"), [(2.31, 0.0, "front"), (-2.31, 9.0, "rear"), (2.29, 0.1, "left"), (-2.29, -0.1, "right")]
)
def test_sides_of_the_ego(ahead: float, left: float, side: str) -> None:
    assert side_of(ahead, left, 4.6) == side


@pytest.mark.parametrize(("speed", "band"), [(0.0, "standing"), (0.5, "0.5 to 5 m/s"), (19.99, "10 to 20 m/s"), (44.0, "30 m/s and more")])
def test_speed_bands(speed: float, band: str) -> None:
    assert speed_band(speed) == band


def test_clusters_in_words() -> None:
    assert worded("collision", "merge", "truck", "left") == "collision with a truck on the left, in merge"
    assert worded("off road", "exit", "", "") == "off road, in exit"


# ---------------------------------------------------------------- with the simulator

SHORT = """version: 1
name: jam
description: A slow car ahead, and some on the other lane who do not matter.
duration: 8 s
road: {kind: highway, lanes: 2, length: 400 m, speed_limit: {uniform: [20, 30]}}
ego: {lane: main.0, s: {uniform: [20, 30]}, speed: {uniform: [14, 18]}}
traffic:
  - fill: {lanes: [main.1], count: 5, speed: 20}
actors:
  - {id: slow, lane: main.0, ahead: {uniform: [20, 30]}, speed: 5, desired_speed: 5}
"""


@pytest.fixture
def jam(tmp_path: Path) -> str:
    (tmp_path / "jam.yaml").write_text(SHORT)
    return str(tmp_path / "jam.yaml")


@pytest.fixture
def crashed(jam: str, tmp_path: Path) -> Trace:
    """`constant` runs into the slow car."""
    episode = scenarios.sample(scenarios.load(jam), 1)
    (result,) = rollout(load_policy("constant"), [episode], batch=1, traces=TraceRule(folder=tmp_path / "traces"))
    assert failure_of(result.end, result.metrics) == "collision at fault"
    return Trace.load(result.trace)


def test_circumstances_of_a_collision(crashed: Trace) -> None:
    found = circumstances(crashed, "collision at fault")
    assert (found.other, found.side, found.motion, found.weather, found.cause) == ("car", "front", "same way", "", "")
    assert found.moment == crashed.times[-1]
    assert 13.0 < found.speed < 19.0
    assert crashed.episode.agents[nearest_first(crashed)[0]].id == "slow"
    assert sorted(nearest_first(crashed)) == list(range(1, 7))
    band = speed_band(found.speed)
    assert shares([("jam", found), ("jam/hard", found)]) == {
        "scenario": {"jam": 1, "jam/hard": 1}, "speed": {band: 2}, "motion": {"same way": 2},
    }  # fmt: skip


@pytest.mark.slow
def test_a_failure_made_small_is_a_scenario_that_still_fails(jam: str, crashed: Trace, tmp_path: Path) -> None:
    planted = Planted(spec=jam, seed=1, failure="collision at fault", trace=crashed, name="small", cluster=1)
    (minimal,) = shrink_all([planted], "constant", "idm", tmp_path / "out")
    assert minimal.why == ""
    assert (minimal.others, minimal.others_left, minimal.thorough) == (6, 1, True)
    assert minimal.simulations <= 150
    path = tmp_path / "out" / minimal.file
    small = scenarios.load(path)
    assert [actor.id for actor in small.model.actors] == ["slow"]
    assert len(path.read_text()) < 1500
    assert cli.run(["validate", str(path)]) == 0
    # the printed command, and what it leaves behind
    words = minimal.command.split()[1:]
    assert cli.run([*words, "--out", str(tmp_path / "again"), "--workers", "1"]) == 0
    (trace,) = (tmp_path / "again").rglob("*.trace")
    again = Trace.load(trace)
    assert fingerprint(again) == minimal.fingerprint
    assert verify(again).exact
    (idm,) = rollout(load_policy("idm"), [scenarios.sample(small, 1)])
    assert idm.failed is False


def test_what_does_not_fail_is_not_made_small(jam: str, crashed: Trace, tmp_path: Path) -> None:
    cases = {"off road": "idm", "collision at fault": "constant"}  # it fails in another class; the reference fails too
    for failure, reference in cases.items():
        planted = Planted(spec=jam, seed=1, failure=failure, trace=crashed, name="small")
        (minimal,) = shrink_all([planted], "constant", reference, tmp_path)
        assert "does not pass there, or the episode does not fail the same way" in minimal.why
        assert (minimal.file, minimal.others_left) == ("", 6)
    assert not list(tmp_path.glob("failures/*"))


def _fake(monkeypatch: pytest.MonkeyPatch, fails: Callable[[scenarios.Episode], bool]) -> None:
    def drive(policy: str, asked: Sequence[Any], progress: Any) -> list[str]:
        for trial in asked:
            trial.hunt.simulations += 1
        return ["off road" if policy == "candidate" and fails(trial.episode) else "" for trial in asked]

    monkeypatch.setattr(trials, "_drive", drive)


def _hunt(spec: str, seed: int, budget: int = 150) -> Hunt:
    original = scenarios.load(spec)
    spelled = explicit(original, scenarios.sample(original, seed), name="small")
    nearest = [actor.id for actor in spelled.model.actors]
    return Hunt(scenario=spelled, seed=seed, failure="off road", search=shrink(original, spelled, seed, nearest), budget=budget)


def test_what_matters_is_kept_and_everything_else_made_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that fails where a truck is there and the ego is fast: those stay, and no more."""

    def fails(episode: scenarios.Episode) -> bool:
        return episode.agents[0].speed > 17.0 and any(agent.kind is scenarios.Kind.TRUCK for agent in episode.agents)

    _fake(monkeypatch, fails)
    hunt = next(h for seed in range(60) if fails(scenarios.sample(scenarios.load("merge"), seed)) for h in [_hunt("merge", seed)])
    hunt_all([hunt], "candidate", "baseline")  # type: ignore[arg-type]
    model: ScenarioModel = hunt.found.model
    assert [actor.kind for actor in model.actors] == ["truck"]
    assert 17.0 < float(model.ego.speed) <= 17.5  # the median is 16.5
    assert len(hunt.found.unusual) == 2
    assert float(model.ego.s) == 22.5
    assert model.road.ramp_length == 150.0  # type: ignore[attr-defined]
    assert fails(scenarios.sample(scenarios.load_text(text_of(model)), hunt.seed))
    assert hunt.simulations < 100
    assert not hunt.spent


def test_a_search_stops_at_its_budget_with_something_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, lambda episode: len(episode.agents) % 2 == 0)
    for budget in (8, 12, 20, 40):
        hunt = _hunt("merge", next(s for s in range(20) if len(scenarios.sample(scenarios.load("merge"), s).agents) % 2 == 0), budget)
        hunt_all([hunt], "candidate", "baseline")  # type: ignore[arg-type]
        assert hunt.simulations <= budget
        assert hunt.found is not None
        assert len(scenarios.sample(scenarios.load_text(text_of(hunt.found.model)), hunt.seed).agents) % 2 == 0


def test_searches_do_not_depend_on_their_company(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, lambda episode: episode.agents[0].s > 15.0 and len(episode.agents) > 2)
    seeds = [seed for seed in range(12) if scenarios.sample(scenarios.load("merge"), seed).agents[0].s > 15.0][:3]
    alone = []
    for seed in seeds:
        hunt = _hunt("merge", seed)
        hunt_all([hunt], "candidate", "baseline")  # type: ignore[arg-type]
        alone.append((hunt.found, hunt.simulations))
    together = [_hunt("merge", seed) for seed in seeds]
    hunt_all(together, "candidate", "baseline")  # type: ignore[arg-type]
    assert [(hunt.found, hunt.simulations) for hunt in together] == alone


# ---------------------------------------------------------------- the scenario room


@pytest.mark.parametrize("name", scenarios.names())
def test_every_episode_of_the_library_can_be_spelled_out(name: str) -> None:
    """Load, draw, spell out, write, load, draw: the same episode, whatever the seed."""
    scenario = scenarios.load(name)
    episode = scenarios.sample(scenario, 3)
    again = scenarios.sample(scenarios.load_text(text_of(explicit(scenario, episode, name="one").model)), 77)
    assert again.network_key == episode.network_key
    assert (again.goal, again.duration, again.dt) == (episode.goal, episode.duration, episode.dt)
    for one, other in zip(episode.agents, again.agents, strict=True):
        assert one.yaw == pytest.approx(other.yaw, abs=1e-15)
        assert replace(one, id="", yaw=0.0) == replace(other, id="", yaw=0.0)
