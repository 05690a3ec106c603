"""Smooth centrelines along the coarse polylines of a map.

Shapes: P points of one line, K knots. Maps give lane borders as polylines; their middle has a kink at every vertex, wobbles where
only one border has a vertex, and has a kink at every joint of two lanes. Smoothed over a metre or two and redrawn as a cubic
Hermite curve, with one tangent per joint shared by all the lanes that meet there, it has none of these and stays within decimetres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

__all__ = ["arc_length", "polyline", "smooth"]

Floats = NDArray[np.float64]

SIGMA = 0.75  # m, vertices wobble over less; a bend of 10 m radius is moved inwards by sigma^2 / 2R = 0.03 m
KNOTS = 3.0  # m, spacing of knots: bending at a joint dies out within it
FINE = 0.1  # m, sampling of the curve when its length is measured


def arc_length(points: Floats) -> Floats:
    """(P,) metres along a polyline (P, 2), from 0."""
    steps: Floats = np.hypot(*np.diff(points, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def polyline(left: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
    """Centre (P, 2), local width (P,) and arc length (P,) of a lane from its borders, each (P, 2) with vertices in pairs."""
    centre: Floats = (left + right) / 2.0
    width: Floats = np.hypot(*(left - right).T)
    keep = np.concatenate([[True], np.hypot(*np.diff(centre, axis=0).T) > 1e-6])
    keep[-1] = True
    if keep.sum() > 2 and np.hypot(*(centre[keep][-1] - centre[keep][-2])) <= 1e-6:
        keep[np.nonzero(keep)[0][-2]] = False
    return centre[keep], width[keep], arc_length(centre[keep])


def _knots(points: Floats) -> Floats:
    """Evenly spaced points on the polyline after Gaussian smoothing; the ends stay where they are.

    Beyond its ends the line is continued by its own reflection in the end point, which keeps that point and the direction there.
    """
    s = arc_length(points)
    count = max(1, round(float(s[-1]) / KNOTS))
    step = s[-1] / max(8, np.ceil(s[-1] / FINE))
    at = np.linspace(0.0, s[-1], round(float(s[-1] / step)) + 1)
    line = np.stack([np.interp(at, s, points[:, 0]), np.interp(at, s, points[:, 1])], axis=-1)
    sigma = min(SIGMA, float(s[-1]) / 8.0)
    reach = min(int(np.ceil(3.0 * sigma / step)), len(line) - 1)
    before, after = 2.0 * line[0] - line[reach:0:-1], 2.0 * line[-1] - line[-2 : -2 - reach : -1]
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / sigma) ** 2)
    kernel /= kernel.sum()
    longer = np.concatenate([before, line, after])
    even = np.stack([np.convolve(longer[:, k], kernel, mode="valid") for k in range(2)], axis=-1)
    even[0], even[-1] = points[0], points[-1]
    pick = np.linspace(0.0, at[-1], count + 1)
    return np.stack([np.interp(pick, at, even[:, 0]), np.interp(pick, at, even[:, 1])], axis=-1)


def smooth(points: Floats, first: Floats | None, last: Floats | None) -> Floats:
    """A dense curve (Q, 2) along a polyline (P, 2), about FINE apart; `first` and `last` are unit tangents (2,) at its ends.

    Cubic Hermite over chord length. Inside, the tangent at a knot is the derivative of the parabola through it and its two
    neighbours (Catmull-Rom for unequal spacing); at an end without a given tangent it is the direction of the end segment.
    """
    knots = _knots(points)
    u = arc_length(knots)
    h = np.diff(u)[:, None]
    chord = np.diff(knots, axis=0) / h  # (K - 1, 2)
    tangent = np.empty_like(knots)
    tangent[1:-1] = (chord[:-1] * h[1:] + chord[1:] * h[:-1]) / (h[:-1] + h[1:])
    tangent[0] = chord[0] if first is None else first
    tangent[-1] = chord[-1] if last is None else last
    fine = np.linspace(0.0, u[-1], max(2, int(np.ceil(u[-1] / FINE))) + 1)
    curve: Floats = CubicHermiteSpline(u, knots, tangent)(fine)
    curve[0], curve[-1] = points[0], points[-1]
    return curve
