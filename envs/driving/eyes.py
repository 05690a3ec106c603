"""The ego's eyes: a perception stack that looks at every decision step, and what it makes of the surroundings.

All levels of the observation ladder run through the same tracker and predictor; they differ in what the tracker is fed:

    truth      every agent in range, exactly
    visible    those neither hidden nor out of sight, exactly
    noisy      the same, with the misses, errors and inventions of an error model fitted to the learned detector
    perceived  what the learned detector finds in camera frames

Shapes: B worlds, A agents, T tracks, O objects, M modes, GL lights of a map. The ego is slot 0; there is one learner.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from envs.driving.camera.config import CONDITIONS, CameraConfig
from envs.driving.camera.furniture import HEAD_AT, HEAD_BOX, LAMP_SEEN
from envs.driving.camera.portions import portions, size_for
from envs.driving.camera.rendering import compiled_render, render, sensor_frame
from envs.driving.camera.scenery import build_scenery, move_scenery
from envs.driving.camera.weather import draw_weather
from envs.driving.lights import light_states
from envs.driving.objects import FORECAST_AT, Belief, Objects
from envs.driving.roads import cut, roads_around
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Maps, Setup, State
from envs.driving.visibility import sighted
from perception.noise import bare_labels
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import Pipeline, PipelineConfig, PipelineState
from perception.prediction.base import at_times
from perception.registry import make_detector, make_pipeline, make_tracker
from perception.stages import Witness
from perception.states import map_tensors
from perception.tracking.config import DRIVING_MODELS
from perception.types import Camera, Detections, Forecasts, Labels, SensorFrame, Tracks
from scenarios.kinds import Kind

__all__ = ["CHUNK", "CameraRig", "Eyes", "EyesState", "Look", "Rig", "needs_eyes", "some_worlds"]

T = TypeVar("T", State, Setup)
CHUNK = 16  # worlds that look again together when their episodes begin
LIGHT = 6  # class of traffic lights; the classes before it are those of Kind
LIGHT_REACH = 4.0  # m between a signal head of the map and the place where one is believed to be
LIGHT_SOURCE = 10_000  # of the first signal head, where labels are made without images
OFF = 4  # state of a lamp that is not lit, or not seen lit
TRACKS, DETECTIONS = 24, 32  # of a stack that looks at images; one that is told the truth has room for all there is
ALL_TRACKS, ALL_DETECTIONS = 64, 64  # of one that looks all around: streets are lined with parked cars
ROUND = 4  # cameras of 90 degrees that see all around, where nothing is drawn


def needs_eyes(config: DrivingConfig) -> bool:
    """Whether observations of this configuration come from a perception stack."""
    return config.observation in ("noisy", "perceived") or config.forecasts > 0


class Look(NamedTuple):
    """What was seen and believed at one decision step, for whoever wants to draw it. Ego frame of the step."""

    frame: SensorFrame
    detections: Detections
    tracks: Tracks
    forecasts: Forecasts

    def merged(self, put: Callable[..., Tensor], other: Look) -> Look:
        """With `put(mine, other's)` of all tensors but the times of the forecasts, which all worlds share."""
        time = self.forecasts.time
        mine, others = (look._replace(forecasts=look.forecasts._replace(time=look.frame.time)) for look in (self, other))
        both = map_tensors(put, mine, others)
        return both._replace(forecasts=both.forecasts._replace(time=time))


class EyesState(NamedTuple):
    """All that eyes remember."""

    pipeline: PipelineState
    pose: Tensor  # (B, 3) x, y, yaw at the last look, world frame


class Rig(Protocol):
    """Cameras: makes frames, and the truth about them for detectors that tell it."""

    @property
    def cameras(self) -> int: ...

    def frame(self, state: State, setup: Setup, motion: Tensor) -> SensorFrame: ...


class CameraRig:
    """Cameras that draw. Raises ValueError for a mount or a weather that does not exist."""

    def __init__(self, sim: DrivingSim) -> None:
        config = sim.config
        self.camera = CameraConfig(cameras=tuple(config.cameras.split("+")), weather=config.weather)
        self.cameras, self.sim = len(self.camera.cameras), sim
        self.tables = move_scenery(build_scenery(sim.bank.networks, self.camera), sim.device)
        self.size = size_for(sim.batch, sim.device)
        self._render = compiled_render(self.camera, config.dt, self.size) if sim.compile else None

    def frame(self, state: State, setup: Setup, motion: Tensor) -> SensorFrame:
        image = self._drawn(state, setup)
        return sensor_frame(image, state, setup, self.camera, dt=self.sim.config.dt)._replace(motion=motion)

    def _drawn(self, state: State, setup: Setup) -> Tensor:
        """(B, C, 3, H, W) uint8."""
        maps, dt, images = self.sim.maps, self.sim.config.dt, []
        weather, viewer = draw_weather(setup.seed, self.camera), torch.zeros_like(setup.map_id)
        for s, fixed, look, by in portions(state, setup, weather, viewer, self.size):
            if self._render is not None:
                images.append(self._render(s, fixed, maps, self.tables, look, by).image)
            else:
                images.append(render(s, fixed, maps, self.tables, look, self.camera, viewer=by, dt=dt).image)
        return torch.cat(images)


@dataclass(frozen=True, kw_only=True)
class _Around:
    """Eyes without images: empty frames of cameras all around."""

    dt: float
    cameras: int = ROUND

    def frame(self, state: State, setup: Setup, motion: Tensor) -> SensorFrame:
        worlds = state.x.shape[0]
        blank = state.x.new_zeros((worlds, self.cameras))
        yaw = torch.arange(self.cameras, device=state.x.device, dtype=state.x.dtype) * (math.tau / self.cameras)
        camera = Camera(focal=blank + 500.0, cu=blank + 500.0, cv=blank, x=blank, y=blank, z=blank + 1.5, yaw=blank + yaw)
        return SensorFrame(
            image=torch.zeros((worlds, self.cameras, 3, 0, 1000), dtype=torch.uint8, device=blank.device),
            camera=camera,
            time=state.step * self.dt,
            speed=state.speed[:, 0],
            yaw_rate=state.stats.prev[:, 0, 2],
            motion=motion,
        )


class Eyes:
    """One perception stack for all worlds of a simulator.

    `look` once after every decision step, `reset` or `reset_where` after those of the simulator; `objects` is what is believed since.
    Raises ValueError for more than one learner, and what `perception.registry` raises for stages that cannot be had.
    """

    def __init__(self, sim: DrivingSim, rig: Rig | None = None) -> None:
        config = sim.config
        if config.learners != 1:
            raise ValueError(f"learners={config.learners}: a perception stack (observation={config.observation!r}) is for one ego a world")
        self.sim, self.config = sim, config
        self.rig: Rig = rig or (CameraRig(sim) if config.observation == "perceived" else _Around(dt=config.dt))
        self.pieces = cut(sim.maps)
        self.pipeline = _pipeline(config, sim.maps)
        self.reset()

    def reset(self) -> None:
        """Begin anew in all worlds, with a first look."""
        seed = self.sim.setup.seed
        self.state = EyesState(self.pipeline.initial(seed, cameras=self.rig.cameras), _pose(self.sim.state))
        self.look()

    def look(self) -> Objects:
        """Look at the worlds as they are now. Once per decision step."""
        self.state, self.objects, self.last = self._look(self.state, self.sim.state, self.sim.setup)
        return self.objects

    def reset_where(self, mask: Tensor) -> None:
        """Begin anew in the worlds of mask (B,) bool, with a first look; the others keep what they believe."""
        which = mask.nonzero().flatten()
        size = min(CHUNK, self.sim.batch)  # always the same number at once: networks round differently at different batch sizes
        for first in range(0, len(which), size):
            part = which[first : first + size]
            rows = torch.nn.functional.pad(part, (0, size - len(part)), value=int(part[0]))
            state, setup = some_worlds(self.sim.state, rows), some_worlds(self.sim.setup, rows)
            fresh = EyesState(self.pipeline.initial(setup.seed, cameras=self.rig.cameras), _pose(state))
            new = self._look(fresh, state, setup)
            keep = slice(0, len(part))

            def put(old: Tensor, value: Tensor, part: Tensor = part, keep: slice = keep) -> Tensor:
                return old.index_copy(0, part, value[keep])

            self.state = map_tensors(put, self.state, new[0])
            self.objects = Objects(*(_merge(put, old, value) for old, value in zip(self.objects, new[1], strict=True)))
            self.last = self.last.merged(put, new[2])

    def _look(self, mine: EyesState, state: State, setup: Setup) -> tuple[EyesState, Objects, Look]:
        pose = _pose(state)
        frame = self.rig.frame(state, setup, _motion(mine.pose, pose))
        labels = _truth(state, setup, self.sim.maps, self.config) if self.pipeline.needs_labels else None
        roads = roads_around(state, setup, self.pieces) if self.config.forecasts or self.pipeline.needs_roads else None
        pipeline, detections, tracks, forecasts = self.pipeline.step(frame, roads, labels, state=mine.pipeline)
        objects = _objects(tracks, forecasts, pose, state, setup, self.sim.maps, self.config)
        return EyesState(pipeline, pose), objects, Look(frame, detections, tracks, forecasts)


def some_worlds(whole: T, rows: Tensor) -> T:
    """The worlds `rows` (K,) int64 of a state or setup."""
    return map_tensors(lambda value: value[rows], whole)


def _merge(put: Any, old: Any, new: Any) -> Any:
    return None if old is None else map_tensors(put, old, new)


def _pipeline(config: DrivingConfig, maps: Maps) -> Pipeline:
    predictor = config.predictor if config.forecasts else None
    if config.observation == "perceived":
        detector = make_detector(config.detector)
    elif config.observation == "noisy":
        interval = config.dt * config.ticks_per_step
        detector = make_detector(
            "noisy", card=config.noise, interval=interval, recall=config.recall, position=config.position,
            weather=_weather if config.weather == "any" else config.weather, conditions=CONDITIONS,
        )  # fmt: skip
    else:
        detector = Oracle(rule=VisibilityRule(side_min=0.0, hidden_max=1.0))
    told = config.agents + 2 * maps.light_pose.shape[1] * lights_seen(config) if isinstance(detector, Witness) else 0
    around = config.observation == "perceived" and len(config.cameras.split("+")) >= ROUND
    tracks, found = (ALL_TRACKS, ALL_DETECTIONS) if around else (TRACKS, DETECTIONS)
    tracker = make_tracker(config.tracker, classes=detector.classes, slots=max(tracks, told))
    settings = PipelineConfig(
        every=config.perceive_every, latency=config.latency, drop=config.drop, slots=max(found, told), forecast=config.forecasts > 0
    )
    return make_pipeline(detector, tracker, predictor, settings)


def _weather(seed: Tensor) -> Tensor:
    """Index into CONDITIONS of what cameras see in the worlds of seed (B,): what errs like a detector errs as in that weather."""
    return draw_weather(seed, CameraConfig()).condition


def _pose(state: State) -> Tensor:
    return torch.stack([state.x[:, 0], state.y[:, 0], state.yaw[:, 0]], dim=-1)


def _motion(before: Tensor, after: Tensor) -> Tensor:
    """(B, 3) the pose `after` in the frame of the pose `before`."""
    x, y, yaw = (value.contiguous() for value in (after - before).unbind(-1))
    heading = before[:, 2].contiguous()
    cos, sin = torch.cos(heading), torch.sin(heading)
    turn = torch.remainder(yaw + math.pi, 2.0 * math.pi) - math.pi
    return torch.stack([x * cos + y * sin, y * cos - x * sin, turn], dim=-1)


def _truth(state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Labels:
    """Every agent that may be seen and, where lights are not simply known, the signal heads that face the ego; without images."""
    pose = _pose(state)
    x, y = _to_ego(pose, state.x, state.y)
    heading = torch.remainder(state.yaw - pose[:, 2:] + math.pi, 2.0 * math.pi) - math.pi
    near = (x * x + y * y <= config.view_range**2) & state.valid
    near[:, 0] = False
    hidden = torch.zeros_like(x)
    if config.observation != "truth":
        seen = sighted(state, setup, maps, config)[:, 0]
        near, hidden = near & (seen > 0.0), 1.0 - seen
    velocity = torch.stack([state.speed * torch.cos(heading), state.speed * torch.sin(heading)], dim=-1)
    height = torch.tensor([DRIVING_MODELS[kind.name.lower()].height for kind in Kind], device=x.device)[setup.kind]
    slot = torch.arange(x.shape[1], device=x.device).expand_as(setup.kind)
    rows = {
        "kind": setup.kind,
        "centre": torch.stack([x, y, 0.5 * height], dim=-1),
        "size": torch.stack([setup.length, setup.width, height], dim=-1),
        "yaw": heading,
        "velocity": velocity,
        "source": slot,
        "mask": near,
        "occlusion": torch.where(near, hidden, 0.0),
        "light": torch.full_like(slot, -1),
    }
    if lights_seen(config):
        heads = _heads(pose, state, setup, maps, config)
        rows = {name: torch.cat([value, heads[name].to(value.dtype)], dim=1) for name, value in rows.items()}
    return bare_labels(**rows)


def lights_seen(config: DrivingConfig) -> bool:
    """Whether the states of traffic lights are what the stack makes of signal heads; else they are simply known."""
    return config.observation in ("noisy", "perceived")


def _heads(pose: Tensor, state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> dict[str, Tensor]:
    """The map's signal heads (B, 2 GL), near ones first, as rows of labels; nothing but their hoods hides them."""
    where = setup.map_id
    place = torch.cat([maps.light_pose[where][..., :2], maps.light_far[where]], dim=1)
    x, y = _to_ego(pose, place[..., 0], place[..., 1])
    facing = maps.light_pose[where][..., 2].repeat(1, 2) - pose[:, 2:]  # of the traffic they are for
    state_of = light_states(maps, where, state.step, config.dt).repeat(1, 2)
    away = torch.sqrt(x * x + y * y)
    lit = x * torch.cos(facing) + y * torch.sin(facing) > LAMP_SEEN * away.clamp(min=0.1)
    ahead = math.cos(0.5 * config.view_fov) * away if config.view_fov < math.tau else -away
    index = torch.arange(x.shape[1], device=x.device).expand_as(x)
    size = x.new_tensor(HEAD_BOX).expand(*x.shape, 3)
    return {
        "kind": torch.full_like(index, LIGHT),
        "centre": torch.stack([x, y, torch.full_like(x, HEAD_AT + 0.5 * HEAD_BOX[2])], dim=-1),
        "size": size,
        "yaw": torch.remainder(facing + math.tau, math.tau) - math.pi,
        "velocity": torch.zeros_like(size[..., :2]),
        "source": LIGHT_SOURCE + index,
        "mask": lit & (state_of > 0) & (away <= config.view_range) & (x >= ahead),
        "occlusion": torch.zeros_like(x),
        "light": (state_of - 1).clamp(min=0),
    }


