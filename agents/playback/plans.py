"""What a planner had in mind at every step of a trace: planned again from the simulation, as the planner itself is no part of the file.

Shapes: S decision steps, N candidates, T tracks, M modes of a forecast. Places are in the world frame, in m.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.planners.base import Costs, Ego, Plan, Scene
from agents.planners.hybrid_astar import HybridAstar, Memory
from agents.planners.paths import PAST
from agents.planners.policy import PlannerPolicy
from agents.planners.scene import SceneMaker
from agents.planners.vehicle import action_of
from agents.playback.compact import packed
from agents.playback.trace import Trace
from agents.playback.verify import simulator
from agents.policies.base import Policy, PolicyError, Told, load_policy
from agents.policies.planned import PlannedPolicy
from envs.driving.eyes import Eyes, needs_eyes
from envs.driving.observation import observe
from envs.driving.sim import DrivingSim

__all__ = ["Thought", "compact_thoughts", "plan_again", "planner_of"]

SHOWN = 24  # candidates
CHEAPEST = 8  # of those, the best
HOPELESS = 1e3  # cost of what is no candidate at all: a lane that does not exist
EVERY = 4  # of so many steps of a trajectory one is shown
APART = 0.5  # m between the places shown of a path that is followed
LIKELY = 0.05  # futures less likely than this are not shown
LEVELS = ("truth", "visible", "noisy")  # where no camera has to draw


class Thought(NamedTuple):
    """What was there to choose from at one step, and what was expected of the others."""

    chosen: NDArray[np.float64]  # (P, 2) m
    candidates: NDArray[np.float64]  # (C, P, 2) m, the dearest first
    dear: NDArray[np.int64]  # (C,) 0 for the cheapest to 9 for the dearest of those shown
    total: float  # cost of the chosen one
    costs: dict[str, float]  # and its terms
    futures: list[tuple[float, NDArray[np.float64]]]  # probability, (F, 2) m
    same: bool  # this plan makes the action that was recorded


def planner_of(policy: Policy) -> PlannerPolicy | PlannedPolicy | None:
    """The planner in a policy, looked for below levels, faults and a shield."""
    while not isinstance(policy, PlannerPolicy | PlannedPolicy):
        inner = getattr(policy, "policy", None)
        if inner is None:
            return None
        policy = inner
    return policy


def plan_again(trace: Trace) -> list[Thought] | None:
    """One thought a step. None where no planner drove, or it cannot be found by what the trace calls it, or it saw through cameras.

    Raises TraceError if the episode cannot be simulated.
    """
    if trace.config.observation not in LEVELS or not trace.policy:
        return None
    words = shlex.split(trace.command)
    try:
        policy = load_policy(words[2] if words[:2] == ["closedloop", "eval"] and len(words) > 2 else trace.policy, changed="ignore")
    except (PolicyError, OSError, ValueError):
        return None
    planner = planner_of(policy)
    if planner is None:
        return None
    if trace.policy_hash != str(getattr(getattr(policy, "bundle", None), "sha256", "")):
        return None
    sim = simulator(trace)
    eyes = Eyes(sim) if needs_eyes(sim.config) else None
    scenes, thoughts = SceneMaker(sim), []
    searching, memory = getattr(planner, "planner", None), None
    for k in range(trace.steps):
        scene = scenes(eyes)
        if isinstance(searching, HybridAstar) and bool(scene.spot.wanted[0]):
            mine, memory = searching.drive(scene, memory, torch.tensor([k == 0], device=sim.device))
            thoughts.append(_path(memory, scene, same=_same(mine, trace, k)))
        else:
            plan = _plan(planner, sim, scene, eyes)
            thoughts.append(_thought(plan, scene, same=_same(action_of(planner.planner, plan, scene.ego), trace, k)))
        sim.step(torch.from_numpy(trace.actions[k : k + 1].copy()).to(sim.device))
        if eyes is not None:
            eyes.look()
    return thoughts


def _same(action: torch.Tensor, trace: Trace, step: int) -> bool:
    """Whether this (1, 1, 2) is the action that was recorded."""
    return bool(np.array_equal(action[0, 0].numpy(force=True), trace.actions[step, 0]))


def _path(memory: Memory, scene: Scene, *, same: bool) -> Thought:
    """What is left of the path that is being followed, a place every APART m; it costs its metres. Without a path: the ego's place."""
    ego, rest = scene.ego, 0.0
    x, y, yaw, s, leg = (getattr(memory.paths, name)[0].numpy(force=True) for name in ("x", "y", "yaw", "s", "leg"))
    half = 0.5 * float(ego.wheelbase[0])  # a path is one of the rear axle
    here = np.array([[float(ego.x[0]), float(ego.y[0])]])
    places = here
    on = np.flatnonzero((leg >= int(memory.progress.leg[0])) & (leg != PAST))
    if len(on):
        middle = np.stack([x + half * np.cos(yaw), y + half * np.sin(yaw)], axis=-1).astype(np.float64)
        leg_now = on[leg[on] == leg[on[0]]]
        nearest = leg_now[np.hypot(*(middle[leg_now] - here).T).argmin()]
        ahead = on[on >= nearest]
        rest = float(s[ahead[-1]] - s[ahead[0]])
        turns = np.append(np.diff(leg[ahead]) != 0, True)  # the ends of legs
        shown = turns | np.append(True, np.diff(np.floor(s[ahead] / APART)) > 0)
        places = np.concatenate([here, middle[ahead[shown]]])
    costs = dict.fromkeys(Costs._fields, 0.0) | {"progress": rest}
    return Thought(places, places[None], np.zeros(1, np.int64), rest, costs, _futures(scene), same)


