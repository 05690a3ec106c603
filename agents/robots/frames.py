"""Labelled frames of all robot tasks, endlessly: what the robots' detector is trained and judged on (`perception.training.stream`).

States are those that a task's expert comes through when it is disturbed, and chance; each picture has colours, light and camera of its
own. The frame of the labels is the camera's: x forward, y left, z up from the lens. Lengths are in sizes of the thing that is seen, which
is what a picture can tell of them: who knows how large a thing is has its distance.

Shapes: W worlds, K things, H x W pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from agents.robots.experts import expert_for
from envs.checks import ConfigError
from envs.robots.camera import Camera as Renderer
from envs.robots.physics import Floats
from envs.robots.randomise import Randomisation, randomise
from envs.robots.registry import TASKS, task_named
from envs.robots.rng import Draws
from envs.robots.robots import Robots
from envs.robots.task import Scanned
from perception.training.stream import Sample, empty_rows
from perception.types import Camera, Labels, SensorFrame

__all__ = ["CLASSES", "LOOKS", "PICTURED", "RobotStream"]

CLASSES = ("ball", "cube", "disc", "marker", "cart")
PICTURED = tuple(name for name in TASKS if task_named(name).things)  # tasks in which there is something to be seen
DETECTED = tuple(name for name in TASKS if task_named(name).things and not isinstance(task_named(name), Scanned))  # found in pictures
LOOKS = Randomisation(colour=0.12, light=0.5, camera_position=0.04, camera_angle=0.05)
# of frames, where others have one: where hands hide things, or things are small
SHARES = {"pick_place": 3, "push_cube": 2, "reach": 2, "ball_catch": 2}
SLOTS = 4  # things in a picture at most
WORLDS, MOMENTS = 12, 14  # of each task that one pool of states has
SHARED = 16  # neighbouring seeds that draw from one pool
LONGEST = 120  # decisions
DISTURBED = 0.8  # share of chance in what is done, at most; of cart and pole, which soon fall, a fifth of it
BRIGHT, GRAIN = 0.3, 6.0  # part of 1, of all colours; largest deviation of a pixel's noise, 0..255


class Picture(NamedTuple):
    """One frame and what is in it."""

    image: NDArray[np.uint8]  # (H, W, 3)
    focal: float  # px
    rows: dict[str, NDArray[np.generic]]  # (SLOTS, ...) of `Labels`


class RobotStream:
    """Frames of the tasks' cameras, in turn. A frame depends on (seed, count, its number) alone. Raises ConfigError on sizes too small."""

    classes = CLASSES

    def __init__(self, *, size: int = 96, tasks: tuple[str, ...] = DETECTED) -> None:
        if size < 32 or size % 16:
            raise ConfigError(f"size={size}: must be 32 px or more and a multiple of 16")
        self.size, self.conditions = size, tuple(tasks)
        self._worlds = {name: _worlds(name) for name in tasks}
        self._renderers: dict[str, Renderer] = {}

    def sample(self, seed: int, count: int) -> Sample:
        """`count` frames of one camera each."""
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        turns = [number for number, name in enumerate(self.conditions) for _ in range(SHARES.get(name, 1))]
        order = np.array(turns)[rng.permutation(np.arange(count) % len(turns))]  # of tasks
        pictures: list[Picture | None] = [None] * count
        for number, name in enumerate(self.conditions):
            places = np.flatnonzero(order == number)
            for place, picture in zip(places, self._pictures(name, seed, len(places)), strict=True):
                pictures[place] = picture
        return _joined([picture for picture in pictures if picture is not None], self.size, torch.from_numpy(order))

    def _pictures(self, name: str, seed: int, count: int) -> list[Picture]:
        robots, pool = self._worlds[name], _pool(name, seed // SHARED)
        if name not in self._renderers:
            self._renderers[name] = Renderer(robots.physics, width=self.size, height=self.size, things=robots.task.things)
        rng = np.random.Generator(np.random.Philox(key=[seed, 1 + list(TASKS).index(name)]))
        rows, found = np.arange(WORLDS), list[Picture]()
        while len(found) < count:
            randomise(robots.physics, LOOKS, rows, Draws(rng.integers(0, 2**62, WORLDS)))
            robots.physics.set_state(pool[rng.integers(0, len(pool), WORLDS)])
            truth = robots.objects().position
            for world in range(min(WORLDS, count - len(found))):
                camera = str(rng.choice(robots.task.cameras[:-1]))
                found.append(_picture(self._renderers[name], robots, world, camera, truth[world], rng))
        return found


@lru_cache(maxsize=len(TASKS))
def _worlds(name: str) -> Robots:
    return Robots(task_named(name), batch=WORLDS, threads=1)


@lru_cache(maxsize=len(TASKS))
def _pool(name: str, number: int) -> Floats:
    """(WORLDS * MOMENTS, nstate) states of a task, as they come about while it is done well or badly."""
    robots = _worlds(name)
    rng = np.random.Generator(np.random.Philox(key=[number, 1000 + list(TASKS).index(name)]))
    robots.reset(rng.integers(0, 2**62, WORLDS))
    steps = min(robots.task.duration, LONGEST)
    moments = {0, *rng.choice(np.arange(1, steps), MOMENTS - 1, replace=False).tolist()}
    share = DISTURBED * rng.random((WORLDS, 1)) ** 2 * (0.2 if name == "cart_pole_vision" else 1.0)
    expert, chance, states = expert_for(robots), np.zeros((WORLDS, robots.task.action_size)), []
    for step in range(max(moments) + 1):
        if step in moments:
            states.append(robots.physics.get_state())
        chance = 0.9 * chance + 0.6 * rng.standard_normal(chance.shape)
        robots.step(np.clip((1.0 - share) * expert.act(robots) + share * chance, -1.0, 1.0))
    return np.concatenate(states)


def _picture(renderer: Renderer, robots: Robots, world: int, camera: str, truth: Floats, rng: np.random.Generator) -> Picture:
    """One world seen by a camera; truth (K, 3) m."""
    image, shown = renderer.labelled(world, camera)
    lens = renderer.lens(world, camera)
    size = np.array([renderer.width, renderer.height] * 2)
    rows = empty_rows(SLOTS)
    for number, (thing, points) in enumerate(zip(robots.task.things, renderer.surfaces(world), strict=True)):
        right, down, ahead = lens.axes.T @ (truth[number] - lens.position)
        pixels = int(np.count_nonzero(shown == number))
        if not pixels or ahead < 0.5 * thing.size:
            continue
        outline = (points - lens.position) @ lens.axes
        outline = outline[outline[:, 2] > 0.01]
        flat = (0.5 * size[:2] + lens.focal * outline[:, :2] / outline[:, 2:]).astype(np.float32)
        whole = np.concatenate([flat.min(0), flat.max(0)])
        box = np.clip(whole, 0, size)
        area = float(cv2.contourArea(cv2.convexHull(flat)))
        inside = float((box[2:] - box[:2]).prod() / max((whole[2:] - whole[:2]).prod(), 1e-6))
        values = {
            "box": box,
            "kind": CLASSES.index(thing.kind),
            "centre": np.array([ahead, -right, -down]) / thing.size,
            "size": 1.0,
            "occlusion": min(max(1.0 - pixels / max(area * inside, 1.0), 0.0), 1.0),
            "truncation": 1.0 - inside,
            "source": number,
            "mask": True,
        }
        for key, value in values.items():
            rows[key][number] = value
    bright = 1.0 + BRIGHT * rng.uniform(-1.0, 1.0) + 0.3 * BRIGHT * rng.uniform(-1.0, 1.0, 3)
    grain = GRAIN * rng.random() ** 2 * rng.standard_normal(image.shape)
    return Picture(np.clip(image * bright + grain, 0, 255).astype(np.uint8), lens.focal, rows)


def _joined(pictures: list[Picture], size: int, condition: torch.Tensor) -> Sample:
    one, zero = torch.ones(len(pictures), 1), torch.zeros(len(pictures))
    camera = Camera(
        focal=torch.tensor([[p.focal] for p in pictures], dtype=torch.float32),
        cu=one * size / 2,
        cv=one * size / 2,
        x=one * 0.0,
        y=one * 0.0,
        z=one * 0.0,
        yaw=one * 0.0,
    )
    image = torch.from_numpy(np.stack([p.image for p in pictures])).permute(0, 3, 1, 2)[:, None].contiguous()
    frame = SensorFrame(image=image, camera=camera, time=zero, speed=zero, yaw_rate=zero, motion=torch.zeros(len(pictures), 3))
    labels = {key: torch.from_numpy(np.stack([p.rows[key] for p in pictures])) for key in pictures[0].rows}
    nothing = torch.zeros((len(pictures), 1, size, size), dtype=torch.int64)
    return Sample(frame, Labels(**labels, depth=nothing.float(), instance=nothing - 1, semantic=nothing), condition)
