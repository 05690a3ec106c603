"""Making a path shorter: Reeds-Shepp curves between its own places.

Between all pairs of places the cheapest curve is tried. Of those that are free and of the path's own pieces, the cheapest chain is found by
dynamic programming. It takes the wiggles out that a search by primitives leaves, and never makes a path dearer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.planners import reeds_shepp
from agents.planners.freespace import against
from agents.planners.motions import SHOT, SPACING, Motions, Pose, Segments, joints

__all__ = ["against_traffic", "shortened"]

Floats = NDArray[np.float64]
Rows = list[tuple[float, float]]  # of length and curvature
CUTS = 36  # places of a path between which curves are tried, about


def against_traffic(motions: Motions, path: Segments) -> float:
    """The longest way against traffic in one go, m; pieces are allowed some each."""
    pieces: Rows = []
    for s, bend in zip(path.lengths.tolist(), path.bends.tolist(), strict=True):
        count = max(1, int(np.ceil(abs(s) / SPACING)))
        pieces += [(s / count, bend)] * count
    x, y, yaw = (np.array(column) for column in zip(*joints(path.start, pieces)[1:], strict=True))
    longest = run = 0.0
    for wrong, (s, _) in zip(against(motions.space, motions.car, x, y, yaw), pieces, strict=True):
        run = run + s if wrong and s > 0.0 else 0.0
        longest = max(longest, run)
    return longest


def shortened(motions: Motions, start: Pose, path: Rows, expanded: int) -> Segments:
    """The cheapest path of Reeds-Shepp curves between places of this one and of its own pieces, by dynamic programming."""
    pieces: Rows = []
    most = max(1.0, sum(abs(s) for s, _ in path) / (CUTS - len(path))) if len(path) < CUTS else np.inf
    for s, bend in path:
        parts = max(1, int(np.ceil(abs(s) / most))) if np.isfinite(most) else 1
        pieces += [(s / parts, bend)] * parts
    x, y, yaw = (np.array(column) for column in zip(*joints(start, pieces), strict=True))
    n = len(x)
    i, j = np.triu_indices(n, 1)
    near = np.hypot(x[j] - x[i], y[j] - y[i]) < SHOT
    i, j = i[near], j[near]
    curve, guess = motions.curves(x[i], y[i], yaw[i], x[j], y[j], yaw[j])
    own = np.array([abs(s) * (motions.how.reverse if s < 0.0 else 1.0) for s, _ in pieces])
    along = np.concatenate([[0.0], np.cumsum(own)])
    turns = np.concatenate([[0.0], np.cumsum(_changes(motions, pieces))])
    worth = guess <= along[j] - along[i] + turns[j] - turns[i] + 2.0
    i, j = i[worth], j[worth]
    curve = reeds_shepp.Curve(curve.lengths[worth], curve.turns[worth], motions.radius)
    cost = motions.cost(x[i], y[i], yaw[i], curve)
    single = np.zeros((2, n - 1, 5))
    single[..., 0] = np.array(pieces).T
    arcs = reeds_shepp.Curve(single[0], single[1] * motions.radius, motions.radius)
    own_cost = motions.cost(x[:-1], y[:-1], yaw[:-1], arcs).tolist()
    steps: list[tuple[int, int, float, Rows]] = [(k, k + 1, own_cost[k], [pieces[k]]) for k in range(n - 1)]
    for e in np.nonzero(np.isfinite(cost))[0]:
        rows = zip(curve.lengths[e], curve.turns[e] / motions.radius, strict=True)
        steps.append((int(i[e]), int(j[e]), float(cost[e]), [(float(s), float(b)) for s, b in rows if abs(s) > 1e-6]))
    chosen = _cheapest(motions, steps, n)
    lengths, bends = (np.array(column) for column in zip(*_joined(chosen), strict=True))
    return Segments(start, lengths, bends, expanded)


def _changes(motions: Motions, pieces: Rows) -> Floats:
    """What each piece costs for the change of direction and curvature at its beginning."""
    gear, bend, out = 0.0, 0.0, []
    for s, b in pieces:
        out.append(motions.how.cusp * (gear * s < 0.0) + motions.how.steer * abs(b - bend) * motions.radius)
        gear, bend = s, b
    return np.array(out)


def _cheapest(motions: Motions, steps: list[tuple[int, int, float, Rows]], n: int) -> Rows:
    """The chain of steps from joint 0 to joint n - 1 that costs least, changes of direction and curvature at joints included."""
    how = motions.how
    arrive: list[dict[tuple[float, float], tuple[float, Rows]]] = [{} for _ in range(n)]
    arrive[0][(0.0, 0.0)] = (0.0, [])
    for a, b, cost, rows in sorted(steps, key=lambda step: step[:2]):
        if not rows:
            continue
        inside = how.steer * abs(rows[0][1]) * motions.radius  # counted from straight by `curves_cost`
        for (gear, bend), (before, path) in arrive[a].items():
            joint = how.cusp * (gear * rows[0][0] < 0.0) + how.steer * abs(rows[0][1] - bend) * motions.radius - inside
            state = (float(np.sign(rows[-1][0])), round(rows[-1][1], 6))
            total = before + cost + joint
            if state not in arrive[b] or total < arrive[b][state][0] - 1e-9:
                arrive[b][state] = (total, path + rows)
    return min(arrive[n - 1].values(), key=lambda entry: entry[0])[1]


def _joined(path: Rows) -> Rows:
    """Neighbours of the same direction and curvature as one."""
    out: Rows = []
    for s, bend in path:
        if out and out[-1][0] * s > 0.0 and abs(out[-1][1] - bend) < 1e-9:
            out[-1] = (out[-1][0] + s, bend)
        else:
            out.append((s, bend))
    return out
