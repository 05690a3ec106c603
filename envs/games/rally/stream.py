"""Labelled frames of matches, endlessly: what a detector for screens is trained and judged on (`perception.training.stream`).

A screen is looked at as a picture that hangs 1 unit ahead of a camera: what is u px right and v px down in it is y = -u / px and
z = -v / px beside the camera's axis, in half courts. So labels have the frame that all domains' have, and all depths are 1.

Shapes: B frames, K = 3 things, H = W px.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from envs.checks import ConfigError
from envs.games.rally.looks import random_looks
from envs.games.rally.observation import locate
from envs.games.rally.opponent import opponent
from envs.games.rally.raster import SIDE, UPPER, boxes, canvas, draw, scale
from envs.games.rally.rules import reset, reset_where, step
from envs.games.rally.types import RADIUS, THICKNESS, RallyConfig, RallyState
from perception.rng import uniform
from perception.training.stream import Sample
from perception.types import Camera, Labels, SensorFrame

__all__ = ["CLASSES", "CONDITIONS", "SKILLS", "RallyStream", "labels_of", "moments", "played", "screen_camera", "screen_frame"]

CLASSES = ("ball", "paddle")
CONDITIONS = ("rally",)
SKILLS = RallyConfig(skill=0.8)  # of both players whose matches are shown
SCATTER, PLACE, BRIGHT, MOMENT = range(110, 114)  # streams
LONGEST = 90  # decisions into a match at most
SCATTERED = 0.3  # share of frames in which things are anywhere, so that none is known by where it usually is
NOISE, LIGHT = 5.0, 0.15  # of pixels, 0..255, and of all brightness, at most


class RallyStream:
    """Frames of matches between built-in opponents. A frame depends on (seed, count, its number). Raises ConfigError for bad sizes."""

    classes = CLASSES
    conditions = CONDITIONS

    def __init__(self, *, size: int = 96) -> None:
        if size < 32 or size % 16:
            raise ConfigError(f"size={size}: must be 32 px or more and a multiple of 16")
        self.size = size

    def sample(self, seed: int, count: int) -> Sample:
        """`count` frames, each of a match and with looks of its own."""
        number = torch.arange(count)
        state = moments(seed * 1_000_003 + number, scattered=SCATTERED)
        looks = random_looks(state.seed)
        image = draw(state, looks, canvas(looks, self.size), SKILLS).float()
        zero = torch.zeros_like(number)
        light = 1.0 + LIGHT * (2.0 * uniform(state.seed[:, None], zero[:, None], BRIGHT, torch.arange(3)) - 1.0)  # (B, 3)
        worst = NOISE * uniform(state.seed, zero, BRIGHT, zero + 3).square()
        grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        image = (image * light[:, :, None, None] + grain * worst[:, None, None, None]).round().clamp(0.0, 255.0).to(torch.uint8)
        return Sample(screen_frame(image, state.step * SKILLS.dt), labels_of(state, SKILLS, self.size), zero)


def moments(seed: Tensor, *, scattered: float = 0.0) -> RallyState:
    """One moment of each match (B,), no two alike: some are from early points, and in a share `scattered` things are put anywhere."""
    zero = torch.zeros_like(seed)
    state = reset(seed, SKILLS)
    until = (LONGEST * uniform(seed, zero, MOMENT, zero)).to(torch.int64)
    for _ in range(int(until.max()) if len(until) else 0):
        state = reset_where(state.step < until, played(state), state)
    free = uniform(seed, zero, SCATTER, zero) < scattered
    place = 2.0 * uniform(seed[:, None], zero[:, None], PLACE, torch.arange(4)) - 1.0
    points = (SKILLS.points * uniform(seed[:, None], zero[:, None], SCATTER, 1 + torch.arange(2))).to(torch.int64)
    return state._replace(
        ball=torch.where(free[:, None], place[:, :2] * torch.tensor([0.98, 0.8]), state.ball),
        paddle=torch.where(free[:, None], place[:, 2:] * SKILLS.room, state.paddle),
        score=points,
    )


def played(state: RallyState) -> RallyState:
    """One decision further, by built-in opponents on both sides."""
    after, _ = step(state, torch.stack((opponent(state, SKILLS, 0), opponent(state, SKILLS)), -1), SKILLS)
    return after


def screen_camera(count: int, size: int, device: torch.device | str = "cpu") -> Camera:
    """Of screens of `size` px: the axis goes through the middle of the court."""
    one = torch.ones((count, 1), device=device)
    px = scale(size)
    return Camera(focal=one * px, cu=one * SIDE * px, cv=one * UPPER * px, x=one * 0.0, y=one * 0.0, z=one * 0.0, yaw=one * 0.0)


def screen_frame(image: Tensor, time: Tensor) -> SensorFrame:
    """Pictures (B, 3, H, W) uint8 of screens at `time` (B,) s: nobody who looks at one moves."""
    zero = torch.zeros(len(image), device=image.device)
    camera = screen_camera(len(image), image.shape[-1], image.device)
    return SensorFrame(
        image=image[:, None],
        camera=camera,
        time=time.float(),
        speed=zero,
        yaw_rate=zero,
        motion=zero[:, None].expand(-1, 3),
    )


def labels_of(state: RallyState, config: RallyConfig, size: int) -> Labels:
    """The truth of pictures of `size` px: the ball, the left and the right paddle."""
    objects, device = locate(state), state.ball.device
    x, y = objects.position.unbind(-1)  # (B, K)
    batch = x.shape
    long = torch.tensor([2.0 * RADIUS, 2.0 * config.paddle, 2.0 * config.paddle], device=device)
    wide = torch.tensor([2.0 * RADIUS, THICKNESS, THICKNESS], device=device)
    zero, count = torch.zeros(batch, device=device), torch.zeros(batch, dtype=torch.int64, device=device)
    nothing = count.new_zeros((batch[0], 1, size, size))
    told: Mapping[str, Tensor] = {
        "box": boxes(state, config, size).clamp(0.0, float(size)),
        "camera": count,
        "kind": torch.tensor([0, 1, 1], device=device).expand(batch).clone(),
        "centre": torch.stack((zero + 1.0, -x, y), -1),
        "size": torch.stack((wide, wide, long), -1).expand(*batch, 3).clone(),
        "yaw": zero,
        "velocity": torch.stack((zero, -objects.velocity[..., 0]), -1),
        "light": count - 1,
        "occlusion": zero,
        "truncation": zero,
        "source": torch.arange(3, device=device).expand(batch).clone(),
        "mask": count == 0,
    }
    return Labels(**told, depth=nothing.float() + 1.0, instance=nothing - 1, semantic=nothing)
