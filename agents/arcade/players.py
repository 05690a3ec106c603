"""Whoever plays an arcade game without having learned it, by name.

A player is made for a batch of worlds and then asked for their actions at every decision. Shapes: B worlds, A buttons.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import torch
from gymnasium import spaces
from torch import Tensor

from envs.games.arcade_worlds import ArcadeWorlds
from envs.games.rally.motion import arrival, fold
from envs.games.rally.types import FACE, TOP, RallyConfig
from envs.games.rally.worlds import RallyWorlds
from perception.rng import uniform

__all__ = ["EXPERTS", "Chance", "MakePlayer", "Player", "RallyExpert", "as_action", "players_of"]

STREAM = 3101  # of the counter-based generator
AIMS = (-0.8, -0.4, 0.0, 0.4, 0.8)  # where on the paddle a ball may be taken, in its reaches
DEAD = 0.5  # of what a paddle moves in a decision: what is nearer is left alone


class Player(Protocol):
    """Acts for the player whom the shells of one player serve."""

    def act(self, worlds: Any) -> Tensor:
        """Actions (B,), as the worlds' `command` takes them."""


MakePlayer = Callable[[Any], Player]


def as_action(wish: Tensor, config: RallyConfig) -> Tensor:
    """What moves a paddle by `wish` (B,) or towards it: a share of its speed, or down, stay or up."""
    share = wish / (config.paddle_speed * config.dt)
    if config.action == "continuous":
        return share.clamp(-1.0, 1.0)
    return 1 + (share > DEAD).to(torch.int64) - (share < -DEAD).to(torch.int64)


class Chance:
    """Any action at every decision. The floor: what no policy may fall below."""

    def __init__(self, worlds: ArcadeWorlds) -> None:
        self.buttons = int(worlds.action_space.n) if isinstance(worlds.action_space, spaces.Discrete) else 0  # A; 0: a number in [-1, 1]

    def act(self, worlds: ArcadeWorlds) -> Tensor:
        """A function of episode and decision alone."""
        seed, step = torch.from_numpy(worlds.seeds), torch.from_numpy(worlds.steps)
        drawn = uniform(seed, step, STREAM, torch.zeros_like(seed))
        return (self.buttons * drawn).to(torch.int64) if self.buttons else 2.0 * drawn - 1.0


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


EXPERTS = {"rally": "agents.arcade.players:RallyExpert", "pong": "agents.arcade.pong:PongExpert"}  # "module:class" by game


def players_of(game: str) -> dict[str, MakePlayer]:
    """Who plays a game without having learned it, by name."""
    found: dict[str, MakePlayer] = {"random": Chance}
    if game in EXPERTS:
        module, _, made = EXPERTS[game].partition(":")
        found["expert"] = getattr(import_module(module), made)
    return found
