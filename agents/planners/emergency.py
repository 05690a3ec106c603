"""Whether there is a way out after the next action: the ego's emergency manoeuvres against the worst that others may plausibly do.

A plan is one action held for a decision period and then one way to stop. It is safe if on all of it the ego's box meets nobody who stays
within `rss.Limits`, keeps to the drivable surface and its direction, and comes to rest before the line where it has to wait. Others move
along their forecast ways; how far is RSS's worst: everybody may brake by `brake_most` at once, and everybody may go on, speed up for the
response and only then brake by `brake_least`. Walkers may stop, or walk on without reacting.

Shapes: B worlds, C plans, H = 2 M T futures of others (M modes of T tracks, each at its slowest and at its fastest), S steps. Ego frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Route, Scene
from agents.planners.obstacles import MODES, followers, obstacles
from agents.planners.proposals import placed
from agents.planners.route import to_path
from agents.planners.rss import Limits, lateral, travelled
from agents.planners.rules import stops
from agents.planners.vehicle import look_ahead, pursue
from envs.driving.collision import separation
from envs.driving.control import STEER_RATE, lateral_slope, work_off_shift
from envs.driving.dynamics import bicycle, steer_for_curvature
from envs.driving.lanes import lane_field
from envs.driving.surface import against_traffic, drivable_distance
from scenarios.kinds import Kind
from scenarios.network import LaneEnd

__all__ = [
    "NONE", "OTHERS", "ROAD", "RULES", "Driver", "Judgement", "Others", "Poses", "judge", "lane_steer", "line_ahead", "others", "step",
]  # fmt: skip

AHEAD = 0.3  # m kept before and behind
OUTSIDE = 0.1  # m by which a corner may be off the drivable surface; the simulator ends an episode at 0.3
PAST = 0.2  # m by which a bumper may be beyond a line
LIKELY = 0.1  # modes of a forecast less likely than this are not looked at
STANDS = 0.1  # m/s
BETWEEN = (0.0, 0.25, 0.5, 0.75, 1.0)  # places looked at on the way from the slowest (0) to the fastest (1)
NONE, OTHERS, ROAD, RULES = 0, 1, 2, 3  # what is wrong with a plan
CLOSE = 6  # steps at the beginning at which corners and directions are looked at; later at every other one


class Poses(NamedTuple):
    """The ego on C plans, (B, C) each."""

    x: Tensor  # m
    y: Tensor
    yaw: Tensor  # rad
    speed: Tensor  # m/s
    steer: Tensor  # rad
    s: Tensor  # m along the path that the plan follows
    shift: Tensor  # m left of it, still to be worked off


class Driver(NamedTuple):
    """The ego's limits, (B, 1) each, and the paths of C plans, (B, C, P)."""

    ego: Ego  # fields (B, 1)
    route: Route


class Others(NamedTuple):
    """The worst futures of everybody else at S times, (B, H, S) each unless said otherwise."""

    x: Tensor  # m
    y: Tensor
    cos: Tensor
    sin: Tensor
    half_length: Tensor  # (B, H) m, what is kept clear included
    half_width: Tensor
    behind: Tensor  # (B, H) bool: follows the ego and keeps that distance himself
    there: Tensor  # (B, H) bool


class Judgement(NamedTuple):
    """What is to be said of C plans, (B, C) each."""

    first: Tensor  # int64, first step at which something is wrong; S: nothing ever is
    why: Tensor  # int64, what: NONE, OTHERS, ROAD or RULES


def lane_steer(driver: Driver, now: Poses) -> Tensor:
    """Steering angle (rad) along the path, as `envs.driving.control.steer_along_lane`."""
    look = look_ahead(now.speed.abs())
    left = torch.sign(now.shift) * (now.shift.abs() - lateral_slope(now.speed) * look).clamp(min=0.0)
    x, y, _, _ = to_path(driver.route, now.s + look, left)
    bend = pursue(x - now.x, y - now.y, torch.cos(now.yaw), torch.sin(now.yaw), driver.ego.wheelbase)
    return steer_for_curvature(bend, driver.ego.wheelbase)


