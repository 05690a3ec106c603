"""What is true of every registered planner, and the ladder they run on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.evaluation.rollout import rollout
from agents.planners import costs
from agents.planners.base import DT, PLANNERS, STEPS, PlannerError, Scene, make_planner
from agents.planners.costs import Weights, collision
from agents.planners.obstacles import MODES, obstacles
from agents.planners.policy import PlannerPolicy
from agents.planners.rules import lanes_of, stops
from agents.planners.scene import NEAREST, SceneMaker, true_tracks
from agents.planners.vehicle import FORESIGHT, to_action
from agents.policies.base import PolicyError, load_policy, policy_names
from envs.driving import eyes as sight
from envs.driving.bank import build_bank
from envs.driving.eyes import Eyes
from envs.driving.make import sample_episodes
from envs.driving.observation import shown
from envs.driving.sim import DrivingSim
from perception.oracle import Oracle, VisibilityRule
from perception.states import map_tensors
from perception.types import Tracks
from scenarios.episode import Role

NAMES = list(PLANNERS)
WORLDS = 4


def a_sim(scenario: str, *, rows: list[int] | None = None, ticks: int = 25, level: str = "truth") -> DrivingSim:
    """Some worlds after a while; rows: which of WORLDS episodes."""
    needs = load_policy(f"pdm@{level}").needs
    config = needs.config(agents=64)
    bank = build_bank(sample_episodes(scenario, WORLDS, 11), config)
    sim = DrivingSim(bank, config, batch=len(rows or range(WORLDS)))
    sim.reset(torch.tensor(rows or list(range(WORLDS))))
    for _ in range(ticks // config.ticks_per_step):
        sim.step(torch.zeros(sim.batch, 1, 2))  # straight on
    return sim


def leaves(value: Any) -> list[Tensor]:
    return [leaf for part in value if part is not None for leaf in (leaves(part) if isinstance(part, tuple) else [part])]


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(leaves(a), leaves(b), strict=True))  # NaN: not told


@pytest.fixture(scope="module", params=["junction", "highway/hard", "roundabout"])
def scenario(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def scene(scenario: str) -> Scene:
    return SceneMaker(a_sim(scenario))()


@pytest.fixture(scope="module")
def each_alone(scenario: str) -> list[Scene]:
    """The same worlds, every one simulated and seen by itself."""
    return [SceneMaker(a_sim(scenario, rows=[b]))() for b in range(WORLDS)]


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_a_finite_trajectory_of_the_cheapest_candidate(name: str, scene: Scene) -> None:
    plan = make_planner(name).plan(scene)
    worlds = len(scene.ego.x)
    assert plan.trajectory.x.shape == (worlds, STEPS)
    assert all(torch.isfinite(part).all() for part in leaves(plan.trajectory))
    torch.testing.assert_close(plan.trajectory.cos**2 + plan.trajectory.sin**2, torch.ones(worlds, STEPS))
    assert torch.equal(plan.totals.amin(1), plan.costs.total())
    picked = plan.candidates.x[torch.arange(worlds), plan.chosen]
    assert torch.equal(picked, plan.trajectory.x)
    moved = torch.hypot(plan.trajectory.x.diff(dim=1), plan.trajectory.y.diff(dim=1))
    between = torch.maximum(plan.trajectory.speed[:, 1:], plan.trajectory.speed[:, :-1])
    assert (moved <= between * DT * 1.1 + 0.05).all()  # places and speeds belong together


@pytest.mark.parametrize("name", NAMES)
def test_planning_changes_nothing_it_is_given_and_answers_twice_the_same(name: str, scene: Scene) -> None:
    before = map_tensors(torch.clone, scene)
    planner = make_planner(name)
    assert same(planner.plan(scene), planner.plan(scene))
    assert same(before, scene)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_planned_as_one_by_one(name: str, scene: Scene, each_alone: list[Scene]) -> None:
    whole = make_planner(name).plan(scene)
    for b, single in enumerate(each_alone):
        for one, many in zip(leaves(make_planner(name).plan(single)), leaves(whole), strict=True):
            assert torch.equal(one[0], many[b])


@pytest.mark.parametrize("name", NAMES)
def test_one_mode_of_probability_one_is_the_deterministic_case(name: str, scene: Scene) -> None:
    """What the other modes say does not matter then, and without covariance a future is hit or not."""
    f = scene.forecasts
    sure = torch.zeros_like(f.probability)
    sure[..., 0] = 1.0
    alone = f._replace(mean=f.mean[:, :, :1].expand_as(f.mean), covariance=torch.zeros_like(f.covariance), probability=sure)
    others = f._replace(mean=f.mean.clone(), covariance=torch.zeros_like(f.covariance), probability=sure)
    others.mean[:, :, 1:] = 1.0  # everybody else in the ego's way
    planner = make_planner(name)
    assert same(planner.plan(scene._replace(forecasts=alone)), planner.plan(scene._replace(forecasts=others)))


def test_futures_are_the_likeliest_modes_between_now_and_the_forecast(scene: Scene) -> None:
    nobody = torch.zeros_like(scene.tracks.mask)
    around = obstacles(scene, nobody, every=True)
    shape = (WORLDS, NEAREST, MODES, STEPS)
    x = around.x.view(shape)
    likeliest = scene.forecasts.probability.argmax(-1)
    for b in range(WORLDS):
        for t in range(NEAREST):
            mean = scene.forecasts.mean[b, t, likeliest[b, t], :, 0]
            k = round(1.0 / DT) - 1  # 1 s ahead: a time of the forecast
            torch.testing.assert_close(x[b, t, 0, k], mean[1], atol=1e-3, rtol=0.0)
            middle = 0.6 * scene.tracks.mean[b, t, 0] + 0.4 * mean[0]
            torch.testing.assert_close(x[b, t, 0, 0], middle, atol=1e-3, rtol=0.0)
    weight = around.weight.view(shape[:3]).sum(-1)
    assert (((weight - 1.0).abs() < 1e-5) | (weight == 0.0)).all()
    assert (weight[~scene.tracks.mask] == 0.0).all()


def test_futures_left_out_change_no_bit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that weigh nothing nor those that no candidate comes near, which are not reckoned with."""
    tracks, forecasts = scene.tracks, scene.forecasts
    scene = scene._replace(tracks=tracks._replace(mean=0.2 * tracks.mean), forecasts=forecasts._replace(mean=0.2 * forecasts.mean))
    nobody = torch.zeros_like(scene.tracks.mask)
    few, every = obstacles(scene, nobody), obstacles(scene, nobody, every=True)
    assert few.x.shape[1] < every.x.shape[1]
    path = make_planner("pdm").plan(scene).candidates
    assert same(collision(path, scene.ego, few, Weights()), collision(path, scene.ego, every, Weights()))
    plans = [make_planner(name).plan(scene) for name in ("pdm", "lattice")]
    assert any((plan.costs.clearance > 0.0).any() for plan in plans)
    monkeypatch.setattr(costs, "CERTAIN", 1e6)
    assert same(tuple(plans), tuple(make_planner(name).plan(scene) for name in ("pdm", "lattice")))


