"""Frenet optimal trajectories: hundreds of smooth motions along and across the road, scored at once (Werling et al., "Optimal trajectory
generation for dynamic street scenarios in a Frenet frame", ICRA 2010).

Across: quintics to the middle of the own lane and of those beside, to places next to it, and one that stays where it is. Along: quartics to
shares of the limit, quintics to rest before a line and to follow whoever is ahead. Shapes: B worlds, L aims across, J times they take, K
motions along, N = L J K candidates, S steps, H futures of obstacles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Costs, Ego, Plan, Route, Scene, Trajectory
from agents.planners.costs import Weights, collision_on_path, comfort, infeasible, off_road, speeding, weighed
from agents.planners.obstacles import OnPath
from agents.planners.pdm import Proposed, Weigh, as_they_are, choose, lane_cost
from agents.planners.polynomials import Polynomial, evaluate, quartic, quintic
from agents.planners.proposals import GAP, HEADWAY, LIKELY, REST, ways
from agents.planners.route import at, to_path
from agents.planners.vehicle import FORESIGHT

__all__ = ["Lattice"]

PATHS = (1, 1, 1, 1, 0, 2)  # own lane (its middle, where one is, left, right of it), left lane, right lane
ASIDE = (0.0, 0.0, 0.7, -0.7, 0.0, 0.0)  # m from the path's middle
STAY = 1  # index of the aim that is the present offset
ACROSS_IN = (1.2, 3.0)  # s, J; in 2 s at best the car comes back to its path too late for the bends of a roundabout
# speeds to reach: share of the limit, share of the present speed, m/s more, s
SPEEDS = (
    (0.0, 0.0, 0.0, 2.0), (0.0, 0.0, 0.0, 4.0), (0.5, 0.0, 0.0, 4.0), (0.8, 0.0, 0.0, 6.0), (1.0, 0.0, 0.0, 2.5), (1.0, 0.0, 0.0, 4.0),
    (1.0, 0.0, 0.0, 8.0), (0.0, 1.0, -5.0, 3.0), (0.0, 1.0, -2.0, 2.0), (0.0, 1.0, 0.0, 2.0), (0.0, 1.0, 2.0, 2.0), (0.0, 1.0, 4.0, 3.0),
)  # fmt: skip
REST_IN = (2.0, 3.0, 4.0, 6.0)  # s
FOLLOW_IN = (2.0, 4.0)  # s
SLOPE = 0.4  # m sideways per m ahead: more is sliding, which wheels do not do (the heading would be 22 degrees off the road's)
SLIDES = 50.0  # cost of sliding at 1 m/s
SLOWEST = 0.1  # m/s; slower than that the heading is that of the path


@dataclass(frozen=True)
class Lattice:
    """Frenet optimal trajectories: hundreds of least-jerk motions along and across the road, scored at once."""

    weights: Weights = field(default_factory=lambda: Weights(progress=0.15))
    name: str = "lattice"
    foresight: int = FORESIGHT  # steps of its plans over which braking is foreseen, see `agents.planners.vehicle.to_action`

    def plan(self, scene: Scene) -> Plan:
        """See `agents.planners.base.Planner`."""
        return choose(*self.propose(scene)[:2])

    def propose(self, scene: Scene, weigh: Weigh = as_they_are) -> Proposed:
        """All candidates and what they cost, weighed anew."""
        ego, (around, route, wide, stop, aim) = scene.ego, ways(scene, PATHS, ASIDE)
        when = DT * torch.arange(1, STEPS + 1, device=stop.device, dtype=stop.dtype)
        aim = torch.where(torch.arange(len(PATHS), device=aim.device) == STAY, route.d, aim)
        d, d1, _ = evaluate(across(ego, route, aim), when)  # (B, L, J, S)
        s, s1, _ = evaluate(along(ego, route, stop, wide, around.weight), when)  # (B, L, K, S)
        s, s1 = s.cummax(-1).values, s1.clamp(min=0.0)  # who has come to rest stays there: no motion goes back
        motion = to_cartesian(ego, route, s, s1, d, d1)
        costs = self.score(scene, route, aim, stop, wide, around.weight, s, d, motion)
        costs = costs._replace(comfort=costs.comfort + SLIDES * sliding(s1, d1).flatten(1))
        path = torch.tensor(PATHS, device=aim.device).repeat_interleave(motion.x.shape[2] * motion.x.shape[3])
        candidates = Trajectory(*(value.flatten(1, 3) for value in motion))
        return Proposed(candidates, weigh(costs, candidates, path), path)

    def score(
        self, scene: Scene, route: Route, aim: Tensor, stop: Tensor, there: OnPath, weight: Tensor, s: Tensor, d: Tensor, motion: Trajectory
    ) -> Costs:
        """Costs of all candidates, (B, N)."""
        ego, shape = scene.ego, motion.x.shape[:4]
        flat = Trajectory(*(value.flatten(1, 3) for value in motion))
        speed = motion.speed[:, :, 0]  # (B, L, K, S); what it takes to move sideways does not matter to time gaps
        hit, near = collision_on_path(s, d, speed, ego, there, weight, self.weights)
        (limit,) = at(s, route.limit)  # (B, L, K, S)
        far = (limit[..., 0] * (DT * STEPS) - s[..., -1]).clamp(min=0.0)
        over = (s[..., -1] - stop.unsqueeze(2)).clamp(min=0.0)
        inside = s < (route.exit - 0.5 * ego.length.unsqueeze(1))[..., None, None]
        inside = inside.unsqueeze(2).expand(motion.x.shape)
        lane = lane_cost(route, aim, ego.lane)[..., None, None].expand(shape)
        fast = speeding(flat, limit.unsqueeze(2).expand_as(motion.speed).flatten(1, 3))
        return weighed(
            self.weights,
            progress=far.unsqueeze(2).expand(shape).flatten(1),
            comfort=comfort(flat, ego.accel.unsqueeze(1)) + 10.0 * infeasible(flat, ego),
            collision=hit.flatten(1),
            clearance=near.flatten(1),
            road=off_road(flat, ego, scene.place, inside.flatten(1, 3), stride=4),
            rules=fast + over.unsqueeze(2).expand(shape).flatten(1),
            lane=lane.flatten(1),
        )


def across(ego: Ego, route: Route, aim: Tensor) -> Polynomial:
    """Motions across every path to `aim` (B, L) m within ACROSS_IN; (B, L, J)."""
    v, (slope, bend) = ego.speed.unsqueeze(1), at(torch.zeros_like(aim), route.sin, route.curvature)
    turn = torch.tan(ego.steer) / ego.wheelbase
    start = (route.d, -v * slope, v * v * (turn.unsqueeze(1) - bend))
    end = aim.new_tensor(ACROSS_IN).expand(*aim.shape, len(ACROSS_IN))
    place, pace, accel, wanted = (part.unsqueeze(2).expand_as(end) for part in (*start, aim))
    return quintic(place, pace, accel, wanted, torch.zeros_like(end), end)


def along(ego: Ego, route: Route, stop: Tensor, there: OnPath, weight: Tensor) -> Polynomial:
    """Motions along every path: to speeds, to rest, behind others; (B, L, K)."""
    zero = torch.zeros_like(stop)
    cos, bend, posted = at(zero, route.cos, route.curvature, route.limit)
    v = ego.speed.unsqueeze(1) * cos / (1.0 - bend * route.d).clamp(min=0.3)
    a = ego.accel.unsqueeze(1) * cos
    of_limit, of_speed, more, times = zero.new_tensor(SPEEDS).unbind(1)

    def wide(value: Tensor, like: Tensor) -> Tensor:
        return value.unsqueeze(2).expand_as(like)

    limit = posted.unsqueeze(2)
    speeds = torch.minimum(of_limit * limit + of_speed * v.unsqueeze(2) + more, limit).clamp(min=0.0)
    keep = quartic(torch.zeros_like(speeds), wide(v, speeds), wide(a, speeds), speeds, times.expand_as(speeds))
    rest_in = zero.new_tensor(REST_IN).expand(*zero.shape, len(REST_IN))
    line = (torch.where(torch.isfinite(stop), stop, 1e3) - REST).clamp(min=0.0).unsqueeze(2).expand_as(rest_in)
    none = torch.zeros_like(rest_in)
    rest = quintic(none, wide(v, none), wide(a, none), line, none, rest_in)
    place, pace, after = leader(ego, there, weight)
    none = torch.zeros_like(place)
    behind = quintic(none, wide(v, none), wide(a, none), place, pace, after)
    return Polynomial(*(torch.cat(parts, dim=2) for parts in zip(keep, rest, behind, strict=True)))


def leader(ego: Ego, there: OnPath, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where to be behind whoever is ahead on each path after FOLLOW_IN, how fast then, and those times; (B, L, .) each.

    Without anybody: 1 km ahead, which no candidate that is worth it reaches.
    """
    places, paces = [], []
    for t in FOLLOW_IN:
        k = round(t / DT) - 1
        s, d, v, reach_s, reach_d = (part[..., k] for part in there[:5])  # (B, L, H)
        wide = reach_d + 0.5 * ego.width.view(-1, 1, 1)
        ahead = (there.s[..., 0] > 0.0) & (d.abs() < wide) & (weight > LIKELY).unsqueeze(1)
        room = torch.where(ahead, s - reach_s, 1e3)
        nearest, which = room.min(-1)
        pace = v.gather(2, which.unsqueeze(2)).squeeze(2).clamp(min=0.0)
        pace = torch.where(nearest < 1e3, pace, 0.0)
        places.append((nearest - 0.5 * ego.length.unsqueeze(1) - GAP - HEADWAY * pace).clamp(min=0.0))
        paces.append(pace)
    place = torch.stack(places, dim=2)
    return place, torch.stack(paces, dim=2), place.new_tensor(FOLLOW_IN).expand_as(place)


