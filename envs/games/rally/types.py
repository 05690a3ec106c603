"""What a batch of matches is made of. Shapes: B worlds, P = 2 players: 0 on the left, 1 on the right.

Lengths are in half courts: the court reaches from x = -1 to 1, x to the right and y up; its middle is the origin. Times are in s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from envs.checks import ConfigError, unknown

__all__ = ["ACTIONS", "FACE", "FRONT", "HEIGHT", "LIMIT", "RADIUS", "SERVE_WAIT", "THICKNESS", "TOP", "Out", "RallyConfig", "RallyState"]

HEIGHT = 0.85  # from the middle to a wall
RADIUS = 0.045  # of the ball; it and paddles are 4 px wide in pictures of 96, which is what detectors are judged from on
FRONT, THICKNESS = 0.93, 0.09  # a paddle's front is so far from the middle; it is so thick
FACE = FRONT - RADIUS  # where the middle of a ball is that touches a paddle
TOP = HEIGHT - RADIUS  # where the middle of a ball is that touches a wall
LIMIT = 1.0  # a ball whose middle is further out is lost
SERVE_WAIT = 10  # decisions that the ball rests before it is served
ACTIONS = ("discrete", "continuous")


class RallyState(NamedTuple):
    """B matches."""

    seed: Tensor  # (B,) int64, of the episode
    step: Tensor  # (B,) int64, decisions taken
    ball: Tensor  # (B, 2) x, y
    velocity: Tensor  # (B, 2) of the ball, 1/s; 0 while it waits to be served
    paddle: Tensor  # (B, P) y of the middles
    motion: Tensor  # (B, P) 1/s, of the paddles over the last decision
    score: Tensor  # (B, P) int64, points
    returns: Tensor  # (B,) int64, since the serve
    wait: Tensor  # (B,) int64, decisions until the ball is served; 0: it flies
    toward: Tensor  # (B,) float32, -1 or 1: the side that is served to
    since: Tensor  # (B,) int64, decisions since the ball was served or returned
    luck: Tensor  # (B,) -1 to 1, drawn anew whenever the ball is served or returned: what a built-in opponent errs by


class Out(NamedTuple):
    """What a decision brings."""

    reward: Tensor  # (B, P) 1 for a point won, -1 for one lost
    hit: Tensor  # (B, P) bool, who has returned the ball
    terminated: Tensor  # (B,) bool, somebody has the points that win
    truncated: Tensor  # (B,) bool, time is up, and nobody has


@dataclass(frozen=True, kw_only=True)
class RallyConfig:
    """The rules' numbers. Raises ConfigError for what cannot be played."""

    points: int = 11  # that win the match
    duration: int = 2400  # decisions until a match is truncated
    dt: float = 0.05  # s, a decision
    speed: float = 1.6  # 1/s, of a ball that is served
    gain: float = 1.1  # factor on it for every return
    speed_max: float = 4.5  # 1/s
    paddle: float = 0.15  # half the length of a paddle
    paddle_speed: float = 1.6  # 1/s at most
    slope: float = 1.2  # |vy / vx| at most; off the end of a paddle at rest
    spin: float = 0.25  # slope that a paddle at its full speed adds to the ball
    skill: float = 0.5  # of the built-in opponent, 0 to 1
    action: str = "discrete"  # 0 down, 1 stay, 2 up; or "continuous": one number in [-1, 1], the share of the paddle's speed

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(unknown("action", self.action, ACTIONS))
        for name, low, high in (
            ("points", 1, 99), ("duration", 1, 1_000_000), ("dt", 0.005, 0.1), ("speed", 0.2, 6.0), ("gain", 1.0, 2.0),
            ("speed_max", self.speed, 8.0), ("paddle", 0.05, 0.4), ("paddle_speed", 0.2, 6.0), ("slope", 0.1, 3.0), ("spin", 0.0, 1.0),
            ("skill", 0.0, 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int if name in ("points", "duration") else int | float):
                raise ConfigError(f"{name}={value!r}: must be a {'whole ' if name in ('points', 'duration') else ''}number")
            if not low <= value <= high:
                raise ConfigError(f"{name}={value}: must be between {low} and {high}")

    @property
    def reach(self) -> float:
        """How far the ball's middle may be from the paddle's for the ball to be returned."""
        return self.paddle + RADIUS

    @property
    def room(self) -> float:
        """How far a paddle's middle can get from the court's."""
        return HEIGHT - self.paddle