def step(driver: Driver, now: Poses, accel: Tensor, steer: Tensor, dt: float) -> Poses:
    """dt s with `accel` (m/s^2) and the wheels on their way to `steer` (rad), (B, C) each."""
    ego = driver.ego
    steer = torch.minimum(torch.maximum(steer, now.steer - STEER_RATE * dt), now.steer + STEER_RATE * dt)
    steer = torch.minimum(torch.maximum(steer, -ego.steer_max), ego.steer_max)
    accel = torch.minimum(torch.maximum(accel, -ego.brake_max), ego.accel_max)
    speed, shift = now.speed, work_off_shift(now.shift, now.speed, dt)
    end = bicycle(*now[:4], accel, steer, ego.wheelbase, dt, speed_max=ego.speed_max, reverse_max=ego.reverse_max)
    s, _ = placed(driver.route, now.s + 0.5 * (speed + end.speed) * dt, end.x, end.y)
    return Poses(end.x, end.y, end.yaw, end.speed, steer, s, shift)


def others(scene: Scene, limits: Limits, when: Tensor) -> Others:
    """Everybody at `when` (S,) s, at his slowest, at his fastest, and at places between (`BETWEEN`), all of which he can be at."""
    tracks, ego = scene.tracks, scene.ego
    all_of_them = obstacles(scene, torch.zeros_like(tracks.mask), every=True)

    def wide(value: Tensor) -> Tensor:  # (B, T) -> (B, M T)
        return value.unsqueeze(2).expand(*value.shape, MODES).flatten(1).contiguous()

    x0, y0, vx, vy = (wide(part.contiguous()) for part in tracks.mean.unbind(-1))
    speed = torch.sqrt(vx * vx + vy * vy)
    walks = wide(tracks.kind == int(Kind.PEDESTRIAN))
    end = when.new_full((), float(when[-1]))
    response = torch.where(walks, end, when.new_full((), limits.response)).unsqueeze(2)
    accel = torch.where(walks, 0.0, limits.accel).unsqueeze(2)
    stands = (speed < STANDS).unsqueeze(2)
    slow = travelled(when, speed.unsqueeze(2), response=0.0, accel=0.0, brake=limits.brake_most)  # (B, M T, S)
    fast = travelled(when, speed.unsqueeze(2), response=response, accel=accel, brake=limits.brake_least)
    slow, fast = torch.where(stands, 0.0, slow), torch.where(stands, 0.0, fast)
    yaw = wide(tracks.yaw.contiguous())
    way = _Way(x0, y0, torch.cos(yaw), torch.sin(yaw), all_of_them.x, all_of_them.y, all_of_them.cos, all_of_them.sin)
    places = [torch.cat(parts, dim=1) for parts in zip(*(way.at(slow + part * (fast - slow)) for part in BETWEEN), strict=True)]
    doubt = torch.sqrt(torch.maximum(tracks.covariance[..., 0, 0], tracks.covariance[..., 1, 1]).clamp(min=0.0))
    aside = lateral(
        when.new_zeros(()), when.new_zeros(()), response=limits.response, accel=limits.side_accel, brake=limits.side_brake,
        slack=limits.side_slack,
    )  # fmt: skip
    half_l, half_w = 0.5 * tracks.size[..., 0].contiguous(), 0.5 * tracks.size[..., 1].contiguous()
    heading = tracks.yaw.contiguous()
    apart = separation(
        torch.zeros_like(half_l), torch.zeros_like(half_l), torch.ones_like(half_l), torch.zeros_like(half_l),
        0.5 * ego.length.unsqueeze(1), 0.5 * ego.width.unsqueeze(1), tracks.mean[..., 0].contiguous(), tracks.mean[..., 1].contiguous(),
        torch.cos(heading), torch.sin(heading), half_l, half_w,
    ).clamp(min=0.0)  # fmt: skip
    # who is nearer than what is to be kept clear already must not come nearer still; more cannot be asked
    keeps_l, keeps_w = torch.minimum(AHEAD + doubt, apart), torch.minimum(aside + doubt, apart)
    share = scene.forecasts.probability.sort(dim=-1, descending=True, stable=True).values[..., :MODES].flatten(1)
    there, behind = wide(tracks.mask) & (share > LIKELY), wide(followers(scene))
    same = [torch.cat([part] * len(BETWEEN), dim=1) for part in (wide(half_l + keeps_l), wide(half_w + keeps_w), behind, there)]
    return Others(*places, *same)


