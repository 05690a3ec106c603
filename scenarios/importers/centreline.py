"""Smooth centrelines through the coarse polylines of a map.

Shapes: P points of one line, J joints. Maps give lane borders as polylines whose vertices lie on the true curve, metres apart.
Driven as they are, every vertex and every joint of two lanes would be a kink. A cubic Hermite curve through the vertices, with one
tangent per joint shared by all the lanes that meet there, has none and stays within centimetres of the polyline.
"""

from __future__ import annotations

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

__all__ = ["arc_length", "polyline", "smooth"]

Floats = NDArray[np.float64]

TOLERANCE = 0.02  # m, vertices this close to the line through their neighbours are noise of the digitisation
KNOTS = 5.0  # m, widest spacing of knots: bending at a joint dies out within it
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
    """The polyline without noise vertices, long stretches divided."""
    slim = shapely.get_coordinates(shapely.LineString(points).simplify(TOLERANCE, preserve_topology=False))
    s = arc_length(slim)
    parts = [np.linspace(a, b, max(1, int(np.ceil((b - a) / KNOTS))), endpoint=False) for a, b in zip(s[:-1], s[1:], strict=True)]
    at = np.concatenate([*parts, [s[-1]]])
    return np.stack([np.interp(at, s, slim[:, 0]), np.interp(at, s, slim[:, 1])], axis=-1)


def smooth(points: Floats, first: Floats | None, last: Floats | None) -> Floats:
    """A dense curve (Q, 2) through a polyline (P, 2), about FINE apart; `first` and `last` are unit tangents (2,) at its ends.

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
