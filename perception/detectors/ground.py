"""Where things stand that were seen in two dimensions only: a camera of known height above a flat road.

A thing's distance follows from the row where it touches the ground (Stein, Mano, Shashua, "Vision-based ACC with a single camera", 2003,
equation 1) or, for what hangs above it or is cut off below, from its usual height. Both are rough; `sigma` says how rough.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.detectors.geometry import lift, pick
from perception.types import Camera, Detections

__all__ = ["USUAL", "level_camera", "place"]

# length, width, height m: passenger car and van averages of KITTI's labels (Geiger et al. 2012), lorry and bus of German road law's usual
# sizes, a signal head of three lamps of 200 mm
USUAL = {
    "car": (4.2, 1.75, 1.55),
    "truck": (9.0, 2.5, 3.3),
    "bus": (11.5, 2.55, 3.1),
    "motorcycle": (2.1, 0.8, 1.5),
    "bicycle": (1.8, 0.6, 1.7),
    "pedestrian": (0.6, 0.6, 1.7),
    "light": (0.3, 0.35, 0.9),
}
EDGE = 1.5  # px, standard deviation of a box's sides
HEIGHT_SPREAD = 0.15  # share by which heights within a class differ
FAR = 200.0  # m, beyond which nothing is placed
SMALLEST = 2.0  # px below the horizon from which the ground tells a distance


def place(found: Detections, camera: Camera, classes: Sequence[str], *, height: int) -> Detections:
    """`found` with centre, size, yaw and sigma filled in where they are NaN; images are `height` px high.

    yaw becomes that of the camera: seen from behind or in front, most things on a road are close to it or to its opposite.
    """
    usual = found.box.new_tensor([USUAL.get(name, USUAL["car"]) for name in classes])
    hanging = torch.tensor([name == "light" for name in classes], device=found.box.device)[found.kind]
    theirs = pick(camera, found.camera)
    size = usual[found.kind]  # (B, D, 3)
    tall = size[..., 2]
    u = 0.5 * (found.box[..., 0] + found.box[..., 2])
    top, bottom = found.box[..., 1], found.box[..., 3]
    below = bottom - theirs.cv
    from_ground = theirs.focal * theirs.z / below.clamp(min=SMALLEST)
    from_height = theirs.focal * tall / (bottom - top).clamp(min=1.0)
    standing = ~hanging & (below > SMALLEST) & (bottom < height - 1.0)  # cut off below: no foot to be seen
    depth = torch.where(standing, from_ground, from_height).clamp(1.0, FAR)
    spread_ground = depth * EDGE / below.clamp(min=SMALLEST)
    spread_height = depth * (HEIGHT_SPREAD**2 + (1.5 * EDGE / (bottom - top).clamp(min=1.0)).square()).sqrt()
    along = torch.where(standing, spread_ground, spread_height)
    across = depth / theirs.focal * EDGE
    centre = lift(u, 0.5 * (top + bottom), depth, theirs)
    # what touches the ground is seen at its near side; its middle is farther by about half its width (length, if seen from behind)
    centre = torch.where(standing[..., None], _farther(centre, theirs, 0.25 * (size[..., 0] + size[..., 1])), centre)
    lifted = torch.where(standing, 0.5 * tall, centre[..., 2])
    centre = torch.stack((centre[..., 0], centre[..., 1], lifted), -1)
    guesses = {"centre": centre, "size": size, "yaw": theirs.yaw.expand_as(u), "sigma": torch.stack((along, across), -1)}
    return found._replace(
        **{name: torch.where(getattr(found, name).isnan(), value, getattr(found, name)) for name, value in guesses.items()}
    )


def level_camera(width: int, height: int, *, field_of_view: float, horizon: float, above_ground: float) -> Camera:
    """One forward camera (1, 1): field_of_view rad across the image, the horizon at a share `horizon` of its height, lens height m."""
    one = torch.ones(1, 1)
    focal = 0.5 * width / torch.tan(one * 0.5 * field_of_view)
    return Camera(
        focal=focal, cu=one * 0.5 * width, cv=one * horizon * height, x=one * 0.0, y=one * 0.0, z=one * above_ground, yaw=one * 0.0
    )


def _farther(point: Tensor, camera: Camera, by: Tensor) -> Tensor:
    """`point` moved away from the camera along the ground."""
    away = point[..., :2] - torch.stack((camera.x, camera.y), -1)
    away = away / away.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    return torch.cat((point[..., :2] + away * by[..., None], point[..., 2:]), -1)