class _Way(NamedTuple):
    """Polylines that others drive along: where they are now, and the places of a forecast, (B, H, .)."""

    x0: Tensor
    y0: Tensor
    cos0: Tensor
    sin0: Tensor
    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor

    def at(self, far: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y, cos, sin at `far` (B, H, S) m along; beyond the end straight on."""
        x, y = torch.cat([self.x0.unsqueeze(2), self.x], dim=2), torch.cat([self.y0.unsqueeze(2), self.y], dim=2)
        dx, dy = x[..., 1:] - x[..., :-1], y[..., 1:] - y[..., :-1]
        piece = torch.sqrt(dx * dx + dy * dy)
        total, ends = torch.zeros_like(piece[..., 0]), [torch.zeros_like(piece[..., 0])]
        for k in range(piece.shape[2]):  # in a fixed order
            total = total + piece[..., k]
            ends.append(total)
        along = torch.stack(ends, dim=2)  # (B, H, F + 1)
        which = ((far.unsqueeze(3) >= along.unsqueeze(2)).sum(3) - 1).clamp(0, piece.shape[2] - 1)
        cos = torch.cat([self.cos, self.cos[..., -1:]], dim=2).gather(2, which)
        sin = torch.cat([self.sin, self.sin[..., -1:]], dim=2).gather(2, which)
        px, py, past = x.gather(2, which), y.gather(2, which), far - along.gather(2, which)
        still = (total < 0.1).unsqueeze(2)  # nothing to follow
        cos, sin = torch.where(still, self.cos0.unsqueeze(2), cos), torch.where(still, self.sin0.unsqueeze(2), sin)
        return px + past * cos, py + past * sin, cos, sin


def line_ahead(scene: Scene) -> Tensor:
    """Metres from the front bumper to where the ego has to wait (B,), 0 where it stands before it; +inf: nowhere, or it is too late.

    For lights and stop signs, and where way has to be given (`agents.planners.rules`).
    """
    rules, ego = stops(scene), scene.ego
    wait = rules.wait.clamp(min=0.0)
    line = torch.where((rules.wait <= rules.at) | (rules.at < -PAST), wait, rules.at)
    needs = ego.speed * ego.speed / (2.0 * ego.brake_max)
    return torch.where(needs <= line + PAST, line, torch.inf)


def _lane_end(scene: Scene) -> Tensor:
    """Metres from the front bumper to a metre before the end of the own lane where that goes no further (B,); +inf as `line_ahead`."""
    ego, maps, mid = scene.ego, scene.place.maps, scene.place.map_id
    left = lane_field(maps.lane_length, mid, ego.lane) - ego.s - 0.5 * ego.length - 1.0
    ends = (ego.lane >= 0) & (lane_field(maps.lane_end, mid, ego.lane) == int(LaneEnd.BLOCKED))
    return torch.where(ends & (ego.speed * ego.speed / (2.0 * ego.brake_max) <= left + PAST), left, torch.inf)


def judge(scene: Scene, driver: Driver, plan: list[Poses], around: Others, line: Tensor) -> Judgement:
    """Look at C plans, S poses each. line (B,): as `line_ahead` says."""
    x, y, yaw, speed, _, s, _ = (torch.stack(part, dim=2) for part in zip(*plan, strict=True))  # (B, C, S)
    ego = scene.ego
    hit = _met(ego, x, y, torch.cos(yaw), torch.sin(yaw), speed, around)
    brake = speed[..., -1].clamp(min=0.0) ** 2 / (2.0 * driver.ego.brake_max)
    last = torch.cat([s[..., :-1], (s[..., -1] + brake).unsqueeze(2)], dim=2)
    own = driver.route.lane == ego.lane.unsqueeze(1)
    until = torch.minimum(line.unsqueeze(1), torch.where(own, _lane_end(scene).unsqueeze(1), torch.inf))  # (B, C)
    over = (last > (until + PAST).unsqueeze(2)) & (speed > -STANDS)
    few = [*range(CLOSE), *range(CLOSE + 1, x.shape[2], 2)]
    on_map = s[..., few] < driver.route.exit.unsqueeze(2) - 0.5 * ego.length.view(-1, 1, 1)
    off = torch.zeros_like(hit)
    off[..., few] = _astray(ego, scene.place, *(part[..., few].contiguous() for part in (x, y, yaw, speed))) & on_map
    steps = x.shape[2]
    when = torch.arange(steps, device=x.device)
    first = [torch.where(wrong, when, steps).amin(2) for wrong in (hit, off, over)]
    least = torch.minimum(torch.minimum(first[0], first[1]), first[2])
    why = torch.where(first[0] == least, OTHERS, torch.where(first[1] == least, ROAD, RULES))
    gone = (driver.route.lane < 0) & (ego.lane >= 0).unsqueeze(1)  # there is no such path
    least, why = torch.where(gone, 0, least), torch.where(gone, ROAD, why)
    return Judgement(least, torch.where(least < steps, why, NONE))


def _met(ego: Ego, x: Tensor, y: Tensor, cos: Tensor, sin: Tensor, speed: Tensor, around: Others) -> Tensor:
    """Whether the ego's box at each pose (B, C, S) meets anybody. Most rows of H are nobody's: only the E that are somebody's cost time."""
    world, row = around.there.nonzero(as_tuple=True)  # (E,) each

    def wide(value: Tensor) -> Tensor:
        picked = value[world, row]
        return picked.unsqueeze(1) if picked.dim() == 2 else picked[:, None, None]

    mine, theirs = [part[world] for part in (x, y, cos, sin)], [wide(part) for part in around[:6]]  # (E, C, S), (E, 1, S or 1)
    mine += [0.5 * part[world][:, None, None] for part in (ego.length, ego.width)]
    met = separation(*mine, *theirs) < 0.0
    met = met & ~(wide(around.behind) & (speed[world] > -STANDS))
    return torch.zeros(x.shape, dtype=torch.int64, device=x.device).index_add(0, world, met.to(torch.int64)) > 0


def _astray(ego: Ego, place: Place, x: Tensor, y: Tensor, yaw: Tensor, speed: Tensor) -> Tensor:
    """Whether a corner is off the drivable surface, or the ego moves against the traffic, at each pose (B, C, S); both worse than now."""
    now = torch.zeros_like(x[:, :1, :1])
    limit = (_edge(ego, place, now, now, now) - 1e-3).clamp(max=-OUTSIDE)
    turn = ego.yaw.view(-1, 1, 1)
    course = turn + yaw + torch.where(speed < 0.0, torch.pi, 0.0)
    against = against_traffic(place.maps, place.map_id, *_world(ego, x, y), course) & (speed.abs() > STANDS)
    already = against_traffic(place.maps, place.map_id, *_world(ego, now, now), turn + now)
    return (_edge(ego, place, x, y, yaw) < limit) | (against & ~already)


def _world(ego: Ego, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    c, s, x0, y0 = (part.view(-1, *(1,) * (x.dim() - 1)) for part in (ego.cos, ego.sin, ego.x, ego.y))
    return x0 + x * c - y * s, y0 + x * s + y * c


def _edge(ego: Ego, place: Place, x: Tensor, y: Tensor, yaw: Tensor) -> Tensor:
    """Metres from the worst corner to the edge of the drivable surface, negative outside, (B, C, S)."""
    half_l, half_w = 0.5 * ego.length.view(-1, 1, 1, 1), 0.5 * ego.width.view(-1, 1, 1, 1)
    ahead, left = torch.cat([half_l, half_l, -half_l, -half_l], dim=-1), torch.cat([half_w, -half_w, half_w, -half_w], dim=-1)
    c, s = torch.cos(yaw).unsqueeze(-1), torch.sin(yaw).unsqueeze(-1)
    corner = _world(ego, x.unsqueeze(-1) + ahead * c - left * s, y.unsqueeze(-1) + ahead * s + left * c)
    return drivable_distance(place.maps, place.map_id, *corner).amin(-1)
