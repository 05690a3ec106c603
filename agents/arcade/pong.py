"""Who plays Atari's Pong by a script: the reference for what a policy could make of what it is told.

Shapes: B worlds, S = 27 plans. Places in px of the emulator's screen, v down.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from envs.games.atari.pong import BOTTOM, TOP, arrival
from envs.games.atari.types import FPS
from envs.games.atari.worlds import AtariWorlds

__all__ = ["PongExpert"]

MIDDLE = 0.5 * (TOP + BOTTOM)
TURN = 5.7  # px a frame that a button turns the knob; the paddle makes good half of what it lacks every other frame (measured)
LOW, HIGH, UPPER = 13.0, 200.0, 32.0  # px, ends of the knob, and where the paddle itself stops above (measured)
LOOK = 3  # decisions that are planned
TRUST = 0.9  # of where the paddle was seen to be off what was expected, for where the knob is
OFF = 7.0  # px from the paddle's middle, where a ball is taken that is to fly off at an angle; it can be 10
BUTTONS = ("RIGHT", "NOOP", "LEFT")  # up, stay, down
EFFORT = 0.5  # px, a button: what is far off can wait


class PongExpert:
    """Has the paddle where the ball will arrive, off the middle by the end that sends it away from the opponent. It never holds FIRE: who
    does so returns the ball at up to 4 px a frame, but the opponent sends it back as fast.

    A paddle follows a knob that is not seen, so the knob is kept account of, and the best of all plans of three decisions is begun with. It
    knows of things what the worlds' level of seeing lets it. It is to be asked at every decision.
    """

    def __init__(self, worlds: AtariWorlds) -> None:
        names = worlds.game.buttons
        self.button = torch.tensor([names.index(name) for name in BUTTONS])
        self.plans = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=LOOK)))  # (S, LOOK)
        self.halves = worlds.config.skip // 2  # times that a paddle moves in a decision
        self.knob = self.paddle = torch.zeros(worlds.batch)  # (B,) where they should be now
        self.step = torch.full((worlds.batch,), -2)

    def act(self, worlds: AtariWorlds) -> Tensor:
        """Actions (B,)."""
        objects = worlds.objects()
        _, own, other = objects.position.unbind(1)
        steps = torch.from_numpy(worlds.steps)
        fresh = steps != self.step + 1
        off = own[:, 1] - self.paddle
        knob = torch.where(fresh, own[:, 1], self.knob + torch.where(off.abs() < 1.0, 0.0, TRUST * off)).clamp(LOW, HIGH)
        comes, time, v = arrival(objects)
        above = other[:, 1] < MIDDLE  # the opponent; the ball is to go down, off the lower end
        place = torch.where(comes, v + torch.where(above, -OFF, OFF), v)
        moves = torch.where(comes, 0.5 * FPS * time, torch.inf)  # (B,) times that the paddle moves until then
        best = self._best(own[:, 1], knob, place, moves)
        self.step = steps
        self.paddle, self.knob = self._moved(own[:, 1], knob, self.plans[best, 0])
        return self.button[self.plans[best, 0].long() + 1]

    def _moved(self, paddle: Tensor, knob: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
        """Paddle and knob after a decision."""
        for _ in range(self.halves):
            paddle, knob = _follow(paddle, knob), (knob + 2.0 * TURN * way).clamp(LOW, HIGH)
        return paddle, knob

    def _best(self, paddle: Tensor, knob: Tensor, place: Tensor, moves: Tensor) -> Tensor:
        """(B,) which plan has the paddle nearest to `place` after so many `moves`, and is not past it a move later: that may come first."""
        at, turned = paddle[:, None, None].expand(-1, len(self.plans), 2), knob[:, None, None].expand(-1, len(self.plans), 2)
        then, left = at, moves[:, None, None] + torch.tensor([0.0, 1.0])  # where it is as time is up
        for way in self.plans[..., None].unbind(1):
            for _ in range(self.halves):
                before = at
                at, turned = _follow(at, turned), (turned + 2.0 * TURN * way).clamp(LOW, HIGH)
                then = torch.where(left > 0.0, before + (at - before) * left.clamp(max=1.0), then)
                left = left - 1.0
        then = torch.where(left > 0.0, turned + (at - turned) * 0.5 ** left.clamp(min=0.0), then).clamp(min=UPPER)
        return ((then - place[:, None, None]).abs().amax(-1) + EFFORT * self.plans.abs().sum(1)).argmin(1)


def _follow(paddle: Tensor, knob: Tensor) -> Tensor:
    """Where a paddle is after it moved once."""
    return (paddle + 0.5 * (knob - paddle)).clamp(min=UPPER)
