"""What trajectories cost: one library for all planners.

Every term is a plain function of trajectories and says its unit; `Weights` turns them into one number. Shapes: B worlds, N candidates,
S steps, S' of them that are looked at, H futures of obstacles, Q pairs of a world (and a path) and a future that matters there. Ego frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Costs, Ego, Place, Trajectory
from agents.planners.obstacles import Obstacles, OnPath
from envs.driving.surface import drivable_distance

__all__ = ["Weights", "collision", "collision_on_path", "comfort", "infeasible", "off_road", "overlap_probability", "speeding"]

LON_ACCEL, LON_BRAKE, LAT_ACCEL, JERK = 2.4, 4.05, 4.89, 4.13  # m/s^2, m/s^2, m/s^2, m/s^3: nuPlan's bounds of comfort
SIGMA_MIN = 0.02  # m, doubt that nobody is below; keeps the deterministic case finite
LONGER = 1.0  # m, by which boxes are longer at a standstill where a time gap is asked for
CERTAIN = 6.0  # standard deviations: what is further off overlaps with probability 0 in single precision
KERB = 0.2  # m that corners should keep from the edge


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What one unit of each term costs."""

    progress: float = 0.05  # per m not covered
    comfort: float = 0.3  # per unit of `comfort`
    collision: float = 60.0  # per collision expected
    clearance: float = 3.0  # per collision expected with a box that is a time gap longer
    road: float = 30.0  # per m outside
    passage: float = 2.0  # per m by which a goal to be driven through is missed
    rules: float = 20.0  # per m/s too fast on the average, or per m beyond a line
    lane: float = 1.0
    discount: float = 2.5  # s in which a collision ahead loses weight by a factor e: there will be other plans before it
    gap: float = 0.6  # s, time gap wanted to everybody ahead and behind


def overlap_probability(offset: Tensor, half: Tensor, sigma: Tensor) -> Tensor:
    """Probability that |offset + e| <= half for a normal error e: Phi((half - offset) / sigma) - Phi((-half - offset) / sigma)."""
    scale = (0.5**0.5) / sigma.clamp(min=SIGMA_MIN)
    return 0.5 * (torch.erf((half - offset) * scale) + torch.erf((half + offset) * scale))


def collision(mine: Trajectory, ego: Ego, around: Obstacles, weights: Weights, stride: int = 2) -> tuple[Tensor, Tensor]:
    """Expected number of collisions of each candidate (B, N), later ones discounted: with the boxes, and with boxes longer by a time gap.

    For every future the probability of overlap along and across the ego's heading, each a normal integral, as if the two errors were
    independent (exact where the covariance's axes are the ego's); then the worst of every `stride`-th step
    times the future's weight, summed. Futures that no candidate comes near (`_met`) are left out, which changes no bit.
    """
    mine = Trajectory(*(part[..., stride - 1 :: stride] for part in mine))  # (B, N, S')
    places = Obstacles(*(part[..., stride - 1 :: stride] if part.dim() == 3 else part for part in around))
    world, future = _met(mine, ego, places, weights).nonzero(as_tuple=True)  # (Q,) pairs
    x, y, c, s, pace = (part[world] for part in mine[:5])  # (Q, N, S')
    ox, oy, oc, os, xx, xy, yy = (part[world, future].unsqueeze(1) for part in places[:7])  # (Q, 1, S')
    half_l, half_w = (part[world, future].view(-1, 1, 1) for part in places[7:9])
    length, width = (0.5 * part[world].view(-1, 1, 1) for part in (ego.length, ego.width))
    dx, dy = ox - x, oy - y
    along, across = dx * c + dy * s, dy * c - dx * s
    cos, sin = (oc * c + os * s).abs(), (os * c - oc * s).abs()
    reach_along, reach_across = length + half_l * cos + half_w * sin, width + half_l * sin + half_w * cos
    sigma_along = torch.sqrt((xx * c * c + 2.0 * xy * c * s + yy * s * s).clamp(min=0.0))
    sigma_across = torch.sqrt((xx * s * s - 2.0 * xy * c * s + yy * c * c).clamp(min=0.0))
    beside = overlap_probability(across, reach_across, sigma_across)
    fade = _fade(mine.x, weights, stride)
    hit = (beside * overlap_probability(along, reach_along, sigma_along) * fade).amax(-1)  # (Q, N)
    # whoever is behind keeps the gap himself, by his own speed: the ego's is near enough
    longer = reach_along + LONGER + weights.gap * pace
    near = (beside * overlap_probability(along, longer, sigma_along) * fade).amax(-1)
    weight = places.weight[world, future].unsqueeze(1)

    def summed(value: Tensor) -> Tensor:
        every = value.new_zeros((*places.weight.shape, value.shape[1]))  # (B, H, N)
        every[world, future] = value * weight
        return _add(every.transpose(1, 2))

    return summed(hit), summed(near)