def _plan(planner: PlannerPolicy | PlannedPolicy, sim: DrivingSim, scene: Scene, eyes: Eyes | None) -> Plan:
    if isinstance(planner, PlannerPolicy):
        return planner.plan(scene)
    seen = observe(sim.state, sim.setup, sim.maps, sim.config, eyes.objects if eyes else None)
    return planner.plan(Told(scene, seen), seed=sim.setup.seed, step=sim.state.step)


def _thought(plan: Plan, scene: Scene, *, same: bool) -> Thought:
    totals = plan.totals[0].numpy(force=True).astype(np.float64)
    picked = _picked(totals)
    places = np.stack([_places(scene.ego, plan.candidates.x[0], plan.candidates.y[0])[i] for i in picked])
    low, high = totals[picked].min(), totals[picked].max()
    dear = np.round(9.0 * (totals[picked] - low) / max(high - low, 1e-9)).astype(np.int64)
    costs = {name: float(getattr(plan.costs, name)[0]) for name in Costs._fields}
    chosen = _places(scene.ego, plan.trajectory.x, plan.trajectory.y)[0]
    return Thought(chosen, places, dear, float(plan.costs.total()[0]), costs, _futures(scene), same)


def _picked(totals: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which candidates to show, the dearest first: the cheapest ones, and others evenly over the rest."""
    order = np.argsort(totals, kind="stable")
    real = order[totals[order] < HOPELESS]
    real = real if len(real) else order[:1]
    rest = real[CHEAPEST:]
    few = rest[np.unique(np.linspace(0, len(rest) - 1, min(SHOWN - CHEAPEST, len(rest))).round().astype(np.int64))] if len(rest) else rest
    return np.concatenate([real[:CHEAPEST], few])[::-1]


def _places(ego: Ego, x: torch.Tensor, y: torch.Tensor) -> NDArray[np.float64]:
    """Ego frame (..., S) to the world, (..., P, 2): the ego's own place and every EVERY-th step."""
    px, py = (np.concatenate([np.zeros((len(v), 1)), v.numpy(force=True)[:, EVERY - 1 :: EVERY]], axis=1) for v in (x, y))
    return _world(ego, px, py)


def _world(ego: Ego, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    cos, sin, x0, y0 = (float(value[0]) for value in (ego.cos, ego.sin, ego.x, ego.y))
    return np.stack([x0 + x * cos - y * sin, y0 + x * sin + y * cos], axis=-1).astype(np.float64)


def _futures(scene: Scene) -> list[tuple[float, NDArray[np.float64]]]:
    """Of everybody who is there, each future that is likely enough: from where he is now, a place a second."""
    found = []
    mask = scene.tracks.mask[0].numpy(force=True)
    probability = scene.forecasts.probability[0].numpy(force=True)
    mean, now = scene.forecasts.mean[0].numpy(force=True), scene.tracks.mean[0, :, :2].numpy(force=True)
    times = scene.forecasts.time.numpy(force=True)
    seconds = [int(np.abs(times - t).argmin()) for t in range(1, int(times[-1] + 1e-3) + 1)]
    for i in np.flatnonzero(mask):
        for m in np.flatnonzero(probability[i] >= LIKELY):
            path = np.concatenate([now[i, None], mean[i, m, seconds]])
            found.append((float(probability[i, m]), _world(scene.ego, path[:, 0], path[:, 1])))
    return found


def compact_thoughts(trace: Trace, thoughts: Sequence[Thought]) -> dict[str, Any]:
    """Thoughts as strict JSON for the player: paths as `outlines` of `player/data.js` reads them, from the origin of `compact`."""
    origin = np.round([trace.states["x"][0, 0], trace.states["y"][0, 0]]).astype(np.float64)

    def told(paths: Iterable[NDArray[np.float64]]) -> str:
        return packed(number for path in paths for number in _whole(path - origin))

    return {
        "terms": list(Costs._fields),
        "same": all(thought.same for thought in thoughts),
        "steps": [
            {
                "chosen": told([thought.chosen]),
                "candidates": told(thought.candidates),
                "dear": thought.dear.tolist(),
                "costs": [round(value, 3) for value in (thought.total, *thought.costs.values())],
                "futures": told(path for _, path in thought.futures),
                "likely": [round(100.0 * probability) for probability, _ in thought.futures],
            }
            for thought in thoughts
        ],
    }


def _whole(path: NDArray[np.float64]) -> Iterable[int]:
    """How many points, then their differences in cm."""
    cm = np.round(100.0 * path).astype(np.int64)
    return itertools.chain([len(cm)], np.diff(cm, axis=0, prepend=0).ravel().tolist())
