"""What there was to be seen in a trace: the camera's pictures drawn again, who was in sight, and whom the tracks stood for.

Shapes: S decision steps, A agents of the episode, T tracks, D detections, C cameras, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from agents.playback.beliefs import Beliefs, hashes
from agents.playback.storage import Array
from agents.playback.trace import STATE_FIELDS, Trace
from agents.playback.verify import simulator
from envs.driving.camera import CameraConfig, build_scenery, draw_weather, labels, render
from envs.driving.camera.portions import portions
from envs.driving.camera.rendering import believed_camera
from envs.driving.camera.scenery import SceneryTables, move_scenery
from envs.driving.eyes import CameraRig
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Setup, State
from envs.driving.visibility import visible
from perception.oracle import VisibilityRule
from perception.states import map_tensors

__all__ = ["GATE", "LIGHT", "NO_BODY", "Sight", "look_again"]

LIGHT = 6  # class of traffic lights; the classes before it are those of scenarios.kinds.Kind
NO_BODY, NOT_ASKED = -1, -2
# How far the middle of a track may be from that of what it stands for: m (as of nuScenes' tracking benchmark), share of the range, and
# share of the body's length, whichever is most
GATE = (2.0, 0.1, 0.25)
FAR = 1e4  # m, a distance that no assignment would choose


class Sight(NamedTuple):
    """See above; one row a state of the trace."""

    images: Array  # (S + 1, C, H, W, 3) uint8 RGB; C is 0 where no camera draws
    same: bool  # the pictures are those that were seen, bit by bit
    names: tuple[str, ...]  # of the cameras
    cameras: Array  # (C, 7) focal, cu, cv px; x, y, z m; yaw rad: as they are believed to be mounted
    visible: Array  # (S + 1, A) bool, the ego's eyes could have known of it
    body: Array  # (S + 1, T) int64, agent that a track stands for; NO_BODY: none, NOT_ASKED: no track, or one of a light
    track: Array  # (S + 1, D) int64, row of the track that a detection went into, -1: none

    def missed(self, k: int) -> list[int]:
        """Agents that could be seen at state k and that no track stands for."""
        return sorted(set(np.flatnonzero(self.visible[k]).tolist()) - set(self.body[k].tolist()))

    def invented(self, k: int) -> list[int]:
        """Rows of tracks at state k that stand for nothing."""
        return [int(row) for row in np.flatnonzero(self.body[k] == NO_BODY)]


def look_again(trace: Trace, states: Sequence[State] = ()) -> Sight | None:
    """None for a trace without beliefs. Raises TraceError if its episode cannot be simulated.

    states: what `verify` kept; if they are not all there, the world is simulated again. Indicators blink as they do in the simulation, all
    else is where the trace says it was. "Could be seen" is, where cameras draw, what counts for a detector's headline figure
    (`perception.oracle.VisibilityRule`: boxes of at least 4 px, at most 80 % hidden); elsewhere what the level may know of: agents in
    range (`truth`), and in sight (`envs.driving.visibility`).
    """
    if trace.beliefs is None:
        return None
    sim = simulator(trace)
    whole = _states(trace, sim, states)
    setup = map_tensors(lambda value: value.expand(trace.steps + 1, *value.shape[1:]).contiguous(), sim.setup)
    with torch.no_grad():
        images, seen = _pictures(sim, whole, setup) if trace.beliefs.about.C else (_none(trace), _known(sim, whole, setup))
    count = len(trace.episode.agents)
    shown = np.moveaxis(images, 2, -1)
    kept = trace.beliefs.arrays["image"]
    return Sight(
        images=np.ascontiguousarray(shown),
        same=all(np.array_equal(hashes(image), then) for image, then in zip(images, kept, strict=True)),
        names=tuple(trace.config.cameras.split("+")) if trace.beliefs.about.C else (),
        cameras=_cameras(trace),
        visible=seen[:, :count],
        body=np.stack([_bodies(trace, trace.beliefs, k) for k in range(trace.steps + 1)]),
        track=np.stack([_rows(trace.beliefs, k) for k in range(trace.steps + 1)]),
    )


def _config(config: DrivingConfig) -> CameraConfig:
    return CameraConfig(cameras=tuple(config.cameras.split("+")), weather=config.weather)


def _states(trace: Trace, sim: DrivingSim, known: Sequence[State]) -> State:
    """All states of the trace as one batch of worlds."""
    states = list(known) if len(known) == trace.steps + 1 else [sim.state]
    for k in range(len(states) - 1, trace.steps):
        sim.step(torch.from_numpy(trace.actions[k : k + 1].copy()).to(sim.device))
        states.append(sim.state)
    whole: State = map_tensors(lambda *parts: torch.cat(parts), states[0], *states[1:])
    kept: dict[str, Any] = {name: torch.from_numpy(trace.states[name].copy()).to(sim.device) for name in STATE_FIELDS if name != "lights"}
    return whole._replace(**kept)


def _pictures(sim: DrivingSim, states: State, setup: Setup) -> tuple[Array, Array]:
    """What the cameras show, (S + 1, C, 3, H, W) uint8, and which agents can be made out in it, (S + 1, slots) bool."""
    camera = _config(sim.config)
    tables: SceneryTables = move_scenery(build_scenery(sim.bank.networks, camera), sim.device)
    rule = VisibilityRule()
    images: list[Array] = []
    seen: list[Array] = []
    weather, viewer, dt = draw_weather(setup.seed, camera), torch.zeros_like(setup.map_id), sim.config.dt
    rig = CameraRig(sim) if sim.compile else None  # draws as it was drawn then
    for state, mine, look, by in portions(states, setup, weather, viewer):
        rendered = render(state, mine, sim.maps, tables, look, camera, viewer=by, dt=dt)
        truth = labels(rendered, state, mine, sim.maps, tables, look, camera, viewer=by, dt=dt)
        clear = rule(truth) & (truth.kind < LIGHT)
        slots = torch.zeros((*state.x.shape[:1], state.x.shape[1] + 1), dtype=torch.bool, device=state.x.device)
        slots.scatter_(1, torch.where(clear, truth.source, state.x.shape[1]), True)
        image = rendered.image if rig is None else rig.frame(state, mine, torch.zeros(len(by), 3, device=by.device)).image
        images.append(image.numpy(force=True))
        seen.append(slots[:, :-1].numpy(force=True))
    return np.concatenate(images), np.concatenate(seen)


def _known(sim: DrivingSim, states: State, setup: Setup) -> Array:
    """Which agents the level may know of, (S + 1, slots) bool."""
    dx, dy = states.x - states.x[:, :1], states.y - states.y[:, :1]
    near = states.valid & (dx * dx + dy * dy <= sim.config.view_range**2)
    near[:, 0] = False
    if sim.config.observation != "truth":
        near = near & visible(states, setup, sim.maps, sim.config)[:, 0]
    return near.numpy(force=True)


def _none(trace: Trace) -> Array:
    return np.zeros((trace.steps + 1, 0, 3, 0, 0), np.uint8)


def _cameras(trace: Trace) -> Array:
    assert trace.beliefs is not None
    if not trace.beliefs.about.C:
        return np.zeros((0, 7))
    believed = believed_camera(1, _config(trace.config))
    return np.stack([value[0].numpy() for value in believed], axis=-1).astype(np.float64)


def _bodies(trace: Trace, beliefs: Beliefs, k: int) -> NDArray[np.int64]:
    """Which agent each track stands for at state k, so that their distances add up to the least; (T,)."""
    count, arrays = len(trace.episode.agents), beliefs.arrays
    body = np.full(beliefs.about.T, NOT_ASKED, np.int64)
    rows = np.flatnonzero(arrays["track_mask"][k] & (arrays["track_kind"][k] < LIGHT))
    body[rows] = NO_BODY
    there = np.flatnonzero(trace.states["valid"][k, :count])
    there = there[there > 0]
    x, y, yaw = (trace.states[name][k, :count].astype(np.float64) for name in ("x", "y", "yaw"))
    dx, dy, cos, sin = x[there] - x[0], y[there] - y[0], np.cos(yaw[0]), np.sin(yaw[0])
    place = np.stack([dx * cos + dy * sin, dy * cos - dx * sin], axis=-1)  # (., 2) in the ego frame
    apart = np.linalg.norm(arrays["track_place"][k, rows, None].astype(np.float64) - place, axis=-1)
    length = np.array([trace.episode.agents[i].length for i in there])
    gate = np.maximum.reduce([np.full(len(there), GATE[0]), GATE[1] * np.linalg.norm(place, axis=-1), GATE[2] * length])
    for row, column in zip(*linear_sum_assignment(np.where(apart <= gate, apart, FAR)), strict=True):
        if apart[row, column] <= gate[column]:
            body[rows[row]] = there[column]
    return body


def _rows(beliefs: Beliefs, k: int) -> NDArray[np.int64]:
    """Which track each detection of state k went into: the one that was just seen in the very same box; (D,)."""
    arrays = beliefs.arrays
    seen = arrays["track_mask"][k] & (arrays["track_unseen"][k] == 0)  # (T,)
    same = (arrays["found_box"][k, :, None] == arrays["track_box"][k]).all(-1) & seen & arrays["found_mask"][k, :, None]  # (D, T)
    return np.where(same.any(1), same.argmax(1), -1) if beliefs.about.T else np.full(beliefs.about.D, -1)
