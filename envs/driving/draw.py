"""The top view as a picture: numpy in, uint8 RGB out. No torch, no window.

Frame: world metres, x east, y north; pictures have x right and y up unless turned with the ego.
Shapes: A agents, GL lights, H x W pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.driving.palette import BODIES, LAMPS, SCENE, rgb
from envs.driving.scenery import Goals, Scenery, oriented_box, scenery
from envs.driving.shapes import BRAKE_ABOVE, shape
from scenarios.kinds import Kind
from scenarios.network import LightState, Mark, RoadNetwork

__all__ = ["draw_scene"]

Points = NDArray[np.float64]  # (V, 2) m
Image = NDArray[np.uint8]  # (H, W, 3) RGB
DASH, GAP = 3.0, 6.0  # m; lane marks outside towns: one part paint to two parts gap (German RMS, US MUTCD 3:9)
LINE_WIDTH = 0.16  # m
KERB_WIDTH = 0.5  # m, rim around every surface
GRID = 20.0  # m
SHIFT = 5  # cv2 draws at 1/32 pixel
MIN_SIGNAL = 13.0  # pixels, a traffic light never gets smaller than this
HALO = 7.0  # pixels, radius of the disc under people, never smaller than this
_ROUND = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)  # of radius 1


class Canvas:
    """An image with a world frame: scale, turn, clip, and the three things to draw: fill, stroke, nothing else."""

    def __init__(self, size: tuple[int, int], centre: Points, scale: float, turn: float, ground: str) -> None:
        self.width, self.height = size
        self.scale = scale  # pixels per metre
        cos, sin = np.cos(turn), np.sin(turn)
        self.matrix = scale * np.array([[cos, sin], [sin, -cos]])  # world -> pixels (y down), the world turned by -turn
        self.centre = centre
        self.image: Image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        cv2.rectangle(self.image, (0, 0), (self.width, self.height), rgb(ground), cv2.FILLED)

    def pixels(self, points: Points) -> NDArray[np.int32] | None:
        """Fixed-point pixels of world points, or None if none of it can be seen."""
        p = (points - self.centre) @ self.matrix.T + (0.5 * self.width, 0.5 * self.height)
        low, high = p.min(0), p.max(0)
        if high[0] < -9 or high[1] < -9 or low[0] > self.width + 9 or low[1] > self.height + 9 or np.abs(p).max() > 2**24:
            return None
        fixed: NDArray[np.int32] = np.round((p - 0.5) * 2**SHIFT).astype(np.int32)
        return fixed

    def fill(self, points: Points, colour: str, shade: float = 1.0) -> None:
        p = self.pixels(points)
        if p is not None:
            cv2.fillPoly(self.image, [p], rgb(colour, shade), cv2.LINE_AA, SHIFT)

    def stroke(self, points: Points, colour: str, metres: float, *, closed: bool = False, least: float = 1.0) -> None:
        p = self.pixels(points)
        if p is not None:
            cv2.polylines(self.image, [p], closed, rgb(colour), max(round(max(metres * self.scale, least)), 1), cv2.LINE_AA, SHIFT)


def draw_scene(
    network: RoadNetwork,
    *,
    x: ArrayLike,
    y: ArrayLike,
    yaw: ArrayLike,
    length: ArrayLike,
    width: ArrayLike,
    kind: ArrayLike,
    valid: ArrayLike | None = None,
    accel: ArrayLike | None = None,
    touched: ArrayLike | None = None,
    light_states: ArrayLike | None = None,
    goals: Goals | None = None,
    trail: ArrayLike | None = None,
    ego: int = 0,
    size: tuple[int, int] = (960, 540),
    metres: float = 90.0,
    centre: tuple[float, float] | None = None,
    heading_up: bool = False,
    theme: str = "light",
    oversample: int = 2,
) -> Image:
    """One picture of the world from above.

    x, y m, yaw rad, length, width m, kind (`scenarios.kinds.Kind`): (A,) each. valid, touched (A,) bool: who is there, who overlaps
    another. accel (A,) m/s^2: brake lights. light_states (GL,): `LightState` of `network.lights`; None: all off. goals: see
    `envs.driving.scenery.goals`. trail (K, 2) m: where the ego came from. ego: the slot drawn in its own colour and followed, -1: none.
    size (width, height) in pixels. metres: width of the view. centre m: what is in the middle instead of the ego. heading_up: turn the
    world so that the ego looks up. theme: "light" or "dark". oversample: draw this many times larger, then average (smoother edges).
    Returns (height, width, 3) uint8 RGB. Raises ValueError on a size, width or theme that cannot be drawn.
    """
    if min(size) < 16 or max(size) > 8192 or oversample not in (1, 2, 3, 4):
        raise ValueError(f"size={size}, oversample={oversample}: sizes must be 16 to 8192 pixels, oversample 1 to 4")
    if not metres > 0.0 or not np.isfinite(metres):
        raise ValueError(f"metres={metres}: must be positive")
    if theme not in SCENE:
        raise ValueError(f"theme={theme!r}: must be one of {', '.join(SCENE)}")
    x, y, yaw = (np.asarray(v, dtype=np.float64) for v in (x, y, yaw))
    there = np.ones(len(x), dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    view = scenery(network)
    if centre is None:
        x0, y0, x1, y1 = view.bounds
        centre = (float(x[ego]), float(y[ego])) if 0 <= ego < len(x) else (0.5 * (x0 + x1), 0.5 * (y0 + y1))
    turn = float(yaw[ego]) - 0.5 * np.pi if heading_up and 0 <= ego < len(x) else 0.0
    colours = SCENE[theme]
    big = (size[0] * oversample, size[1] * oversample)
    canvas = Canvas(big, np.asarray(centre, dtype=np.float64), big[0] / metres, turn, colours["ground"])
    states = np.zeros(len(view.lights), dtype=np.int64) if light_states is None else np.asarray(light_states, dtype=np.int64)
    _draw_ground(canvas, colours)
    _draw_roads(canvas, view, states, colours)
    if goals is not None:
        _draw_goals(canvas, goals, colours)
    if trail is not None and len(np.asarray(trail)) > 1:
        canvas.stroke(np.asarray(trail, dtype=np.float64), colours["trail"], 0.35, least=1.5 * oversample)
    order = np.argsort(-np.asarray(length, dtype=np.float64), kind="stable")
    for i in [*order[order != ego], *order[order == ego]]:  # small ones on top of large ones, the ego on top of all
        if not there[i]:
            continue
        _draw_agent(
            canvas,
            colours,
            pose=(float(x[i]), float(y[i]), float(yaw[i])),
            size=(float(np.asarray(length)[i]), float(np.asarray(width)[i])),
            kind=int(np.asarray(kind)[i]),
            body=colours["ego"] if i == ego else _body(int(np.asarray(kind)[i]), int(i)),
            ego=bool(i == ego),
            braking=accel is not None and bool(np.asarray(accel)[i] < -BRAKE_ABOVE),
            touched=touched is not None and bool(np.asarray(touched)[i]),
        )
    for name, outline in view.occluders:
        role = "hedge" if name == "hedge" else "building"
        canvas.fill(outline, colours[role])
        canvas.stroke(outline, colours[f"{role}_edge"], 0.3, closed=True)
    for (light_x, light_y, heading), state in zip(view.lights, states, strict=False):
        _draw_light(canvas, colours, light_x, light_y, heading, int(state), oversample)
    if oversample == 1:
        return canvas.image
    return np.asarray(cv2.resize(canvas.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _body(kind: int, slot: int) -> str:
    choices = BODIES[Kind(kind)]
    return choices[slot % len(choices)]


def _draw_ground(canvas: Canvas, colours: dict[str, str]) -> None:
    """A faint grid, so that motion can be seen where there is nothing else."""
    reach = 0.5 * float(np.hypot(canvas.width, canvas.height)) / canvas.scale
    if reach > 40 * GRID:
        return
    for axis in (0, 1):
        middle = canvas.centre[axis]
        for at in np.arange(np.ceil((middle - reach) / GRID), (middle + reach) / GRID) * GRID:
            ends = np.array([canvas.centre, canvas.centre])
            ends[:, axis] = at
            ends[:, 1 - axis] += (-reach, reach)
            canvas.stroke(ends, colours["grid"], 0.0)


def _draw_roads(canvas: Canvas, view: Scenery, states: NDArray[np.int64], colours: dict[str, str]) -> None:
    for outline in view.walkways:
        canvas.fill(outline, colours["walkway"])
    for rim in view.rims:
        canvas.stroke(rim, colours["kerb"], 2.0 * KERB_WIDTH)
    for outline in view.surfaces:
        canvas.fill(outline, colours["road"])
        canvas.stroke(outline, colours["road"], 0.05, closed=True)  # closes the hairline between neighbours
    for outline in view.bays:
        canvas.stroke(outline, colours["bay"], 0.12, closed=True)
    for outline in view.arrows:
        canvas.fill(outline, colours["arrow"])
    for outline in view.stripes:
        canvas.fill(outline, colours["stripe"])
    for line in view.lines:
        if line.mark == Mark.DASHED:
            for piece in _dashes(line.points):
                canvas.stroke(piece, colours["line"], LINE_WIDTH)
        else:
            colour, wide = (colours["kerb"], 0.3) if line.mark == Mark.KERB else (colours["edge"], LINE_WIDTH)
            canvas.stroke(line.points, colour, wide)
    for stop in view.stops:
        lamps = [lamp for lamp in LAMPS[LightState(int(states[stop.light]))] if lamp] if 0 <= stop.light < len(states) else []
        canvas.fill(stop.outline, lamps[0] if lamps else colours["line"])
        if stop.must_stop:
            _draw_sign(canvas, stop.outline, colours)


def _dashes(points: Points) -> list[Points]:
    s = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    pieces = []
    for start in np.arange(0.5 * GAP, s[-1], DASH + GAP):
        ends = np.array([start, min(start + DASH, s[-1])])
        at = np.sort(np.r_[ends, s[(s > ends[0]) & (s < ends[1])]])
        pieces.append(np.stack([np.interp(at, s, points[:, i]) for i in (0, 1)], axis=1))
    return pieces


def _draw_sign(canvas: Canvas, stop: Points, colours: dict[str, str]) -> None:
    """A stop sign's octagon at the right end of the stop line, outside the lane."""
    outward = 0.5 * (stop[2] + stop[3] - stop[0] - stop[1])  # to the right of the lane
    middle = 0.5 * (stop[2] + stop[3]) + 1.1 * outward / np.linalg.norm(outward)
    angle = (np.arange(8) + 0.5) * np.pi / 4.0
    octagon = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    canvas.fill(middle + 0.8 * octagon, "#ffffff")
    canvas.fill(middle + 0.66 * octagon, colours["sign"])


