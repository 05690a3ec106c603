"""How recorded drivers follow, as parameters of the traffic model.

Shapes: T ticks, N agents. With the usual headway of 1.5 s everybody in recorded dense traffic would brake at once; real drivers keep
what they were seen to keep.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenarios.episode import AgentSpec, Driver

__all__ = ["recorded_drivers"]

Floats = NDArray[np.float64]

SLOWEST = 2.0  # m/s, least desired speed of somebody who moves
FASTER = 1.15  # a follower would drive that much faster than it was seen to if nobody were ahead
HEADWAY = (0.5, 1.5)  # s, time gaps of followers on US-101: 0.5 to 3 s (Chen et al. 2010), capped at the traffic model's usual value
MIN_GAP = (1.0, 2.0)  # m at standstill
MOVING = 2.0  # m/s from which a time gap is meaningful
FOLLOWING = 60.0  # m, who is farther ahead does not matter
ASIDE = 0.3  # m, sideways overlap that makes somebody a leader


def recorded_drivers(agents: Sequence[AgentSpec]) -> dict[str, Driver]:
    """Drivers by agent id, for agents with a log.

    Wanted speed: the highest recorded, times FASTER for somebody who followed another. Headway: the median recorded time gap.
    Standstill gap: the smallest gap at walking pace.
    """
    logged = [agent for agent in agents if agent.log is not None]
    if not logged:
        return {}
    logs = [agent.log for agent in logged if agent.log is not None]
    x, y, yaw, speed = (np.stack([getattr(log, name) for log in logs]) for name in ("x", "y", "yaw", "speed"))  # (N, T)
    valid = np.stack([log.valid for log in logs])
    length, width = np.array([a.length for a in logged]), np.array([a.width for a in logged])
    drivers = {}
    for i, agent in enumerate(logged):
        dx, dy = x - x[i], y - y[i]
        ahead = dx * np.cos(yaw[i]) + dy * np.sin(yaw[i])
        aside = np.abs(dy * np.cos(yaw[i]) - dx * np.sin(yaw[i]))
        leads = valid & valid[i] & (ahead > 0.0) & (ahead < FOLLOWING) & (aside < (width[:, None] + width[i]) / 2.0 - ASIDE)
        gap = np.where(leads, ahead - (length[:, None] + length[i]) / 2.0, np.inf).min(axis=0)  # (T,)
        drivers[agent.id] = _driver(gap, speed[i], valid[i])
    return drivers


def _driver(gap: Floats, speed: Floats, valid: NDArray[np.bool_]) -> Driver:
    """gap (T,) m to the leader, +inf none."""
    slow = valid & (speed < MOVING) & np.isfinite(gap)
    min_gap = float(np.clip(gap[slow].min(), *MIN_GAP)) if slow.any() else MIN_GAP[1]
    moving = valid & (speed >= MOVING) & np.isfinite(gap)
    headway = float(np.clip(np.median((gap[moving] - min_gap) / speed[moving]), *HEADWAY)) if moving.any() else HEADWAY[1]
    wanted = max(float(speed[valid].max()) * (FASTER if moving.any() else 1.0), SLOWEST)
    return Driver(desired_speed=wanted, headway=headway, min_gap=min_gap, changes_lanes=False)
