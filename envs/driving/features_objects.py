"""The nearest objects as a perception stack could report them, and where they are relative to the ego's route.

Shapes: B worlds, N learners, O objects to choose from, K objects shown, M modes of a forecast, P route points.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.features import LANE, NEAR, NEVER, POSITION, SPEED, Ahead, Frame, Points, pack, squash, to_ego
from envs.driving.objects import FORECAST_AT, Belief, Objects
from scenarios.kinds import Kind

__all__ = ["OBJECT_FEATURES", "Found", "belief_names", "object_features"]

TIME = 3.0  # s, half scale of times
KINDS = tuple((kind.name.lower(), int(kind)) for kind in Kind)  # torch.compile does not look into enumerations on every Python

OBJECT_FEATURES = (
    "present",
    "x",  # ego frame, / POSITION
    "y",
    "cos",  # of its heading relative to the ego's
    "sin",
    "vx",  # its velocity minus the ego's, in the ego frame, / SPEED
    "vy",
    "speed",  # its own, along its heading, / SPEED
    "length",  # / 10 m
    "width",  # / 3 m
    "car",  # kind, one-hot
    "truck",
    "bus",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "route_s",  # route coordinates, / POSITION
    "route_d",  # squash(m, LANE)
    "route_vs",  # velocity along the route and towards its left, / SPEED
    "route_vd",
    "cross_time",  # squash(s until it reaches the route's centre, moving straight on, TIME); 1: never
    "cross_s",  # where on the route that will be, / POSITION; 0: never
    "meet",  # squash(m to the place where the ego must give way next, NEAR); 1: there is none
    "meet_speed",  # its speed towards that place, / SPEED
)


def belief_names(modes: int) -> tuple[str, ...]:
    """Further features of an object where forecasts are asked for: how sure one is of it, and where it may be at FORECAST_AT.

    sigma_x, sigma_y: squash(m, 1) in the ego frame; score 0..1; of each mode its probability, and x, y in the ego frame / POSITION.
    """
    if modes == 0:
        return ()
    each = [
        name for m in range(1, modes + 1) for name in (f"mode{m}", *(f"{axis}{t:.0f}s_mode{m}" for t in FORECAST_AT for axis in ("x", "y")))
    ]
    return ("sigma_x", "sigma_y", "score", *each)


class Found(NamedTuple):
    """The objects chosen, in route coordinates, for the lane features. All (B, N, K)."""

    present: Tensor  # bool
    s: Tensor  # m
    d: Tensor  # m
    vs: Tensor  # m/s
    length: Tensor  # m
    width: Tensor  # m


def object_features(objects: Objects, frame: Frame, points: Points, ahead: Ahead, nearest: int) -> tuple[Tensor, Found]:
    """The `nearest` objects of those seen, closest first. Returns (B, N, K, F) and their route coordinates.

    F: OBJECT_FEATURES, and `belief_names` where the objects come with a belief.
    """
    n, count = frame.x.shape[1], objects.x.shape[1]
    shown = min(nearest, count)
    gap2 = (objects.x.unsqueeze(1) - frame.x.unsqueeze(2)) ** 2 + (objects.y.unsqueeze(1) - frame.y.unsqueeze(2)) ** 2  # (B, N, O)
    gap2, slot = torch.topk(torch.where(objects.seen, gap2, torch.inf), shown, dim=-1, largest=False, sorted=True)
    present = torch.isfinite(gap2)
    columns = (*objects[:7], objects.kind.to(gap2.dtype))
    table = torch.stack(columns, dim=-1)  # (B, O, 8)
    picked = table.gather(1, slot.flatten(1).unsqueeze(-1).expand(-1, -1, len(columns)))
    picked = picked.view(-1, n, shown, len(columns))
    x, y, c, s, speed, length, width, kind = torch.where(present.unsqueeze(-1), picked, 0.0).unbind(-1)

    x, y = to_ego(frame, x - frame.x.unsqueeze(-1), y - frame.y.unsqueeze(-1))
    c, s = to_ego(frame, c, s)
    vx, vy = speed * c, speed * s
    near = ((x.unsqueeze(-1) - points.x.unsqueeze(2)) ** 2 + (y.unsqueeze(-1) - points.y.unsqueeze(2)) ** 2).argmin(-1)  # (B, N, K)
    px, py, pc, ps = (part.gather(-1, near) for part in (points.x, points.y, points.cos, points.sin))
    route_s = points.s[near] + (x - px) * pc + (y - py) * ps
    route_d = (y - py) * pc - (x - px) * ps
    vs, vd = vx * pc + vy * ps, vy * pc - vx * ps
    closing = route_d * vd < 0
    cross_time = torch.where(closing, route_d.abs() / vd.abs().clamp(min=1e-3), NEVER)
    to_meet_x, to_meet_y = points.meet_x.unsqueeze(-1) - x, points.meet_y.unsqueeze(-1) - y
    to_meet = torch.sqrt(to_meet_x * to_meet_x + to_meet_y * to_meet_y)
    gives_way = torch.isfinite(ahead.yield_at).unsqueeze(-1)

    route = {
        "route_s": route_s / POSITION,
        "route_d": squash(route_d, LANE),
        "route_vs": vs / SPEED,
        "route_vd": vd / SPEED,
        "cross_time": squash(cross_time, TIME),
        "cross_s": torch.where(closing, (route_s + vs * cross_time) / POSITION, 0.0),
    }
    route = {name: torch.where(points.on_lane.unsqueeze(-1), value, 0.0) for name, value in route.items()}
    values = {
        "present": torch.ones_like(x),
        "x": x / POSITION,
        "y": y / POSITION,
        "cos": c,
        "sin": s,
        "vx": (vx - frame.speed.unsqueeze(-1)) / SPEED,
        "vy": vy / SPEED,
        "speed": speed / SPEED,
        "length": length / 10.0,
        "width": width / 3.0,
        **{name: (kind == value).to(x.dtype) for name, value in KINDS},
        **route,
        "meet": torch.where(gives_way, squash(to_meet, NEAR), 1.0),
        "meet_speed": torch.where(gives_way, (vx * to_meet_x + vy * to_meet_y) / to_meet.clamp(min=0.1) / SPEED, 0.0),
    }
    packed = pack(OBJECT_FEATURES, values)
    if objects.belief is not None:
        packed = torch.cat([packed, _belief(objects.belief, frame, slot)], dim=-1)
    features = torch.where(present.unsqueeze(-1), packed, 0.0)
    features = torch.nn.functional.pad(features, (0, 0, 0, nearest - shown))
    return features, Found(present & points.on_lane.unsqueeze(-1), route_s, route_d, vs, length, width)


def _belief(belief: Belief, frame: Frame, slot: Tensor) -> Tensor:
    """The features of `belief_names` for the objects chosen, (B, N, K, .)."""
    rows = torch.arange(slot.shape[0], device=slot.device)[:, None, None]
    probability, x, y = belief.probability[rows, slot], belief.x[rows, slot], belief.y[rows, slot]  # (B, N, K, M), (B, N, K, M, 3) twice
    x, y = to_ego(frame, x - frame.x[..., None, None, None], y - frame.y[..., None, None, None])
    places = torch.stack([x, y], dim=-1).flatten(-2) / POSITION  # (B, N, K, M, 6)
    modes = torch.cat([probability.unsqueeze(-1), places], dim=-1).flatten(-2)
    return torch.cat([squash(belief.sigma[rows, slot], 1.0), belief.score[rows, slot].unsqueeze(-1), modes], dim=-1)