def _draw_goals(canvas: Canvas, goals: Goals, colours: dict[str, str]) -> None:
    for outline in goals.regions:
        canvas.stroke(outline, colours["goal"], 0.3, closed=True, least=2.0)
    for outline in goals.finish:
        canvas.fill(outline, "#ffffff")
    for outline in goals.checks:
        canvas.fill(outline, colours["dark"])


def _draw_agent(
    canvas: Canvas,
    colours: dict[str, str],
    *,
    pose: tuple[float, float, float],
    size: tuple[float, float],
    kind: int,
    body: str,
    ego: bool,
    braking: bool,
    touched: bool,
) -> None:
    x, y, yaw = pose
    rotation = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    at = np.array([x, y])
    parts = shape(kind)
    silhouette = next(part for part in parts if part.role in ("body", "shade")).outline * size
    if kind in (Kind.PEDESTRIAN, Kind.BICYCLE):
        canvas.fill(at + max(0.75, HALO / canvas.scale) * _CIRCLE, colours["halo"])  # small and easily overlooked
    else:
        canvas.fill(oriented_box(x + 0.12, y - 0.18, yaw, *size), colours["shadow"])
    rim = colours["touch"] if touched else colours["ego_ring"]
    if ego or touched:
        grown = silhouette * (1.0 + 0.36 / np.asarray(size))
        canvas.stroke(at + grown @ rotation, rim, 0.2, closed=True, least=2.0)
    lookup: dict[str, tuple[str, float]] = {
        "body": (body, 1.0),
        "shade": (body, 0.82),
        "brake": (colours["brake_on" if braking else "brake_off"], 1.0),
    }
    for part in parts:
        colour, shade = lookup.get(part.role, (colours.get(part.role, body), 1.0))
        canvas.fill(at + (part.outline * size) @ rotation, colour, shade)
    if braking:
        tail = 0.5 * size[0]
        glow = np.array([(-tail, 0.5), (-tail, -0.5), (-tail - 0.14, -0.46), (-tail - 0.14, 0.46)]) * (1.0, size[1])
        if kind not in (Kind.PEDESTRIAN, Kind.BICYCLE):
            canvas.fill(at + glow @ rotation, colours["brake_on"])


def _draw_light(canvas: Canvas, colours: dict[str, str], x: float, y: float, heading: float, state: int, oversample: int) -> None:
    """A signal head seen from above, its red lamp farthest along the traffic it faces."""
    grow = max(MIN_SIGNAL * oversample / (2.4 * canvas.scale), 1.0)
    along = grow * np.array([np.cos(heading), np.sin(heading)])
    at = np.array([x, y])
    canvas.fill(oriented_box(x, y, heading, 2.6 * grow, 1.0 * grow), colours["case"])
    for offset, lamp in zip((0.8, 0.0, -0.8), LAMPS[LightState(state)], strict=True):
        canvas.fill(at + offset * along + 0.34 * grow * _CIRCLE, lamp or colours["lamp_off"])
