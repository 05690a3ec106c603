"""Trot: diagonal pairs of legs swing in turn, by a clock. Feet are put down by the law of Raibert, "Legged Robots That Balance", 1986:
half a stance ahead of the hip, and farther the faster the body is than it should be.

A foot on the ground goes back as fast as the ground should; one in the air goes to where it will be put down. The kinematics of the legs
turn that into angles.

Shapes: B worlds, L = 4 legs.
"""

from __future__ import annotations

import numpy as np

from envs.robots.physics import Floats
from envs.robots.quadruped import ARM, FOOT, HOME, ROOTS, SIDES, STANDING, leg_angles
from envs.robots.robots import Robots
from envs.robots.tasks.quadruped_walk import FREQUENCY, SPAN, body, command_of, phase_of

__all__ = ["TrotExpert"]

PAIRS: Floats = np.array([0.0, 0.5, 0.5, 0.0])  # (L,) turns of the clock by which legs are behind


class TrotExpert:
    """Walks as fast as it is told. A function of what is felt alone, so a network can learn it."""

    STANCE = 0.5  # share of a turn that a foot is on the ground
    LIFT = 0.08  # m
    EXTRA, PUSH = 0.24, 0.92  # m/s, and a part of the speed that is wanted: how fast feet have to be sent back, since servos lag
    SPEED_GAIN = 0.5  # of the speed that is missing, added to that of the feet
    PLACE_GAIN = 0.1  # s: how much farther ahead a foot is put down, of the speed that is too much
    HEADING_GAIN = 1.5  # 1/s
    LEVEL_GAIN = 0.15  # m of a leg's length a m of what its root is too high, so that feet stay on the ground as the trunk rocks

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """Actions (B, 12)."""
        physics = robots.physics
        now, (speed, turn, off) = body(physics), command_of(physics)
        rate = turn + np.clip(self.HEADING_GAIN * off, -0.5, 0.5)
        along = self.EXTRA + self.PUSH * speed + self.SPEED_GAIN * (speed - now.velocity[:, 0])
        ground = np.stack(
            [along[:, None] - rate[:, None] * (ROOTS[:, 1] + SIDES * ARM), rate[:, None] * ROOTS[:, 0]], axis=-1
        )  # (B, L, 2) m/s, of hips over the ground
        stance = self.STANCE / FREQUENCY  # s
        turns = phase_of(physics)[:, None] + PAIRS
        part = turns - np.floor(turns)  # (B, L)
        down = part < self.STANCE
        gone = np.where(down, part / self.STANCE, (part - self.STANCE) / (1.0 - self.STANCE))  # of the stance or the swing
        smooth = gone * gone * (3.0 - 2.0 * gone)
        share = np.where(down, 0.5 - gone, smooth - 0.5)  # of a step: 0.5 where the foot is put down, -0.5 where it is lifted
        excess = np.stack([now.velocity[:, 0] - speed, now.velocity[:, 1]], axis=1)[:, None]  # (B, 1, 2)
        fresh = np.where(down, 1.0 - gone, smooth)[..., None]
        place = ground * (stance * share)[..., None] + self.PLACE_GAIN * fresh * excess
        height = np.where(down, 0.0, self.LIFT * np.sin(np.pi * gone))
        high = now.up[:, :1] * ROOTS[:, 0] + now.up[:, 1:2] * (ROOTS[:, 1] + SIDES * ARM)  # (B, L) m by which roots are too high
        feet = np.stack([place[..., 0], place[..., 1] + SIDES * ARM, height - (STANDING - FOOT) - self.LEVEL_GAIN * high * down], axis=-1)
        return np.asarray(np.clip((leg_angles(feet) - HOME) / SPAN, -1.0, 1.0))
