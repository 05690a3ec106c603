"""Places from 2-D boxes: the boxes of known things on a flat road lead back to them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perception.detectors import DRIVING_CLASSES
from perception.detectors.geometry import project
from perception.detectors.ground import USUAL, level_camera, place
from perception.types import Camera, Detections

CAMERA = level_camera(1280, 720, field_of_view=math.radians(60.0), horizon=0.5, above_ground=1.4)
CORNERS = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def seen(name: str, x: float, y: float, *, lift: float = 0.0, height: int = 720) -> tuple[Detections, Tensor]:
    """What a perfect 2-D detector says of a usual thing of class `name` at (x, y) m that faces away."""
    size = torch.tensor(USUAL[name])
    centre = torch.tensor([x, y, lift + float(size[2]) / 2])
    corners = centre + CORNERS * size
    u, v, _ = project(corners, Camera(*(value[0].expand(8) for value in CAMERA)))
    box = torch.stack((u.min(), v.min(), u.max(), v.max().clamp(max=height)))[None, None]
    nan = torch.full((1, 1, 3), math.nan)
    kind = torch.tensor([[DRIVING_CLASSES.index(name)]])
    return Detections(
        box=box,
        camera=torch.zeros_like(kind),
        kind=kind,
        score=torch.ones(1, 1),
        centre=nan,
        size=nan,
        yaw=nan[..., 0],
        sigma=nan[..., :2],
        light=torch.full_like(kind, -1),
        source=torch.full_like(kind, -1),
        mask=torch.ones(1, 1, dtype=torch.bool),
    ), centre


@pytest.mark.parametrize(("name", "lift"), [("car", 0.0), ("truck", 0.0), ("pedestrian", 0.0), ("bicycle", 0.0), ("light", 4.5)])
@pytest.mark.parametrize(("x", "y"), [(12.0, 0.0), (25.0, -4.0), (40.0, 6.0)])
def test_usual_things_are_found_where_they_are(name: str, lift: float, x: float, y: float) -> None:
    found, centre = seen(name, x, y, lift=lift)
    placed = place(found, CAMERA, DRIVING_CLASSES, height=720)
    length, width, _ = USUAL[name]
    unknown = 0.25 * abs(length - width)  # whether it is seen from behind or from the side, a box does not tell
    assert float((placed.centre[0, 0] - centre).norm()) < 0.1 * x + unknown
    assert placed.size[0, 0].tolist() == pytest.approx(USUAL[name]) and float(placed.yaw) == 0.0
    assert 0 < float(placed.sigma[0, 0, 1]) < float(placed.sigma[0, 0, 0]) < 0.25 * x


def test_farther_is_less_certain() -> None:
    sigma = [float(place(seen("car", x, 0.0)[0], CAMERA, DRIVING_CLASSES, height=720).sigma[0, 0, 0]) for x in (10.0, 20.0, 40.0, 80.0)]
    assert sigma == sorted(sigma)


def test_what_the_picture_cuts_off_below_is_placed_by_its_height() -> None:
    """A car so near that its foot is out of view: taking the picture's edge for its foot would be wrong without a word."""
    found, centre = seen("car", 5.0, 0.0, height=500)
    placed = place(found, CAMERA, DRIVING_CLASSES, height=500)
    assert abs(float(placed.centre[0, 0, 0] - centre[0])) < 3 * float(placed.sigma[0, 0, 0])


def test_what_is_known_stays() -> None:
    found, _ = seen("car", 20.0, 0.0)
    known = found._replace(centre=torch.tensor([[[1.0, 2.0, 3.0]]]), yaw=torch.tensor([[0.5]]))
    placed = place(known, CAMERA, DRIVING_CLASSES, height=720)
    assert torch.equal(placed.centre, known.centre) and torch.equal(placed.yaw, known.yaw) and placed.sigma.isfinite().all()
