"""Reeds-Shepp curves: the shortest paths of a car that drives forwards and backwards and turns no tighter than a given radius.

Reeds & Shepp, "Optimal paths for a car that goes both forwards and backwards", Pacific Journal of Mathematics 145 (1990): a shortest path
is one of 48 words of at most five arcs and lines. They are 12 base words, each as it is, driven backwards in time (flip), mirrored
(reflect), and both; numbers in brackets are the paper's formulas. All words of all pairs are computed at once, in closed form.

Shapes: W = 48 words, ... pairs of poses, 5 segments. Poses are (x, y, yaw) in m and rad, curvature left positive. float64.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TURNS", "Curve", "best", "cusps", "length", "poses_at", "relative", "words"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

L, S, R = 1, 0, -1
# the base words in the order of `_base`: turns of the segments, padded with lines of no length, and whether they are driven from the end
BASE: tuple[tuple[int, ...], ...] = (
    (L, S, L, S, S), (L, S, R, S, S), (L, R, L, S, S), (L, R, L, S, S), (L, R, L, S, S), (L, R, L, R, S), (L, R, L, R, S), (L, R, S, L, S),
    (L, R, S, R, S), (L, S, R, L, S), (R, S, R, L, S), (L, R, S, L, R),
)  # fmt: skip
TURNS: Ints = np.array([[turn * mirror for turn in word] for word in BASE for mirror in (1, 1, -1, -1)])  # (W, 5)
SIGNS = ("+++", "+++", "+-+", "+--", "++-", "++--", "+--+", "+---", "+---", "---+", "---+", "+---+")  # directions of travel, as BASE
CUSPS: Ints = np.repeat([sum(a != b for a, b in pairwise(word)) for word in SIGNS], 4)  # (W,)
QUARTER = np.pi / 2.0
TINY = 1e-9  # rad or radii: what rounding makes of 0


class Curve(NamedTuple):
    """Arcs and lines one after another."""

    lengths: Floats  # (..., 5) m along each segment, negative: backwards; 0: no such segment
    turns: Ints | Floats  # (..., 5) 1 left, 0 straight, -1 right; parts of 1: wider arcs
    radius: float  # m, of the arcs


def relative(x: Floats, y: Floats, yaw: Floats, to_x: Floats, to_y: Floats, to_yaw: Floats) -> tuple[Floats, Floats, Floats]:
    """A pose as seen from another one. All broadcast."""
    dx, dy, cos, sin = to_x - x, to_y - y, np.cos(yaw), np.sin(yaw)
    return dx * cos + dy * sin, dy * cos - dx * sin, to_yaw - yaw


def words(x: Floats, y: Floats, yaw: Floats, radius: float) -> Floats:
    """Signed segment lengths of every word from (0, 0, 0) to the pose, (W, ..., 5) m; +inf in the first where a word does not get there.

    x, y, yaw of one shape. Raises ValueError for a radius that is not positive.
    """
    if not radius > 0.0:
        raise ValueError(f"radius={radius}: must be positive, in m")
    x, y, yaw = np.broadcast_arrays(np.asarray(x) / radius, np.asarray(y) / radius, np.asarray(yaw))
    variants = [np.stack(parts) for parts in ((x, -x, x, -x), (y, y, -y, -y), (yaw, -yaw, -yaw, yaw))]  # (4, ...) as, flip, reflect, both
    flip = np.array([1.0, -1.0, 1.0, -1.0]).reshape(-1, *(1,) * x.ndim, 1)
    found = np.stack(_base(*variants))  # (12, 4, ..., 5)
    impossible = np.isnan(found).any(-1)
    found = found * flip
    found[impossible] = 0.0
    found[..., 0][impossible] = np.inf
    metres: Floats = found.reshape(-1, *x.shape, 5) * radius
    return metres


def length(lengths: Floats) -> Floats:
    """m driven, (...)."""
    total: Floats = np.abs(lengths).sum(-1)
    return total


def cusps(lengths: Floats) -> Ints:
    """How often the direction of travel changes, (...)."""
    count = np.zeros(lengths.shape[:-1], dtype=np.int64)
    before = np.zeros(lengths.shape[:-1])
    for segment in np.moveaxis(lengths, -1, 0):
        sign = np.where(np.abs(segment) > 1e-6, np.sign(segment), 0.0)
        count += before * sign < 0.0
        before = np.where(sign != 0.0, sign, before)
    return count


def best(x: Floats, y: Floats, yaw: Floats, radius: float, *, reverse: float = 1.0, cusp: float = 0.0) -> tuple[Curve, Floats]:
    """The cheapest curve from (0, 0, 0) to each pose (...), and its cost (...) in m.

    reverse: cost of a metre backwards, against 1 forwards. cusp: cost of a change of direction, m. With the defaults the shortest curve.
    Raises ValueError as `words` does.
    """
    every = words(x, y, yaw, radius)
    ahead, back = (part.sum(-1) for part in (np.maximum(every, 0.0), np.minimum(every, 0.0)))
    # a word with a segment of no length has fewer changes of direction than counted here; it then is another word, too
    price = ahead - reverse * back + cusp * CUSPS.reshape(-1, *(1,) * (every.ndim - 2))
    chosen = price.argmin(0)  # (...)
    lengths = np.take_along_axis(every, chosen[None, ..., None], 0)[0]
    cost: Floats = length(lengths) + (reverse - 1.0) * np.maximum(-lengths, 0.0).sum(-1) + cusp * cusps(lengths)
    return Curve(lengths, TURNS[chosen], radius), cost


def poses_at(curve: Curve, s: Floats) -> tuple[Floats, Floats, Floats, Ints]:
    """Poses along curves that begin at (0, 0, 0): x, y, yaw and the segment each lies on, all (..., K).

    s (..., K) m driven since the beginning, cut off at the ends. At a joint the segment is the earlier one. Exact: arcs in closed form.
    """
    lengths, bend = curve.lengths, curve.turns / curve.radius
    ends = np.cumsum(np.abs(lengths), axis=-1)
    s = np.clip(s, 0.0, ends[..., -1:])
    k = np.minimum((s[..., None] > ends[..., None, :]).sum(-1), 4)  # (..., K)
    zero = np.zeros(lengths.shape[:-1])
    corners = [(zero, zero, zero)]
    for i in range(4):
        corners.append(_along(*corners[-1], lengths[..., i], bend[..., i]))
    x, y, yaw = (np.take_along_axis(np.stack(part, axis=-1), k, -1) for part in zip(*corners, strict=True))
    before = np.take_along_axis(ends - np.abs(lengths), k, -1)
    signed = (s - before) * np.sign(np.take_along_axis(lengths, k, -1))
    return (*_along(x, y, yaw, signed, np.take_along_axis(bend, k, -1)), k)


def _along(x: Floats, y: Floats, yaw: Floats, s: Floats, bend: Floats) -> tuple[Floats, Floats, Floats]:
    """The pose s metres further on an arc of that curvature: the chord lies half the turn to the side."""
    half = 0.5 * s * bend
    chord = s * np.sinc(half / np.pi)
    return x + chord * np.cos(yaw + half), y + chord * np.sin(yaw + half), yaw + 2.0 * half


def _mod(angle: Floats) -> Floats:
    """The same angle in [-pi, pi]; what rounding moved just beyond -pi is pi: arcs are wanted forwards."""
    turned: Floats = angle - 2.0 * np.pi * np.ceil((angle - np.pi) / (2.0 * np.pi) - TINY)
    return turned


def _word(ok: NDArray[np.bool_], *segments: Floats | float) -> Floats:
    """Segments as (..., 5), NaN where the word is not possible."""
    rows = np.zeros((*ok.shape, 5))
    for i, segment in enumerate(segments):
        rows[..., i] = segment
    rows[~ok] = np.nan
    return rows


def _base(x: Floats, y: Floats, phi: Floats) -> list[Floats]:
    """The words of BASE to (x, y, phi), radius 1, signed lengths (..., 5)."""
    sin, cos = np.sin(phi), np.cos(phi)
    bx, by = x * cos + y * sin, x * sin - y * cos  # the same path driven from its end
    with np.errstate(invalid="ignore"):
        t, u, v, ok = _lrl(x, y, phi)
        bt, bu, bv, bok = _lrl(bx, by, phi)
        return [
            _lsl(x, y, phi),
            _lsr(x, y, phi),
            _word(ok & (v >= 0.0), t, u, v),  # C|C|C
            _word(ok & (v < 0.0), t, u, v),  # C|CC
            _word(bok & (bv < 0.0), bv, bu, bt),  # CC|C
            _cccc(x, y, phi),
            _cccc_cusps(x, y, phi),
            _word(*_lrsl(x, y, phi)),
            _word(*_lrsr(x, y, phi)),
            _turned(_lrsl(bx, by, phi)),
            _turned(_lrsr(bx, by, phi)),
            _lrslr(x, y, phi),
        ]


def _turned(word: tuple[NDArray[np.bool_], Floats, float, Floats, Floats]) -> Floats:
    ok, t, quarter, u, v = word
    return _word(ok, v, u, quarter, t)


def _lsl(x: Floats, y: Floats, phi: Floats) -> Floats:
    """[8.1] L+ S+ L+."""
    a, b = x - np.sin(phi), y - 1.0 + np.cos(phi)
    u, t = np.hypot(a, b), _mod(np.arctan2(b, a))
    v = _mod(phi - t)
    return _word((t >= -TINY) & (v >= -TINY), t, u, v)


def _lsr(x: Floats, y: Floats, phi: Floats) -> Floats:
    """[8.2] L+ S+ R+."""
    a, b = x + np.sin(phi), y - 1.0 - np.cos(phi)
    square = a * a + b * b
    u = np.sqrt(np.maximum(square - 4.0, 0.0))
    t = _mod(np.arctan2(b, a) + np.arctan2(2.0, u))
    v = _mod(t - phi)
    return _word((square >= 4.0 - TINY) & (t >= -TINY) & (v >= -TINY), t, u, v)


def _lrl(x: Floats, y: Floats, phi: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """[8.3, 8.4] L+ R- L+ or L+ R- L-."""
    a, b = x - np.sin(phi), y - 1.0 + np.cos(phi)
    apart = np.hypot(a, b)
    u = -2.0 * np.arcsin(np.minimum(0.25 * apart, 1.0))
    t = _mod(np.arctan2(b, a) + 0.5 * u + np.pi)
    v = _mod(phi - t + u)
    return t, u, v, (apart <= 4.0 + TINY) & (t >= -TINY)


def _outer(u: Floats, v: Floats, a: Floats, b: Floats, phi: Floats) -> tuple[Floats, Floats]:
    """First and last arc of the words with four arcs, whose inner ones are u and v."""
    delta = u - v
    p, q = np.sin(u) - np.sin(delta), np.cos(u) - np.cos(delta) - 1.0
    angle = np.arctan2(b * p - a * q, a * p + b * q)
    back = 2.0 * (np.cos(delta) - np.cos(v) - np.cos(u)) + 3.0 < 0.0
    t = _mod(np.where(back, angle + np.pi, angle))
    return t, _mod(t - u + v - phi)


def _cccc(x: Floats, y: Floats, phi: Floats) -> Floats:
    """[8.7] L+ R+ L- R-."""
    a, b = x + np.sin(phi), y - 1.0 - np.cos(phi)
    rho = 0.25 * (2.0 + np.hypot(a, b))
    u = np.arccos(np.minimum(rho, 1.0))
    t, v = _outer(u, -u, a, b, phi)
    return _word((rho <= 1.0 + TINY) & (t >= -TINY) & (v <= TINY), t, u, -u, v)


def _cccc_cusps(x: Floats, y: Floats, phi: Floats) -> Floats:
    """[8.8] L+ R- L- R+."""
    a, b = x + np.sin(phi), y - 1.0 - np.cos(phi)
    rho = (20.0 - a * a - b * b) / 16.0
    u = -np.arccos(np.clip(rho, 0.0, 1.0))
    t, v = _outer(u, u, a, b, phi)
    return _word((rho >= 0.0) & (rho <= 1.0 + TINY) & (t >= -TINY) & (v >= -TINY), t, u, u, v)


def _lrsl(x: Floats, y: Floats, phi: Floats) -> tuple[NDArray[np.bool_], Floats, float, Floats, Floats]:
    """[8.9] L+ R- S- L-, the second a quarter turn."""
    a, b = x - np.sin(phi), y - 1.0 + np.cos(phi)
    rho = np.hypot(a, b)
    r = np.sqrt(np.maximum(rho * rho - 4.0, 0.0))
    u = 2.0 - r
    t = _mod(np.arctan2(b, a) + np.arctan2(r, -2.0))
    v = _mod(phi - QUARTER - t)
    v = np.where(v >= np.pi - TINY, v - 2.0 * np.pi, v)
    return (rho >= 2.0) & (t >= -TINY) & (u <= TINY) & (v <= TINY), t, -QUARTER, u, v


def _lrsr(x: Floats, y: Floats, phi: Floats) -> tuple[NDArray[np.bool_], Floats, float, Floats, Floats]:
    """[8.10] L+ R- S- R-, the second a quarter turn."""
    a, b = x + np.sin(phi), y - 1.0 - np.cos(phi)
    rho, t = np.hypot(a, b), _mod(np.arctan2(a, -b))
    u = 2.0 - rho
    v = _mod(t + QUARTER - phi)
    v = np.where(v >= np.pi - TINY, v - 2.0 * np.pi, v)
    return (rho >= 2.0) & (t >= -TINY) & (u <= TINY) & (v <= TINY), t, -QUARTER, u, v


def _lrslr(x: Floats, y: Floats, phi: Floats) -> Floats:
    """[8.11] L+ R- S- L- R+, the second and fourth quarter turns."""
    a, b = x + np.sin(phi), y - 1.0 - np.cos(phi)
    rho = np.hypot(a, b)
    u = 4.0 - np.sqrt(np.maximum(rho * rho - 4.0, 0.0))
    t = _mod(np.arctan2((4.0 - u) * a - 2.0 * b, -2.0 * a + (u - 4.0) * b))
    v = _mod(t - phi)
    return _word((rho >= 2.0) & (u <= TINY) & (t >= -TINY) & (v >= -TINY), t, -QUARTER, u, -QUARTER, v)