# the ladder


def test_tracks_of_an_oracle_give_the_plans_of_the_truth(scenario: str) -> None:
    """The oracle detector's places, sizes and headings, with velocities as they are, in the rows of the truth."""
    sim = a_sim(scenario)
    state, setup, maps, config = sim.state, sim.setup, sim.maps, sim.config
    truth = true_tracks(state, setup, shown(state, setup, maps, config)[:, 0])
    labels = sight._truth(state, setup, maps, config)
    oracle = Oracle(rule=VisibilityRule(side_min=0.0, hidden_max=1.0))
    frame = sight._Around(dt=0.1).frame(state, setup, state.x.new_zeros(WORLDS, 3))
    found = oracle.observe(frame, labels, seed=setup.seed, step=state.step)
    told = Tracks(**{
        **truth._asdict(), "kind": found.kind, "mean": torch.cat([found.centre[..., :2], labels.velocity], dim=-1), "yaw": found.yaw,
        "size": found.size, "score": torch.where(found.mask, found.score, 1.0), "mask": found.mask,
    })  # fmt: skip
    plain = SceneMaker(sim)()
    scenes = SceneMaker(sim).of(told)
    for name in NAMES:
        one, other = make_planner(name).plan(plain), make_planner(name).plan(scenes)
        torch.testing.assert_close(one.trajectory.x, other.trajectory.x, atol=1e-4, rtol=0.0)
        assert torch.equal(one.chosen, other.chosen)


