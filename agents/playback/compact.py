"""A trace as a small JSON value for the HTML player: numbers as differences of whole cm, mrad or cm/s, packed seven bits to a byte.

300 steps of 32 agents take about 100 kB. `player/data.js` is the other end.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.playback.storage import Array
from agents.playback.trace import SHIELD, Trace
from envs.driving.palette import BODIES, LAMPS, SCENE
from envs.driving.scenery import Scenery, goals, scenery
from envs.driving.shapes import BRAKE_ABOVE, shape
from scenarios.episode import Role
from scenarios.kinds import Kind
from scenarios.network import LightState, Mark

__all__ = ["compact", "events", "interventions", "packed", "spans", "time_to_collision"]

Points = NDArray[np.float64]
ROLES = {Role.LEARNER: "the policy", Role.IDM: "traffic model", Role.LOG: "recording", Role.STATIC: "nobody, stands still"}
EVENTS = {  # Out flag -> (label, good or bad)
    "arrived": ("arrived", "good"),
    "collision": ("collision", "bad"),
    "off_road": ("left the road", "bad"),
    "wrong_way": ("drove against traffic", "bad"),
    "red_light": ("ran a red light", "bad"),
    "stop_sign": ("ran a stop sign", "bad"),
    "lost": ("cannot reach the goal any more", "bad"),
}
TTC_SHOWN = 10.0  # s; later collisions are not plotted


def compact(trace: Trace, *, origin: Points | None = None) -> dict[str, Any]:
    """Everything the player draws, except the texts around it. Strict JSON. origin: (2,) m, the world's point that the rest is told from;
    left out: where the ego starts, to the metre."""
    states, count = trace.states, len(trace.episode.agents)
    view = scenery(trace.episode.network)
    middle = np.array(view.bounds).reshape(2, 2).mean(0)
    first = np.array([states["x"][0, 0], states["y"][0, 0]], dtype=np.float64) if states["valid"][0, 0] else middle
    origin = np.round(first) if origin is None else origin
    lights = states["lights"]
    return {
        "times": [round(float(t), 4) for t in trace.times],
        "origin": [float(v) for v in origin],
        "bounds": [round(float(b - origin[i % 2]), 2) for i, b in enumerate(view.bounds)],
        "agents": [_agent(trace, i) for i in range(count)],
        "tracks": packed(value for i in range(count) for value in _track(trace, i, origin)),
        "lanes": [lane.id for lane in trace.episode.network.lanes],
        "lights": [
            {"x": round(x - origin[0], 2), "y": round(y - origin[1], 2), "heading": round(h, 4), "states": _changes(lights[:, i])}
            for i, (x, y, h) in enumerate(view.lights.tolist())
        ],
        "events": events(trace),
        "shield": interventions(trace),
        "ttc": [round(100.0 * t) if t <= TTC_SHOWN else None for t in time_to_collision(trace).tolist()],
        "scene": _scene(trace, view, origin),
        "stops": [{"light": stop.light, "sign": stop.must_stop} for stop in view.stops],
        "shapes": [[[part.role, np.round(1000 * part.outline).astype(int).ravel().tolist()] for part in shape(kind)] for kind in Kind],
        "kinds": [kind.name.capitalize() for kind in Kind],
        "bodies": [BODIES[kind] for kind in Kind],
        "lamps": [LAMPS[state] for state in LightState],
        "colours": SCENE,
        "brakeAbove": BRAKE_ABOVE,
    }


def packed(values: Iterable[int]) -> str:
    """Whole numbers as base64: each as 7-bit groups, lowest first, top bit set while more follow; the sign in the lowest bit."""
    out = bytearray()
    for value in values:
        rest = -2 * value - 1 if value < 0 else 2 * value
        while rest > 127:
            out.append(rest & 127 | 128)
            rest >>= 7
        out.append(rest)
    return base64.b64encode(out).decode()


def spans(flags: NDArray[np.bool_]) -> list[list[int]]:
    """Half-open stretches [from, to) in which `flags` (T,) hold."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [[int(start), int(end)] for start, end in edges.reshape(-1, 2)]


def events(trace: Trace) -> list[dict[str, Any]]:
    """What happened to the ego, in order: the state index, a label, and whether it is good or bad."""
    found = [
        {"step": int(k) + 1, "label": label, "kind": kind}
        for name, (label, kind) in EVENTS.items()
        for k in np.flatnonzero(trace.outs[name][:, 0])
    ]
    return sorted(found, key=lambda event: int(event["step"]))


def interventions(trace: Trace) -> list[list[Any]] | None:
    """Stretches of decisions that a shield has overridden: first state, last state, how many, and from what there was no safe way to stop.

    None: there was no shield. A stretch ends where the reason changes.
    """
    if trace.shield is None:
        return None
    why = trace.shield.astype(np.int64)
    at = np.r_[np.flatnonzero(np.diff(why, prepend=-1)), len(why)]
    return [[int(a), int(b), int(b - a), SHIELD[why[a]]] for a, b in pairwise(at.tolist()) if why[a]]


