"""What a match looks like: colours and ornaments, drawn for each episode from its seed, so that who watches cannot learn them by heart.

Shapes: B worlds, P = 2 players, C channels: 3 of red, green and blue, or 1 of grey. Colours are 0 to 255, float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perception.rng import uniform

__all__ = ["LUMA", "Looks", "greyed", "plain", "random_looks"]

LOOKS = 100  # stream
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as cv2 and the usual wrappers of Atari make grey
CONTRAST = 90.0  # of luma, between the court and what moves on it, at least
NUMBERS = 48  # drawn for an episode


class Looks(NamedTuple):
    """Of B matches."""

    court: Tensor  # (B, C)
    shade: Tensor  # (B, 2) how much brighter the court is half a court to the right, and upwards
    strip: Tensor  # (B, C) above and around the court
    line: Tensor  # (B, C) walls, net and ring
    paddle: Tensor  # (B, P, C)
    ball: Tensor  # (B, C)
    mark: Tensor  # (B, C) for the points
    round: Tensor  # (B,) bool, a round ball; else a square one
    dash: Tensor  # (B,) length of a dash of the net and of a gap; 0: no net
    ring: Tensor  # (B,) radius of the ring in the middle; 0: none


def plain(count: int, device: torch.device | str = "cpu") -> Looks:
    """White on black, as games of this kind first were."""
    colour = torch.zeros((count, 3), device=device)
    one = torch.ones(count, device=device)
    return Looks(
        court=colour,
        shade=colour[:, :2],
        strip=colour,
        line=colour + 120.0,
        paddle=(colour + 255.0)[:, None].expand(-1, 2, -1),
        ball=colour + 255.0,
        mark=colour + 190.0,
        round=one < 0.0,
        dash=0.05 * one,
        ring=0.0 * one,
    )


def random_looks(seed: Tensor) -> Looks:
    """Of episodes `seed` (B,) int64. What moves differs from the court by CONTRAST in brightness, lines by less."""
    zero = torch.zeros_like(seed)[:, None]
    u = uniform(seed[:, None], zero, LOOKS, torch.arange(NUMBERS, device=seed.device))  # (B, NUMBERS)
    light = u[:, :1] < 0.3
    court = torch.where(light, 160.0 + 70.0 * u[:, 1:4], 24.0 + 70.0 * u[:, 1:4])  # leaves room for the shade
    strip = torch.where(u[:, 4:5] < 0.5, court, torch.where(light, 150.0 + 90.0 * u[:, 5:8], 5.0 + 90.0 * u[:, 5:8]))
    most = court + 0.5 * CONTRAST * torch.where(light, -1.0, 1.0)
    left, right, ball, mark = (_against(court, 255.0 * u[:, k : k + 3], light) for k in (8, 11, 14, 17))
    right = torch.where(u[:, 20:21] < 0.4, left, right)  # often players are alike
    ball = torch.where(u[:, 21:22] < 0.3, left, ball)
    line = court + (most - court) * (0.3 + 0.7 * u[:, 22:23])
    return Looks(
        court=court,
        shade=24.0 * (u[:, 23:25] - 0.5),
        strip=strip,
        line=line,
        paddle=torch.stack((left, right), 1),
        ball=ball,
        mark=strip + (mark - strip) * 0.8,
        round=u[:, 25] < 0.5,
        dash=torch.where(u[:, 26] < 0.15, 0.0, 0.03 + 0.07 * u[:, 27]),
        ring=torch.where(u[:, 28] < 0.5, 0.0, 0.12 + 0.3 * u[:, 29]),
    )


def greyed(looks: Looks) -> Looks:
    """The same in grey: C = 1. As colours are mixed linearly, grey pictures are those that colour ones become."""
    weights = torch.tensor(LUMA, device=looks.court.device)
    parts = {name: (getattr(looks, name) * weights).sum(-1, keepdim=True) for name in ("court", "strip", "line", "paddle", "ball", "mark")}
    return looks._replace(**parts)


def _against(court: Tensor, colour: Tensor, light: Tensor) -> Tensor:
    """A colour (B, 3) mixed with white, on light courts with black, until it stands out from the court (B, 3)."""
    weights = torch.tensor(LUMA, device=court.device)
    ground, own = ((part * weights).sum(-1, keepdim=True) for part in (court, colour))
    above = ((ground + CONTRAST - own) / (255.0 - own).clamp(min=1.0)).clamp(0.0, 1.0)
    below = ((ground - CONTRAST) / own.clamp(min=1.0)).clamp(0.0, 1.0)
    return torch.where(light, colour * below, colour + (255.0 - colour) * above)