def _to_ego(pose: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """World places (B, K) in the ego frame."""
    px, py, yaw = (value.contiguous().unsqueeze(1) for value in pose.unbind(-1))
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    return (x - px) * cos + (y - py) * sin, (y - py) * cos - (x - px) * sin


def _objects(tracks: Tracks, forecasts: Forecasts, pose: Tensor, state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Objects:
    """Tracks as the observation wants them: in the world frame."""
    px, py, yaw = (value.contiguous().unsqueeze(1) for value in pose.unbind(-1))
    cos, sin = torch.cos(yaw), torch.sin(yaw)

    def out(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        extra = (1,) * (x.dim() - 2)
        c, s, ox, oy = (value.view(*value.shape, *extra) for value in (cos, sin, px, py))
        return ox + x * c - y * s, oy + x * s + y * c

    mx, my, vx, vy = (value.contiguous() for value in tracks.mean.unbind(-1))
    x, y = out(mx, my)
    heading = tracks.yaw.contiguous()
    hc, hs = torch.cos(heading), torch.sin(heading)
    belief = None
    if config.forecasts:
        at = at_times(forecasts, tracks, torch.tensor(FORECAST_AT, device=x.device))
        best = at.probability.sort(dim=-1, descending=True, stable=True).indices[..., : config.forecasts]
        mean = at.mean.gather(2, best[..., None, None].expand(*best.shape, *at.mean.shape[-2:]))
        fx, fy = out(mean[..., 0], mean[..., 1])
        belief = Belief(
            sigma=torch.sqrt(tracks.covariance.diagonal(dim1=-2, dim2=-1)[..., :2].clamp(min=0.0)),
            score=tracks.score,
            probability=at.probability.gather(2, best),
            x=fx,
            y=fy,
        )
    thing = tracks.mask & (tracks.kind < LIGHT) & (mx * mx + my * my <= config.view_range**2)
    return Objects(
        x=x,
        y=y,
        cos=hc * cos - hs * sin,
        sin=hc * sin + hs * cos,
        speed=vx * hc + vy * hs,
        length=tracks.size[..., 0],
        width=tracks.size[..., 1],
        kind=tracks.kind.clamp(max=LIGHT - 1),
        seen=thing.unsqueeze(1),
        lights=_lights(tracks, x, y, state, setup, maps, config) if lights_seen(config) else None,
        belief=belief,
    )


def _lights(tracks: Tracks, x: Tensor, y: Tensor, state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """States of the map's lights (B, GL) as the tracks nearest to their heads say: of the near head and the far one, that which a track is
    closer to. A light that nobody sees lit counts as red."""
    true = light_states(maps, setup.map_id, state.step, config.dt)  # for which lights there are: 0 where there is none
    lamps = tracks.mask & (tracks.kind == LIGHT) & (tracks.light >= 0) & (tracks.light < OFF)  # (B, T)
    gaps, states = [], []
    for place in (maps.light_pose[setup.map_id][..., :2], maps.light_far[setup.map_id]):
        apart = torch.sqrt((place[..., :1] - x.unsqueeze(1)) ** 2 + (place[..., 1:2] - y.unsqueeze(1)) ** 2)  # (B, GL, T)
        gap, which = torch.where(lamps.unsqueeze(1), apart, torch.inf).min(-1)
        gaps.append(gap)
        states.append(tracks.light.gather(1, which))
    near = gaps[0] <= gaps[1]
    known = torch.minimum(*gaps) < LIGHT_REACH
    # perception: 0 red, 1 red-yellow, 2 yellow, 3 green; LightState: 0 none, 1 red, 2 red-yellow, 3 yellow, 4 green
    return torch.where(true == 0, 0, torch.where(known, torch.where(near, states[0], states[1]) + 1, 1))
