"""Between the image and the ego frame: where a pixel at a depth is, and where a point appears.

Shapes: any leading dimensions; cameras are `Camera` tuples whose fields broadcast against them. Frames as in `perception.types`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perception.types import Camera

__all__ = ["box_iou", "lift", "pick", "project", "ray_angle", "wrap"]


def pick(camera: Camera, index: Tensor) -> Camera:
    """The camera of each thing: fields (B, C), index (B, D) int64 -> fields (B, D)."""
    return Camera(*(value.gather(1, index) for value in camera))


def lift(u: Tensor, v: Tensor, depth: Tensor, camera: Camera) -> Tensor:
    """Pixel and depth along the optical axis -> (..., 3) m in the ego frame."""
    left = -(u - camera.cu) * depth / camera.focal
    up = -(v - camera.cv) * depth / camera.focal
    cos, sin = camera.yaw.cos(), camera.yaw.sin()
    return torch.stack((camera.x + cos * depth - sin * left, camera.y + sin * depth + cos * left, camera.z + up), -1)


def project(point: Tensor, camera: Camera, *, nearest: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """(..., 3) m in the ego frame -> u, v px and depth m; `lift` undoes it. Depths below `nearest` m are taken as that for u and v."""
    x, y, z = (point - torch.stack((camera.x, camera.y, camera.z), -1)).unbind(-1)
    cos, sin = camera.yaw.cos(), camera.yaw.sin()
    depth, left = cos * x + sin * y, cos * y - sin * x
    scale = camera.focal / depth.clamp(min=nearest)
    return camera.cu - scale * left, camera.cv - scale * z, depth


def ray_angle(u: Tensor, camera: Camera) -> Tensor:
    """rad, ego frame, direction on the ground of the line of sight through column u."""
    return camera.yaw + torch.atan2(camera.cu - u, camera.focal)


def wrap(angle: Tensor) -> Tensor:
    """rad into [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., P, 4), (..., Q, 4) boxes u0, v0, u1, v1 -> (..., P, Q) intersection over union, 0 where both are empty."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    common = width.clamp(min=0) * height.clamp(min=0)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return common / (area_a + area_b - common).clamp(min=1e-9)
