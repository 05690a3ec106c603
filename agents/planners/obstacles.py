"""What the ego may run into: the likeliest futures of every track as boxes with doubt, one for each step of a trajectory.

Shapes: B worlds, T tracks, M modes kept, H futures, S steps, F times of a forecast, R paths. Ego frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Ego, Route, Scene
from agents.planners.route import OWN, nearest, to_frenet

__all__ = ["MODES", "Obstacles", "OnPath", "followers", "obstacles", "on_path"]

MODES = 3  # M
SEARCH = 4  # of so many steps one looks for the nearest point of a path
MOVES = 0.3  # m/s, below which a box keeps its heading
AXLES = 0.6  # wheelbase of a vehicle, of its length
DOUBT = 1.5  # m, as much smaller at most is the box of who stands, out of the ego's way, and lets it go
LEAST = 0.3  # m, half its length and width at least
TIGHT = 0.2  # 1/m, the most that a forecast is believed to bend


class Obstacles(NamedTuple):
    """Futures of tracks."""

    x: Tensor  # (B, H, S) m
    y: Tensor
    cos: Tensor  # (B, H, S) of the heading
    sin: Tensor
    xx: Tensor  # (B, H, S) m^2, covariance of the place
    xy: Tensor
    yy: Tensor
    half_length: Tensor  # (B, H) m
    half_width: Tensor
    weight: Tensor  # (B, H) probability of this future times belief that the thing exists; 0: leave it out


def obstacles(scene: Scene, trusted: Tensor, stays: Tensor | None = None, *, every: bool = False) -> Obstacles:
    """The MODES likeliest futures of every track, their probabilities scaled to add up to 1. trusted (B, T): those to leave out.
    stays (B, T): those that are taken to stay where they are, whatever is forecast. They have stopped to let the ego go, so of the places
    where they may be those out of its way are likelier: their boxes are smaller by what is not known of them (`_doubt`).
    Who is parked (`Scene.parked`) stays, too, in his size.

    Left out besides: who follows the ego in its lane. Keeping that distance is up to him, and forecasts do not know that he will. There are
    as many futures as the world with most of them has, what is too much elsewhere weighs 0: a handful of the T M that may be. every: all
    T M, track by track, those left out too.
    """
    tracks, forecasts = scene.tracks, scene.forecasts
    probability, best = forecasts.probability.sort(dim=-1, descending=True, stable=True)
    probability, best = probability[..., :MODES], best[..., :MODES]
    total = probability[..., 0] + probability[..., 1] + probability[..., 2]
    probability = probability / total.clamp(min=1e-6).unsqueeze(-1)
    exists = torch.where(tracks.mask & ~trusted & ~followers(scene), tracks.score, 0.0)
    weight = (exists.unsqueeze(-1) * probability).flatten(1)  # (B, T M)
    rows = torch.arange(weight.shape[1], device=weight.device).expand_as(weight) if every else _there(weight)  # (B, H)
    track = torch.div(rows, MODES, rounding_mode="floor")
    future = track * forecasts.probability.shape[2] + best.flatten(1).gather(1, rows)  # among all modes of all tracks
    mean = _pick(forecasts.mean.flatten(1, 2), future)  # (B, H, F, 2)
    spread = _pick(forecasts.covariance.flatten(1, 2).flatten(-2), future)  # (B, H, F, 4)
    now = _pick(tracks.mean[..., :2], track).unsqueeze(2)
    doubt = _pick(tracks.covariance[..., :2, :2].flatten(-2), track).unsqueeze(2)
    lets = torch.zeros_like(track, dtype=torch.bool) if stays is None else stays.gather(1, track)
    still = lets if scene.parked is None else lets | scene.parked.gather(1, track)
    mean = torch.where(still[..., None, None], now, mean)
    low, share = _steps(forecasts.time)
    x, y = (part.contiguous() for part in _between(torch.cat([now, mean], dim=2), low, share).unbind(-1))  # (B, H, S)
    xx, xy, _, yy = (part.contiguous() for part in _between(torch.cat([doubt, spread], dim=2), low, share).unbind(-1))
    dx, dy = (place - torch.cat([begin, place[..., :-1]], dim=-1) for place, begin in ((x, now[..., 0]), (y, now[..., 1])))
    step = torch.sqrt(dx * dx + dy * dy)
    moves, step = step > MOVES * DT, step.clamp(min=1e-6)
    yaw = _pick(tracks.yaw, track).unsqueeze(2)
    half = 0.5 * _pick(tracks.size[..., :2], track)
    smaller = torch.minimum(half, (half - _doubt(doubt[:, :, 0], yaw[..., 0])).clamp(min=LEAST))
    half = torch.where(lets.unsqueeze(2), smaller, half)
    xx, xy, yy = (torch.where(still.unsqueeze(2), 0.0, part) for part in (xx, xy, yy))
    px, py = _out_of_the_ego(now[:, :, 0], doubt[:, :, 0], yaw[..., 0], half, scene.ego)
    x, y = x + px.unsqueeze(2), y + py.unsqueeze(2)
    cos, sin = _headings(dx / step, dy / step, step, half[..., :1])
    return Obstacles(
        x=x,
        y=y,
        cos=torch.where(moves, cos, torch.cos(yaw)),
        sin=torch.where(moves, sin, torch.sin(yaw)),
        xx=xx,
        xy=xy,
        yy=yy,
        half_length=half[..., 0].contiguous(),
        half_width=half[..., 1].contiguous(),
        weight=weight.gather(1, rows),
    )


def _doubt(covariance: Tensor, yaw: Tensor) -> Tensor:
    """Standard deviations (B, H, 2) along and across boxes that point to `yaw` (B, H), no more than DOUBT; covariance (B, H, 4)."""
    xx, xy, _, yy = covariance.unbind(-1)
    c, s = torch.cos(yaw), torch.sin(yaw)
    along, across = xx * c * c + 2.0 * xy * c * s + yy * s * s, xx * s * s - 2.0 * xy * c * s + yy * c * c
    return torch.stack((along, across), -1).clamp(min=0.0).sqrt().clamp(max=DOUBT)


def _out_of_the_ego(place: Tensor, covariance: Tensor, yaw: Tensor, half: Tensor, ego: Ego) -> tuple[Tensor, Tensor]:
    """By how much (B, H) m, along x and y, boxes are further away than they are believed to be, as nobody is where the ego is.

    Straight away from its middle, by no more than three standard deviations: what is known exactly stays where it is. Rectangles around
    the boxes along the ego's axes are what is compared. place and half (B, H, 2), covariance (B, H, 4), yaw (B, H).
    """
    (x, y), (length, width) = place.unbind(-1), half.unbind(-1)
    c, s = torch.cos(yaw).abs(), torch.sin(yaw).abs()
    free_x = ((0.5 * ego.length).unsqueeze(1) + length * c + width * s) / x.abs().clamp(min=1e-3)  # times as far as now
    free_y = ((0.5 * ego.width).unsqueeze(1) + length * s + width * c) / y.abs().clamp(min=1e-3)
    sigma = (covariance[..., 0] + covariance[..., 3]).clamp(min=0.0).sqrt()
    most = 3.0 * sigma / (x * x + y * y).sqrt().clamp(min=1e-3)
    more = torch.minimum((torch.minimum(free_x, free_y) - 1.0).clamp(min=0.0), most)
    return more * x, more * y


def _headings(cos: Tensor, sin: Tensor, step: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Of the directions (B, H, S) in which the middles of boxes move, `step` m each, where the boxes point: cos and sin.

    In a bend a vehicle points less far into it than its middle moves, by the sideslip of the bicycle model,
    atan(bend * wheelbase / 2): a few degrees for a car, and what makes a truck swing out over the middle of the road. half (B, H, 1).
    """
    turn = cos[..., :-1] * sin[..., 1:] - sin[..., :-1] * cos[..., 1:]
    turn = torch.cat([turn[..., :1], turn], dim=-1)
    slip = torch.atan(AXLES * half * (turn / step).clamp(-TIGHT, TIGHT))
    c, s = torch.cos(slip), torch.sin(slip)
    return cos * c + sin * s, sin * c - cos * s


