"""The report as a page: what it shows, how large it is, and what of replays and coverage goes into it."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import scenarios
from agents.evaluation.rollout import EpisodeResult
from agents.gate.charts import evidence, interval, reach
from agents.gate.coverage import BINS, coverage, distributions
from agents.gate.explain import _clusters
from agents.gate.failures import Circumstances, circumstances
from agents.gate.gallery import cut, gallery
from agents.gate.html import report_page
from agents.gate.replays import Replay
from agents.gate.report import Failure, Figure, Finding, Minimal, Report, Worse
from agents.playback.compact import compact
from agents.playback.trace import Trace

NAMES = {"baseline": "old", "candidate": "new"}
GOOD = {"success": 1.0}
CRASH = {"success": 0.0, "collision": 1.0, "collision_at_fault": 1.0}


def finding(**changes: Any) -> Finding:
    figure = Figure(value=0.9, low=0.8, high=0.95, n=40)
    values: dict[str, Any] = {
        "scope": "all", "metric": "success", "priority": 1, "margin": 0.1, "state": "worse", "baseline": figure, "candidate": figure,
        "baseline_iqm": None, "candidate_iqm": None, "gain": -0.2, "gain_low": -0.35, "gain_high": -0.05, "better": 1, "worse": 9,
        "same": 30, "p_worse": 0.001, "p_worse_adjusted": 0.002, "q_worse": 0.002, "p_kept": 0.9, "found_after": 30, "pairing_gain": 1.5,
        "curve": tuple((n, 0.2 * n, -0.1 * n) for n in range(1, 41)),
    }  # fmt: skip
    return Finding(**values | changes)


def made_up(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "verdict": "regression", "exit_code": 1, "because": "Got worse: success.", "figures_say": "regression", "identical": False,
        "run": "abc", "suite": "mini", "baseline": {"name": "old"}, "candidate": {"name": "new"}, "alpha": 0.05, "test": "sequential",
        "pairs_planned": 40, "pairs_judged": 40, "pairs_identical": 0, "pairs_lost": 0, "rounds": 10, "worse": (), "worse_in_all": 0,
        "lost": (), "incidents": (), "warnings": (), "versions": {"closedloop": "0.1.0"},
        "findings": (finding(), finding(scope="merge", curve=()), finding(scope="exit", state="open", gain=0.03, curve=())),
    }  # fmt: skip
    return Report(**values | changes)


@pytest.fixture
def replays(tmp_path: Path, highway_trace: Trace, junction_trace: Trace) -> Callable[[int], list[Replay]]:
    """Pairs of made-up traces: the highway's, the junction's, and so on."""
    paths = [str(trace.save(tmp_path / f"{i}.trace")) for i, trace in enumerate((highway_trace, junction_trace))]

    def make(count: int) -> list[Replay]:
        found = []
        for i in range(count):
            worse = Worse(scenario="merge", seed=i, metrics={"success": (1.0, 0.0)}, ends=("arrived", "collision"), command=f"drive {i}")
            results = {
                role: EpisodeResult(policy=NAMES[role], scenario="merge", seed=i, end=end, metrics=metrics, trace=paths[i % 2])
                for role, end, metrics in (("baseline", "arrived", GOOD), ("candidate", "collision", CRASH))
            }
            found.append(Replay(worse=worse, results=results))
        return found

    return make


def failure(number: int, seed: int, **changes: Any) -> Failure:
    values: dict[str, Any] = {
        "number": number, "cluster": 1, "scenario": "merge", "family": "merge", "seed": seed, "failure": "collision at fault",
        "moment": 9.0, "speed": 12.0, "other": "car", "side": "front", "motion": "same way", "weather": "", "cause": "", "traces": (),
    }  # fmt: skip
    return Failure(**values | changes)


def inflated(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text), -15))


# ---------------------------------------------------------------- replays


def test_a_gallery_holds_what_the_player_draws(replays: Callable[[int], list[Replay]], highway_trace: Trace) -> None:
    items, common, packed = gallery(replays(3), [failure(1, 2), failure(2, 0)], NAMES)
    assert [(item.number, item.seed, item.title) for item in items] == [
        (1, 2, "collision at fault"), (2, 0, "collision at fault"), (3, 1, "worse: success"),
    ]  # fmt: skip
    assert items[0].moment == 9.0
    assert items[0].sides == (("old", "no failure"), ("new", "collision at fault"))
    value = inflated(packed[0])
    assert len(value["sides"]) == 2
    whole = {**common, **value["shared"], **value["sides"][1]}
    assert json.loads(json.dumps(whole)) == json.loads(json.dumps(compact(highway_trace)))
    assert "shapes" in common
    assert "scene" in value["shared"]


def test_replays_are_cut_until_they_fit(replays: Callable[[int], list[Replay]]) -> None:
    pairs, failures = replays(4), [failure(i + 1, i) for i in range(4)]
    whole = sum(map(len, gallery(pairs, failures, NAMES)[2]))
    _, common, packed = gallery(pairs, failures, NAMES, budget=whole * 4 // 5)
    assert sum(map(len, packed)) <= whole * 4 // 5
    for text in packed:
        value = inflated(text)
        times = {**common, **value["shared"], **value["sides"][1]}["times"]
        assert times[0] < 9.0 < times[-1]
        assert max(times) <= 11.4


def test_a_cut_keeps_times_and_who_is_near(highway_trace: Trace) -> None:
    part = cut(highway_trace, 3.0, 6.0, 30.0)
    assert part.times[0] == pytest.approx(3.0)
    assert part.times[-1] == pytest.approx(6.0)
    assert part.steps == len(part.outs["touched"]) == len(part.times) - 1
    names = [agent.id for agent in part.episode.agents]
    first, last = 15, 30
    for i, agent in enumerate(highway_trace.episode.agents):
        states = {name: highway_trace.states[name][first : last + 1, [0, i]] for name in ("x", "y", "valid")}
        there = states["valid"].all(1)
        gap = np.hypot(*(np.diff(states[name].astype(float), axis=1)[there, 0] for name in ("x", "y")))
        assert (agent.id in names) == (i == 0 or bool((gap <= 30.0).any()))
    assert 1 < len(names) < len(highway_trace.episode.agents)
    assert np.array_equal(part.states["x"][:, 0], highway_trace.states["x"][first : last + 1, 0])


# ---------------------------------------------------------------- coverage


def test_coverage_counts_every_episode_once_a_parameter() -> None:
    outcomes = {seed: seed % 3 == 0 for seed in range(30)}
    found = {parameter.path: parameter.bins for parameter in coverage("merge", outcomes)}
    assert set(found) == {
        "road.ramp_length", "road.accel_length", "road.speed_limit", "ego.s", "ego.speed", "traffic[0].flow.rate", "traffic[1].flow.rate",
    }  # fmt: skip
    for bins in found.values():
        assert len(bins) == BINS
        assert sum(b.tried for b in bins) == 30
        assert sum(b.failed for b in bins) == 10
    speeds = [scenarios.sample(scenarios.load("merge"), seed).drawn["ego.speed"] for seed in outcomes]
    assert [b.tried for b in found["ego.speed"]] == np.histogram(speeds, bins=BINS, range=(14, 19))[0].tolist()
    assert found["ego.speed"][0].label == "14 to 14.62"


@pytest.mark.parametrize("name", scenarios.names())
def test_everything_that_is_drawn_has_a_range(name: str) -> None:
    """Paths are called alike in the model and in the episode, and every value lies in its range."""
    scenario = scenarios.load(name)
    known = dict(distributions(scenario.model))
    drawn = scenarios.sample(scenario, 5).drawn
    numbers = {path: value for path, value in drawn.items() if path in known and isinstance(value, float)}
    assert all(known[path].low <= value <= known[path].high for path, value in numbers.items())
    assert set(drawn) - set(known) <= {"max_agents.left_out", "ego.goal.bay.id"}


# ---------------------------------------------------------------- charts and page


def test_charts_are_pictures() -> None:
    for text in (interval(finding(), 0.4), interval(finding(gain=None, margin=None), 0.4), evidence(finding(), 0.05, 0.5)):
        assert ElementTree.fromstring(text).tag == "svg"
    assert evidence(finding(curve=()), 0.05, 0.5) == ""
    assert evidence(finding(), 0.05, 0.5).count("<polyline") == 2
    assert evidence(finding(margin=None), 0.05, 0.5).count("<polyline") == 1
    assert reach([finding(), finding(gain_low=-1.0)]) == 0.35


def test_a_page_says_what_the_report_says(replays: Callable[[int], list[Replay]]) -> None:
    found = circumstances(replays(1)[0].trace("candidate"), "collision at fault")  # type: ignore[arg-type]
    clusters = _clusters([("merge", "merge", replace(found, other="car", side="left"))] * 2)
    minimal = Minimal(
        cluster=1, scenario="merge", seed=0, failure="collision at fault", reference="old", file="failures/a.yaml",
        command="drive it again",
        others=30, others_left=1, unusual=("ego speed 17, usually 16",), simulations=50,
        thorough=True, fingerprint="ab", why="",
    )  # fmt: skip
    report = made_up(failures=(failure(1, 0), failure(2, 1)), clusters=tuple(clusters), minimal=(minimal,), warnings=("<b>mind</b>",))
    text = report_page(
        report, gallery=gallery(replays(2), report.failures, NAMES), covered={"merge": coverage("merge", {0: True, 1: False})}
    )
    for said in (
        "Got worse: success.", "&lt;b&gt;mind&lt;/b&gt;", "collision at fault with a car on the left, in merge", "drive it again",
        "1 of 30 others left", 'href="#failure-2@t=9.0"', "merge: 1 of 2 failed", "new against old on mini",
    ):  # fmt: skip
        assert said in text, said
    assert text.index("Got worse") < text.index("<table")
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "{{" not in re.sub(r"<script type=.application/json.*?</script>", "", text, flags=re.DOTALL).replace('"{{data}}"', "")


def test_a_page_without_failures_is_one_too() -> None:
    text = report_page(made_up(verdict="pass", exit_code=0, because="Nothing has changed.", findings=(finding(state="same"),)))
    assert 'id="gallery"' not in text
    assert 'id="families"' not in text
    assert 'class="pass"' in text


def test_clusters_are_counted_and_the_largest_comes_first() -> None:
    one = Circumstances(failure="off road", moment=1.0, speed=3.0)
    hit = Circumstances(failure="collision", moment=1.0, speed=3.0, other="bus", side="rear", motion="standing")
    found = _clusters([("exit", "exit", one), ("exit", "exit/hard", hit), ("exit", "exit", hit), ("merge", "merge", hit)])
    assert [(c.number, c.count, c.words) for c in found] == [
        (1, 2, "collision with a bus behind, in exit"), (2, 1, "off road, in exit"), (3, 1, "collision with a bus behind, in merge"),
    ]  # fmt: skip
    assert found[0].shares["scenario"] == {"exit/hard": 1, "exit": 1}
