"""What a planner is, what it is given and what it returns, and how one is found by name.

Shapes: B worlds, T tracks, K modes of a forecast, F its steps, R reference paths (left lane, own lane, right lane), P points of a path,
N candidates, S steps of a trajectory. SI units. Ego frame: origin at the middle of the ego now, x forward, y left; headings are unit
vectors (cos, sin). A planner is a pure function of its arguments and runs on their device; a world's plan does not depend on the others.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from torch import Tensor

from envs.driving.types import Maps
from perception.types import Forecasts, Tracks
from scenarios.errors import did_you_mean

__all__ = [
    "DT", "PLANNERS", "STEPS", "Costs", "Ego", "Passage", "Place", "Plan", "Planner", "PlannerError", "Remembering", "Route", "Scene",
    "Spot", "Trajectory", "make_planner",
]  # fmt: skip

DT = 0.2  # s between the steps of a trajectory
STEPS = 20  # S: 4 s, the horizon of PDM (Dauner et al. 2023)

# name -> class; one line each
PLANNERS = {
    "idm_mobil": "agents.planners.idm_mobil:IdmMobil",
    "pdm": "agents.planners.pdm:Pdm",
    "lattice": "agents.planners.lattice:Lattice",
    "mppi": "agents.planners.mppi:Mppi",
    "hybrid_astar": "agents.planners.hybrid_astar:HybridAstar",
}


class PlannerError(ValueError):
    """There is no such planner. The message says what there is."""


class Ego(NamedTuple):
    """The ego itself, which it always knows exactly. All (B,)."""

    x: Tensor  # m, world frame
    y: Tensor  # m
    cos: Tensor  # of the heading, world frame
    sin: Tensor
    yaw: Tensor  # rad, the same heading
    speed: Tensor  # m/s along the heading
    accel: Tensor  # m/s^2
    steer: Tensor  # rad
    length: Tensor  # m
    width: Tensor  # m
    wheelbase: Tensor  # m
    speed_max: Tensor  # m/s
    accel_max: Tensor  # m/s^2
    brake_max: Tensor  # m/s^2, positive
    steer_max: Tensor  # rad
    reverse_max: Tensor  # m/s, positive
    set_speed: Tensor  # m/s, wanted by discrete manoeuvres
    shift: Tensor  # m, left of the lane, still to be worked off by a lane change of theirs
    lane: Tensor  # int64, lane followed; -1 none
    s: Tensor  # m along it
    goal: Tensor  # int64, destination as in the tables of the map
    released: Tensor  # int64, lane whose stop sign has been obeyed; -1 none
    waited: Tensor  # s at rest


class Route(NamedTuple):
    """Reference paths along the ego's lane and the lanes beside it, each towards the goal, and what they ask for. Ego frame.

    Point k of a path lies `route.FIRST + k * route.STEP` metres ahead of the place beside the ego. Frenet coordinates: s along, d left.
    """

    lane: Tensor  # (B, R) int64, -1: there is no such lane
    x: Tensor  # (B, R, P) m
    y: Tensor
    cos: Tensor
    sin: Tensor
    curvature: Tensor  # 1/m, left positive
    limit: Tensor  # (B, R, P) m/s, slower stretches ahead already prepared for
    width: Tensor  # (B, R) m, of the lane beside the ego
    d: Tensor  # (B, R) m, the ego's own place left of the path; its s is 0
    end: Tensor  # (B, R) m to where the lane ends physically or leads away from the goal; +inf: it does not
    exit: Tensor  # (B, R) m to where it leaves the map; +inf: not within sight
    need: Tensor  # (B, R) int64, lane changes that the goal still asks for from there, left positive
    toll: Tensor  # (B, R) cost of driving along it, of what the road itself does not tell; see `overtaking.py`


class Place(NamedTuple):
    """The map and the state of its lights as the ego believes them to be."""

    maps: Maps
    map_id: Tensor  # (B,) int64
    lights: Tensor  # (B, GL) int64, scenarios.network.LightState


class Spot(NamedTuple):
    """Where the ego has to come to rest, world frame. All (B,)."""

    wanted: Tensor  # bool; False: the goal is none to stand at, and the rest means nothing
    x: Tensor  # m, of its middle
    y: Tensor
    yaw: Tensor  # rad


class Passage(NamedTuple):
    """A place that the ego has to drive through, when and how. Ego frame. All (B,)."""

    wanted: Tensor  # bool; False: the goal is another, and the rest means nothing
    x: Tensor  # m, its middle
    y: Tensor
    cos: Tensor  # of its long side
    sin: Tensor
    half_length: Tensor  # m
    half_width: Tensor  # m
    heading: Tensor  # rad, wanted of the ego
    tolerance: Tensor  # rad
    slow: Tensor  # m/s, at least; -inf: no bound
    fast: Tensor  # m/s, at most; +inf: no bound
    opens: Tensor  # s from now; below 0: open
    closes: Tensor  # s from now; below 0: over


class Scene(NamedTuple):
    """Everything a planner is given."""

    ego: Ego
    tracks: Tracks  # (B, T), ego frame
    forecasts: Forecasts  # of the tracks, row by row
    route: Route
    place: Place
    around: Tracks  # (B, U) all there are, the nearest and the others, ego frame
    spot: Spot
    passage: Passage | None = None  # None: no world of the simulator has one
    spared: Tensor | None = None  # (B, T) bool: who comes the other way while the ego overtakes, see `overtaking.py`; None: nobody
    # (B, T) bool: who stands beside the lanes; `tracks` has those put beside them, `around` has not, see `parked.py`; None: all is known
    parked: Tensor | None = None
    blind: Tensor | None = None  # (B,) bool: houses may hide who comes; None: everybody is seen, or there are no houses


class Trajectory(NamedTuple):
    """States of the ego every DT seconds, the first one DT from now, ego frame. All (..., S)."""

    x: Tensor  # m, middle of the ego
    y: Tensor
    cos: Tensor  # of its heading
    sin: Tensor
    speed: Tensor  # m/s
    accel: Tensor  # m/s^2, in the step that ends there
    curvature: Tensor  # 1/m, of its path


class Costs(NamedTuple):
    """What a trajectory costs, each (..., ), weighted: their sum is what is minimised."""

    progress: Tensor  # distance not covered
    comfort: Tensor  # accelerations and jerk
    collision: Tensor  # expected collisions with the forecasts
    clearance: Tensor  # time gaps shorter than wanted
    road: Tensor  # leaving the drivable surface
    rules: Tensor  # going on where one has to wait; speeding
    lane: Tensor  # away from the middle of a lane, or in one that leads astray

    def total(self) -> Tensor:
        """Their sum."""
        return self.progress + self.comfort + self.collision + self.clearance + self.road + self.rules + self.lane


class Plan(NamedTuple):
    """The trajectory chosen, what it costs, and what there was to choose from."""

    trajectory: Trajectory  # (B, S)
    costs: Costs  # (B,)
    candidates: Trajectory  # (B, N, S)
    totals: Tensor  # (B, N) cost of each candidate
    chosen: Tensor  # (B,) int64


class Planner(Protocol):
    """Decides where to drive. Hashable settings, no memory."""

    @property
    def name(self) -> str:
        """What it is registered as."""
        ...

    def plan(self, scene: Scene) -> Plan:
        """The plan of every world. Never changes its arguments."""
        ...


@runtime_checkable
class Remembering(Planner, Protocol):
    """A planner that makes a plan once, follows it for long, and turns it into actions itself.

    What it has to remember is given back to it at the next decision: it keeps nothing to itself.
    """

    def drive(self, scene: Scene, memory: Any, fresh: Tensor) -> tuple[Tensor, Any]:
        """Actions (B, 1, 2) and what to remember.

        memory: from the last decision, None at the first. fresh (B,) bool: it is of another episode.
        """
        ...


def make_planner(name: str) -> Planner:
    """The planner called `name`, with its defaults. Raises PlannerError with the nearest name."""
    if name not in PLANNERS:
        raise PlannerError(f"no planner {name!r}; {did_you_mean(name, PLANNERS) or 'known: ' + ', '.join(PLANNERS)}")
    module, attribute = PLANNERS[name].split(":")
    return cast(Planner, getattr(importlib.import_module(module), attribute)())
