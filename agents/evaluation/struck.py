"""What was believed of the object that an episode's collision was with, in the two seconds before: where perception failed, or the policy.

Shapes: B worlds, A agents, O objects believed. World frame, SI units; the ego is slot 0.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.config import MOUNTS, CameraConfig
from envs.driving.eyes import Eyes
from envs.driving.objects import true_objects
from envs.driving.observation import shown
from envs.driving.sim import DrivingSim
from envs.driving.visibility import visible
from scenarios.kinds import Kind

__all__ = ["CAUSES", "WINDOW", "CollisionLog", "Struck"]

WINDOW = 2.0  # s before a collision that count; braking from 60 km/h at 8 m/s^2 takes about as long
CAUSES = ("known", "misplaced", "missed", "hidden", "outside")
GATE, GATE_SHARE = 2.5, 0.1  # m, or share of the distance if that is more: a belief this near to a thing is taken to mean it
CLOSE, CLOSE_SHARE = 1.0, 0.05  # likewise: up to here it counts as being in the right place
TWO_PI = 2.0 * math.pi


@dataclass(frozen=True, kw_only=True)
class Struck:
    """The object of a collision. `cause` is what held at most of the decisions within WINDOW before it, the worse of equals:

    known      believed where it was: the policy's doing
    misplaced  believed more than 1 m (or 5 % of its distance) away from where it was
    missed     in sight, but not believed
    hidden     not believed, and no line of sight to it
    outside    not believed, and outside what is looked at: the cameras (`perceived`), `view_fov` and `view_range` (other levels)

    Believed means: among the objects shown to the policy there is one within 2.5 m (or 10 % of the distance), of whatever kind.
    """

    kind: str  # of scenarios.kinds.Kind, in small letters
    cause: str
    hidden: float  # share of the window in which there was no line of sight, whatever was believed
    distance: float  # m between centres at the start of the window
    noticed: float | None  # m between centres when the belief began that lasted until the collision; None: there was none at the end
    error: float | None  # m, mean distance from the belief to the truth over the window; None: it was never believed


class _Moment(NamedTuple):
    """One decision, of every world and agent."""

    cause: Tensor  # (B, A) int64, index into CAUSES
    hidden: Tensor  # (B, A) bool
    distance: Tensor  # (B, A) m
    error: Tensor  # (B, A) m, NaN: not believed


class CollisionLog:
    """Looks on at every decision: `look` before the simulator's step, `struck` after it where there was a collision, `forget` at resets."""

    def __init__(self, sim: DrivingSim, eyes: Eyes | None) -> None:
        self.sim, self.eyes = sim, eyes
        config = sim.config
        self.length = max(1, math.ceil(WINDOW / (config.dt * config.ticks_per_step)))
        self.moments: deque[_Moment] = deque(maxlen=self.length)
        self.lived = torch.zeros(sim.batch, dtype=torch.int64, device=sim.device)  # decisions of the running episodes
        self.noticed = torch.full_like(sim.state.x, torch.nan)  # (B, A) m
        self.sight = replace(config, view_range=1e6, view_fov=TWO_PI)

    def look(self) -> None:
        """Remember how things stand and what is believed now."""
        sim = self.sim
        state, setup = sim.state, sim.setup
        x, y = state.x - state.x[:, :1], state.y - state.y[:, :1]
        distance = torch.sqrt(x * x + y * y)
        error = self._error()
        believed = error <= torch.clamp(GATE_SHARE * distance, min=GATE)
        close = error <= torch.clamp(CLOSE_SHARE * distance, min=CLOSE)
        clear = visible(state, setup, sim.maps, self.sight)[:, 0]
        unseen = torch.where(self._looked_at(x, y, distance), torch.where(clear, 2, 3), 4)
        cause = torch.where(believed, torch.where(close, 0, 1), unseen)
        self.moments.append(_Moment(cause, ~clear, distance, torch.where(believed, error, torch.nan)))
        self.noticed = torch.where(believed, torch.where(self.noticed.isnan(), distance, self.noticed), torch.nan)
        self.lived = self.lived + 1

    def struck(self, world: int) -> Struck | None:
        """What the collision of a world was with; None if nothing was struck."""
        slot = int(self.sim.state.stats.collision_slot[world, 0])
        lived = min(int(self.lived[world]), len(self.moments))
        if slot < 0 or lived == 0:
            return None
        cause, hidden, distance, error = (torch.stack(part)[-lived:, world, slot] for part in zip(*self.moments, strict=True))
        counts = torch.bincount(cause, minlength=len(CAUSES))
        worst = max(range(len(CAUSES)), key=lambda k: (int(counts[k]), k))
        noticed, off = float(self.noticed[world, slot]), error[~error.isnan()]
        return Struck(
            kind=Kind(int(self.sim.setup.kind[world, slot])).name.lower(),
            cause=CAUSES[worst],
            hidden=float(hidden.float().mean()),
            distance=float(distance[0]),
            noticed=None if math.isnan(noticed) else noticed,
            error=float(off.mean()) if len(off) else None,
        )

    def forget(self, worlds: list[int]) -> None:
        """These worlds begin anew."""
        self.lived[worlds] = 0
        self.noticed[worlds] = torch.nan

    def _error(self) -> Tensor:
        """(B, A) m from every agent to the nearest of the objects that the policy is shown, +inf: none."""
        sim, config = self.sim, self.sim.config
        if self.eyes is not None:
            objects = self.eyes.objects
        else:
            objects = true_objects(sim.state, sim.setup, shown(sim.state, sim.setup, sim.maps, config))
        away = torch.sqrt((objects.x - sim.state.x[:, :1]) ** 2 + (objects.y - sim.state.y[:, :1]) ** 2)
        away = torch.where(objects.seen[:, 0], away, torch.inf)
        count = min(config.nearest, away.shape[1])
        among = away <= away.kthvalue(count, dim=1).values.unsqueeze(1)  # the nearest are shown, the others are not
        gap = torch.sqrt(
            (objects.x.unsqueeze(1) - sim.state.x.unsqueeze(2)) ** 2 + (objects.y.unsqueeze(1) - sim.state.y.unsqueeze(2)) ** 2
        )  # (B, A, O)
        return torch.where((among & objects.seen[:, 0]).unsqueeze(1), gap, torch.inf).amin(2)

    def _looked_at(self, x: Tensor, y: Tensor, distance: Tensor) -> Tensor:
        """(B, A) bool: centres within range and field of view of what the level looks with."""
        config = self.sim.config
        bearing = torch.atan2(y, x) - self.sim.state.yaw[:, :1]
        near = distance <= config.view_range
        if config.observation != "perceived":
            return near & (_apart(bearing, 0.0) <= 0.5 * config.view_fov)
        half = 0.5 * CameraConfig().field_of_view
        views = [_apart(bearing, MOUNTS[name][2]) <= half for name in config.cameras.split("+")]
        return near & torch.stack(views).any(0)


def _apart(angle: Tensor, other: float) -> Tensor:
    """Between 0 and pi."""
    return torch.abs(torch.remainder(angle - other + math.pi, TWO_PI) - math.pi)
