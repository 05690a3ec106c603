"""A closed racetrack."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from scenarios.network import Lane, RoadNetwork
from scenarios.quantities import Accel, Angle, Between, Count, Length, Ratio, Speed
from scenarios.roads.base import RoadModel, strip
from scenarios.roads.geometry import Line

__all__ = ["LoopRoad"]

SECTIONS = 12
FINE = 20_000  # samples from which the track is measured
RADIUS_MIN = 12.0  # m, of the innermost lane


class LoopRoad(RoadModel):
    """A racetrack, driven counter-clockwise: an ellipse whose radius waves three times on the way round.

    Lanes: sections `s0` to `s11` of equal length, each with lanes 0 (outermost) to `lanes - 1`: `s0.0`, ...; `s11` leads back
    into `s0`. The speed limit of a section is the speed at which its sharpest bend takes `lateral`.
    Destinations: `lap`, the end of `s11`; `half`, the end of `s5`. Start on `s0.*`. Nothing ever leaves the map.
    """

    kind: Literal["loop"] = "loop"
    lanes: Annotated[Count, Between(1, 4)] = 2
    length: Annotated[Length, Between(300, 3000)] = 800.0  # m round the outermost lane
    slim: Annotated[Ratio, Between(0.35, 1)] = 0.6  # shorter axis over longer axis
    wave: Annotated[Ratio, Between(0, 0.3)] = 0.1  # height of the waves over the ellipse's longer half axis
    turn: Angle = 0.8  # rad, where on the way round the waves lie
    lane_width: Annotated[Length, Between(2.75, 8)] = 4.5
    lateral: Annotated[Accel, Between(1, 12)] = 4.0  # m/s^2
    speed_limit: Annotated[Speed, Between(5, 80)] = 40.0

    def build(self) -> RoadNetwork:
        """See RoadModel. Raises ValueError if a bend is too tight."""
        line, curvature = self._track()
        inner = (self.lanes - 1) * self.lane_width
        tightest = 1.0 / np.abs(curvature).max() - inner
        if tightest < RADIUS_MIN:
            sizes = f"length={self.length:g}, slim={self.slim:g}, wave={self.wave:g}"
            raise ValueError(f"{sizes}: a bend has radius {tightest:.1f} m, must be at least {RADIUS_MIN:g}; lengthen or smooth the track")
        lanes: list[Lane] = []
        edges = np.linspace(0, len(line.s) - 1, SECTIONS + 1).astype(int)
        for i in range(SECTIONS):
            part = slice(edges[i], edges[i + 1] + 1)
            section = Line(points=line.points[part], heading=line.heading[part], s=line.s[part] - line.s[edges[i]])
            limit = min(self.speed_limit, float(np.sqrt(self.lateral / np.abs(curvature[part]).max())))
            lanes += strip(f"s{i}", section, self.lanes, width=self.lane_width, limit=limit, then=f"s{(i + 1) % SECTIONS}")
        ends = {"lap": SECTIONS - 1, "half": SECTIONS // 2 - 1}
        return RoadNetwork(
            lanes=tuple(lanes),
            destinations={name: tuple((f"s{i}.{j}", float("inf")) for j in range(self.lanes)) for name, i in ends.items()},
        )

    def _track(self) -> tuple[Line, NDArray[np.float64]]:
        """The outermost lane's centreline, closed, points about a quarter of a metre apart, and its curvature there."""
        phi = np.linspace(0.0, 2.0 * np.pi, FINE + 1)
        radius = 1.0 / np.hypot(np.cos(phi), np.sin(phi) / self.slim) + self.wave * np.cos(3.0 * (phi - self.turn))
        outline = np.stack([radius * np.cos(phi), radius * np.sin(phi)], axis=-1)
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(outline, axis=0).T))])
        outline, s = outline * self.length / s[-1], s * self.length / s[-1]
        step = np.gradient(np.concatenate([outline[-2:-1], outline, outline[1:2]]), axis=0)[1:-1]  # closed: exact at the seam too
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        bend = np.gradient(heading, s)
        bend[0] = bend[-1] = (heading[1] - heading[0] + heading[-1] - heading[-2]) / (s[1] + s[-1] - s[-2])
        count = SECTIONS * max(4, int(np.ceil(self.length / SECTIONS / 0.25)))
        at = np.linspace(0.0, self.length, count + 1)
        points = np.stack([np.interp(at, s, outline[:, 0]), np.interp(at, s, outline[:, 1])], axis=-1)
        return Line(points=points, heading=np.interp(at, s, heading), s=at), np.interp(at, s, bend)
