"""A drawn episode written as a scenario of its own: read back, it is the same episode, whatever the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import scenarios
from scenarios.frozen import frozen_text, write_frozen
from scenarios.serialize import save_network

EVERY = scenarios.names(variants=True)


def nameless(episode: scenarios.Episode) -> tuple[object, ...]:
    return tuple(replace(agent, id="") for agent in episode.agents)


@pytest.mark.parametrize("name", EVERY)
def test_every_family_comes_back(name: str) -> None:
    scenario = scenarios.load(name)
    for seed in (0, 11):
        episode = scenarios.sample(scenario, seed)
        frozen = scenarios.load_text(frozen_text(scenario, episode, "frozen", description="No: 5 %", comments=("a note",)))
        again = scenarios.sample(frozen, seed + 100)
        assert again.network_key == episode.network_key
        assert nameless(again) == nameless(episode)
        assert (again.goal, again.duration, again.dt) == (episode.goal, episode.duration, episode.dt)
        assert len({agent.id for agent in again.agents}) == len(again.agents)


def test_a_road_from_a_file_goes_along(tmp_path: Path) -> None:
    place = scenarios.sample(scenarios.load("exit"), 0)
    save_network(tmp_path / "map.npz", place.network)
    source = tmp_path / "mine.yaml"
    source.write_text(
        "version: 1\nname: mine\nduration: 20 s\nroad: {kind: file, file: map.npz}\n"
        f"ego: {{lane: {place.agents[0].lane}, s: {{uniform: [5, 20]}}}}\n"
    )
    scenario = scenarios.load(source)
    episode = scenarios.sample(scenario, 2)
    write_frozen(scenario, episode, tmp_path / "out" / "case-1.yaml")
    again = scenarios.sample(scenarios.load(tmp_path / "out" / "case-1.yaml"), 0)
    assert again.agents == episode.agents
    assert len(again.network.lanes) == len(place.network.lanes)


def test_an_episode_of_another_scenario_is_refused() -> None:
    with pytest.raises(ValueError, match="no road network"):
        frozen_text(scenarios.load("merge"), scenarios.sample(scenarios.load("exit"), 0), "x")
