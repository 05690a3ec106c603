"""Who stands: a second model beside the filter of `filter.py`, and the chance that it is the right one.

Two models interact (the IMM of Blom and Bar-Shalom, IEEE Transactions on Automatic Control 33(8), 1988): one moves with white-noise
acceleration, one keeps its place. A filter that has to follow ordinary braking knows velocities to 1 or 2 m/s at best, as its noise is
that of things that brake; whoever has been seen at one place for seconds is known to stand, and where, far better.

Things change from one model to the other with constant rates, so that over any time the chances are those of a Markov chain of two
states, and what each model starts from is mixed accordingly. Velocities of the standing model are zero, exactly. Other than in that paper,
who moves comes to rest with a rate that falls with his speed, as exp(-v^2 / 2 SLOW^2), in the mean over what is known of it, as if that
were known equally well in all directions.

Detectors misjudge what they see from one side by the same amount time and again, so of a measurement only a share (`TrackerConfig.news`)
counts, for the chances and for the place of what stands. Whoever is beside the roads, where these are known, is likelier to stand when he
is met (`KindModel.parks`) and drives off later (`TrackerConfig.leaves`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from perception.tracking.filter import Symmetric, Target
from perception.types import Roads

__all__ = ["Standing", "beside", "blurred", "combined", "interacting", "weighed"]

SLOW = 2.0  # m/s: the faster a thing is, the less likely it is to have come to rest since the last time
LANE = 1.75  # m, half the width of a lane, which `Roads` do not tell: 3.5 m are usual
WALKWAY = 2  # `Roads.kind`
LEAST = 1e-6  # chance of either model: what is certain could never be unlearned


class Standing(NamedTuple):
    """The standing model of every track, all (B, T)."""

    chance: Tensor  # probability that the thing stands
    at: Target  # place as the standing model has it; velocities and all that belongs to them are 0
    aside: Tensor  # probability that it is beside all lanes, when these were last known; else 0


def interacting(moves: Target, stands: Standing, dt: Tensor, starts: Tensor, stops: float, able: Tensor) -> tuple[Target, Standing]:
    """What both models start from, `dt` (B, 1) s after the last time, before they are moved on: mixed by the chances of changes in between.

    starts (B, T), stops: mean time, s, until a standing thing drives off, and until one that hardly moves comes to rest.
    able (B, T) bool: things that may stand at all.
    """
    rate = 1.0 / starts + 1.0 / stops
    fades = 1.0 - torch.exp(-rate * dt)  # share of the way to the long-term chances
    go, stop = fades / (starts * rate), fades / (stops * rate)
    chance = torch.where(able, stands.chance, 0.0)
    spread = SLOW**2 + 0.5 * (moves.vxx + moves.vyy)
    slow = SLOW**2 / spread * torch.exp(-0.5 * (moves.vx * moves.vx + moves.vy * moves.vy) / spread)
    stays, halts = chance * (1.0 - go), torch.where(able, (1.0 - chance) * stop * slow, 0.0)
    now = stays + halts
    stood = chance * go / (1.0 - now).clamp(min=LEAST)  # that what moves now has stood
    moved = halts / now.clamp(min=LEAST)  # that what stands now has moved
    return _mixed(stands.at, moves, stood), Standing(now, _mixed(_halted(moves), stands.at, moved), stands.aside)


def weighed(moves: Target, stands: Standing, x: Tensor, y: Tensor, noise: Symmetric, news: float) -> Tensor:
    """The chance (B, T) that a thing stands after its place was measured at (x, y) m with covariance `noise` m^2, of which only the share
    `news` is independent of what was measured before."""
    ahead = news * (_log_density(stands.at, x, y, noise) - _log_density(moves, x, y, noise))
    chance = stands.chance.clamp(0.0, 1.0 - LEAST)
    odds = chance / (1.0 - chance) * torch.exp(ahead.clamp(-30.0, 30.0))
    return torch.where(stands.chance > 0.0, (odds / (1.0 + odds)).clamp(LEAST, 1.0 - LEAST), 0.0)


def beside(x: Tensor, y: Tensor, noise: Symmetric, roads: Roads) -> Tensor:
    """Probability (B, D) that (x, y) m, known with covariance `noise` m^2, is beside all lanes of `roads`, which are those nearest to
    the ego; 0 where there are none."""
    there = roads.mask & (roads.kind != WALKWAY)
    px, py, pc, ps = (part.flatten(1) for part in roads.points.unbind(-1))  # (B, J * P)
    dx, dy = x.unsqueeze(2) - px.unsqueeze(1), y.unsqueeze(2) - py.unsqueeze(1)
    lane = there.unsqueeze(2).expand(roads.points.shape[:3]).flatten(1).unsqueeze(1)
    nearest = torch.where(lane, dx * dx + dy * dy, torch.inf).argmin(-1)
    c, s = pc.gather(1, nearest), ps.gather(1, nearest)
    across = (y - py.gather(1, nearest)) * c - (x - px.gather(1, nearest)) * s
    doubt = torch.sqrt((noise.xx * s * s - 2.0 * noise.xy * s * c + noise.yy * c * c).clamp(min=1e-6))
    return torch.where(there.any(1, keepdim=True), torch.special.ndtr((across.abs() - LANE) / doubt), 0.0)


def blurred(noise: Symmetric, news: float) -> Symmetric:
    """The covariance of what is news in a measurement: errors that last for a while make many measurements worth a share of as many."""
    return Symmetric(noise.xx / news, noise.xy / news, noise.yy / news)


def combined(moves: Target, stands: Standing) -> Target:
    """One mean and covariance (B, T) of both models, m and m/s."""
    return _mixed(stands.at, moves, stands.chance)


def _halted(target: Target) -> Target:
    """The same places (B, T), without any velocity."""
    zero = torch.zeros_like(target.x)
    return target._replace(**dict.fromkeys(("vx", "vy", "cxx", "cxy", "cyx", "cyy", "vxx", "vxy", "vyy"), zero))


def _mixed(a: Target, b: Target, share: Tensor) -> Target:
    """Mean and covariance of the mixture of `a`, with probability `share` (B, T), and `b`."""
    rest = 1.0 - share
    both = share * rest
    dx, dy, du, dv = a.x - b.x, a.y - b.y, a.vx - b.vx, a.vy - b.vy
    mean = Target(*(share * one + rest * other for one, other in zip(a, b, strict=True)))
    return mean._replace(
        pxx=mean.pxx + both * dx * dx,
        pxy=mean.pxy + both * dx * dy,
        pyy=mean.pyy + both * dy * dy,
        cxx=mean.cxx + both * dx * du,
        cxy=mean.cxy + both * dx * dv,
        cyx=mean.cyx + both * dy * du,
        cyy=mean.cyy + both * dy * dv,
        vxx=mean.vxx + both * du * du,
        vxy=mean.vxy + both * du * dv,
        vyy=mean.vyy + both * dv * dv,
    )


def _log_density(target: Target, x: Tensor, y: Tensor, noise: Symmetric) -> Tensor:
    """Of measuring the place (x, y) (B, T) m with covariance `noise` m^2; natural logarithm, per m^2."""
    sxx, sxy, syy = target.pxx + noise.xx, target.pxy + noise.xy, target.pyy + noise.yy
    det = (sxx * syy - sxy * sxy).clamp(min=1e-12)
    ex, ey = x - target.x, y - target.y
    squared = (syy * ex * ex - 2.0 * sxy * ex * ey + sxx * ey * ey) / det
    return -0.5 * (squared + torch.log(det)) - math.log(2.0 * math.pi)
