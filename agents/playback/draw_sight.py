"""What was believed, drawn into pictures with numpy and OpenCV: over the top view, and in a strip of camera pictures beside it.

The same as `player/beliefs.js` and `player/eyes.js` draw, without their labels of every thing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.playback.beliefs import Beliefs
from agents.playback.compact_sight import LIKELY, ellipses
from agents.playback.sight import LIGHT, NO_BODY, Sight
from agents.playback.trace import Trace
from envs.driving.draw import Canvas
from envs.driving.palette import BELIEFS, CLASSES, SCENE, rgb
from envs.driving.scenery import oriented_box

__all__ = ["camera_strip", "draw_beliefs", "strip_width"]

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Points = NDArray[np.float64]  # (V, 2)
SHARE = 0.4  # of the width, for the cameras
TEXT = 100  # px, height kept free below the pictures
NEAREST = 0.5  # m before the lens, within which nothing is drawn
_ROUND = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)


def strip_width(sight: Sight | None, size: tuple[int, int]) -> int:
    """Pixels that the cameras' strip takes of a picture of `size`; even."""
    return 2 * round(0.5 * SHARE * size[0]) if sight is not None and sight.names else 0


def draw_beliefs(
    image: Image,
    trace: Trace,
    sight: Sight,
    step: float,
    pose: dict[str, Any],
    *,
    metres: float,
    centre: tuple[float, float],
    heading_up: bool,
    theme: str,
) -> None:
    """Tracks, their uncertainty and predicted paths, whom they missed and whom they invented, over a top view of `envs.driving.draw`."""
    beliefs = trace.beliefs
    assert beliefs is not None
    colours, k = BELIEFS[theme], int(step)
    turn = float(pose["yaw"][0]) - 0.5 * np.pi if heading_up else 0.0
    size = (image.shape[1], image.shape[0])
    canvas = Canvas(size, np.array(centre), size[0] / metres, turn, "#000000")
    canvas.image = image
    for row, x, y, yaw in _tracks(trace, beliefs, step):
        invented = sight.body[k, row] == NO_BODY
        colour = colours["invented" if invented else "believed"]
        if int(beliefs.arrays["track_kind"][k, row]) != LIGHT:
            _draw_paths(canvas, trace, beliefs, k, row, (x, y), colours)
            major, minor, angle = ellipses(beliefs.arrays["track_covariance"][k, row])
            ring = _CIRCLE * (major, minor)
            canvas.stroke(np.array([x, y]) + ring @ _turned(angle + _ego(trace, k)[2]), colour, 0.0, closed=True)
        length, width, _ = beliefs.arrays["track_size"][k, row]
        _dashed(canvas, oriented_box(x, y, yaw, float(length), float(width)), colour, colours["case"])
    for i in sight.missed(k):
        agent, wider = trace.episode.agents[i], 8.0 / canvas.scale
        box = oriented_box(pose["x"][i], pose["y"][i], pose["yaw"][i], agent.length + wider, agent.width + wider)
        canvas.stroke(box, colours["case"], 0.0, closed=True, least=4.0)
        canvas.stroke(box, colours["missed"], 0.0, closed=True, least=2.0)


def camera_strip(trace: Trace, sight: Sight, k: int, size: tuple[int, int], theme: str) -> Image:
    """The cameras' pictures at state k with boxes by class and predicted paths, and below how much was believed; size (width, height)."""
    beliefs = trace.beliefs
    assert beliefs is not None
    strip = np.empty((size[1], size[0], 3), np.uint8)
    strip[:] = rgb(SCENE[theme]["panel"])
    _, cameras, height, width, _ = sight.images.shape
    columns = 1 if cameras < 3 else 2
    rows = -(-cameras // columns)
    scale = min(size[0] / columns / width, (size[1] - TEXT) / rows / height)
    wide, tall = int(scale * width), int(scale * height)
    for c in range(cameras):
        picture = np.asarray(cv2.resize(sight.images[k, c], (wide, tall), interpolation=cv2.INTER_NEAREST), np.uint8)
        _draw_on(picture, trace, beliefs, sight, k, c, wide / width)
        top, left = c // columns * tall, c % columns * wide
        strip[top : top + tall, left : left + wide] = picture
    things = int((sight.body[k] >= NO_BODY).sum())
    said = (("believed", things), ("missed, though in plain view", len(sight.missed(k))), ("invented", len(sight.invented(k))))
    for line, ((text, count), name) in enumerate(zip(said, ("believed", "missed", "invented"), strict=True)):
        v = rows * tall + (line + 1) * TEXT // 4
        cv2.rectangle(strip, (14, v - 9), (32, v + 1), rgb(BELIEFS[theme]["case"]), cv2.FILLED)
        cv2.rectangle(strip, (16, v - 7), (30, v - 1), rgb(BELIEFS[theme][name]), cv2.FILLED)
        cv2.putText(strip, f"{count:2d} {text}", (42, v), cv2.FONT_HERSHEY_DUPLEX, 0.5, rgb(SCENE[theme]["text"]), 1, cv2.LINE_AA)
    return strip


def _draw_on(picture: Image, trace: Trace, beliefs: Beliefs, sight: Sight, k: int, c: int, scale: float) -> None:
    arrays, colours = beliefs.arrays, BELIEFS["dark"]
    for row in np.flatnonzero(arrays["path_mask"][k]):
        for mode in np.flatnonzero(arrays["path_probability"][k, row] >= LIKELY)[::-1]:
            path = np.concatenate([arrays["track_place"][k, row][None], arrays["path"][k, row, mode]])
            if np.linalg.norm(path[-1] - path[0]) > 1.0:
                _line(picture, _seen(path, sight.cameras[c], scale), colours["believed"])
    thick = max(1, round(scale / 2))
    for row in np.flatnonzero(arrays["found_mask"][k] & (arrays["found_camera"][k] == c)):
        box = arrays["found_box"][k, row] * scale
        if not np.isfinite(box).all() or np.abs(box).max() > 1e5:
            continue
        colour, track = CLASSES[int(arrays["found_kind"][k, row]) % len(CLASSES)], int(sight.track[k, row])
        if track >= 0 and sight.body[k, track] == NO_BODY:
            colour = colours["invented"]
        (u0, v0), (u1, v1) = (tuple(map(round, corner.tolist())) for corner in (box[:2], box[2:]))
        cv2.rectangle(picture, (u0, v0), (u1, v1), rgb(colour), thick, cv2.LINE_AA)
        if track >= 0:
            text = f"#{int(arrays['track_id'][k, track])}"
            place = (min(max(u0, 0), picture.shape[1] - 30), max(v0 - 4, 10))
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.4, rgb(colours["case"]), 3, cv2.LINE_AA)
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.4, rgb(colour), 1, cv2.LINE_AA)