def _met(mine: Trajectory, ego: Ego, around: Obstacles, weights: Weights) -> Tensor:
    """Which futures may overlap some candidate's longer box with a probability that is not 0 in single precision, (B, H) bool.

    Those within CERTAIN standard deviations of the rectangle around all candidates at the same step. Sizes are taken by their diagonals.
    """
    reach = 0.5 * ego.length.unsqueeze(1) + LONGER + weights.gap * mine.speed.amax(1)  # (B, S')
    reach = torch.sqrt(reach * reach + 0.25 * (ego.width * ego.width).unsqueeze(1)).unsqueeze(1)
    size = torch.sqrt(around.half_length * around.half_length + around.half_width * around.half_width).unsqueeze(2)
    doubt = torch.sqrt((around.xx + around.yy).clamp(min=SIGMA_MIN * SIGMA_MIN))  # no less than along any axis
    room = reach + 2.0**0.5 * (size + CERTAIN * doubt)  # (B, H, S')
    met = (around.weight > 0.0).unsqueeze(2)
    for place, theirs in ((mine.x, around.x), (mine.y, around.y)):
        met = met & (theirs > place.amin(1, keepdim=True) - room) & (theirs < place.amax(1, keepdim=True) + room)
    return met.any(2)


def collision_on_path(
    s: Tensor, d: Tensor, speed: Tensor, ego: Ego, there: OnPath, weight: Tensor, weights: Weights, stride: int = 2
) -> tuple[Tensor, Tensor]:
    """The same in Frenet coordinates, for every pair of a motion along L paths and one across; (B, L, J, K) each.

    s, speed (B, L, K, S); d (B, L, J, S); there: obstacles on the same paths; weight (B, H) theirs. The ego's box lies along the path, so
    the probability of overlap along depends on s alone, the one across on d alone, and hundreds of candidates cost their two factors and a
    product. Every `stride`-th step counts.
    """
    there = OnPath(*(part[..., stride - 1 :: stride] for part in there))  # (B, L, H, S')
    s, d, speed = (part[..., stride - 1 :: stride] for part in (s, d, speed))  # (B, L, ., S')
    length, width = 0.5 * ego.length.view(-1, 1, 1, 1), 0.5 * ego.width.view(-1, 1, 1, 1)
    room = there.reach_d + width + CERTAIN * there.sigma_d.clamp(min=SIGMA_MIN)
    met = (weight > 0.0)[:, None, :, None] & _between(there.d, d, room)
    room = there.reach_s + length + LONGER + weights.gap * speed.amax(2, keepdim=True) + CERTAIN * there.sigma_s.clamp(min=SIGMA_MIN)
    at = (met & _between(there.s, s, room)).any(3).nonzero(as_tuple=True)  # (Q,) each: world, path, future
    so, do, _, reach_s, reach_d, sigma_s, sigma_d = (part[at].unsqueeze(1) for part in there)  # (Q, 1, S')
    s, d, speed = (part[at[:2]] for part in (s, d, speed))  # (Q, ., S')
    length, width = (value[at[0], 0] for value in (length, width))
    across = overlap_probability(do - d, reach_d + width, sigma_d) * _fade(s, weights, stride) * weight[at[0], at[2]].view(-1, 1, 1)
    along = overlap_probability(so - s, reach_s + length, sigma_s)  # (Q, K, S')
    longer = overlap_probability(so - s, reach_s + length + LONGER + weights.gap * speed, sigma_s)

    def summed(value: Tensor) -> Tensor:
        pairs = (across.unsqueeze(2) * value.unsqueeze(1)).amax(-1)  # (Q, J, K)
        every = pairs.new_zeros((*there.s.shape[:3], *pairs.shape[1:]))
        every[at] = pairs
        return _add(every.movedim(2, -1))

    return summed(along), summed(longer)