def sliding(s1: Tensor, d1: Tensor) -> Tensor:
    """Mean speed sideways beyond SLOPE times that ahead, m/s; (B, L, J, K). s1 (B, L, K, S), d1 (B, L, J, S).

    Motions across are functions of time here, as Werling has them for high speeds; this keeps them honest at low ones.
    """
    return (d1.abs().unsqueeze(3) - SLOPE * s1.clamp(min=0.0).unsqueeze(2)).clamp(min=0.0).mean(-1)


def to_cartesian(ego: Ego, route: Route, s: Tensor, s1: Tensor, d: Tensor, d1: Tensor) -> Trajectory:
    """Every pair of a motion along (B, L, K, S) and one across (B, L, J, S), in the ego frame; (B, L, J, K, S).

    With kappa the path's curvature: v = hypot((1 - kappa d) s', d'), and the heading is off the path's by atan(d' / ((1 - kappa d) s')).
    Curvature and acceleration are differences from step to step.
    """
    x0, y0, c, sn = (part.unsqueeze(2) for part in to_path(route, s))  # (B, L, 1, K, S)
    bend = at(s, route.curvature)[0].unsqueeze(2)
    pace, d, d1 = s1.unsqueeze(2), d.unsqueeze(3), d1.unsqueeze(3)
    ahead, aside = (1.0 - bend * d).clamp(min=0.1) * pace, d1 + torch.zeros_like(pace)
    speed = torch.sqrt(ahead * ahead + aside * aside)
    moves = ahead > SLOWEST
    cos = torch.where(moves, ahead / speed.clamp(min=SLOWEST), 1.0)
    sin = torch.where(moves, aside / speed.clamp(min=SLOWEST), 0.0)
    hx, hy = c * cos - sn * sin, sn * cos + c * sin
    first = torch.ones_like(hx[..., :1])
    before_x, before_y = torch.cat([first, hx[..., :-1]], dim=-1), torch.cat([0.0 * first, hy[..., :-1]], dim=-1)
    turn = before_x * hy - before_y * hx
    before = torch.cat([first * ego.speed.view(-1, 1, 1, 1, 1), speed[..., :-1]], dim=-1)
    return Trajectory(
        x=x0 - d * sn,
        y=y0 + d * c,
        cos=hx,
        sin=hy,
        speed=speed,
        accel=(speed - before) / DT,
        curvature=turn / (0.5 * (speed + before).clamp(min=0.5) * DT),
    )
