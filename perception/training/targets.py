"""From labels to what the detector's network should say.

Shapes: B worlds, C cameras, N = B C images, D labels, K classes, h x w parts of cells, of PIXELS px, M = 3 parts a label learns at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from perception.detectors.geometry import pick, project, ray_angle
from perception.detectors.network import PIXELS
from perception.types import Camera, Labels

__all__ = ["CELLS", "HIDDEN", "SIDE_MIN", "Objects", "flip", "heat", "learnable", "objects"]

CELLS = 3  # the cell of the middle and the nearest one beside and above or below it, where the peak may fall too
HIDDEN = 0.85  # share hidden by others from which a thing is neither learned nor held against the network
SIDE_MIN = 1.5  # px of the shorter side below which likewise
DEPTH_MIN = 0.5  # m; nearer middles (of things half beside the camera) say nothing about depth
NARROW = 0.54 / 6.0  # spread of a heat spot per length of the box (Liu et al., "Training-Time-Friendly Network", 2020, section 3.2)
SPREAD_MIN = 0.8  # parts


class Objects(NamedTuple):
    """The labels of N images, one row each; lengths on the image in parts."""

    kind: Tensor  # (N, D) int64
    box: Tensor  # (N, D, 4)
    depth: Tensor  # (N, D) log(m / px of focal length)
    dims: Tensor  # (N, D, 3) log m
    heading: Tensor  # (N, D) rad from line of sight to heading
    centre: Tensor  # (N, D, 2) projected middle of the 3-D box
    light: Tensor  # (N, D) int64, -1 none
    learn: Tensor  # (N, D) bool: taught
    learn_3d: Tensor  # (N, D) bool: depth and what depends on it too
    ignore: Tensor  # (N, D) bool: neither taught nor punished


def learnable(labels: Labels) -> Tensor:
    """(B, D) bool: labels that a camera image shows enough of."""
    sides = (labels.box[..., 2:] - labels.box[..., :2]).amin(-1)
    return labels.mask & (labels.occlusion < HIDDEN) & (sides >= SIDE_MIN)


def objects(labels: Labels, camera: Camera) -> Objects:
    """Labels (B, D) of cameras (B, C) -> Objects of N = B C images."""
    cameras = camera.focal.shape[1]
    theirs = pick(camera, labels.camera)
    u, v, depth = project(labels.centre, theirs, nearest=DEPTH_MIN)
    alpha = labels.yaw - ray_angle(u, theirs)
    learn = learnable(labels)
    here = labels.camera[:, None] == torch.arange(cameras, device=labels.camera.device)[:, None]  # (B, C, D)

    def rows(value: Tensor) -> Tensor:  # (B, D, ...) -> (N, D, ...)
        return value[:, None].expand(-1, cameras, *value.shape[1:]).flatten(0, 1)

    def only(value: Tensor) -> Tensor:
        return (value[:, None] & here).flatten(0, 1)

    return Objects(
        kind=rows(labels.kind),
        box=rows(labels.box / PIXELS),
        depth=rows((depth.clamp(min=DEPTH_MIN) / theirs.focal).log()),
        dims=rows(labels.size.clamp(min=0.05).log()),
        heading=rows(alpha),
        centre=rows(torch.stack((u, v), -1) / PIXELS),
        light=rows(labels.light),
        learn=only(learn),
        learn_3d=only(learn & (depth > DEPTH_MIN)),
        ignore=only(labels.mask & ~learn),
    )


def middle_cell(box: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(N, D, 4) boxes in cells -> column and row (N, D) int64 of the cell their middle is in."""
    column = (0.5 * (box[..., 0] + box[..., 2])).floor().clamp(0, width - 1)
    row = (0.5 * (box[..., 1] + box[..., 3])).floor().clamp(0, height - 1)
    return column.long(), row.long()


