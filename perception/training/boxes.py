"""A labelled stream that needs no world: coloured boxes and lamps on a plane, drawn with their exact labels.

Good for tests and for trying a change to the network in minutes. Every class has a size and a colour, the front of a box is pale, so that
its heading can be seen; lamps hang 3 to 6 m high and show their state.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from perception.training.stream import Sample, empty_rows
from perception.types import Camera, Labels, SensorFrame

__all__ = ["BoxStream"]

SLOTS = 12
# length, width, height m; red, green, blue
THINGS = {
    "car": ((4.4, 1.8, 1.5), (200, 40, 40)),
    "pedestrian": ((0.6, 0.6, 1.75), (40, 60, 210)),
    "light": ((0.4, 0.8, 1.6), (40, 40, 40)),
}
LAMPS = ((255, 30, 30), (255, 140, 30), (255, 230, 60), (40, 255, 80), (90, 90, 90))  # by state
# corners of the unit box, and its faces: front, back, left, right, top
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
FACES = {"front": (4, 5, 7, 6), "back": (0, 1, 3, 2), "left": (2, 3, 7, 6), "right": (0, 1, 5, 4), "top": (1, 3, 7, 5)}
SHADE = {"front": 1.0, "back": 0.55, "left": 0.8, "right": 0.7, "top": 0.95}
Array = NDArray[np.float64]


class BoxStream:
    """Boxes on a plane. A frame depends on (seed, its number) alone. Raises ValueError on sizes that make no image."""

    classes = tuple(THINGS)
    conditions = ("clear", "dark")

    def __init__(self, *, width: int = 160, height: int = 96, most: int = 5) -> None:
        if width < 16 or height < 16 or not 1 <= most <= SLOTS:
            raise ValueError(f"width={width}, height={height}, most={most}: at least 16 x 16 px and 1 to {SLOTS} boxes")
        self.width, self.height, self.most = width, height, most

    def sample(self, seed: int, count: int) -> Sample:
        """`count` frames of one camera each."""
        scenes = [_Scene(np.random.Generator(np.random.Philox(key=[seed, i])), self.width, self.height, self.most) for i in range(count)]
        one = torch.ones(count, 1)
        camera = Camera(
            focal=torch.tensor([[s.focal] for s in scenes]),
            cu=one * self.width / 2,
            cv=one * self.height * 0.45,
            x=one * 0.5,
            y=one * 0.0,
            z=torch.tensor([[s.eye] for s in scenes]),
            yaw=one * 0.0,
        )
        zero = torch.zeros(count)
        frame = SensorFrame(
            image=torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2)[:, None].contiguous(),
            camera=camera,
            time=zero,
            speed=zero,
            yaw_rate=zero,
            motion=torch.zeros(count, 3),
        )
        labels = {key: torch.from_numpy(np.stack([s.rows[key] for s in scenes])) for key in scenes[0].rows}
        maps = {key: torch.from_numpy(np.stack([getattr(s, key) for s in scenes]))[:, None] for key in ("depth", "instance")}
        semantic = torch.where(maps["instance"] >= 0, 1, 0)
        return Sample(frame, Labels(**labels, **maps, semantic=semantic), torch.tensor([int(s.dark) for s in scenes]))


class _Scene:
    """One frame, drawn from far to near."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, most: int) -> None:
        self.focal, self.eye = rng.uniform(0.7, 0.9) * width, rng.uniform(1.3, 1.7)
        self.cu, self.cv = width / 2, height * 0.45
        self.dark = rng.random() < 0.3
        self.image = np.empty((height, width, 3), np.uint8)
        self.image[:] = rng.integers(90, 150) + np.array([0, 10, 0])
        self.image[: int(self.cv)] = rng.integers(150, 230, 3)
        self.depth = np.full((height, width), np.inf, np.float32)
        self.instance = np.full((height, width), -1, np.int64)
        self.rows = empty_rows(SLOTS)
        things = sorted((self._draw_thing(rng) for _ in range(rng.integers(1, most + 1))), key=lambda t: -t["x"])
        alone = [self._paint(number, thing) for number, thing in enumerate(things)]
        self._label(things, alone)
        noise = rng.normal(0.0, 4.0, self.image.shape)
        self.image = np.clip(self.image * (0.35 if self.dark else 1.0) + noise, 0, 255).astype(np.uint8)

    def _draw_thing(self, rng: np.random.Generator) -> dict[str, float]:
        kind = int(rng.choice(len(THINGS), p=(0.5, 0.3, 0.2)))
        size, _ = list(THINGS.values())[kind]
        x = rng.uniform(6.0, 30.0)
        height = size[2] * rng.uniform(0.9, 1.1)
        lamp = kind == list(THINGS).index("light")
        return {
            "kind": kind,
            "x": x,
            "y": rng.uniform(-0.5, 0.5) * x,
            "z": rng.uniform(3.0, 6.0) if lamp else height / 2,
            "length": size[0] * rng.uniform(0.9, 1.1),
            "width": size[1] * rng.uniform(0.9, 1.1),
            "height": height,
            "yaw": math.pi + rng.uniform(-0.4, 0.4) if lamp else rng.uniform(-math.pi, math.pi),
            "light": int(rng.integers(0, 5)) if lamp else -1,
            "tint": rng.uniform(0.7, 1.2),
        }

    def _paint(self, number: int, thing: dict[str, float]) -> tuple[Array, float]:
        """Draw; returns the unclipped 2-D box and the number of pixels it would have alone."""
        cos, sin = math.cos(thing["yaw"]), math.sin(thing["yaw"])
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        middle = np.array([thing["x"] - 0.5, thing["y"], thing["z"] - self.eye])  # from the lens
        corners = CORNERS * np.array([thing["length"], thing["width"], thing["height"]]) @ turn.T + middle
        points = np.stack((self.cu - self.focal * corners[:, 1] / corners[:, 0], self.cv - self.focal * corners[:, 2] / corners[:, 0]), -1)
        colour = np.array(list(THINGS.values())[int(thing["kind"])][1]) * thing["tint"]
        own = np.zeros(self.instance.shape, np.uint8)
        for face, index in FACES.items():
            quad = corners[list(index)]
            normal = np.cross(quad[1] - quad[0], quad[2] - quad[0])
            normal *= np.sign(normal @ (quad.mean(0) - middle))
            if normal @ quad.mean(0) >= 0:
                continue  # turned away
            pixels = np.round((points[list(index)] - 0.5) * 16).astype(np.int32)  # cv2 counts from the middle of pixels, here in 1/16
            paint = 0.5 * colour + 110 if face == "front" else colour * SHADE[face]
            if face == "front" and thing["light"] >= 0:
                paint = np.array(LAMPS[int(thing["light"])], dtype=np.float64)
            cv2.fillConvexPoly(self.image, pixels, [float(c) for c in paint], shift=4)
            cv2.fillConvexPoly(own, pixels, [1.0], shift=4)
        self.instance[own > 0] = number
        self.depth[own > 0] = thing["x"] - 0.5
        return np.concatenate((points.min(0), points.max(0))), float(own.sum())

    def _label(self, things: list[dict[str, float]], alone: list[tuple[Array, float]]) -> None:
        height, width = self.instance.shape
        for number, (thing, (box, pixels)) in enumerate(zip(things, alone, strict=True)):
            clipped = np.clip(box, 0, [width, height, width, height])
            seen = float((self.instance == number).sum())
            whole = np.prod(box[2:] - box[:2])
            values: dict[str, Any] = {
                "box": clipped,
                "kind": thing["kind"],
                "centre": (thing["x"], thing["y"], thing["z"]),
                "size": (thing["length"], thing["width"], thing["height"]),
                "yaw": thing["yaw"],
                "light": thing["light"],
                "occlusion": 1.0 - seen / max(pixels, 1.0),
                "truncation": 1.0 - np.prod(clipped[2:] - clipped[:2]) / whole,
                "source": number,
                "mask": seen > 0,
            }
            for key, value in values.items():
                self.rows[key][number] = value
