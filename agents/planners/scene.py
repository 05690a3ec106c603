"""What a planner is given, made from a simulator and, on levels with a perception stack, from what the stack believes.

The ladder as planners see it: on `truth` and `visible` the tracks are the agents themselves (all, or those in view), on `noisy` and
`perceived` those of the tracker. Forecasts are the stack's own where it was asked for some (`forecasts=3,predictor=driving` after the
level), else `idm_along_lane` of the same tracks on every level, with lane changes.

Shapes: B worlds, A agents, T tracks. Only the NEAREST tracks are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import Ego, Passage, Place, Scene, Spot
from agents.planners.overtaking import overtaking
from agents.planners.parked import beside, careful, entering
from agents.planners.route import make_route
from envs.driving.eyes import Eyes
from envs.driving.lights import light_states
from envs.driving.observation import shown
from envs.driving.roads import cut, roads_around
from envs.driving.sim import DrivingSim
from envs.driving.types import Setup, State
from perception.prediction.base import Predictor
from perception.prediction.history import empty_history
from perception.prediction.lane_following import LaneFollowing
from perception.states import map_tensors
from perception.types import Forecasts, Tracks
from scenarios.network import LaneType

__all__ = ["NEAREST", "SceneMaker", "true_tracks"]

NEAREST = 12  # T
LIGHT = 6  # track kind of traffic lights
FAR = 1e9  # m
CREEP = 1.0  # m/s, a goal that asks for less is one to stand at
SIZE = (4.6, 1.85, 1.5)  # m, of a track whose size nobody knows


class SceneMaker:
    """Makes scenes from one simulator, whose maps it cuts into pieces for the predictor once."""

    def __init__(self, sim: DrivingSim, predictor: Predictor | None = None) -> None:
        """Raises ValueError on `pixels`, where nothing is believed that a scene could be made of."""
        if sim.config.observation == "pixels":
            raise ValueError("observation='pixels': tells images alone, of which no scene can be made; take another level")
        self.sim, self.pieces, self.predictor = sim, cut(sim.maps), predictor or LaneFollowing(changes=True)
        self.overtakes = sim.config.observation == "truth" and bool((sim.maps.lane_type == int(LaneType.OVERTAKE)).any())
        self.houses = bool((sim.maps.occluders[..., 3] > 0.0).any())

    def __call__(self, eyes: Eyes | None = None) -> Scene:
        """The scene now. eyes: of the same simulator, where the level has any. Raises ValueError without them there."""
        state, setup, maps, config = self.sim.state, self.sim.setup, self.sim.maps, self.sim.config
        if config.observation not in ("noisy", "perceived"):
            return self.of(true_tracks(state, setup, shown(state, setup, maps, config)[:, 0]))
        if eyes is None:
            raise ValueError(f"observation={config.observation!r}: a scene is made of what the eyes tell; give them")
        return self.of(eyes.last.tracks, eyes.last.forecasts if config.forecasts else None, eyes.objects.lights)

    def of(self, tracks: Tracks, forecasts: Forecasts | None = None, lights: Tensor | None = None) -> Scene:
        """The scene as these tracks (B, .) in the ego frame tell it. forecasts: theirs, else the predictor's; lights: else as they are."""
        state, setup, maps, config = self.sim.state, self.sim.setup, self.sim.maps, self.sim.config
        lights = light_states(maps, setup.map_id, state.step, config.dt) if lights is None else lights
        ego, place = _ego(state, setup, config.dt), Place(maps, setup.map_id, lights)
        tracks, forecasts = _padded(tracks), forecasts and _padded_forecasts(forecasts)
        chosen = _nearest(tracks, ego, config.view_range)
        around = _known(tracks)
        tracks = map_tensors(lambda value: _pick(chosen, value), around)
        route = make_route(ego, place, over=self.overtakes)
        spared = None
        if self.overtakes:
            route, comes = overtaking(route, ego, place, around, config.view_range)
            spared = _pick(chosen, comes)
        parked = None
        if config.observation != "truth":
            parked, tracks = beside(tracks, ego, place)
            tracks = entering(tracks, ego, place)
            route = careful(route, tracks, parked)
        if forecasts is None:
            roads = roads_around(state, setup, self.pieces)
            forecasts = self.predictor.predict(empty_history(len(ego.x), NEAREST, device=ego.x.device), tracks, roads)
        else:
            forecasts = _forecast_rows(forecasts, chosen)
        return Scene(ego, tracks, forecasts, route, place, around, _spot(setup), self.passage(ego), spared, parked, self._blind())

    def _blind(self) -> Tensor | None:
        """Whether something on the map hides things where the level does not tell what it hides."""
        maps, mid = self.sim.maps, self.sim.setup.map_id
        return None if self.sim.config.observation == "truth" or not self.houses else (maps.occluders[mid][..., 3] > 0.0).any(1)

    def passage(self, ego: Ego) -> Passage | None:
        """What the goal asks for, if it is a region to drive through, until its time is over; None where no episode's is."""
        if not self.sim.bank.features.regions:
            return None
        state, setup, dt = self.sim.state, self.sim.setup, self.sim.config.dt
        x, y, yaw, length, width, heading, tolerance, slow, fast = (part.contiguous() for part in setup.region.unbind(-1))
        dx, dy, turned = x - ego.x, y - ego.y, yaw - ego.yaw
        opens, closes = ((setup.goal_window - state.step.unsqueeze(1)).to(x.dtype) * dt).unbind(1)
        return Passage(
            wanted=(setup.goal_kind[:, 0] == 2) & ~_stands(setup) & (closes >= 0.0),
            x=dx * ego.cos + dy * ego.sin,
            y=dy * ego.cos - dx * ego.sin,
            cos=torch.cos(turned),
            sin=torch.sin(turned),
            half_length=0.5 * length,
            half_width=0.5 * width,
            heading=heading - ego.yaw,
            tolerance=tolerance,
            slow=slow,
            fast=fast,
            opens=opens,
            closes=closes,
        )


