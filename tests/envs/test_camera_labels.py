"""Labels of random frames of the training stream against their own pixels and against geometry done anew in float64.

The slow test looks at 10,000 frames, drawn under torch.compile; a fast one at 192, drawn eagerly. Both check the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from envs.driving.camera import CameraConfig, DrivingStream, Weather, draw_weather
from envs.driving.camera.config import CLASSES, MOUNTS, SEMANTICS
from envs.driving.camera.scenery import TREE
from envs.driving.camera.shapes import part_table
from envs.driving.camera.stream import BLOCK
from envs.driving.camera.users import agent_heights, shape_rows
from envs.driving.types import Setup, State
from perception.training.stream import Sample
from scenarios.kinds import Kind

Array = NDArray[np.float64]
CAMERA = CameraConfig()
GROUND = [SEMANTICS.index(name) for name in ("terrain", "road", "marking", "walkway")]
SKY, CAR, HOUSE = (SEMANTICS.index(name) for name in ("sky", "car", "building"))
FURNITURE = [SEMANTICS.index(name) for name in ("pole", "sign", "light")]  # not in the geometry here
PLAIN = (int(Kind.CAR), int(Kind.TRUCK), int(Kind.BUS))  # made of boxes; riders and walkers have rounded parts
RAYS = 48  # pixels of each frame whose depth is checked
REACH = 60.0  # m, up to which the nearest sixteen are all that is there


class Scene(NamedTuple):
    """What a sample was drawn from."""

    setup: Setup
    state: State
    viewer: Tensor
    weather: Weather
    block: Any
    look: Tensor


class Watched(DrivingStream):
    """A stream that remembers what its last sample was drawn from."""

    last: Scene

    def _frames(
        self, block: Any, config: CameraConfig, setup: Setup, state: State, viewer: Tensor, look: Tensor, previous: State | None
    ) -> Sample:
        self.last = Scene(setup, state, viewer, draw_weather(look, config), block, look)
        return super()._frames(block, config, setup, state, viewer, look, previous)

    def again(self, rows: Tensor) -> Sample:
        """Some frames of the last sample drawn once more, by themselves."""
        last = self.last
        setup = Setup(*(column[rows] for column in last.setup))
        names = [name for name in State._fields if name != "stats"]
        parts: dict[str, Any] = {name: getattr(last.state, name)[rows] for name in names}
        state = State(**parts, stats=last.state.stats)
        return super()._frames(last.block, self.config, setup, state, last.viewer[rows], last.look[rows], None)


# boxes


def check_boxes(sample: Sample, told: Counter[str]) -> None:
    """Labels against the instance and semantic maps; the counts of what is not exact go to `told`."""
    truth = sample.labels
    instance, semantic = truth.instance[:, 0].numpy(), truth.semantic[:, 0].numpy()
    mask, source, kind = truth.mask.numpy(), truth.source.numpy(), truth.kind.numpy()
    box, hidden, cut = truth.box.double().numpy(), truth.occlusion.numpy(), truth.truncation.numpy()
    for b in range(len(mask)):
        found = ndimage.find_objects(instance[b] + 1)
        seen = {i for i, place in enumerate(found) if place is not None}
        listed = np.flatnonzero(mask[b])
        assert seen == set(source[b, listed].tolist())  # whatever shows a pixel is listed, and nothing else
        assert len(listed) == len(seen)  # once
        assert ((instance[b] >= 0) == (semantic[b] >= CAR)).all()
        for d in listed:
            place = found[source[b, d]]
            rows, columns = place
            pixels = np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=np.float64)
            mine = instance[b][place] == source[b, d]
            assert (semantic[b][place][mine] == CAR + kind[b, d]).all()
            # the middles of all visible pixels lie in the box
            assert (pixels[:2] >= box[b, d, :2] - 0.51).all() and (pixels[2:] <= box[b, d, 2:] + 0.51).all(), (pixels, box[b, d])
            assert (pixels[2:] - pixels[:2]).prod() >= mine.sum() > 0
            told["labels"] += 1
            if hidden[b, d] == 0.0 and cut[b, d] == 0.0:
                plain = "plain" if kind[b, d] in (*PLAIN, CLASSES.index("light")) else "rounded"
                told[plain] += 1
                told[f"{plain} loose"] += bool(np.abs(pixels - box[b, d]).max() > 1.0)
                told[f"{plain} looser"] += bool(np.abs(pixels - box[b, d]).max() > 2.0)


# depth


def boxes_of(scene: Scene, heights: Array, variants: NDArray[np.int64], b: int) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Boxes (N, 8) x, y, z of the middle, yaw, length, width, height; owners (N,): agent, -1 house; whether they are plain boxes."""
    parts = part_table()[0].astype(np.float64)
    there = scene.state.valid[b].numpy().copy()
    there[int(scene.viewer[b])] = False
    slot = np.flatnonzero(there)
    x, y, yaw = (getattr(scene.state, name)[b].numpy()[slot].astype(np.float64) for name in ("x", "y", "yaw"))
    length, width = (getattr(scene.setup, name)[b].numpy()[slot].astype(np.float64) for name in ("length", "width"))
    rear, front, wide, low, high, _, rounding = np.moveaxis(parts[variants[b, slot]], -1, 0)  # (agents, 3)
    shift, high_m = 0.5 * (rear + front) * length[:, None], heights[b, slot][:, None]
    rows = np.stack(
        [
            x[:, None] + shift * np.cos(yaw)[:, None],
            y[:, None] + shift * np.sin(yaw)[:, None],
            0.5 * (low + high) * high_m,
            np.broadcast_to(yaw[:, None], rear.shape),
            (front - rear) * length[:, None],
            wide * width[:, None],
            (high - low) * high_m,
        ],
        axis=-1,
    )
    used = high > low
    statics = scene.block.tables.statics[int(scene.setup.map_id[b])].double().numpy()
    statics = statics[statics[:, 3] > 0.0]
    houses = np.stack([*statics[:, :2].T, 0.5 * statics[:, 5], *statics[:, 2:6].T], axis=-1)
    owner = np.broadcast_to(slot[:, None], rear.shape)[used]
    return (
        np.concatenate([rows[used], houses]),
        np.concatenate([owner, np.full(len(houses), -1)]),
        np.concatenate([rounding[used] == 0.0, statics[:, 6] != TREE]),
    )


