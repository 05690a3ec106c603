"""A shield around any policy: its action is carried out untouched unless it would leave no safe way to stop; then another one is.

Of continuous actions and of manoeuvres. Every proposal is followed by several ways to stop (`agents.planners.emergency`); one that is safe
makes the proposal safe. Alternatives are tried from mild to hard, so that as little as needed is changed: less speed on the same course,
the lane at the same pedal, at constant speed, braking softly, and braking at full. As the last of these was safe after the action before, a
shield that was safe stays so as long as the others keep within `rss.Limits`.

Shapes: B worlds, P proposals, F ways to stop, C = P F plans.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from agents.planners.base import Ego, Passage, Route, Scene, Spot
from agents.planners.emergency import NONE, Driver, Judgement, Poses, judge, lane_steer, line_ahead, others, step
from agents.planners.proposals import placed
from agents.planners.route import OWN
from agents.planners.rss import LIMITS, Limits
from agents.policies.base import Policy, PolicyError, PolicyNeeds, Told
from envs.driving.control import BRAKE, FASTER, KEEP, LEFT, RIGHT, SLOWER, SPEED_OVER, SPEED_RATE, track_speed
from envs.driving.lanes import lane_field
from perception.states import map_tensors
from perception.types import Tracks

__all__ = ["Decision", "Shielded", "shielded"]

T = TypeVar("T", Ego, Tracks, Route, Spot, Passage)
TICK, DT, STEPS = 0.1, 0.2, 20  # s, s: within the action and after it; 4 s stop a car from 115 km/h
FINE = 5  # steps after the action that are simulated in halves
SOFT = 3.0  # m/s^2
ASIDE = 2.5  # m, further away no lane beside is a way out


class Decision(NamedTuple):
    """What the shield lets through."""

    action: Tensor  # (B, 1, ...) as the policy's
    reason: Tensor  # (B,) int64: NONE where it is the policy's own, else what was wrong with that: OTHERS, ROAD or RULES


class _Proposals(NamedTuple):
    """P actions, (B, P) each."""

    action: Tensor  # (B, P, ...)
    accel: Tensor  # m/s^2, of continuous actions
    steer: Tensor  # rad, of continuous actions
    speed: Tensor  # m/s, set by manoeuvres
    path: Tensor  # int64, index into the route
    shift: Tensor  # m, left of that path


@dataclass(frozen=True)
class Shielded:
    """A policy with a shield. Implements `agents.policies.base.Policy`; `act` is given a `Told`."""

    policy: Policy
    needs: PolicyNeeds
    name: str
    limits: Limits = LIMITS

    @property
    def bundle(self) -> Any:
        """The bundle of a trained policy, None for others."""
        return getattr(self.policy, "bundle", None)

    @property
    def chosen(self) -> frozenset[str]:
        """Fields of `needs` that were named."""
        return getattr(self.policy, "chosen", frozenset())

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        """The policy's action, or what the shield puts in its place."""
        return self.decide(observation, seed=seed, step=step).action

    @torch.no_grad()
    def decide(self, told: Told, *, seed: Tensor, step: Tensor) -> Decision:
        """The policy's action if it leaves a way out, else the mildest alternative that does, else whatever stays safe the longest.

        Raises PolicyError if the policy's actions have the wrong shape.
        """
        scene: Scene = told.scene
        seen: Any = told if self.policy.needs.told else told.seen
        action = self.policy.act(seen, seed=seed, step=step)
        expected = (len(scene.ego.x), 1) if self.needs.action == "discrete" else (len(scene.ego.x), 1, 2)
        if tuple(action.shape) != expected:
            raise PolicyError(
                f"policy {self.policy.name!r} returned actions of shape {tuple(action.shape)}; {self.needs.action} actions are {expected}"
            )
        period = self.needs.dt * self.needs.ticks_per_step
        first, why = self._look(scene, self._proposals(scene, action[:, 0], more=False), period)  # (B, 1)
        bad = why[:, 0] != NONE
        if not bool(bad.any()):
            return Decision(action, why[:, 0])
        rows = bad.nonzero()[:, 0]
        few = _worlds(scene, rows)
        proposals = self._proposals(few, action[rows, 0], more=True)
        first, _ = self._look(few, proposals, period)
        # the mildest that is safe comes first; of those that are not, what lasts longest, the last of equals, which is the hardest
        count, lasts = first.shape[1], max(1, round(period / TICK)) + STEPS
        order = torch.arange(count, device=first.device)
        rank = torch.where(first >= lasts, count - order + lasts * count, first * count + order)
        best = 1 + rank[:, 1:].argmax(1)
        chosen = proposals.action[torch.arange(len(rows), device=rows.device), best]
        changed = action.clone()
        changed[rows, 0] = chosen.to(action.dtype)
        return Decision(changed, why[:, 0])

    def _look(self, scene: Scene, proposals: _Proposals, period: float) -> tuple[Tensor, Tensor]:
        """For each proposal (B, P): the first step at which even the best way to stop goes wrong, and what goes wrong then."""
        ticks = max(1, round(period / TICK))
        discrete = self.needs.action == "discrete"
        when = [period * (k + 1) / ticks for k in range(ticks)] + [period + DT * (k + 1) for k in range(STEPS)]
        around = others(scene, self.limits, scene.ego.x.new_tensor(when))
        driver, now = _begin(scene, proposals)
        before = []
        for _ in range(ticks):
            accel = _cruise(driver.ego, now, proposals.speed) if discrete else proposals.accel
            now = step(driver, now, accel, lane_steer(driver, now) if discrete else proposals.steer, period / ticks)
            before.append(now)
        count = 2 if discrete else 6
        plan = [Poses(*(value.repeat_interleave(count, dim=1) for value in pose)) for pose in before]
        driver, now, full, holds = _manoeuvre_stops(driver, now) if discrete else _free_stops(scene, driver, now)
        held = now.steer
        for k in range(STEPS):
            hard = _cruise(driver.ego, now, torch.zeros_like(now.speed)) if discrete else _halt(driver.ego, now, driver.ego.brake_max)
            accel = torch.where(full, hard, _halt(driver.ego, now, SOFT))
            steer = torch.where(holds, held, lane_steer(driver, now))
            parts = 2 if k < FINE else 1  # wheels turn no faster than they do
            for _ in range(parts):
                now = step(driver, now, accel, steer, DT / parts)
            plan.append(now)
        line = line_ahead(scene)
        judged, changes = judge(scene, driver, plan, around, line), (proposals.path != OWN).repeat_interleave(count, dim=1)
        if bool(changes.any()):  # who sets out into another lane cannot go back before it is half there
            late = others(scene, replace(self.limits, response=self.limits.notice), scene.ego.x.new_tensor(when))
            judged = Judgement(*map(torch.where, (changes, changes), judge(scene, driver, plan, late, line), judged))
        first, why = (value.view(len(value), -1, count) for value in judged)  # (B, P, F)
        best = first.argmax(2, keepdim=True)
        return first.gather(2, best).squeeze(2), why.gather(2, best).squeeze(2)

    def _proposals(self, scene: Scene, action: Tensor, *, more: bool) -> _Proposals:
        """The policy's action (B, ...), and with `more` the alternatives behind it, from mild to hard."""
        if self.needs.action == "discrete":
            return self._manoeuvres(scene, action, more=more)
        ego = scene.ego
        push, wheel = action.clamp(-1.0, 1.0).unbind(1)
        accel = torch.where(push >= 0.0, push * ego.accel_max, push * ego.brake_max)
        accels, steers, actions = [accel], [wheel * ego.steer_max], [action]
        if more:
            driver, now = _begin(scene, _own(scene))
            lane = lane_steer(driver, now)[:, 0]
            lane = torch.minimum(torch.maximum(lane, -ego.steer_max), ego.steer_max)
            beside = _beside(scene.route)
            there, moved = _begin(scene, _own(scene)._replace(path=beside.unsqueeze(1), shift=_pick(scene.route.d, beside.unsqueeze(1))))
            over = torch.minimum(torch.maximum(lane_steer(there, moved)[:, 0], -ego.steer_max), ego.steer_max)
            span = self.needs.dt * self.needs.ticks_per_step
            rest = -ego.speed / span  # what brings it to rest within the period; more would reverse it

            def brake(least: Tensor | float) -> Tensor:
                return torch.where(ego.speed > 0.0, torch.maximum(rest, torch.zeros_like(rest) - least), torch.minimum(rest, ego.accel_max))

            soft, full, none = brake(SOFT), brake(ego.brake_max), torch.zeros_like(accel)
            alternatives = (
                (torch.minimum(accel, soft), steers[0]), (accel, lane), (none, lane), (soft, lane),
                (full, steers[0]), (full, over), (full, ego.steer), (full, lane),
            )  # fmt: skip
            for pedal, turn in alternatives:
                accels.append(pedal)
                steers.append(turn)
                share = torch.where(pedal >= 0.0, pedal / ego.accel_max, pedal / ego.brake_max)
                actions.append(torch.stack([share, turn / ego.steer_max], dim=1).clamp(-1.0, 1.0))
        a, s = torch.stack(accels, dim=1), torch.stack(steers, dim=1)
        own = _own(scene)
        path, shift, speed = (value.expand_as(a) for value in (own.path, own.shift, own.speed))
        return _Proposals(torch.stack(actions, dim=1), a, s, speed, path, shift)

    def _manoeuvres(self, scene: Scene, action: Tensor, *, more: bool) -> _Proposals:
        """What `envs.driving.control.manoeuvre` makes of the policy's choice, and of keeping, slowing down and braking."""
        ego, route, place = scene.ego, scene.route, scene.place
        period = self.needs.dt * self.needs.ticks_per_step
        chosen = torch.stack([action, *(torch.full_like(action, each) for each in ((KEEP, SLOWER, BRAKE) if more else ()))], dim=1)
        change = torch.where(chosen == FASTER, SPEED_RATE * period, torch.where(chosen == SLOWER, -SPEED_RATE * period, 0.0))
        limit = lane_field(place.maps.lane_limit, place.map_id, ego.lane) * SPEED_OVER
        top = torch.minimum(ego.speed_max, torch.where(ego.lane >= 0, limit, ego.speed_max)).unsqueeze(1)
        speed, set_speed = ego.speed.unsqueeze(1), ego.set_speed.unsqueeze(1)
        wanted = torch.minimum(torch.maximum(set_speed + change, speed - 5.0), speed + 5.0)
        wanted = torch.where(chosen == BRAKE, 0.0, torch.minimum(wanted, top).clamp(min=0.0))
        settled = (route.d[:, OWN].abs() < 0.5 * route.width[:, OWN]).unsqueeze(1)
        # where there is no lane nothing changes; one that the route leaves out, as it is for overtaking and not free, counts as no way out
        beside = ((lane_field(table, place.map_id, ego.lane) >= 0).unsqueeze(1) for table in (place.maps.lane_left, place.maps.lane_right))
        left, right = (settled & there & (chosen == side) for there, side in zip(beside, (LEFT, RIGHT), strict=True))
        path = torch.where(left, 0, torch.where(right, 2, OWN))
        shift = torch.where(path == OWN, ego.shift.unsqueeze(1), _pick(route.d, path))
        zero = torch.zeros_like(wanted)
        return _Proposals(chosen, zero, zero, wanted, path, shift)


