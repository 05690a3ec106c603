"""Who is parked beside the lane, where that is not known exactly.

Shapes: B worlds, T tracks. Ego frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import Scene
from agents.planners.route import OWN, to_frenet
from scenarios.kinds import Kind

__all__ = ["parked"]

STANDS, SLOW = 0.3, 2.5  # m/s: who stands, and who surely does not
SURELY = 2.0  # standard deviations of the speed by which that is surpassed
BLURRED = 0.75  # m, at most, as far inside the lane may the middle be believed of who is beside it
ALONG = 0.5  # sine of the angle to the lane
KNOWN = 0.05  # m, standard deviation of a place that is known exactly


def parked(scene: Scene) -> Tensor:
    """Which tracks are vehicles that stand along the ego's lane with their middles beside it, as far as anybody can tell; (B, T) bool.

    Where speeds and places are blurred, people drive past such a row all the same: nobody parks in the lane. What is known exactly is no
    matter of belief, so on `truth` and `visible` there are none.
    """
    tracks, route = scene.tracks, scene.route
    x, y, vx, vy = (part.contiguous() for part in tracks.mean.unbind(-1))
    doubt = torch.sqrt(0.5 * (tracks.covariance[..., 0, 0] + tracks.covariance[..., 1, 1]).clamp(min=0.0))
    jitter = torch.sqrt(0.5 * (tracks.covariance[..., 2, 2] + tracks.covariance[..., 3, 3]).clamp(min=0.0))
    speed = torch.sqrt(vx * vx + vy * vy)
    stands = (speed <= STANDS + SURELY * jitter) & (speed < SLOW)
    _, d, c, s = (part[:, OWN] for part in to_frenet(route, x, y))
    turned = torch.sin(tracks.yaw) * c - torch.cos(tracks.yaw) * s
    beside = d.abs() > 0.5 * route.width[:, OWN : OWN + 1] - doubt.clamp(max=BLURRED)
    return tracks.mask & (tracks.kind != int(Kind.PEDESTRIAN)) & stands & beside & (turned.abs() < ALONG) & (doubt > KNOWN)
