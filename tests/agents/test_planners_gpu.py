"""Planners on a GPU: the plans of the CPU within rounding, and the same bits whatever the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agents.evaluation.rollout import TraceRule, rollout
from agents.planners.base import PLANNERS, Scene, make_planner
from agents.planners.scene import SceneMaker
from agents.playback.trace import Trace
from agents.policies.base import load_policy
from envs.driving.bank import build_bank
from envs.driving.make import sample_episodes
from envs.driving.sim import DrivingSim

pytestmark = pytest.mark.gpu
SCENARIOS = ["merge/hard", "junction/hard", "roundabout/hard"]
WORLDS = 8


def scene_on(device: str, scenario: str, worlds: int = WORLDS) -> Scene:
    """Some worlds after a second of rolling straight on."""
    config = load_policy("pdm").needs.config(agents=64)
    sim = DrivingSim(build_bank(sample_episodes(scenario, WORLDS, 11), config), config, batch=worlds, device=device)
    sim.reset(torch.arange(worlds, device=device))
    for _ in range(5):
        sim.step(torch.zeros(worlds, 1, 2, device=device))
    return SceneMaker(sim)()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", [name for name in PLANNERS if name != "hybrid_astar"])
def test_a_gpu_plans_as_the_cpu_does(name: str, scenario: str) -> None:
    here, there = (make_planner(name).plan(scene_on(device, scenario)) for device in ("cpu", "cuda"))
    assert there.trajectory.x.device.type == "cuda"
    near = torch.isclose(here.totals, there.totals.cpu(), atol=0.05, rtol=0.01)
    assert float(near.float().mean()) > 0.95  # a candidate near a threshold may cost otherwise
    same = here.chosen == there.chosen.cpu()
    assert float(same.float().mean()) >= 0.75  # where two are as good, either may be chosen
    torch.testing.assert_close(here.trajectory.x[same], there.trajectory.x.cpu()[same], atol=0.05, rtol=0.01)


@pytest.mark.parametrize("name", ["idm_mobil", "pdm", "lattice"])
def test_a_world_is_planned_alike_in_any_batch_of_a_gpu(name: str) -> None:
    together = make_planner(name).plan(scene_on("cuda", "merge/hard"))
    alone = make_planner(name).plan(scene_on("cuda", "merge/hard", worlds=1))
    assert torch.equal(together.trajectory.x[:1], alone.trajectory.x)
    assert torch.equal(together.totals[:1], alone.totals)


DRIVEN = [("pdm", "merge/hard"), ("pdm@perceived", "merge"), ("shield:highway", "highway"), ("merge", "merge")]


@pytest.mark.parametrize(("name", "scenario"), DRIVEN)
def test_episodes_end_on_a_gpu_as_on_the_cpu(name: str, scenario: str, tmp_path: Path) -> None:
    """Rounding may end an episode otherwise, so not all have to end alike."""
    episodes = sample_episodes(scenario, 6, 11)
    here, there = (rollout(load_policy(name), episodes, batch=8, device=device, account=True) for device in ("cpu", "cuda"))
    assert not any(result.error for result in there), [result.error for result in there]
    assert sum(one.end == other.end for one, other in zip(here, there, strict=True)) >= 4
    written = rollout(load_policy(name), episodes[:1], batch=8, device="cuda", traces=TraceRule(folder=tmp_path))
    assert Trace.load(written[0].trace).device == "cuda"