def shielded(policy: Policy) -> Shielded:
    """`policy` behind a shield. Raises PolicyError where there is nothing that it could override."""
    needs = policy.needs
    if needs.autopilot:
        raise PolicyError(
            f"{policy.name!r} is driven by the simulator's own traffic model: there are no actions that a shield could override"
        )
    if needs.action == "trajectory":
        raise PolicyError(f"{policy.name!r} returns trajectories; a shield overrides continuous actions and manoeuvres")
    if needs.observation == "pixels":
        raise PolicyError(f"{policy.name!r} looks at pixels; a shield needs tracks, and images alone tell of none")
    if isinstance(policy, Shielded):
        raise PolicyError(f"{policy.name!r} has a shield already")
    return Shielded(policy, replace(needs, told=True), f"shield:{policy.name}")


def _worlds(scene: Scene, rows: Tensor) -> Scene:
    """Some of the worlds."""

    def few(part: T) -> T:
        return map_tensors(lambda value: value[rows], part)

    forecasts = scene.forecasts._replace(
        **{name: getattr(scene.forecasts, name)[rows] for name in scene.forecasts._fields if name != "time"}
    )
    place = scene.place._replace(map_id=scene.place.map_id[rows], lights=scene.place.lights[rows])
    passage = None if scene.passage is None else few(scene.passage)
    around, spot = few(scene.around), few(scene.spot)
    spared, parked, blind = (None if part is None else part[rows] for part in (scene.spared, scene.parked, scene.blind))
    return Scene(few(scene.ego), few(scene.tracks), forecasts, few(scene.route), place, around, spot, passage, spared, parked, blind)