def test_what_is_hidden_is_not_told_on_visible() -> None:
    truth, visible = (SceneMaker(a_sim("junction", level=level))() for level in ("truth", "visible"))
    assert int(visible.tracks.mask.sum()) < int(truth.tracks.mask.sum())


def test_noisy_tracks_are_those_of_the_tracker() -> None:
    sim = a_sim("highway/hard", level="noisy")
    eyes = Eyes(sim)
    told = SceneMaker(sim)(eyes).tracks
    assert told.mask.any()
    known = eyes.last.tracks
    for b in range(WORLDS):
        rows = {tuple(row) for row in known.mean[b][known.mask[b]].tolist()}
        assert all(tuple(row) in rows for row in told.mean[b][told.mask[b]].tolist())


def test_the_lanes_of_tracks_are_those_the_simulator_knows() -> None:
    sim = a_sim("highway/hard")
    scene = SceneMaker(sim)()
    lane, s = lanes_of(scene.tracks, scene.ego, scene.place)
    checked = 0
    for b in range(WORLDS):
        for t in range(NEAREST):
            slot = int(scene.tracks.id[b, t])
            settled = bool(scene.tracks.mask[b, t]) and abs(float(sim.state.d[b, slot])) < 0.5
            if settled and sim.setup.role[b, slot] == int(Role.IDM):
                assert int(lane[b, t, 0]) == int(sim.state.lane[b, slot])
                assert float(s[b, t, 0]) == pytest.approx(float(sim.state.s[b, slot]), abs=0.2)
                checked += 1
    assert checked > 10


def test_red_lights_are_waited_for() -> None:
    sim = a_sim("signals", ticks=0)
    scene = SceneMaker(sim)()
    red, green = (scene._replace(place=scene.place._replace(lights=torch.full_like(scene.place.lights, value))) for value in (1, 4))
    nobody = scene.tracks._replace(mask=torch.zeros_like(scene.tracks.mask))
    waits = stops(red._replace(tracks=nobody)).at
    goes = stops(green._replace(tracks=nobody)).at
    assert torch.isfinite(waits).all()
    assert torch.isinf(goes).all()


# in the driver's seat


def test_planners_are_policies_by_name() -> None:
    assert {*NAMES} <= {*policy_names()}
    for name in NAMES:
        policy = load_policy(f"{name}@noisy")
        assert policy.needs.scene and policy.needs.observation == "noisy"
    with pytest.raises(PlannerError, match="did you mean 'lattice'"):
        make_planner("latice")
    with pytest.raises(PolicyError, match="planner"):
        load_policy("pdm~blind=left")


@pytest.mark.parametrize(("name", "foresight"), [("pdm", 1), ("lattice", FORESIGHT)])
def test_a_policy_tracks_plans_as_its_planner_asks(name: str, foresight: int, scene: Scene) -> None:
    policy, now = PlannerPolicy(name), torch.zeros(WORLDS, dtype=torch.int64)
    expected = to_action(policy.plan(scene).trajectory, scene.ego, foresight)
    assert torch.equal(policy.act(scene, seed=now, step=now), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_planner_drives_its_lane(name: str) -> None:
    (result,) = rollout(PlannerPolicy(name), sample_episodes("lane_keep/easy", 1, 3), batch=1)
    assert result.error == ""
    assert result.metrics["success"]
    assert not math.isnan(result.metrics["nuplan_score"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["idm_mobil", "pdm", "lattice"])
@pytest.mark.parametrize("scenario", ["highway", "merge/hard"])
def test_planners_arrive(name: str, scenario: str) -> None:
    results = rollout(PlannerPolicy(name), sample_episodes(scenario, 16, 500))
    assert sum(r.metrics["collision_at_fault"] for r in results) <= 1
    assert sum(r.metrics["success"] for r in results) >= 14  # of 8 drawn from other seeds all did: docs/planners.md
