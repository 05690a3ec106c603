"""The screen as detectors see it, with its truth as labels (`perception.types`).

A pixel of the screen is about twice as wide as high, so columns are doubled: the ball of Pong is then 4 px wide, which is what detectors
are judged from on. Rows without things are left out. The picture hangs 1 unit ahead of a camera, as Rally's does: what is u px right and v
px down in it is y = -(u - CU) / FOCAL and z = -(v - CV) / FOCAL beside the camera's axis. So all depths are 1.

Shapes: B frames, K things, H x W px of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from envs.games.atari.observation import boxes_of
from envs.games.atari.types import Game, middles
from perception.types import Camera, Detections, Labels, SensorFrame

__all__ = ["CLASSES", "SIZE", "frame_of", "labels_of", "on_screen", "picture"]

CLASSES = ("ball", "paddle", "chicken", "car")
UPPER, LOWER = 16, 208  # rows of the screen that are shown
SIZE = (LOWER - UPPER, 320)  # H, W
FOCAL, CU, CV = 160.0, 160.0, 0.5 * (LOWER - UPPER)


def picture(screen: Tensor) -> Tensor:
    """Screens (B, 210, 160, 3) uint8 -> (B, 3, H, W)."""
    return screen[:, UPPER:LOWER].permute(0, 3, 1, 2).repeat_interleave(2, -1).contiguous()


def frame_of(image: Tensor, time: Tensor) -> SensorFrame:
    """Pictures (B, 3, H, W) uint8 at `time` (B,) s: nobody who looks at one moves."""
    one, zero = torch.ones((len(image), 1), device=image.device), torch.zeros(len(image), device=image.device)
    none = zero[:, None]
    camera = Camera(focal=one * FOCAL, cu=one * CU, cv=one * CV, x=none, y=none, z=none, yaw=none)
    return SensorFrame(image[:, None], camera, time.float(), zero, zero, none.expand(-1, 3))


def labels_of(game: Game, ram: Tensor, *, slots: int | None = None) -> Labels:
    """The truth of pictures by memory (B, 128): the game's things as far as they show; padded to `slots`."""
    box, shown = boxes_of(game, ram)
    batch, device, slots = len(ram), ram.device, slots or len(game.things)
    more = slots - len(game.things)
    shown = torch.nn.functional.pad(shown, (0, more))
    wide, off = torch.tensor([2.0, 1.0] * 2, device=device), torch.tensor([0.0, UPPER] * 2, device=device)
    box = torch.where(shown[..., None], torch.nn.functional.pad(box, (0, 0, 0, more)) * wide - off, 0.0)
    kinds = torch.tensor([*(CLASSES.index(kind) for kind in game.kinds), *[0] * more], device=device)
    middle, sides = middles(box), (box[..., 2:] - box[..., :2]) / FOCAL
    zero, count = torch.zeros((batch, slots), device=device), torch.zeros((batch, slots), dtype=torch.int64, device=device)
    nothing = count.new_zeros((batch, 1, 1, 1))
    told: Mapping[str, Tensor] = {
        "box": box,
        "camera": count,
        "kind": kinds.expand(batch, -1).clone(),
        "centre": torch.stack((zero + 1.0, -(middle[..., 0] - CU) / FOCAL, -(middle[..., 1] - CV) / FOCAL), -1),
        "size": torch.stack((sides[..., 0], sides[..., 0], sides[..., 1]), -1),
        "yaw": zero,
        "velocity": torch.stack((zero, zero), -1),
        "light": count - 1,
        "occlusion": zero,
        "truncation": zero,
        "source": torch.where(shown, torch.arange(slots, device=device), -1),
        "mask": shown,
    }
    depth, instance, semantic = (part.expand(-1, -1, *SIZE) for part in (nothing.float() + 1.0, nothing - 1, nothing))
    return Labels(**told, depth=depth, instance=instance, semantic=semantic)


def on_screen(found: Detections) -> Detections:
    """Places ahead of a camera as px of the emulator's screen: along the line of sight, to where the picture is."""
    ahead = found.centre[..., 0].clamp(min=1e-3)
    u = 0.5 * (CU - FOCAL * found.centre[..., 1] / ahead)
    v = CV - FOCAL * found.centre[..., 2] / ahead + UPPER
    return found._replace(centre=torch.stack((u, v, torch.zeros_like(u)), -1))