def _pick(table: Tensor, path: Tensor) -> Tensor:
    """Columns `path` (B, C) of (B, R)."""
    return table.gather(1, path)


def _along(route: Route, path: Tensor) -> Route:
    """The paths `path` (B, C) of a route; some may come twice."""
    return Route(*(v.gather(1, path) if v.dim() == 2 else v.gather(1, path.unsqueeze(2).expand(-1, -1, v.shape[2])) for v in route))


def _own(scene: Scene) -> _Proposals:
    """Nothing but where it is: on its own path, as far beside it as now."""
    zero = torch.zeros_like(scene.ego.speed).unsqueeze(1)
    path = torch.full_like(scene.ego.lane, OWN).unsqueeze(1)
    return _Proposals(zero, zero, zero, zero, path, _pick(scene.route.d, path))


def _beside(route: Route) -> Tensor:
    """Index of the lane on the side on which the ego is off the middle of its own, (B,)."""
    return torch.where(route.d[:, OWN] > 0.0, 0, 2)


def _begin(scene: Scene, proposals: _Proposals) -> tuple[Driver, Poses]:
    """The ego as it is now, once for each proposal."""
    ego, path = scene.ego, proposals.path
    zero = torch.zeros(path.shape, dtype=ego.speed.dtype, device=ego.speed.device)
    now = Poses(zero, zero, zero, zero + ego.speed.unsqueeze(1), zero + ego.steer.unsqueeze(1), zero, zero + proposals.shift)
    return Driver(map_tensors(lambda value: value.unsqueeze(1), ego), _along(scene.route, path)), now