def _between(theirs: Tensor, mine: Tensor, room: Tensor) -> Tensor:
    """Whether coordinates (B, L, H, S') are within `room` of those of any of several motions (B, L, ., S')."""
    return (theirs > mine.amin(2, keepdim=True) - room) & (theirs < mine.amax(2, keepdim=True) + room)


def _fade(like: Tensor, weights: Weights, stride: int) -> Tensor:
    """What a collision at every `stride`-th step counts, (S',)."""
    when = DT * torch.arange(stride, STEPS + 1, stride, device=like.device, dtype=like.dtype)
    return torch.exp(-when / weights.discount)


def _add(value: Tensor) -> Tensor:
    """Sum over the last dimension in a fixed order, whatever the batch."""
    total = value[..., 0]
    for i in range(1, value.shape[-1]):
        total = total + value[..., i]
    return total


def _mean(value: Tensor) -> Tensor:
    """Mean over the steps."""
    return _add(value) / value.shape[-1]


def comfort(mine: Trajectory, before: Tensor) -> Tensor:
    """Mean square of accelerations and jerk, each in units of its bound of comfort, and what is beyond the bounds tenfold; (B, N).

    before (B, 1) m/s^2: acceleration now.
    """
    lateral = mine.speed * mine.speed * mine.curvature
    first = torch.cat([before.expand(mine.accel.shape[:-1]).unsqueeze(-1), mine.accel[..., :-1]], dim=-1)
    jerk = (mine.accel - first) / DT
    lon = torch.where(mine.accel > 0.0, mine.accel / LON_ACCEL, mine.accel / LON_BRAKE).abs()
    cost = torch.zeros_like(lon)
    for share in (lon, (lateral / LAT_ACCEL).abs(), (jerk / JERK).abs()):
        cost = cost + share * share + 10.0 * (share - 1.0).clamp(min=0.0)
    return _mean(cost)


def infeasible(mine: Trajectory, ego: Ego) -> Tensor:
    """By how much the vehicle cannot do it, (B, N): mean excess of acceleration, braking and lateral acceleration in m/s^2, and curvature.

    The curvature that the wheels cannot turn counts as lateral acceleration at 10 m/s.
    """
    tightest = (torch.tan(ego.steer_max) / ego.wheelbase).view(-1, 1, 1)
    hard = (mine.accel - ego.accel_max.view(-1, 1, 1)).clamp(min=0.0) + (-ego.brake_max.view(-1, 1, 1) - mine.accel).clamp(min=0.0)
    tight = 100.0 * (mine.curvature.abs() - tightest).clamp(min=0.0) * (mine.speed > 0.5)
    return _mean(hard + tight)


def off_road(mine: Trajectory, ego: Ego, place: Place, counts: Tensor, stride: int = 2) -> Tensor:
    """Metres by which the worst corner leaves the drivable surface less KERB, at the worst of every `stride`-th step; (B, N).

    counts (B, N, S) bool: steps that count; beyond the end of the map there is no road.
    """
    x, y, c, s = (part[..., stride - 1 :: stride].unsqueeze(-1) for part in mine[:4])  # (B, N, S / stride, 1)
    half_l, half_w = 0.5 * ego.length.view(-1, 1, 1, 1), 0.5 * ego.width.view(-1, 1, 1, 1)
    ahead, left = torch.cat([half_l, half_l, -half_l, -half_l], dim=-1), torch.cat([half_w, -half_w, half_w, -half_w], dim=-1)
    px, py = x + ahead * c - left * s, y + ahead * s + left * c
    ec, es = ego.cos.view(-1, 1, 1, 1), ego.sin.view(-1, 1, 1, 1)
    wx, wy = ego.x.view(-1, 1, 1, 1) + px * ec - py * es, ego.y.view(-1, 1, 1, 1) + px * es + py * ec
    edge = drivable_distance(place.maps, place.map_id, wx, wy)
    out = (KERB - edge).clamp(min=0.0).amax(-1)
    return torch.where(counts[..., stride - 1 :: stride], out, 0.0).amax(-1)


def speeding(mine: Trajectory, limit: Tensor) -> Tensor:
    """Mean excess over the limit at each step (B, N, S) m/s; (B, N)."""
    return _mean((mine.speed - limit).clamp(min=0.0))


def weighed(weights: Weights, **terms: Tensor) -> Costs:
    """The terms times their weights."""
    return Costs(**{name: getattr(weights, name) * value for name, value in terms.items()})