def _there(weight: Tensor) -> Tensor:
    """The rows (B, H) of those that weigh something, in their order, and then of others; at least one."""
    gone = weight <= 0.0
    rows = gone.to(torch.uint8).sort(dim=1, stable=True).indices
    return rows[:, : max(1, int((~gone).sum(1).amax()))] if len(gone) else rows


def _pick(value: Tensor, rows: Tensor) -> Tensor:
    return value.gather(1, rows.view(*rows.shape, *(1,) * (value.dim() - 2)).expand(-1, -1, *value.shape[2:]))


def followers(scene: Scene) -> Tensor:
    """Which tracks are behind the ego in its own corridor, (B, T) bool."""
    tracks, ego, route = scene.tracks, scene.ego, scene.route
    x, y = (part.contiguous() for part in tracks.mean[..., :2].unbind(-1))
    s, d, _, _ = (part[:, OWN] for part in to_frenet(route, x, y))
    beside = (d - route.d[:, OWN : OWN + 1]).abs() < 0.5 * (tracks.size[..., 1] + ego.width.unsqueeze(1))
    return beside & (s < -0.5 * ego.length.unsqueeze(1)) & (tracks.mean[..., 2] > -1.0)


def _steps(time: Tensor) -> tuple[Tensor, Tensor]:
    """For every step of a trajectory: which of the forecast's times, 0 being now, comes before it, and the share of the way to the next."""
    grid = torch.cat([torch.zeros_like(time[:1]), time])
    when = DT * torch.arange(1, STEPS + 1, device=time.device, dtype=time.dtype)
    low = ((when.unsqueeze(1) >= grid - 1e-4).sum(1) - 1).clamp(max=len(grid) - 2)
    return low, (when - grid[low]) / (grid[low + 1] - grid[low])


