"""Whoever plays an arcade game without having learned it, by name.

A player is made for a batch of worlds and then asked for their actions at every decision. Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from envs.games.rally.motion import arrival, fold
from envs.games.rally.types import FACE, TOP, RallyConfig
from envs.games.rally.worlds import RallyWorlds
from perception.rng import uniform

__all__ = ["PLAYERS", "Chance", "MakePlayer", "Player", "RallyExpert", "as_action"]

STREAM = 3101  # of the counter-based generator
AIMS = (-0.8, -0.4, 0.0, 0.4, 0.8)  # where on the paddle a ball may be taken, in its reaches
DEAD = 0.5  # of what a paddle moves in a decision: what is nearer is left alone


class Player(Protocol):
    """Acts for the player on the left."""

    def act(self, worlds: RallyWorlds) -> Tensor:
        """Actions (B,), as `RallyWorlds.command` takes them."""


MakePlayer = Callable[[RallyWorlds], Player]


def as_action(wish: Tensor, config: RallyConfig) -> Tensor:
    """What moves a paddle by `wish` (B,) or towards it: a share of its speed, or down, stay or up."""
    share = wish / (config.paddle_speed * config.dt)
    if config.action == "continuous":
        return share.clamp(-1.0, 1.0)
    return 1 + (share > DEAD).to(torch.int64) - (share < -DEAD).to(torch.int64)


class Chance:
    """Any action at every decision. The floor: what no policy may fall below."""

    def __init__(self, worlds: RallyWorlds) -> None:
        pass

    def act(self, worlds: RallyWorlds) -> Tensor:
        """A function of episode and decision alone."""
        state = worlds.state
        drawn = uniform(state.seed, state.step, STREAM, torch.zeros_like(state.seed))
        return 2.0 * drawn - 1.0 if worlds.config.action == "continuous" else (3.0 * drawn).to(torch.int64)


class RallyExpert:
    """Is where the ball will arrive, and takes it with that part of the paddle which sends it farthest from the opponent's.

    Flies the ball ahead in closed form. It knows of things what the worlds' level of seeing lets it.
    """

    def __init__(self, worlds: RallyWorlds) -> None:
        self.config = worlds.config

    def act(self, worlds: RallyWorlds) -> Tensor:
        """See the class."""
        config, objects = self.config, worlds.objects()
        ball, velocity = objects.position[:, 0], objects.velocity[:, 0]
        own, other = objects.position[:, 1, 1], objects.position[:, 2, 1]
        time, y = arrival(ball, velocity, -1.0)
        aims = torch.tensor(AIMS, device=y.device)
        slope = config.slope * aims
        lands, _ = fold(y[:, None] + 2.0 * FACE * slope, slope.expand(len(y), -1))  # (B, aims) where the opponent would have to be
        best = (lands - other[:, None]).abs().argmax(-1)
        place = y - aims[best] * config.reach
        near = (place.clamp(-config.room, config.room) - y).abs() < config.reach
        comes = torch.isfinite(time)
        place = torch.where(comes, torch.where(near, place, y), 0.0)
        return as_action(place.clamp(-TOP, TOP) - own, config)


PLAYERS: dict[str, MakePlayer] = {"random": Chance, "expert": RallyExpert}