def _ego(trace: Trace, k: int) -> tuple[float, float, float]:
    x, y, yaw = (float(trace.states[name][k, 0]) for name in ("x", "y", "yaw"))
    return x, y, yaw


def _turned(angle: float) -> Points:
    """Matrix that turns row vectors by `angle`."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _placed(trace: Trace, k: int, points: NDArray[Any]) -> Points:
    """Places (..., 2) in the ego frame of state k in the world frame."""
    x, y, yaw = _ego(trace, k)
    return np.asarray(points.astype(np.float64) @ _turned(yaw) + (x, y))


def _tracks(trace: Trace, beliefs: Beliefs, step: float) -> list[tuple[int, float, float, float]]:
    """(row, x, y, yaw) of the tracks at a time between states: on the way to where they are next, or carried on by their velocity."""
    k, u = int(step), step - int(step)
    after, found = min(k + 1, trace.steps), []
    ids = {int(beliefs.arrays["track_id"][after, row]): int(row) for row in np.flatnonzero(beliefs.arrays["track_mask"][after])}
    for row in np.flatnonzero(beliefs.arrays["track_mask"][k]):
        place = beliefs.arrays["track_place"][k, row]
        then = ids.get(int(beliefs.arrays["track_id"][k, row]))
        if then is None:
            late = u * (trace.times[after] - trace.times[k])
            x, y = _placed(trace, k, place + late * beliefs.arrays["track_velocity"][k, row])
        else:
            x, y = (1.0 - u) * _placed(trace, k, place) + u * _placed(trace, after, beliefs.arrays["track_place"][after, then])
        found.append((int(row), float(x), float(y), float(beliefs.arrays["track_yaw"][k, row]) + _ego(trace, k)[2]))
    return found


def _draw_paths(
    canvas: Canvas, trace: Trace, beliefs: Beliefs, k: int, row: int, start: tuple[float, float], colours: dict[str, str]
) -> None:
    if not beliefs.arrays["path_mask"][k, row]:
        return
    for mode in np.flatnonzero(beliefs.arrays["path_probability"][k, row] >= LIKELY)[::-1]:
        path = np.concatenate([[start], _placed(trace, k, beliefs.arrays["path"][k, row, mode])])
        if np.linalg.norm(path[-1] - path[0]) < 1.0:
            continue
        thick = 1.0 + 2.0 * float(beliefs.arrays["path_probability"][k, row, mode])  # the likelier the thicker
        canvas.stroke(path, colours["case"], 0.0, least=thick + 2.0)
        canvas.stroke(path, colours["believed"], 0.0, least=thick)


def _dashed(canvas: Canvas, outline: Points, colour: str, case: str, *, dash: float = 5.0, gap: float = 3.0) -> None:
    """A closed outline in dashes of so many pixels."""
    canvas.stroke(outline, case, 0.0, closed=True, least=3.0)
    for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        long = float(np.linalg.norm(b - a)) * canvas.scale
        for start in np.arange(0.0, long, dash + gap):
            ends = np.array([start, min(start + dash, long)]) / max(long, 1e-9)
            canvas.stroke(a + ends[:, None] * (b - a), colour, 0.0, least=2.0)


def _seen(path: NDArray[Any], camera: NDArray[Any], scale: float) -> Points:
    """Pixels of a path on the ground, in small pieces, up to the first point that is not before the lens."""
    focal, cu, cv, x, y, z, yaw = camera
    fine = np.concatenate([np.linspace(a, b, 8, endpoint=False) for a, b in pairwise(path)] + [path[-1:]])
    depth, left = ((fine - (x, y)) @ _turned(-yaw)).T
    ahead = np.cumprod(depth > NEAREST).astype(bool)
    depth, left = depth[ahead], left[ahead]
    return scale * np.stack([cu - focal * left / depth, cv + focal * z / depth], axis=-1)


def _line(picture: Image, points: Points, colour: str) -> None:
    if len(points) > 1:
        whole = np.round(np.clip(points, -1e4, 1e4)).astype(np.int32)
        cv2.polylines(picture, [whole], False, rgb(BELIEFS["dark"]["case"]), 4, cv2.LINE_AA)
        cv2.polylines(picture, [whole], False, rgb(colour), 2, cv2.LINE_AA)
