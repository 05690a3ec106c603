"""From what is seen on a screen to where things are and how they move: a filter for each thing, of which a game has a known number.

It is a stage of `perception.pipeline`: it has what a `Tracker` there has. How things move by themselves is known (`Things.ahead`); when one
is suddenly elsewhere than expected, its filter begins anew. Between such moments the filter is the one of least squares over all that was
seen since (Brookner, "Tracking and Kalman Filtering Made Easy", 1998, section 1.2.10), over the last `memory` looks at most.

Shapes: B worlds, K things, D detections. Lengths are those of the game, times s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from perception.types import Detections, SensorFrame, Tracks

__all__ = ["ScreenState", "ScreenTracker", "Things"]


@dataclass(frozen=True, kw_only=True)
class Things:
    """What is on a screen, and how it moves."""

    kinds: tuple[int, ...]  # K, as detections count them
    memory: tuple[int, ...]  # K, looks: few for what may turn at any
    surprise: tuple[float, ...]  # K, off what was expected, from which on a thing is taken to have turned
    fastest: float  # 1/s: what was seen farther away was put there
    near: float  # of a score: what a detection loses for each length that it is away from where the thing is expected
    lost: int  # looks, after which a thing that was not seen is not believed to move any more
    ahead: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # places, velocities (B, K, 2), s (B, 1, 1) -> the same later
    fits: Callable[[Tensor, Tensor], Tensor]  # kinds (B, D), places (B, D, 2) -> (B, K, D) bool, which may be which thing
    apart: Callable[[Tensor, Tensor], Tensor] = torch.sub  # the way from the second places to the first


class ScreenState(NamedTuple):
    """All that the filter remembers."""

    place: Tensor  # (B, K, 2)
    velocity: Tensor  # (B, K, 2)
    last: Tensor  # (B, K, 2) where it was last seen
    looks: Tensor  # (B, K) int64, since the filter began; 0: never seen
    unseen: Tensor  # (B, K) int64, looks since it was last seen
    time: Tensor  # (B,) s of the last look


class ScreenTracker:
    """Follows the things of a screen. Implements `perception.stages.Tracker`."""

    name = "screen"

    def __init__(self, things: Things) -> None:
        self.things = things

    def initial(self, batch: int, device: torch.device | str = "cpu") -> ScreenState:
        """Nothing seen yet."""
        count = torch.zeros((batch, len(self.things.kinds)), dtype=torch.int64, device=device)
        pair = torch.zeros((*count.shape, 2), device=device)
        return ScreenState(pair, pair.clone(), pair.clone(), count, count.clone(), torch.zeros(batch, device=device))

    def update(self, state: ScreenState, detections: Detections, frame: SensorFrame, fresh: Tensor) -> ScreenState:
        """One look further; fresh (B,) bool: worlds that have detections."""
        things = self.things
        dt = (frame.time - state.time).clamp(min=0.0)[:, None, None]
        place, velocity = things.ahead(state.place, state.velocity, dt)
        seen, found = self._assigned(detections, place, state.looks > 0)
        seen = seen & fresh[:, None]
        off = things.apart(found, place)
        far = torch.sqrt(off.square().sum(-1)) > torch.tensor(things.surprise, device=off.device)
        begin = seen & ((state.looks == 0) | far)
        n = torch.minimum(state.looks, torch.tensor(things.memory, device=off.device)).to(off.dtype)[..., None]
        gain = 2.0 * (2.0 * n + 1.0) / ((n + 1.0) * (n + 2.0))
        steer = 6.0 / ((n + 1.0) * (n + 2.0)) / dt.clamp(min=1e-3)
        jump = things.apart(found, state.last) / (dt * (1.0 + state.unseen[..., None])).clamp(min=1e-3)
        known = (state.looks > 0) & (torch.sqrt(jump.square().sum(-1)) < things.fastest)
        anew = torch.where(known[..., None], jump, 0.0)
        use, new = seen[..., None], begin[..., None]
        place = torch.where(new, found, torch.where(use, place + gain * off, place))
        velocity = torch.where(new, anew, torch.where(use, velocity + steer * off, velocity))
        unseen = torch.where(seen, 0, state.unseen + 1)
        velocity = torch.where((unseen > things.lost)[..., None], 0.0, velocity)
        looks = torch.where(begin, 1 + known.to(torch.int64), state.looks + (seen & ~begin))
        return ScreenState(place, velocity, torch.where(use, found, state.last), looks, unseen, frame.time.clone())

    def read(self, state: ScreenState, motion: Tensor, dt: Tensor) -> Tracks:
        """What is believed `dt` (B,) s later. `motion` is none: screens hang still."""
        place, velocity = self.things.ahead(state.place, state.velocity, dt[:, None, None])
        known = state.looks > 0
        count = torch.zeros_like(state.looks)
        real = torch.zeros_like(place[..., 0])
        return Tracks(
            id=torch.where(known, torch.arange(count.shape[1], device=place.device), -1),
            kind=torch.tensor(self.things.kinds, device=place.device).expand_as(count).clone(),
            mean=torch.cat((place, velocity), -1),
            covariance=torch.full((*count.shape, 4, 4), torch.nan, device=place.device),
            yaw=real,
            size=torch.full((*count.shape, 3), torch.nan, device=place.device),
            score=known.to(place.dtype),
            age=state.looks.clone(),
            unseen=state.unseen.clone(),
            light=count - 1,
            source=count - 1,
            box=torch.full((*count.shape, 4), torch.nan, device=place.device),
            mask=known,
        )

    def _assigned(self, found: Detections, place: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Whether (B, K), and where (B, K, 2), each thing was seen: of those that it may be, the likeliest detection."""
        at = found.centre[..., :2]  # (B, D, 2)
        fits = self.things.fits(found.kind, at) & found.mask[:, None]  # (B, K, D)
        away = torch.sqrt(self.things.apart(at[:, None], place[:, :, None]).square().sum(-1))
        worth = found.score[:, None] - torch.where(known[..., None], self.things.near * away, 0.0)
        best, index = torch.where(fits, worth, -torch.inf).max(-1)  # (B, K)
        return torch.isfinite(best), at.gather(1, index[..., None].expand(-1, -1, 2))
