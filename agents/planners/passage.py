"""A goal to be driven through at a given time: which speeds lead there, and by how much a trajectory misses it.

Recorded scenarios ask for it: a place about as long as a car, with bounds on the time of arrival, on speed and on heading.
Shapes: B worlds, L paths, V speeds, S steps, M moments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Passage, Route, Trajectory
from agents.planners.proposals import REST
from agents.planners.route import at, to_frenet

__all__ = ["missed", "shares_for", "stations", "waits_at"]

MOMENTS = 11  # M, over the goal's window
FASTER, SLOWER = 1.2, 2.0  # m/s^2, by which speed will be mended after the trajectory's end
ASKEW = 20.0  # m that a radian of heading too much counts
EFFORT = 0.05  # m that each (m/s^2)^2 of mending counts
SPARE = 0.8  # share of the place's size, and of the tolerance of heading, that is aimed at
SIGHT = 8.0  # m beside a path, beyond which the goal is not on it
SOON = 0.1  # s
TINY = 1e-3


def stations(passage: Passage, route: Route) -> Tensor:
    """Metres along each path (B, R) to the goal's middle; straight on where the path is not seen to lead by it."""
    s, d, _, _ = to_frenet(route, passage.x.unsqueeze(1), passage.y.unsqueeze(1))
    straight = torch.sqrt(passage.x * passage.x + passage.y * passage.y)
    return torch.where(d[..., 0].abs() < SIGHT, s[..., 0], straight.unsqueeze(1))


def shares_for(passage: Passage, route: Route, s: Tensor, shares: Tensor) -> Tensor:
    """Shares of the limit to propose, (B, L, V): `shares` (V,), but where there is a goal to drive through at a time, rest, the mean
    speeds that lead there late, between and early, and the limit. Who may stand there is not slowed, but waits for it to open.
    s (B, L) of the goal. Raises ValueError unless V is 5.
    """
    if len(shares) != 5:
        raise ValueError(f"{len(shares)} shares; expected 5: rest, three speeds, the limit")
    (limit,) = at(torch.zeros_like(s), route.limit)
    late, early = passage.closes.clamp(min=SOON), passage.opens.clamp(min=SOON)
    times = torch.stack([late, 0.5 * (late + early), early], dim=1)  # (B, 3)
    speed = s.clamp(min=0.0).unsqueeze(2) / times.unsqueeze(1)
    asked = (speed / limit.unsqueeze(2)).clamp(max=1.0)
    zero = torch.zeros_like(asked[..., :1])
    there = torch.cat([zero, asked, zero + 1.0], dim=2)
    return torch.where((passage.wanted & (passage.slow > 0.0)).view(-1, 1, 1), there, shares)


def waits_at(passage: Passage, s: Tensor) -> Tensor:
    """Metres along each path (B, L) to go before resting so as to stand in the place until it opens; +inf: there is no
    need to, one may not stand there, or it has been passed. s (B, L) of the goal.
    """
    rests = (passage.wanted & (passage.slow <= 0.0) & (passage.opens > 0.0)).unsqueeze(1)
    return torch.where(rests & (s > -passage.half_length.unsqueeze(1)), (s + REST).clamp(min=0.0), torch.inf)


def missed(passage: Passage, s: Tensor, driven: Trajectory, along: Tensor) -> Tensor:
    """By how much each trajectory misses the goal, (B, L, V): metres outside the place, plus m/s outside the bounds of speed, plus ASKEW
    times the heading outside its tolerance, at the best moment of the window; 0 where there is no such goal.

    s (B, L) m of the goal; driven, along (B, L, V, S) trajectories and where they are on their paths. A moment after the trajectory's
    end counts as if speed changed evenly from there on, by SLOWER or FASTER at most, so as to be in the place then.
    """
    share = (torch.arange(MOMENTS, device=s.device, dtype=s.dtype) + 0.5) / MOMENTS
    opens, closes = passage.opens.clamp(min=0.0).unsqueeze(1), passage.closes.clamp(min=0.0).unsqueeze(1)
    moment = opens + (closes - opens) * share  # (B, M) s
    apart = ((closes - opens) / MOMENTS).view(-1, 1, 1, 1)  # who is in the place between two moments is in it
    later = (moment - DT * STEPS).clamp(min=0.0).view(-1, 1, 1, MOMENTS)
    last = (moment > DT * STEPS).view(-1, 1, 1, MOMENTS)
    step = (moment / DT - 1.0).clamp(0.0, STEPS - 1.0)
    low = step.to(torch.int64).clamp(max=STEPS - 2)
    part = (step - low).view(-1, 1, 1, MOMENTS)

    def then(value: Tensor) -> Tensor:
        row = low.view(-1, 1, 1, MOMENTS).expand(*value.shape[:3], MOMENTS)
        before = value.gather(3, row)
        return before + part * (value.gather(3, row + 1) - before)

    def wide(value: Tensor) -> Tensor:
        return value.view(-1, 1, 1, 1)

    speed = then(driven.speed)
    dx, dy = then(driven.x) - wide(passage.x), then(driven.y) - wide(passage.y)
    ahead, left = dx * wide(passage.cos) + dy * wide(passage.sin), dy * wide(passage.cos) - dx * wide(passage.sin)
    turned = torch.atan2(then(driven.sin), then(driven.cos)) - wide(passage.heading)
    askew = (torch.remainder(turned + torch.pi, 2.0 * torch.pi) - torch.pi).abs() - SPARE * wide(passage.tolerance)
    aside = (left.abs() - SPARE * wide(passage.half_width)).clamp(min=0.0) + ASKEW * askew.clamp(min=0.0)
    togo = s[..., None, None] - then(along)  # from the trajectory's end, for moments after it
    even = 2.0 * (togo - speed * later) / later.clamp(min=DT).square()
    halt = -0.5 * speed * speed / togo.clamp(min=TINY)
    needed = torch.where(speed + even * later < 0.0, halt, even).clamp(-SLOWER, FASTER)
    spent = torch.where(needed < 0.0, torch.minimum(later, speed / needed.abs().clamp(min=TINY)), later)
    togo = togo - speed * spent - 0.5 * needed * spent * spent
    arrives = torch.where(last, speed + needed * spent, speed)
    off = torch.where(last, togo, ahead).abs() - SPARE * wide(passage.half_length) - 0.5 * arrives.clamp(min=0.0) * apart
    outside = (wide(passage.slow) - arrives).clamp(min=0.0) + (arrives - wide(passage.fast)).clamp(min=0.0)
    cost = off.clamp(min=0.0) + outside + torch.where(last, EFFORT * needed * needed, aside)
    return torch.where(passage.wanted.view(-1, 1, 1), cost.amin(-1), 0.0)