def _ego(state: State, setup: Setup, dt: float) -> Ego:
    """Slot 0 of every world."""
    moving = ("x", "y", "yaw", "speed", "accel", "steer", "set_speed", "shift", "lane", "s", "released")
    mine = {name: getattr(state, name)[:, 0].contiguous() for name in moving}
    fixed = ("length", "width", "wheelbase", "speed_max", "accel_max", "brake_max", "steer_max", "reverse_max", "goal")
    mine |= {name: getattr(setup, name)[:, 0].contiguous() for name in fixed}
    yaw = mine["yaw"]
    return Ego(cos=torch.cos(yaw), sin=torch.sin(yaw), waited=state.waited[:, 0].to(yaw.dtype) * dt, **mine)


def true_tracks(state: State, setup: Setup, seen: Tensor) -> Tracks:
    """The agents as a tracker without any error would have them; seen (B, A) bool."""
    x, y, yaw = (value[:, :1].contiguous() for value in (state.x, state.y, state.yaw))
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    dx, dy = state.x - x, state.y - y
    turned = torch.remainder(state.yaw - yaw + torch.pi, 2.0 * torch.pi) - torch.pi
    velocity = state.speed * torch.cos(turned), state.speed * torch.sin(turned)
    height = torch.full_like(dx, SIZE[2])
    zero = torch.zeros_like(setup.kind)
    slot = torch.arange(dx.shape[1], device=dx.device).expand_as(zero)
    return Tracks(
        id=slot,
        kind=setup.kind,
        mean=torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, *velocity], dim=-1),
        covariance=dx.new_zeros((*dx.shape, 4, 4)),
        yaw=turned,
        size=torch.stack([setup.length, setup.width, height], dim=-1),
        score=torch.ones_like(dx),
        age=zero,
        unseen=zero,
        light=zero - 1,
        source=slot,
        box=dx.new_full((*dx.shape, 4), torch.nan),
        mask=seen,
    )


def _nearest(tracks: Tracks, ego: Ego, reach: float) -> Tensor:
    """The rows (B, T) of the things nearest to where the ego will be in a second; rows that are none come last."""
    x, y = tracks.mean[..., 0], tracks.mean[..., 1]
    ahead = x - ego.speed.unsqueeze(1)
    there = tracks.mask & (tracks.kind < LIGHT) & (x * x + y * y <= reach * reach)
    apart = torch.where(there, ahead * ahead + y * y, FAR)
    return apart.sort(dim=1, stable=True).indices[:, :NEAREST]


def _more(value: Tensor) -> Tensor:
    """At least NEAREST rows: the first one once more where there are fewer."""
    return torch.cat([value, value[:, :1].expand(-1, max(0, NEAREST - value.shape[1]), *value.shape[2:])], dim=1)


def _padded(tracks: Tracks) -> Tracks:
    """With at least NEAREST rows, those added masked out."""
    count = tracks.mask.shape[1]
    more = map_tensors(_more, tracks)
    return more._replace(mask=more.mask & (torch.arange(more.mask.shape[1], device=more.mask.device) < count))


def _padded_forecasts(forecasts: Forecasts) -> Forecasts:
    return Forecasts(time=forecasts.time, **{name: _more(getattr(forecasts, name)) for name in Forecasts._fields if name != "time"})


def _pick(rows: Tensor, value: Tensor) -> Tensor:
    return value.gather(1, rows.view(*rows.shape, *(1,) * (value.dim() - 2)).expand(-1, -1, *value.shape[2:]))


def _known(tracks: Tracks) -> Tracks:
    """Tracks without lights, unknown sizes filled in."""
    usual = tracks.size.new_tensor(SIZE)
    return tracks._replace(size=torch.where(tracks.size.isnan(), usual, tracks.size), mask=tracks.mask & (tracks.kind < LIGHT))


def _spot(setup: Setup) -> Spot:
    """The region of slot 0, if it is one to stand in."""
    x, y, _, _, _, heading, _, _, _ = setup.region.unbind(-1)
    return Spot(_stands(setup), x.contiguous(), y.contiguous(), heading.contiguous())


def _stands(setup: Setup) -> Tensor:
    """Whether the goal is a region to come to rest in, (B,) bool."""
    slow, fast = setup.region[:, 7], setup.region[:, 8]
    return (setup.goal_kind[:, 0] == 2) & (slow <= 0.0) & (fast >= 0.0) & (fast <= CREEP)


def _forecast_rows(forecasts: Forecasts, rows: Tensor) -> Forecasts:
    """Those rows; the times are shared by all."""
    parts = {name: _pick(rows, getattr(forecasts, name)) for name in Forecasts._fields if name != "time"}
    return Forecasts(time=forecasts.time, **parts)