def time_to_collision(trace: Trace) -> NDArray[np.float64]:
    """Seconds until the ego touches the first other road user if all keep their velocities, at every state, (S + 1,); inf: never."""
    import torch

    from envs.driving.ttc import time_to_collision as ttc

    count = len(trace.episode.agents)
    valid = trace.states["valid"][:, :count]
    if count < 2:
        return np.full(len(valid), np.inf)
    x, y, yaw, speed = (torch.from_numpy(trace.states[name][:, :count].astype(np.float64)) for name in ("x", "y", "yaw", "speed"))
    length, width = (torch.tensor([getattr(a, name) for a in trace.episode.agents], dtype=torch.float64) for name in ("length", "width"))
    vx, vy = speed * torch.cos(yaw), speed * torch.sin(yaw)
    ego, others = (slice(None), slice(0, 1)), (slice(None), slice(1, None))
    columns = [[v[part] for v in (x, y, yaw, length.expand_as(x), width.expand_as(x), vx, vy)] for part in (ego, others)]
    found = ttc(*columns[0], *columns[1]).numpy()  # (S + 1, A - 1)
    return np.asarray(np.where(valid[:, 1:] & valid[:, :1], found, np.inf).min(axis=1), dtype=np.float64)


def _agent(trace: Trace, i: int) -> dict[str, Any]:
    spec, valid = trace.episode.agents[i], trace.states["valid"][:, i]
    touched = np.r_[False, trace.outs["touched"][:, i].astype(bool)] & valid
    return {
        "id": spec.id,
        "kind": int(spec.kind),
        "role": ROLES[spec.role],
        "length": round(spec.length, 3),
        "width": round(spec.width, 3),
        "there": spans(valid),
        "touched": spans(touched),
        "lanes": _changes(trace.states["lane"][:, i]),
    }


def _changes(values: Array) -> list[list[int]]:
    """[index, value] wherever a series changes, the first included."""
    at = np.r_[0, 1 + np.flatnonzero(np.diff(values))]
    return [[int(k), int(values[k])] for k in at]


def _track(trace: Trace, i: int, origin: Points) -> Iterable[int]:
    """The numbers of one agent: x, y in cm as second differences; yaw in mrad, speed in cm/s, acceleration in cm/s^2 as first ones."""
    valid = trace.states["valid"][:, i]
    columns = {name: trace.states[name][:, i].astype(np.float64) for name in ("x", "y", "yaw", "speed", "accel")}
    columns["x"], columns["y"] = columns["x"] - origin[0], columns["y"] - origin[1]
    # while it is away the last pose is held, which costs nothing; what an empty slot contains is nobody's business
    held = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), -1))
    held = np.where(held < 0, int(np.argmax(valid)), held) if valid.any() else np.zeros_like(held)
    for name, scale in (("x", 100), ("y", 100), ("yaw", 1000), ("speed", 100), ("accel", 100)):
        series = columns[name][held] if valid.any() else np.zeros(len(valid))
        whole = np.round(scale * (np.unwrap(series) if name == "yaw" else series)).astype(np.int64)
        change = np.diff(whole, prepend=0)
        yield from (np.diff(change, prepend=0) if name in ("x", "y") else change).tolist()


def _scene(trace: Trace, view: Scenery, origin: Points) -> dict[str, str]:
    """The outlines of what stands still, by layer."""
    wanted = goals(trace.episode.network, trace.episode.goal)
    layers: dict[str, Sequence[Points]] = {
        "walkways": view.walkways,
        "surfaces": view.surfaces,
        "rims": view.rims,
        "bays": view.bays,
        "arrows": view.arrows,
        "stripes": view.stripes,
        "dashed": [line.points for line in view.lines if line.mark == Mark.DASHED],
        "solid": [line.points for line in view.lines if line.mark == Mark.SOLID],
        "kerbs": [line.points for line in view.lines if line.mark == Mark.KERB],
        "stops": [stop.outline for stop in view.stops],
        "buildings": [outline for kind, outline in view.occluders if kind != "hedge"],
        "hedges": [outline for kind, outline in view.occluders if kind == "hedge"],
        "regions": wanted.regions,
        "finish": wanted.finish,
        "checks": wanted.checks,
    }
    return {name: packed(value for outline in outlines for value in _outline(outline, origin)) for name, outlines in layers.items()}


def _outline(points: Points, origin: Points) -> Iterable[int]:
    """Number of points, then their differences in cm. All run the same way round, so that overlapping ones fill as one."""
    local = points - origin
    x, y = local[:, 0], local[:, 1]
    if math.fsum(x * np.roll(y, -1) - y * np.roll(x, -1)) < 0.0:
        local = local[::-1]
    whole = np.round(100.0 * local).astype(np.int64)
    yield len(whole)
    yield from np.diff(whole, axis=0, prepend=0).ravel().tolist()
