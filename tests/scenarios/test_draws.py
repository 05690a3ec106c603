"""The numbers of an episode by name: they are all there, they can be set, and what is not set stays what the seed gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

import scenarios
from scenarios.draws import NamedDraws
from scenarios.networks import generator

NAMES = ("cut_in/hard", "crossing", "merge/hard", "parking", "highway")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_make_the_episode(name: str) -> None:
    """All numbers of one seed, given to another, give the same episode."""
    scenario, used = scenarios.load(name), dict[str, float]()
    episode = scenarios.sample(scenario, 3, used=used)
    assert len(used) > 10
    assert all(0.0 <= u < 1.0 for u in used.values())
    again = scenarios.sample(scenario, 4, draws=used)
    assert (again.agents, again.drawn, again.network_key, again.goal) == (episode.agents, episode.drawn, episode.network_key, episode.goal)


def test_one_number_changes_what_it_is_called_after() -> None:
    scenario = scenarios.load("cut_in/hard")
    episode = scenarios.sample(scenario, 5)
    later = scenarios.sample(scenario, 5, draws={"actors[0].script.when.ahead": 0.5})
    cutter, other = episode.agents[1], later.agents[1]
    assert other.script is not None
    assert other.script.value == 21.0  # the middle of [19, 23]
    assert replace(other, script=cutter.script) == cutter
    assert (later.agents[0], later.agents[2:]) == (episode.agents[0], episode.agents[2:])


def test_the_third_of_a_name() -> None:
    rng = NamedDraws(generator("a"), {"gap#3": 0.25})
    plain = generator("a")
    got = [rng.under("gap").random() for _ in range(4)]
    expected = [plain.random() for _ in range(4)]
    assert got == [*expected[:2], 0.25, expected[3]]
    assert list(rng.used) == ["gap", "gap#2", "gap#3", "gap#4"]


def test_an_attempt_that_fails_is_not_repeated() -> None:
    """Two actors in one place are drawn anew, with numbers of other names: given ones cannot make the drawing go in circles."""
    text = """
version: 1
name: narrow
duration: 10 s
road: {kind: straight, lanes: 1, length: 300 m}
ego: {lane: main.0, s: 10 m, speed: 5 m/s}
actors:
  - {id: a, lane: main.0, s: {uniform: [50, 60]}}
  - {id: b, lane: main.0, s: {uniform: [50, 60]}}
"""
    scenario, used = scenarios.load_text(text), dict[str, float]()
    episode = scenarios.sample(scenario, 0, draws={"actors[0].s": 0.5, "actors[1].s": 0.5}, used=used)
    assert "actors[0].s#2" in used
    assert abs(episode.agents[1].s - episode.agents[2].s) > 4.5


@pytest.mark.parametrize("u", [-0.1, 1.0, float("nan")])
def test_numbers_outside_the_unit_interval_are_refused(u: float) -> None:
    with pytest.raises(ValueError, match=r"draws\['ego.s'\]=.*below 1"):
        scenarios.sample(scenarios.load("merge"), 0, draws={"ego.s": u})