def cast(eye: Array, rays: Array, boxes: Array) -> tuple[Array, Array]:
    """Where rays (S, 3), per metre of depth, enter and leave boxes (N, 7): (S, N); not met: enter > leave."""
    cos, sin = np.cos(boxes[:, 3]), np.sin(boxes[:, 3])
    dx, dy, dz = (eye - boxes[:, :3]).T
    origin = np.stack([dx * cos + dy * sin, dy * cos - dx * sin, dz], axis=-1)  # (N, 3)
    rx, ry, rz = rays.T[:, :, None]
    direction = np.stack([rx * cos + ry * sin, ry * cos - rx * sin, np.broadcast_to(rz, (len(rays), len(boxes)))], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-0.5 * boxes[:, 4:] - origin) / direction, (0.5 * boxes[:, 4:] - origin) / direction
    return np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)


def check_depth(sample: Sample, scene: Scene, rng: np.random.Generator, told: Counter[str]) -> None:
    """Depth and instance of RAYS pixels of each frame against rays cast here; the counts of what differs go to `told`."""
    truth, weather = sample.labels, scene.weather
    depth, semantic, instance = (value[:, 0].numpy() for value in (truth.depth, truth.semantic, truth.instance))
    heights = agent_heights(scene.setup, weather, scene.block.tables).double().numpy()
    variants = shape_rows(scene.setup, weather).numpy()
    error = weather.mount[:, 0].double().numpy()  # focal, horizon, x, y, z, yaw: how the mount differs from what is believed
    for b in range(len(depth)):
        focal, cv, eye_z = (
            CAMERA.focal * (1.0 + error[b, 0]),
            CAMERA.horizon * CAMERA.height + error[b, 1],
            CAMERA.mount_height + error[b, 4],
        )
        v, u = _pixels(semantic[b], rng)
        below = v + 0.5 - cv
        with np.errstate(divide="ignore"):
            ground = np.where(below > 0.0, focal * eye_z / below, np.inf)
        at = int(scene.viewer[b])
        x, y, yaw = (float(getattr(scene.state, name)[b, at]) for name in ("x", "y", "yaw"))
        mx, my = MOUNTS["front"][0] + error[b, 2], MOUNTS["front"][1] + error[b, 3]
        eye = np.array([x + mx * np.cos(yaw) - my * np.sin(yaw), y + mx * np.sin(yaw) + my * np.cos(yaw), eye_z])
        look = yaw + error[b, 5]
        left = (0.5 * CAMERA.width - (u + 0.5)) / focal
        rays = np.stack([np.cos(look) - left * np.sin(look), np.sin(look) + left * np.cos(look), -below / focal], axis=-1)
        boxes, owner, plain = boxes_of(scene, heights, variants, b)
        enter, leave = cast(eye, rays, boxes)
        met = (enter <= leave) & (enter > CAMERA.near)
        first = np.where(met, enter, np.inf)
        exact = np.column_stack([np.where(plain, first, np.inf), np.full(len(first), np.inf)])  # the last is nobody's
        nearest, which = exact.min(-1), exact.argmin(-1)
        expected = np.minimum(nearest, ground)
        who = np.where(nearest < ground, np.append(owner, -1)[which], -1)
        mine, what, whose = depth[b][v, u].astype(np.float64), semantic[b][v, u], instance[b][v, u]
        # ground is exact wherever it is seen
        floor = np.isin(what, GROUND) & (ground < 1000.0)
        assert np.allclose(mine[floor], ground[floor], rtol=2e-4)
        assert np.isinf(mine[what == SKY]).all()
        # with nothing rounded or unknown before it, the first box or the ground is what is seen
        sure = (first.min(-1, initial=np.inf) >= expected) & ~np.isin(what, FURNITURE) & (np.minimum(expected, mine) < REACH)
        right = np.isclose(mine, expected, rtol=2e-4, atol=2e-3) & (whose == who)
        told["sure"] += int(sure.sum())
        told["on boxes"] += int((sure & np.isfinite(nearest) & (nearest < ground)).sum())
        told["wrong"] += int((sure & ~right).sum())
        # whoever has rounded parts is seen between where the ray enters its boxes and where it leaves them
        soft = (whose >= 0) & np.isin(what - CAR, PLAIN, invert=True) & ~np.isin(what, FURNITURE)
        theirs = met & (owner == whose[:, None])
        low, high = np.where(theirs, enter, np.inf).min(-1, initial=np.inf), np.where(theirs, leave, -np.inf).max(-1, initial=-np.inf)
        told["soft"] += int(soft.sum())
        told["soft wrong"] += int((soft & ~((mine >= low - 5e-3) & (mine <= high + 5e-3))).sum())


