"""From what is seen on a screen to where things are and how they move: a filter for the ball and one for each paddle.

It is a stage of `perception.pipeline`: it has what a `Tracker` there has. The ball flies straight and off walls as mirrors do, which is
known; when somebody returns or serves it, it is suddenly elsewhere than expected, and its filter begins anew. Between such moments the
filter is the one of least squares over all that was seen since (Brookner, "Tracking and Kalman Filtering Made Easy", 1998, section 1.2.10),
over the last MEMORY looks at most.

Shapes: B worlds, K = 3 things (ball, left paddle, right paddle), D detections. Frame: the court's, in half courts and s.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.games.rally.motion import fold
from envs.games.rally.types import TOP
from perception.types import Detections, SensorFrame, Tracks

__all__ = ["CourtState", "CourtTracker"]

MEMORY = (8, 2, 2)  # looks: paddles may turn at any
SURPRISE = 0.05  # half courts off what was expected, from which on the ball is taken to have been returned or served
FASTEST = 6.0  # 1/s: what was seen farther away was put there
NEAR = 0.3  # of a score: what a detection a half court away from where the thing is expected loses
LOST = 20  # looks, after which a thing that was not seen is not believed to move any more


class CourtState(NamedTuple):
    """All that the filter remembers."""

    place: Tensor  # (B, K, 2)
    velocity: Tensor  # (B, K, 2)
    last: Tensor  # (B, K, 2) where it was last seen
    looks: Tensor  # (B, K) int64, since the filter began; 0: never seen
    unseen: Tensor  # (B, K) int64, looks since it was last seen
    time: Tensor  # (B,) s of the last look


class CourtTracker:
    """Follows one ball and two paddles. Implements `perception.stages.Tracker`."""

    name = "court"

    def initial(self, batch: int, device: torch.device | str = "cpu") -> CourtState:
        """Nothing seen yet."""
        pair, count = torch.zeros((batch, 3, 2), device=device), torch.zeros((batch, 3), dtype=torch.int64, device=device)
        return CourtState(pair, pair.clone(), pair.clone(), count, count.clone(), torch.zeros(batch, device=device))

    def update(self, state: CourtState, detections: Detections, frame: SensorFrame, fresh: Tensor) -> CourtState:
        """One look further; fresh (B,) bool: worlds that have detections."""
        dt = (frame.time - state.time).clamp(min=0.0)[:, None, None]
        place, velocity = _ahead(state, dt)
        seen, found = _assigned(detections, place, state.looks > 0)
        seen = seen & fresh[:, None]
        off = found - place
        far = torch.sqrt(off.square().sum(-1)) > torch.tensor([SURPRISE, torch.inf, torch.inf], device=off.device)
        begin = seen & ((state.looks == 0) | far)
        n = torch.minimum(state.looks, torch.tensor(MEMORY, device=off.device)).to(off.dtype)[..., None]
        gain = 2.0 * (2.0 * n + 1.0) / ((n + 1.0) * (n + 2.0))
        steer = 6.0 / ((n + 1.0) * (n + 2.0)) / dt.clamp(min=1e-3)
        jump = (found - state.last) / (dt * (1.0 + state.unseen[..., None])).clamp(min=1e-3)
        known = (state.looks > 0) & (torch.sqrt(jump.square().sum(-1)) < FASTEST)
        anew = torch.where(known[..., None], jump, 0.0)
        use, new = seen[..., None], begin[..., None]
        place = torch.where(new, found, torch.where(use, place + gain * off, place))
        velocity = torch.where(new, anew, torch.where(use, velocity + steer * off, velocity))
        unseen = torch.where(seen, 0, state.unseen + 1)
        velocity = torch.where((unseen > LOST)[..., None], 0.0, velocity)
        looks = torch.where(begin, 1 + known.to(torch.int64), state.looks + (seen & ~begin))
        return CourtState(place, velocity, torch.where(use, found, state.last), looks, unseen, frame.time.clone())

    def read(self, state: CourtState, motion: Tensor, dt: Tensor) -> Tracks:
        """What is believed `dt` (B,) s later. `motion` is none: screens hang still."""
        place, velocity = _ahead(state, dt[:, None, None])
        known = state.looks > 0
        count = torch.zeros_like(state.looks)
        real = torch.zeros_like(place[..., 0])
        return Tracks(
            id=torch.where(known, torch.arange(3, device=place.device), -1),
            kind=torch.tensor([0, 1, 1], device=place.device).expand_as(count).clone(),
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


def _ahead(state: CourtState, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Places and velocities dt (B, 1, 1) s later: the ball off walls."""
    free = state.place + state.velocity * dt
    y, vy = fold(free[:, :1, 1], state.velocity[:, :1, 1].contiguous(), TOP)
    ball, speed = torch.stack((free[:, :1, 0], y), -1), torch.stack((state.velocity[:, :1, 0], vy), -1)
    return torch.cat((ball, free[:, 1:]), 1), torch.cat((speed, state.velocity[:, 1:]), 1)


def _assigned(found: Detections, place: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Whether (B, K), and where (B, K, 2), each thing was seen: of its kind, and its side, the likeliest detection."""
    at = found.centre[..., :2]  # (B, D, 2)
    left = at[..., 0] < 0.0
    fits = torch.stack((found.kind == 0, (found.kind == 1) & left, (found.kind == 1) & ~left), 1) & found.mask[:, None]  # (B, K, D)
    away = torch.sqrt((at[:, None] - place[:, :, None]).square().sum(-1))
    worth = found.score[:, None] - torch.where(known[..., None], NEAR * away, 0.0)
    best, index = torch.where(fits, worth, -torch.inf).max(-1)  # (B, K)
    return torch.isfinite(best), at.gather(1, index[..., None].expand(-1, -1, 2))
