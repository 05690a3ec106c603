"""A driven episode of an imported CommonRoad scenario as a CommonRoad solution (format 2020a), which others can check and rank.

The vehicle is KS3: the kinematic single-track model of CommonRoad's vehicle 3, which is 3 cm shorter and 1 cm narrower than our car. The
states are the simulator's own, tick by tick. CommonRoad's rear axle lies 1.32 m behind the centre, ours half a wheelbase, 1.4 m: over a
tick the two differ by millimetres, less than the 2 cm that commonroad-drivability-checker allows.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as xml
from datetime import date
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.playback.storage import TraceError
from agents.playback.trace import Trace
from agents.playback.verify import TOLERANCE, simulator
from envs.driving.types import State
from scenarios.importers.commonroad_problem import Problem
from scenarios.kinds import Kind

__all__ = ["COSTS", "Driven", "driven", "solution"]

COSTS = ("JB1", "SA1", "WX1", "SM1", "SM2", "SM3", "MW1", "TR1")  # by which KS solutions can be ranked
VEHICLE, WHEELBASE = "KS3", 1.1507916024 + 1.3211363976  # m, a + b of parameters_vehicle3.yaml of commonroad-vehicle-models
NEAR = 0.1  # m, rad: so far may a solution start from where the problem says (commonroad-drivability-checker)


class Driven(NamedTuple):
    """The ego at every tick, from the start on; (T + 1,) each, coordinates of the imported scenario."""

    x: NDArray[np.float64]  # m, centre
    y: NDArray[np.float64]
    yaw: NDArray[np.float64]  # rad
    speed: NDArray[np.float64]  # m/s
    curvature: NDArray[np.float64]  # 1/m of the rear axle's path, in the tick that ends there; the first: 0


def driven(trace: Trace) -> Driven:
    """Drive the trace again, for the ticks between its decisions.

    Raises TraceError if it cannot be simulated or comes out another way, by more than `verify` allows where rounding differs.
    """
    sim, states = simulator(trace), list[State]()
    wheelbase = float(sim.setup.wheelbase[0, 0])
    states.append(sim.state)
    for action in trace.actions:
        sim.step(torch.from_numpy(action[None].copy()).to(sim.device), keep=states)

    def ego(name: str) -> NDArray[np.float64]:
        return np.array([float(getattr(state, name)[0, 0]) for state in states])

    found = {name: ego(name) for name in ("x", "y", "yaw", "speed", "steer")}
    for name in ("x", "y", "speed"):
        off = np.abs(found[name][:: trace.config.ticks_per_step] - trace.states[name][:, 0])
        if off.max(initial=0.0) > TOLERANCE[name]:
            raise TraceError(f"driven again, {name} differs by {off.max():.3g}: see `closedloop play` for what is wrong with it")
    return Driven(found["x"], found["y"], found["yaw"], found["speed"], np.tan(found["steer"]) / wheelbase)


def solution(trace: Trace, problem: Problem, cost: str = "TR1") -> str:
    """The XML text of how the trace solves the problem, to be judged by the cost function `cost`.

    Raises ValueError if there is no such cost function, or the trace is not of this problem (its ego starts elsewhere, its ticks or the
    other road users are others) or not of a car; TraceError as `driven` does.
    """
    if cost not in COSTS:
        raise ValueError(f"cost function {cost!r}: must be one of {', '.join(COSTS)}")
    _check(trace, problem)
    path = driven(trace)
    root = xml.Element(
        "CommonRoadSolution",
        benchmark_id=f"{VEHICLE}:{cost}:{problem.scenario}:{problem.version}",
        date=f"{date.today()}T00:00:00",
    )
    states = xml.SubElement(root, "ksTrajectory", planningProblem=str(problem.id))
    # a state's steering angle: between those held before and after it
    bend = np.append(path.curvature[1:], path.curvature[-1:])
    bend[1:] = 0.5 * (path.curvature[1:] + bend[1:])
    for k in range(len(path.x)):
        state = xml.SubElement(states, "ksState")
        values = {
            "x": float(path.x[k]) + problem.shift[0],
            "y": float(path.y[k]) + problem.shift[1],
            "steeringAngle": math.atan(WHEELBASE * float(bend[k])),
            "velocity": float(path.speed[k]),
            "orientation": float(path.yaw[k]),
            "time": problem.start.step + k,
        }
        for name, value in values.items():
            xml.SubElement(state, name).text = repr(value)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _check(trace: Trace, problem: Problem) -> None:
    """Raises ValueError unless the trace begins as the problem does."""
    ego = trace.episode.agents[0]
    if ego.kind != Kind.CAR:
        raise ValueError(f"the ego is a {ego.kind.name.lower()}; only solutions of cars can be written")
    if not math.isclose(trace.config.dt, problem.dt, rel_tol=1e-6):
        raise ValueError(f"the trace has ticks of {trace.config.dt:g} s, {problem.file} steps of {problem.dt:g} s: it is not of this file")
    start = problem.start
    x, y, yaw = (float(trace.states[name][0, 0]) for name in ("x", "y", "yaw"))
    off = max(abs(x - start.x), abs(y - start.y), abs(math.remainder(yaw - start.yaw, 2.0 * math.pi)))
    if not off <= NEAR:
        raise ValueError(
            f"the ego starts at ({x:.2f}, {y:.2f}), heading {yaw:.2f}; {problem.file} says ({start.x:.2f}, {start.y:.2f}), "
            f"heading {start.yaw:.2f}: the trace is not of this file"
        )
    if unknown := [agent.id for agent in trace.episode.agents[1:] if agent.id not in problem.obstacles]:
        raise ValueError(f"{', '.join(unknown[:5])} in the trace, but not in {problem.file}: the trace is not of this file")
