"""What compiled programs draw of a world: the same to the last bit, whatever worlds and maps are beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

import scenarios
from envs.driving.bank import build_bank
from envs.driving.camera import CameraConfig, SceneryTables, Weather, build_scenery, draw_weather, render
from envs.driving.camera.exact import arctan, cos_sin, hypot
from envs.driving.camera.portions import ROOM, SIZES, filled, own_rows, portions, size_for, those
from envs.driving.camera.rendering import Rendered, compiled_render
from envs.driving.make import fit, sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, State
from scenarios.episode import Episode

CAMERA = CameraConfig(width=64, height=32, agents=4, buildings=2, heads=2, signs=1)


class Scene(NamedTuple):
    """Episodes a little into the drive."""

    sim: DrivingSim
    tables: SceneryTables
    states: list[State]
    weather: Weather


def driven(episodes: list[Episode], config: DrivingConfig, states: int = 3) -> Scene:
    bank = build_bank(episodes, config)
    sim, seen = DrivingSim(bank, config, batch=len(episodes)), []
    for _ in range(states):
        sim.step(torch.zeros(len(episodes), 1, 2))
        seen.append(sim.state)
    return Scene(sim, build_scenery(bank.networks, CAMERA), seen, draw_weather(sim.setup.seed, CAMERA))


@pytest.fixture(scope="module")
def many() -> tuple[list[Episode], DrivingConfig, Scene]:
    """One episode of every scenario."""
    episodes = sample_episodes(list(scenarios.names()), len(scenarios.names()), 41)
    config = fit(DrivingConfig(autopilot=True, ticks_per_step=10), episodes)
    return episodes, config, driven(episodes, config)


# functions that are rounded in one way


def test_angles_are_those_of_numpy() -> None:
    angle = np.linspace(-40.0, 200.0, 100_001).astype(np.float32)
    cos, sin = (value.numpy() for value in cos_sin(torch.from_numpy(angle)))
    assert np.abs(cos - np.cos(angle.astype(np.float64))).max() < 3e-7
    assert np.abs(sin - np.sin(angle.astype(np.float64))).max() < 3e-7
    quarters = torch.tensor([0.0, 0.5 * np.pi, np.pi, -0.5 * np.pi])
    assert torch.allclose(torch.stack(cos_sin(quarters), -1), torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-7)
    slope = np.concatenate([np.linspace(-5.0, 5.0, 20_001), [1e6, -1e6, 0.0]]).astype(np.float32)
    assert np.abs(arctan(torch.from_numpy(slope)).numpy() - np.arctan(slope.astype(np.float64))).max() < 3e-7
    assert hypot(torch.tensor(3.0), torch.tensor(-4.0)) == 5.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
def test_compiled_or_not_angles_are_the_same() -> None:
    """Of a single number a compiled loop is not vectorised, of a hundred it is; torch's own cosine differs between the two."""
    functions = (lambda x: torch.stack(cos_sin(x)), arctan)
    angle = torch.linspace(-9.0, 9.0, 103)
    for function in functions:
        compiled = torch.compile(function, fullgraph=True, dynamic=False)
        whole = function(angle)
        assert torch.equal(compiled(angle), whole)
        for i in range(0, 103, 5):
            assert torch.equal(compiled(angle[i : i + 1]), whole[..., i : i + 1])


# portions