def _pixels(semantic: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of RAYS pixels: half anywhere, half on things, where there are any."""
    flat = semantic.ravel()
    things = np.flatnonzero((flat >= CAR) | (flat == HOUSE))
    anywhere = rng.integers(0, flat.size, RAYS // 2)
    chosen = np.concatenate([anywhere, rng.choice(things, RAYS // 2) if len(things) else anywhere])
    return np.unravel_index(chosen, semantic.shape)  # type: ignore[return-value]


def check_batches(sample: Sample, stream: Watched, sizes: tuple[int, ...]) -> int:
    """The frames once more in pieces: the same bits, labels too. Returns how many were compared."""
    count, first = len(sample.condition), 0
    for size in sizes:
        piece = torch.arange(first, min(first + size, count))
        part = stream.again(piece)
        assert torch.equal(part.frame.image, sample.frame.image[piece])
        for one, whole in zip(part.labels, sample.labels, strict=True):
            assert torch.equal(one, whole[piece])
        first = int(piece[-1]) + 1
    return first


def examined(told: Counter[str], frames: int) -> None:
    """What all counts must be."""
    assert told["labels"] > 2 * frames and told["plain"] > 0.3 * frames and told["rounded"] > 0.05 * frames, told
    assert told["plain loose"] <= max(1, 0.002 * told["plain"]), told
    # a rounded head, or what is thinner than a pixel, may fall between two pixels
    assert told["rounded loose"] <= 0.15 * told["rounded"] and told["rounded looser"] <= 0.03 * told["rounded"], told
    assert told["sure"] > 0.5 * RAYS * frames and told["on boxes"] > 2 * frames, told
    assert told["wrong"] <= 0.002 * told["sure"], told  # pixels on an edge may fall on either side
    assert told["soft"] > frames and told["soft wrong"] <= 0.002 * told["soft"], told


def test_labels_agree_with_pixels_and_geometry() -> None:
    stream, told, rng = Watched(CAMERA, worlds=24, seconds=4), Counter[str](), np.random.default_rng(0)
    for seed in range(4):
        sample = stream.sample(seed, 48)
        check_boxes(sample, told)
        check_depth(sample, stream.last, rng, told)
    assert check_batches(sample, stream, (1, 5, 32)) == 38
    examined(told, 192)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
def test_labels_of_ten_thousand_frames() -> None:
    """Ten blocks of worlds, a thousand frames of each; all of them drawn twice, in batches of 256 and of 64."""
    stream, told, rng = Watched(CAMERA, compile=True), Counter[str](), np.random.default_rng(1)
    frames = same = 0
    for block in range(10):
        for k in range(4):
            sample = stream.sample(BLOCK * block + k, 256)
            check_boxes(sample, told)
            check_depth(sample, stream.last, rng, told)
            same += check_batches(sample, stream, (64,) * 4)
            frames += len(sample.condition)
    assert frames == same == 10_240
    examined(told, frames)
