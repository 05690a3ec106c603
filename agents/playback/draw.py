"""Pictures of a trace: the top view following the ego, with the time, its speed and what happened written into it.

Where something was believed, it is drawn over the top view, and the camera's picture stands beside it (`agents.playback.draw_sight`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.playback.compact import events
from agents.playback.draw_sight import camera_strip, draw_beliefs, strip_width
from agents.playback.sight import Sight
from agents.playback.trace import Trace
from envs.driving.draw import draw_scene
from envs.driving.palette import SCENE, rgb
from envs.driving.scenery import goals

__all__ = ["poses_at", "render_frame"]

Image = NDArray[np.uint8]  # (H, W, 3) RGB
METRES = 110.0  # m, width of the view
AHEAD = 0.22  # of the width, by which the view beside a camera is shifted forward
EVENT_SHOWN = 2.0  # s that the name of an event stays in the picture


def render_frame(
    trace: Trace,
    step: float,
    size: tuple[int, int] = (1280, 720),
    *,
    metres: float = METRES,
    heading_up: bool = False,
    theme: str = "light",
    text: bool = True,
    oversample: int = 2,
    sight: Sight | None = None,
) -> Image:
    """The picture at `step` decision steps after the start; fractions lie between two recorded states.

    size (width, height) in pixels; metres: width of the view. text: write scenario, time and speed into it. The other arguments are
    those of `envs.driving.draw.draw_scene`. sight: what `agents.playback.sight.look_again` gives, to draw what was believed, and beside
    the top view, whose width is then less, what the cameras saw. Returns (height, width, 3) uint8 RGB. Raises ValueError outside
    0 <= step <= trace.steps.
    """
    if not 0.0 <= step <= trace.steps:
        raise ValueError(f"step={step}: must be between 0 and {trace.steps}")
    k, count = int(step), len(trace.episode.agents)
    pose = poses_at(trace, step)
    whole, size = size, (size[0] - strip_width(sight, size), size[1])
    metres *= size[0] / whole[0]
    ahead = AHEAD * metres if size != whole else 0.0  # what the eyes look at is before the ego
    heading = float(pose["yaw"][0])
    centre = (float(pose["x"][0]) + ahead * np.cos(heading), float(pose["y"][0]) + ahead * np.sin(heading))
    path = np.stack([trace.states["x"][: k + 1, 0], trace.states["y"][: k + 1, 0]], axis=1).astype(np.float64)
    trail = np.concatenate([path, [[pose["x"][0], pose["y"][0]]]])
    image = draw_scene(
        trace.episode.network,
        **pose,
        length=[agent.length for agent in trace.episode.agents],
        width=[agent.width for agent in trace.episode.agents],
        kind=[int(agent.kind) for agent in trace.episode.agents],
        touched=trace.outs["touched"][k - 1, :count] if k else None,
        light_states=trace.states["lights"][k],
        goals=goals(trace.episode.network, trace.episode.goal),
        trail=trail,
        size=size,
        metres=metres,
        centre=centre,
        heading_up=heading_up,
        theme=theme,
        oversample=oversample,
    )
    if sight is not None:
        draw_beliefs(image, trace, sight, step, pose, metres=metres, centre=centre, heading_up=heading_up, theme=theme)
    if text:
        _write(image, trace, step, theme)
    if size != whole and sight is not None:
        image = np.concatenate([image, camera_strip(trace, sight, k, (whole[0] - size[0], size[1]), theme)], axis=1)
    return image


def poses_at(trace: Trace, step: float) -> dict[str, Any]:
    """x, y, yaw, accel and valid of every agent, (A,) each, between two recorded states by a cubic through four of them (Catmull-Rom)."""
    k, count = int(step), len(trace.episode.agents)
    valid = trace.states["valid"][:, :count]
    u, last = step - k, trace.steps
    both = valid[k] & valid[min(k + 1, last)]

    def cubic(name: str) -> NDArray[np.float64]:
        values = trace.states[name][:, :count].astype(np.float64)
        a, b = values[k], values[min(k + 1, last)]
        before = np.where(valid[max(k - 1, 0)] & (k > 0), values[max(k - 1, 0)], 2.0 * a - b)
        after = np.where(valid[min(k + 2, last)] & (k + 2 <= last), values[min(k + 2, last)], 2.0 * b - a)
        m, n = 0.5 * (b - before), 0.5 * (after - a)
        mixed = (2 * u**3 - 3 * u**2 + 1) * a + (u**3 - 2 * u**2 + u) * m + (3 * u**2 - 2 * u**3) * b + (u**3 - u**2) * n
        return np.asarray(np.where(both, mixed, a), dtype=np.float64)

    yaw = trace.states["yaw"][:, :count].astype(np.float64)
    turn = (yaw[min(k + 1, last)] - yaw[k] + np.pi) % (2.0 * np.pi) - np.pi
    accel = np.where(both, trace.states["accel"][min(k + 1, last), :count], trace.states["accel"][k, :count])
    return {"x": cubic("x"), "y": cubic("y"), "yaw": yaw[k] + u * turn * both, "accel": accel, "valid": valid[k]}


def _write(image: Image, trace: Trace, step: float, theme: str) -> None:
    """Title above, clock and speed below, and the latest event for a while."""
    every = np.arange(trace.steps + 1)
    time, speed = (float(np.interp(step, every, series)) for series in (trace.times, trace.states["speed"][:, 0]))
    scale = max(image.shape[0] / 720.0, 0.4)
    title = f"{trace.episode.scenario}  seed {trace.episode.seed}" + (f"  {trace.policy}" if trace.policy else "")
    margin = round(18 * scale)
    _label(image, title, (margin, margin), 0.6 * scale, theme)
    clock = f"{time:5.1f} s   {speed:4.1f} m/s ({speed * 3.6:.0f} km/h)"
    _label(image, clock, (margin, image.shape[0] - margin - round(34 * scale)), 0.7 * scale, theme)
    now = [event for event in events(trace) if event["step"] <= step and time - trace.times[event["step"]] <= EVENT_SHOWN]
    if now:
        colour = "#1a7f4b" if now[-1]["kind"] == "good" else "#c0282d"
        _label(image, now[-1]["label"], (margin, margin + round(44 * scale)), 0.7 * scale, theme, colour=colour)


def _label(image: Image, text: str, corner: tuple[int, int], scale: float, theme: str, colour: str = "") -> None:
    """A line of text on a plate; `corner` is the plate's upper left one. Letters that the font lacks become question marks."""
    thick = 1 if scale < 0.9 else 2
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
    pad = round(9 * scale / 0.6)
    x, y = corner
    plate = image[max(y, 0) : y + height + below + pad, max(x, 0) : x + width + 2 * pad]
    plate[:] = np.round(0.2 * plate + 0.8 * np.array(rgb(colour or SCENE[theme]["panel"]))).astype(np.uint8)
    ink = "#ffffff" if colour else SCENE[theme]["text"]
    cv2.putText(image, text, (x + pad, y + height + (pad + below) // 2), cv2.FONT_HERSHEY_DUPLEX, scale, rgb(ink), thick, cv2.LINE_AA)
