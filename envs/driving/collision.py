"""Overlap of oriented boxes by the separating axis theorem (Gottschalk, Lin & Manocha, "OBBTree", SIGGRAPH 1996).

Boxes are closed sets and are never shrunk: touching counts as overlap (to float rounding), a box inside another overlaps it, and a
box of zero length or width is the segment or point it has become. Two convex polygons are disjoint if and only if one of the
normals of their sides separates them; for two boxes these are four axes, and on each of them the projections are known without
the corners: the distance of the centres against the sum of the projected half sizes.

Shapes: B worlds, A agents, N learners (the first N of A). Angles in rad, lengths in m; `length` along `yaw`.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["corners", "direction", "learner_overlap", "overlap", "pairwise_overlap", "separation", "stored", "stored_mask", "touching"]

NOWHERE = -1e9  # m, half the size of an absent agent: its box reaches nobody


def stored(tensor: Tensor) -> Tensor:
    """`tensor` as it is, kept as a tensor of its own.

    Under torch.compile what is computed for (B, A) agents and then used for (B, A, A) pairs would be fused into the loop over pairs and
    computed A times over (a cosine, say); `as_strided` makes the compiler store it first.
    """
    return torch.as_strided(tensor, tensor.size(), tensor.stride())


def stored_mask(mask: Tensor) -> Tensor:
    """bool `mask` as it is, kept as numbers: compiled loops read bools one at a time, numbers sixteen at once."""
    return stored(mask.to(torch.float32)) > 0.5


def direction(yaw: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of `yaw`, stored."""
    return stored(torch.cos(yaw)), stored(torch.sin(yaw))


def overlap(
    x1: Tensor,
    y1: Tensor,
    yaw1: Tensor,
    length1: Tensor,
    width1: Tensor,
    x2: Tensor,
    y2: Tensor,
    yaw2: Tensor,
    length2: Tensor,
    width2: Tensor,
) -> Tensor:
    """Whether box 1 and box 2 share a point, (...) bool; all arguments broadcast."""
    gap = separation(
        *(x1, y1, *direction(yaw1), 0.5 * length1, 0.5 * width1),
        *(x2, y2, *direction(yaw2), 0.5 * length2, 0.5 * width2),
    )
    return gap <= 0.0


def pairwise_overlap(x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor, valid: Tensor) -> Tensor:
    """Which agents overlap which, (B, A, A) bool: symmetric, False on the diagonal and wherever one of the two is not `valid`.

    All arguments (B, A).
    """
    return learner_overlap(x, y, yaw, length, width, valid, learners=x.shape[-1])


def learner_overlap(x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor, valid: Tensor, *, learners: int) -> Tensor:
    """The first `learners` rows of `pairwise_overlap`, (B, N, A) bool, at their share of the cost."""
    boxes = (x, y, *direction(yaw), 0.5 * length, 0.5 * width)
    hit = separation(*(a[..., :learners, None] for a in boxes), *(a[..., None, :] for a in boxes)) <= 0.0  # (B, N, A)
    slot = torch.arange(x.shape[-1], device=x.device)
    return hit & valid[..., :learners, None] & valid[..., None, :] & (slot[:learners, None] != slot)


def touching(x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor, valid: Tensor) -> Tensor:
    """Which agents overlap any other, (B, A) bool: `pairwise_overlap(...).any(-1)`, without its bool pairs, which a CPU stores slowly."""
    half_l, half_w = (stored(torch.where(valid, 0.5 * size, NOWHERE)) for size in (length, width))
    boxes = (x, y, *direction(yaw), half_l, half_w)
    gap = separation(*(a[..., :, None] for a in boxes), *(a[..., None, :] for a in boxes))  # (B, A, A)
    return valid & (torch.where(gap <= 0.0, 1.0, 0.0).sum(-1) > 1.5)  # everybody overlaps itself


def corners(x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor) -> Tensor:
    """Corners of boxes, (..., 4, 2) m, counter-clockwise: front left, rear left, rear right, front right."""
    along_x, along_y = 0.5 * length * torch.cos(yaw), 0.5 * length * torch.sin(yaw)  # centre to front
    left_x, left_y = -0.5 * width * torch.sin(yaw), 0.5 * width * torch.cos(yaw)  # centre to left side
    cx = torch.stack([x + along_x + left_x, x - along_x + left_x, x - along_x - left_x, x + along_x - left_x], dim=-1)
    cy = torch.stack([y + along_y + left_y, y - along_y + left_y, y - along_y - left_y, y + along_y - left_y], dim=-1)
    return torch.stack([cx, cy], dim=-1)


def separation(
    x1: Tensor,
    y1: Tensor,
    cos1: Tensor,
    sin1: Tensor,
    half_l1: Tensor,
    half_w1: Tensor,
    x2: Tensor,
    y2: Tensor,
    cos2: Tensor,
    sin2: Tensor,
    half_l2: Tensor,
    half_w2: Tensor,
) -> Tensor:
    """Gap between two boxes along the axis that separates them best, m; positive if and only if they are disjoint."""
    dx, dy = x2 - x1, y2 - y1
    c = torch.abs(cos1 * cos2 + sin1 * sin2)  # |long axis 1 . long axis 2|
    s = torch.abs(cos1 * sin2 - sin1 * cos2)  # |cross axis 1 . long axis 2|
    along1 = torch.abs(dx * cos1 + dy * sin1) - (half_l1 + half_l2 * c + half_w2 * s)
    across1 = torch.abs(dy * cos1 - dx * sin1) - (half_w1 + half_l2 * s + half_w2 * c)
    along2 = torch.abs(dx * cos2 + dy * sin2) - (half_l2 + half_l1 * c + half_w1 * s)
    across2 = torch.abs(dy * cos2 - dx * sin2) - (half_w2 + half_l1 * s + half_w1 * c)
    return torch.maximum(torch.maximum(along1, across1), torch.maximum(along2, across2))
