"""The level `pixels`: raw camera images, and beside them what the ego knows of itself, its route and its goal.

Nothing is said of anybody else, of the lanes or of the lights: whoever wants to know must look. Images are drawn once a step for the
whole batch. Shapes: B worlds, N = 1 learner, C cameras, H x W pixels, F numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.driving.camera.config import CameraConfig
from envs.driving.eyes import CHUNK, CameraRig, some_worlds
from envs.driving.objects import true_objects
from envs.driving.observation import LIMIT, Observation, observe, shapes
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Setup, State

__all__ = ["STATE_PARTS", "PixelObservation", "Sight", "image_shape", "pixel_space", "state_size", "state_vector"]

STATE_PARTS = ("ego", "route", "goal")  # of the observation of the other levels, in the order of the vector `state`


class PixelObservation(NamedTuple):
    """What a learner is told at the level `pixels`."""

    image: Tensor  # (B, N, 3 C, H, W) uint8, red, green and blue of the first camera, then of the next
    ego: Tensor  # (B, N, E) as in Observation
    route: Tensor  # (B, N, R, 4)
    goal: Tensor  # (B, N, .)


class Sight:
    """Cameras of all worlds of a simulator: `look` once after every step, `reset` or `reset_where` after those of the simulator.

    Raises ValueError for more than one learner, and for a mount or a weather that does not exist.
    """

    def __init__(self, sim: DrivingSim) -> None:
        if sim.config.learners != 1:
            raise ValueError(f"learners={sim.config.learners}: observation='pixels' is for one ego a world")
        self.sim, self.rig = sim, CameraRig(sim)
        self.look()

    def look(self) -> None:
        """Draw what the cameras see now. Once per decision step."""
        self.image = self._draw(self.sim.state, self.sim.setup)  # (B, 3 C, H, W) uint8

    def reset_where(self, mask: Tensor) -> None:
        """Draw the worlds of mask (B,) bool anew."""
        which = mask.nonzero().flatten()
        for first in range(0, len(which), CHUNK):
            part = which[first : first + CHUNK]
            fresh = self._draw(some_worlds(self.sim.state, part), some_worlds(self.sim.setup, part))
            self.image = self.image.index_copy(0, part, fresh)

    @torch.no_grad()
    def observe(self) -> PixelObservation:
        """What the learners are told now."""
        sim = self.sim
        nobody = torch.zeros((*sim.state.x.shape[:1], 1, sim.state.x.shape[1]), dtype=torch.bool, device=sim.state.x.device)
        seen: Observation = observe(sim.state, sim.setup, sim.maps, sim.config, true_objects(sim.state, sim.setup, nobody))
        return PixelObservation(image=self.image.unsqueeze(1), ego=seen.ego, route=seen.route, goal=seen.goal)

    def _draw(self, state: State, setup: Setup) -> Tensor:
        still = torch.zeros((len(state.x), 3), device=state.x.device)
        return self.rig.frame(state, setup, still).image.flatten(1, 2)


def state_vector(seen: PixelObservation) -> Tensor:
    """All that is no image, (B, N, F) float32."""
    return torch.cat([part.flatten(2) for part in (seen.ego, seen.route, seen.goal)], dim=-1)


def image_shape(config: DrivingConfig) -> tuple[int, int, int]:
    """(3 C, H, W). Raises ValueError for a mount or a weather that does not exist."""
    camera = CameraConfig(cameras=tuple(config.cameras.split("+")), weather=config.weather)
    return 3 * len(camera.cameras), camera.height, camera.width


def state_size(config: DrivingConfig) -> int:
    """F."""
    return sum(int(np.prod(shapes(config)[name])) for name in STATE_PARTS)


def pixel_space(config: DrivingConfig) -> dict[str, spaces.Box]:
    """The parts of the Dict that one learner observes: `image` with the channels first, and the vector `state`."""
    return {
        "image": spaces.Box(0, 255, shape=image_shape(config), dtype=np.uint8),
        "state": spaces.Box(-LIMIT, LIMIT, shape=(state_size(config),), dtype=np.float32),
    }