def test_portions_are_all_worlds_in_their_order(many: tuple[list[Episode], DrivingConfig, Scene]) -> None:
    sim, _, states, weather = many[2]
    rows = torch.arange(70) % sim.batch
    state, setup, look = (those(value, sim.batch, rows) for value in (states[0], sim.setup, weather))
    parts = list(portions(state, setup, look, rows))
    assert [len(part[3]) for part in parts] == [32, 32, 6]
    assert torch.equal(torch.cat([part[3] for part in parts]), rows)
    assert torch.equal(torch.cat([part[0].x for part in parts]), state.x)
    assert torch.equal(torch.cat([part[2].ground for part in parts]), look.ground)
    more = filled(*parts[2], 8)
    assert torch.equal(more[0].x[:6], parts[2][0].x) and torch.equal(more[0].x[6:], parts[2][0].x[:1].expand(2, -1))
    with pytest.raises(ValueError, match="32 worlds: from 1 to 8 are drawn at once"):
        filled(*parts[0], 8)
    assert [size_for(count, "cpu") for count in (1, 2, 8, 9, 32, 33)] == [1, 8, 8, 32, 32, 32]


def test_a_world_has_the_same_rows_alone_and_among_others(many: tuple[list[Episode], DrivingConfig, Scene]) -> None:
    episodes, config, scene = many
    maps, tables = own_rows(scene.sim.setup.map_id, scene.sim.maps, scene.tables)
    for row in (0, len(episodes) // 2, len(episodes) - 1):
        alone = driven([episodes[row]], config, states=0)
        my_maps, my_tables = own_rows(alone.sim.setup.map_id, alone.sim.maps, alone.tables)
        for name in ("statics", "heads", "signs"):
            assert getattr(tables, name).shape[1] == ROOM[name]
            assert torch.equal(getattr(my_tables, name)[0], getattr(tables, name)[row])
        for name in ("columns", "rows", "corner", "step"):
            assert torch.equal(getattr(my_tables, name)[0], getattr(tables, name)[row])
        size = int((my_tables.columns * my_tables.rows).sum())
        first = int(tables.offset[row, 0])
        assert torch.equal(my_tables.texels[:size], tables.texels[first : first + size])
        assert torch.equal(my_maps.light_pose[0], maps.light_pose[row])


def test_what_is_drawn_of_own_rows_is_what_is_drawn_of_all(many: tuple[list[Episode], DrivingConfig, Scene]) -> None:
    sim, tables, states, weather = many[2]
    whole = render(states[0], sim.setup, sim.maps, tables, weather, CAMERA)
    maps, own = own_rows(sim.setup.map_id, sim.maps, tables)
    again = render(states[0], sim.setup._replace(map_id=torch.arange(sim.batch)), maps, own, weather, CAMERA)
    assert torch.equal(whole.image, again.image) and torch.equal(whole.depth, again.depth)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_picture_is_the_same_alone_and_among_others(many: tuple[list[Episode], DrivingConfig, Scene]) -> None:
    """As when a trace that was recorded in a batch is driven again in one world: other sizes, and a bank of one map."""
    episodes, config, scene = many

    def drawn(scene: Scene, k: int, size: int | None) -> Rendered:
        sim, tables, states, weather = scene
        return compiled_render(CAMERA, 0.1, size)(states[k], sim.setup, sim.maps, tables, weather, torch.zeros_like(sim.setup.map_id))

    assert len(episodes) <= SIZES["cpu"][-1]
    whole = [drawn(scene, k, None) for k in range(len(scene.states))]
    assert {len(rendered.image) for rendered in whole} == {len(episodes)}
    assert len(whole[0].prism) == len(episodes) and len(whole[0].scene.lens.cos) == len(episodes)
    sim, tables, states, weather = scene
    for k, rendered in enumerate(whole):
        eager = render(states[k], sim.setup, sim.maps, tables, weather, CAMERA)
        assert torch.equal(eager.prism, rendered.prism)
        assert ((eager.image.int() - rendered.image.int()).abs() <= 1).all()
    for row, episode in enumerate(episodes):
        alone = driven([episode], config)
        for k, rendered in enumerate(whole):
            for size in SIZES["cpu"][:2]:
                mine = drawn(alone, k, size)
                assert torch.equal(mine.image[0], rendered.image[row]), (episode.scenario, k, size)
                assert torch.equal(mine.depth[0], rendered.depth[row]), (episode.scenario, k, size)