def _cruise(ego: Ego, now: Poses, speed: Tensor) -> Tensor:
    """m/s^2 of the speed control that manoeuvres set."""
    return track_speed(now.speed, speed, ego.accel_max, ego.brake_max)


def _halt(ego: Ego, now: Poses, brake: Tensor | float) -> Tensor:
    """m/s^2 that bring the ego to rest by at most `brake`, from driving backwards too."""
    rest = -now.speed / DT
    ahead = torch.maximum(rest, torch.zeros_like(rest) - brake)
    return torch.where(now.speed > 0.0, ahead, torch.minimum(rest, torch.zeros_like(rest) + ego.accel_max))


def _free_stops(scene: Scene, driver: Driver, now: Poses) -> tuple[Driver, Poses, Tensor, Tensor]:
    """F = 6 ways after each proposal, plan c = p F + f: along the own lane, with the wheels as they are, and into the lane beside, each at
    full and softly. Also which plans brake at full and which hold the wheels, (C,) bool."""
    shape = now.speed.shape
    own = torch.full(shape, OWN, dtype=torch.int64, device=now.speed.device)
    path = torch.stack([own, own, _beside(scene.route).unsqueeze(1).expand(shape)], dim=2).repeat_interleave(2, dim=2)  # (B, P, F)
    count = path.shape[2]
    route = _along(scene.route, path.flatten(1))
    wide = Poses(*(value.repeat_interleave(count, dim=1) for value in now))
    s, d = placed(route, wide.x, wide.x, wide.y)
    s, d = placed(route, s, wide.x, wide.y)
    far = (path.flatten(1) != OWN) & (d.abs() > ASIDE) & (scene.ego.lane >= 0).unsqueeze(1)
    route = route._replace(lane=torch.where(far, -1, route.lane))
    way = torch.arange(path.shape[1] * count, device=path.device) % count
    return Driver(driver.ego, route), wide._replace(s=s, shift=d), way % 2 == 0, (way == 2) | (way == 3)


def _manoeuvre_stops(driver: Driver, now: Poses) -> tuple[Driver, Poses, Tensor, Tensor]:
    """F = 2 ways after each manoeuvre, in the lane that it leads to: braking to rest, and slowing down step by step."""
    wide = Poses(*(value.repeat_interleave(2, dim=1) for value in now))
    route = Route(*(value.repeat_interleave(2, dim=1) for value in driver.route))
    full = torch.arange(wide.speed.shape[1], device=wide.speed.device) % 2 == 0
    return Driver(driver.ego, route), wide, full, torch.zeros_like(full)