def heat(things: Objects, classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Heat maps (N, K, h, w), 1 at the middle of every thing taught and falling off around it; and where they count, (N, h, w) 0 or 1."""
    column, row = middle_cell(things.box, height, width)
    sides = things.box[..., 2:] - things.box[..., :2]
    spread = (NARROW * sides).clamp(min=SPREAD_MIN)
    u, v = torch.arange(width, device=column.device), torch.arange(height, device=column.device)
    target = spread.new_zeros((len(column) * classes, height, width))
    for image, label in _in_turn(things.learn, things.kind, classes):
        along_u, along_v = u - column[image, label][:, None], v - row[image, label][:, None]
        spot_u = (-0.5 * (along_u / spread[image, label, :1]).square()).exp()  # (L, w)
        spot_v = (-0.5 * (along_v / spread[image, label, 1:]).square()).exp()  # (L, h)
        plane = image * classes + things.kind[image, label]
        target[plane] = torch.maximum(target[plane], spot_u[:, None, :] * spot_v[:, :, None])
    # what is ignored counts nowhere within its box
    counts = spread.new_ones((len(column), height, width))
    for image, label in _in_turn(things.ignore, torch.zeros_like(things.kind), 1):
        inside_u = (u - column[image, label][:, None]).abs() <= 0.5 * sides[image, label, :1] + 0.5
        inside_v = (v - row[image, label][:, None]).abs() <= 0.5 * sides[image, label, 1:] + 0.5
        counts[image] *= 1.0 - (inside_u[:, None, :] & inside_v[:, :, None]).to(counts.dtype)
    return target.view(len(column), classes, height, width), counts


def _in_turn(which: Tensor, kind: Tensor, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Image and label (L,) of `which` (N, D) in groups in which no two are of one image and class."""
    image, label = which.nonzero(as_tuple=True)
    one = nn.functional.one_hot(kind, classes) * which[..., None]  # (N, D, K)
    turn = (one.cumsum(1) * one).sum(-1)[image, label]  # 1, 2, ...
    for number in range(1, int(turn.max()) + 1 if len(turn) else 1):
        now = turn == number
        yield image[now], label[now]


def cells(things: Objects, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each thing is taught: cell index (N, D, M) int64 and weight (N, D, M); the middle of another thing is left to that."""
    column, row = middle_cell(things.box, height, width)
    middle = 0.5 * (things.box[..., :2] + things.box[..., 2:])
    beside = torch.where(middle[..., 0] - column >= 0.5, column + 1, column - 1)
    above = torch.where(middle[..., 1] - row >= 0.5, row + 1, row - 1)
    u = torch.stack((column, beside, column), -1)  # (N, D, M)
    v = torch.stack((row, row, above), -1)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    cell = v.clamp(0, height - 1) * width + u.clamp(0, width - 1)
    taken = torch.zeros((len(column), height * width), dtype=torch.int64, device=column.device)
    taken.scatter_add_(1, cell[..., 0], things.learn.long())
    free = taken.gather(1, cell[..., 1:].flatten(1)).view(*cell.shape[:2], 2) == 0
    weight = torch.cat((torch.ones_like(free[..., :1]), free), -1) & inside & things.learn[..., None]
    return cell, weight.float() * weight.new_tensor([1.0, 0.5, 0.5], dtype=torch.float32)


def flip(image: Tensor, camera: Camera, labels: Labels, which: Tensor) -> tuple[Tensor, Camera, Labels]:
    """The scene mirrored left to right in the worlds `which` (B,) bool: another scene that could be."""
    width = image.shape[-1]
    image = torch.where(which[:, None, None, None, None], image.flip(-1), image)
    one = which[:, None]
    camera = camera._replace(
        cu=torch.where(one, width - camera.cu, camera.cu),
        y=torch.where(one, -camera.y, camera.y),
        yaw=torch.where(one, -camera.yaw, camera.yaw),
    )
    mirrored = torch.stack((width - labels.box[..., 2], labels.box[..., 1], width - labels.box[..., 0], labels.box[..., 3]), -1)
    sign = labels.centre.new_tensor([1.0, -1.0, 1.0])
    labels = labels._replace(
        box=torch.where(one[..., None], mirrored, labels.box),
        centre=torch.where(one[..., None], labels.centre * sign, labels.centre),
        velocity=torch.where(one[..., None], labels.velocity * sign[:2], labels.velocity),
        yaw=torch.where(one, -labels.yaw, labels.yaw),
    )
    return image, camera, labels