def _between(value: Tensor, low: Tensor, share: Tensor) -> Tensor:
    """(B, H, F + 1, .) at the steps, (B, H, S, .)."""
    before, after = value.index_select(2, low), value.index_select(2, low + 1)
    return before + share.unsqueeze(-1) * (after - before)


class OnPath(NamedTuple):
    """Obstacles in Frenet coordinates of paths, (B, R, H, S) each."""

    s: Tensor  # m
    d: Tensor  # m
    speed: Tensor  # m/s along the path
    reach_s: Tensor  # m, half the extent of the box along the path
    reach_d: Tensor  # m, and across
    sigma_s: Tensor  # m, standard deviation of the place along the path
    sigma_d: Tensor  # m, and across


def on_path(around: Obstacles, route: Route) -> OnPath:
    """Where the obstacles are relative to every path. Those left out are far away.

    A box that lies askew does not fill the rectangle around it: its reach is taken shorter by half_width |cos sin|, nothing where it lies
    along or across.
    """
    batch, count, steps = around.x.shape
    # looked for at every SEARCH-th step, and between in between
    found = nearest(route, around.x[..., SEARCH - 1 :: SEARCH].flatten(1), around.y[..., SEARCH - 1 :: SEARCH].flatten(1))
    guess = found.view(batch, -1, count, steps // SEARCH).repeat_interleave(SEARCH, dim=3)
    before = torch.cat([guess[..., :SEARCH], guess[..., :-SEARCH]], dim=-1)
    share = (torch.arange(steps, device=guess.device) % SEARCH + 1).to(guess.dtype) / SEARCH
    guess = (before + share * (guess - before)).flatten(2)
    s, d, c, sn = (part.view(batch, -1, count, steps) for part in to_frenet(route, around.x.flatten(1), around.y.flatten(1), guess))
    cos = around.cos.unsqueeze(1) * c + around.sin.unsqueeze(1) * sn
    sin = around.sin.unsqueeze(1) * c - around.cos.unsqueeze(1) * sn
    half_l, half_w = around.half_length[:, None, :, None], around.half_width[:, None, :, None]
    corner = (cos * sin).abs() * half_w
    xx, xy, yy = (part.unsqueeze(1) for part in (around.xx, around.xy, around.yy))
    gone = (around.weight <= 0.0)[:, None, :, None]
    before = torch.cat([s[..., :1], s[..., :-1]], dim=-1)
    speed = torch.where(torch.arange(steps, device=s.device) > 0, (s - before) / DT, (s[..., 1:2] - s[..., :1]) / DT)
    return OnPath(
        s=torch.where(gone, -1e4, s),
        d=torch.where(gone, 1e4, d),
        speed=speed,
        reach_s=cos.abs() * half_l + sin.abs() * half_w - corner,
        reach_d=sin.abs() * half_l + cos.abs() * half_w - corner,
        sigma_s=torch.sqrt((xx * c * c + 2.0 * xy * c * sn + yy * sn * sn).clamp(min=0.0)),
        sigma_d=torch.sqrt((xx * sn * sn - 2.0 * xy * c * sn + yy * c * c).clamp(min=0.0)),
    )
