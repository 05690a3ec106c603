"""The driving core: pure functions from (state, action) to (state, out).

Shapes: B worlds, A agents, N learners (the first N of A). One decision step is `begin`, then `tick` as often as the
configuration says, then `conclude`. Nothing here resets by itself; `reset` and `reset_where` do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.driving.collision import corners, learner_overlap, touching
from envs.driving.control import STEER_RATE, begin_lane_change, manoeuvre, steer_along_lane, track_speed, track_trajectory, work_off_shift
from envs.driving.dynamics import bicycle, wrap
from envs.driving.lanes import chain_ahead, lane_field, project, route_field
from envs.driving.lights import governing_light, light_states
from envs.driving.metrics import update_stats
from envs.driving.rightofway import yield_distance
from envs.driving.surface import against_traffic, drivable_distance
from envs.driving.traffic import CALM, COOLDOWN, Features, clear_to_enter, fire_scripts, follow, lane_change, signals_ahead
from envs.driving.types import DrivingConfig, Logs, Maps, Out, Setup, State, Stats
from scenarios.episode import Action, Role
from scenarios.network import LaneEnd, LightState

__all__ = ["begin", "conclude", "lost", "remaining", "reset", "reset_where", "tick"]

OFF_ROAD = 0.3  # m a corner may be outside the drivable area (nuPlan's tolerance)
WRONG_WAY = 6.0  # m driven against traffic in one go that end the episode (nuPlan: score 0 beyond 6 m within 1 s)
STRAY = 15.0  # m beside the lane followed: that is another road
STOP_TIME = 0.3  # s at rest that obey a stop sign: a complete stop, however short (CARLA's RunningStopTest asks for one instant)
STOP_NEAR = 4.0  # m from the line within which resting counts


def remaining(state: State, setup: Setup, maps: Maps, learners: int) -> Tensor:
    """Metres to the goal along the route, (B, N); +inf where it cannot be reached. For a region without route: straight line."""
    n = learners
    lane = state.lane[:, :n]
    route = route_field(maps.to_go, setup.map_id, setup.goal[:, :n], lane) - state.s[:, :n]
    route = torch.where(lane >= 0, route, torch.inf)
    dx, dy = setup.region[:, None, 0] - state.x[:, :n], setup.region[:, None, 1] - state.y[:, :n]
    straight = torch.sqrt(dx * dx + dy * dy)
    return torch.where((setup.goal_kind[:, :n] == 2) & (setup.goal[:, :n] == 0), straight, route)


def _fresh_stats(setup: Setup, learners: int) -> Stats:
    shape = (setup.x.shape[0], learners)
    zero = torch.zeros(shape, device=setup.x.device)
    count, no = torch.zeros_like(zero, dtype=torch.int64), torch.zeros_like(zero, dtype=torch.bool)
    return Stats(
        progress=zero.clone(),
        distance=zero.clone(),
        arrived=no.clone(),
        collision=no.clone(),
        collision_fault=no.clone(),
        collision_slot=count - 1,
        off_road=no.clone(),
        wrong_way=no.clone(),
        wrong_way_ticks=count.clone(),
        wrong_way_metres=zero.clone(),
        red_light=count.clone(),
        stop_sign=count.clone(),
        stops=count.clone(),
        ttc_min=zero + 3.0,
        ttc_bad=count.clone(),
        uncomfortable=torch.zeros((*shape, 6), dtype=torch.int64, device=setup.x.device),
        speeding=zero.clone(),
        astray=zero.clone(),
        impact=zero.clone(),
        ticks=count.clone(),
        prev=torch.zeros((*shape, 4), device=setup.x.device),
    )


def reset(setup: Setup, learners: int) -> State:
    """The state at the start of each episode in `setup`."""
    zero, count = torch.zeros_like(setup.x), torch.zeros_like(setup.lane)
    return State(
        step=torch.zeros_like(setup.map_id),
        x=setup.x.clone(),
        y=setup.y.clone(),
        yaw=setup.yaw.clone(),
        speed=setup.speed.clone(),
        accel=zero.clone(),
        steer=zero.clone(),
        valid=setup.exists & (setup.enter == 0),
        done=torch.zeros_like(setup.exists),
        lane=setup.lane.clone(),
        s=setup.s.clone(),
        d=setup.d.clone(),
        shift=zero.clone(),
        origin=setup.lane.clone(),
        set_speed=setup.speed.clone(),
        cooldown=count.clone(),
        fired=count - 1,
        waited=count.clone(),
        released=count - 1,
        stats=_fresh_stats(setup, learners),
    )


def _mix(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.view(mask.shape + (1,) * (old.dim() - 1)), new, old)


def reset_where(mask: Tensor, new_setup: Setup, new_state: State, setup: Setup, state: State) -> tuple[Setup, State]:
    """Take the new episode in the worlds of `mask` (B,) bool, keep the running one elsewhere."""
    stats = Stats(*(_mix(mask, n, o) for n, o in zip(new_state.stats, state.stats, strict=True)))
    fields = {name: _mix(mask, getattr(new_state, name), getattr(state, name)) for name in State._fields if name != "stats"}
    return Setup(*(_mix(mask, n, o) for n, o in zip(new_setup, setup, strict=True))), State(**fields, stats=stats)


def begin(state: State, setup: Setup, maps: Maps, action: Tensor, config: DrivingConfig) -> tuple[State, Tensor]:
    """Take in one decision. Returns the state (lane and set speed for manoeuvres) and the command that the ticks follow.

    Command: continuous (B, N, 2) m/s^2 and rad; discrete: unused, (B, N, 2) zeros; trajectory: (B, N, T, 3) world x, y, speed.
    """
    n = config.learners
    if config.action == "discrete":
        if not config.autopilot:
            state = manoeuvre(state, setup, maps, action, config.dt * config.ticks_per_step)
        return state, torch.zeros((*action.shape, 2), device=state.x.device)
    if config.action == "continuous":
        push = action[..., 0].clamp(-1.0, 1.0)
        accel = torch.where(push >= 0.0, push * setup.accel_max[:, :n], push * setup.brake_max[:, :n])
        return state, torch.stack([accel, action[..., 1].clamp(-1.0, 1.0) * setup.steer_max[:, :n]], dim=-1)
    x, y, yaw = (v[:, :n].unsqueeze(-1) for v in (state.x, state.y, state.yaw))
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    ahead, left = action[..., 0], action[..., 1]
    return state, torch.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos, action[..., 2]], dim=-1)


def _controls(
    state: State, setup: Setup, maps: Maps, lights: Tensor, command: Tensor, index: Tensor, config: DrivingConfig, features: Features
) -> tuple[State, Tensor, Tensor]:
    """Acceleration and steering (B, A) of everyone, after lane changes have been decided."""
    if features.scripts:
        fired = fire_scripts(state, setup, config.dt)
        now = (fired >= 0) & (state.fired < 0)
        left, right = setup.script == int(Action.CHANGE_LEFT), setup.script == int(Action.CHANGE_RIGHT)
        state = begin_lane_change(state._replace(fired=fired), setup, maps, torch.where(left, 1, torch.where(right, -1, 0)), now)
    chain = chain_ahead(maps, setup.map_id, setup.goal, state.lane, state.s)
    ahead = signals_ahead(state, setup, maps, chain, lights, features)
    wait = torch.full_like(state.x, torch.inf)
    if features.conflicts:
        unstarted = (setup.script == int(Action.GO)) & (state.fired < 0)
        wait = yield_distance(state, setup, maps, chain, ahead.line, ahead.held | unstarted)
    following = follow(state, setup, maps, chain, ahead, wait)
    if features.lane_changes:
        change = lane_change(state, setup, maps, following, features)
        go = change.go
        if not config.autopilot:
            go = go & (setup.role != int(Role.LEARNER))
        state = begin_lane_change(state, setup, maps, change.side, go)
        state = state._replace(cooldown=torch.where(go, round(COOLDOWN / config.dt), (state.cooldown - 1).clamp(min=0)))
        chain = chain_ahead(maps, setup.map_id, setup.goal, state.lane, state.s)
    # the model brakes to rest and stays there: a deceleration that would reverse is cut off
    accel, steer = torch.maximum(following.accel, -state.speed.clamp(min=0.0) / config.dt), steer_along_lane(state, setup, maps, chain)
    if not config.autopilot:
        n = config.learners
        if config.action == "continuous":
            mine = (command[..., 0], command[..., 1])
        elif config.action == "discrete":
            ego_accel = track_speed(state.speed[:, :n], state.set_speed[:, :n], setup.accel_max[:, :n], setup.brake_max[:, :n])
            mine = (ego_accel, steer[:, :n])
        else:
            mine = track_trajectory(state, setup, command, index, config.dt)
        drives = setup.role[:, :n] == int(Role.LEARNER)
        accel = torch.cat([torch.where(drives, mine[0], accel[:, :n]), accel[:, n:]], dim=1)
        steer = torch.cat([torch.where(drives, mine[1], steer[:, :n]), steer[:, n:]], dim=1)
    if config.steer_bias or config.brake_limit < 1.0:
        accel, steer = _faulty(setup, accel, steer, config)
    return state, accel, steer


def _faulty(setup: Setup, accel: Tensor, steer: Tensor, config: DrivingConfig) -> tuple[Tensor, Tensor]:
    """What wheels and brakes of the learners make of what was asked, (B, A) m/s^2 and rad, where a fault is planted in them."""
    learns = setup.role == int(Role.LEARNER)
    weakest = torch.maximum(accel, -config.brake_limit * setup.brake_max)
    return torch.where(learns, weakest, accel), torch.where(learns, steer + config.steer_bias * setup.steer_max, steer)


def _move(state: State, setup: Setup, accel: Tensor, steer: Tensor, dt: float) -> State:
    """Bicycle step of everyone who drives; static, recorded and absent agents stay put."""
    moves = state.valid & (setup.role != int(Role.STATIC)) & (setup.role != int(Role.LOG))
    rate = torch.where(setup.steer_max > 1.0, 6.0, STEER_RATE) * dt  # walkers turn on the spot
    steer = torch.minimum(torch.maximum(steer, state.steer - rate), state.steer + rate)
    steer = torch.minimum(torch.maximum(steer, -setup.steer_max), setup.steer_max)
    steer, accel = torch.where(moves, steer, 0.0), torch.where(moves, accel, 0.0)
    backs = torch.where(setup.role == int(Role.LEARNER), setup.reverse_max, 0.0)  # traffic never reverses
    end = bicycle(state.x, state.y, state.yaw, state.speed, accel, steer, setup.wheelbase, dt, speed_max=setup.speed_max, reverse_max=backs)
    return state._replace(
        x=torch.where(moves, end.x, state.x),
        y=torch.where(moves, end.y, state.y),
        yaw=torch.where(moves, end.yaw, state.yaw),
        speed=torch.where(moves, end.speed, state.speed),
        accel=torch.where(moves, end.accel, 0.0),
        steer=steer,
        shift=work_off_shift(state.shift, state.speed, dt),
        waited=torch.where(state.valid & (torch.where(moves, end.speed, state.speed).abs() < 0.1), state.waited + 1, 0),
    )


def _replay(state: State, setup: Setup, logs: Logs, dt: float) -> State:
    """Put recorded agents where their recording says, at the tick now reached."""
    recorded = (setup.role == int(Role.LOG)) & (setup.log_id >= 0).unsqueeze(1)
    row = setup.log_id.clamp(min=0).unsqueeze(1)
    agent = torch.arange(state.x.shape[1], device=state.x.device).unsqueeze(0)
    t = state.step.clamp(max=logs.pose.shape[2] - 1).unsqueeze(1)
    pose = logs.pose[row, agent, t]  # (B, A, 4)
    there = logs.valid[row, agent, t] & (state.step < logs.pose.shape[2]).unsqueeze(1)
    lane = logs.lane[row, agent, t]
    return state._replace(
        x=torch.where(recorded, pose[..., 0], state.x),
        y=torch.where(recorded, pose[..., 1], state.y),
        yaw=torch.where(recorded, pose[..., 2], state.yaw),
        accel=torch.where(recorded & state.valid, (pose[..., 3] - state.speed) / dt, state.accel),
        speed=torch.where(recorded, pose[..., 3], state.speed),
        valid=torch.where(recorded, there, state.valid),
        lane=torch.where(recorded, lane, state.lane),
        origin=torch.where(recorded, lane, state.origin),
        s=torch.where(recorded, logs.s[row, agent, t], state.s),
        d=torch.where(recorded, 0.0, state.d),
    )


def _locate(state: State, setup: Setup, maps: Maps, config: DrivingConfig, features: Features) -> State:
    """Bring lane, s and d up to date with the new poses; let agents leave the map and new ones enter."""
    mid = setup.map_id
    recorded = setup.role == int(Role.LOG)
    on_lane = (state.lane >= 0) & state.valid & ~recorded
    length = lane_field(maps.lane_length, mid, state.lane)
    following = route_field(maps.next_lane, mid, setup.goal, state.lane)
    guess = state.s + state.speed * config.dt  # right to a few centimetres
    over = on_lane & (guess > length)
    onward = over & (following >= 0)
    lane = torch.where(onward, following, state.lane)
    s, d, _, _ = project(maps, mid, lane, torch.where(onward, guess - length, guess), state.x, state.y, steps=0)
    leaves = over & ~onward & (lane_field(maps.lane_end, mid, state.lane) == int(LaneEnd.EXIT)) & (setup.role != int(Role.LEARNER))
    changing = (state.origin != state.lane) & (d.abs() > 0.5) & ~onward
    state = state._replace(
        lane=lane,
        origin=torch.where(changing, state.origin, lane),
        s=torch.where(on_lane, s, state.s),
        d=torch.where(on_lane, d, state.d),
        valid=state.valid & ~leaves,
        done=state.done | leaves,
    )
    if config.action != "discrete" and not config.autopilot:  # learners that steer freely cross into neighbour lanes by themselves
        wide = 0.5 * lane_field(maps.lane_width, mid, state.lane) + 0.1
        side = torch.where(state.d > wide, 1, torch.where(state.d < -wide, -1, 0))
        state = begin_lane_change(state, setup, maps, side, setup.role == int(Role.LEARNER))
        free = setup.role == int(Role.LEARNER)
        state = state._replace(shift=torch.where(free, 0.0, state.shift), origin=torch.where(free, state.lane, state.origin))
    if features.entries:
        enters = clear_to_enter(state, setup)
        state = state._replace(valid=state.valid | enters, cooldown=torch.where(enters, round(COOLDOWN / config.dt), state.cooldown))
    return state


def _is_red(light: Tensor) -> Tensor:
    """Whether a light forbids to go on; yellow does not where stopping is no longer possible."""
    return (light == int(LightState.RED)) | (light == int(LightState.RED_YELLOW))


def _lines_crossed(before: State, after: State, setup: Setup, maps: Maps, lights: Tensor, learners: int) -> tuple[Tensor, Tensor]:
    """Red lights and stop signs run by the learners in this tick, (B, N) bool each. The line counts as crossed by the front bumper."""
    n, mid = learners, setup.map_id
    lane, now, half = before.lane[:, :n], after.lane[:, :n], 0.5 * setup.length[:, :n]
    line, long = lane_field(maps.stop_s, mid, lane), lane_field(maps.lane_length, mid, lane)
    # a neighbour lane runs beside, in shares of its own length; any other new lane follows
    beside = (now >= 0) & ((now == lane_field(maps.lane_left, mid, lane)) | (now == lane_field(maps.lane_right, mid, lane)))
    onward = torch.where(now == lane, after.s[:, :n], long + after.s[:, :n])
    moved_s = torch.where(beside, after.s[:, :n] * long / lane_field(maps.lane_length, mid, now), onward)
    crossed = (lane >= 0) & (before.s[:, :n] + half <= line) & (moved_s + half > line)
    red = _is_red(governing_light(maps, mid, lights, lane))
    unstopped = lane_field(maps.stop_must, mid, lane) & (before.released[:, :n] != lane)
    return crossed & red, crossed & unstopped


def _arrived(state: State, setup: Setup, maps: Maps, left: Tensor, learners: int, dt: float) -> Tensor:
    """Whether the learners are at their goal now, (B, N) bool. left (B, N) m from `remaining`."""
    n = learners
    lane = state.lane[:, :n]
    on_route = (lane >= 0) & (route_field(maps.change, setup.map_id, setup.goal[:, :n], lane) == 0)
    by_route = on_route & (left <= state.speed[:, :n] * dt + 0.1)  # the line is crossed within the next tick
    rx, ry, ryaw, rl, rw, heading, tolerance, slow, fast = setup.region.unbind(-1)
    dx, dy = state.x[:, :n] - rx[:, None], state.y[:, :n] - ry[:, None]
    cos, sin = torch.cos(ryaw)[:, None], torch.sin(ryaw)[:, None]
    within = ((dx * cos + dy * sin).abs() <= 0.5 * rl[:, None]) & ((dy * cos - dx * sin).abs() <= 0.5 * rw[:, None])
    aligned = wrap(state.yaw[:, :n] - heading[:, None]).abs() <= tolerance[:, None] + 1e-6
    paced = (state.speed[:, :n] >= slow[:, None]) & (state.speed[:, :n] <= fast[:, None])
    kind = setup.goal_kind[:, :n]
    lasted = (state.step >= setup.duration)[:, None].expand_as(by_route)
    at = torch.where(kind == 1, by_route, torch.where(kind == 2, within & aligned & paced, lasted))
    window = (state.step >= setup.goal_window[:, 0]) & (state.step <= setup.goal_window[:, 1])
    return at & (window[:, None] | (kind == 0))


def tick(
    state: State, setup: Setup, maps: Maps, logs: Logs, command: Tensor, index: Tensor, config: DrivingConfig, features: Features
) -> tuple[State, Tensor]:
    """One physics tick. index (0-dim int64) counts the ticks within the decision step. Returns the state and `touched` (B, A) bool."""
    n = config.learners
    lights = light_states(maps, setup.map_id, state.step, config.dt)
    before, accel, steer = _controls(state, setup, maps, lights, command, index, config, features)
    after = _move(before, setup, accel, steer, config.dt)
    after = after._replace(step=state.step + 1)
    if features.logs:
        after = _replay(after, setup, logs, config.dt)
    after = _locate(after, setup, maps, config, features)
    to_line = lane_field(maps.stop_s, setup.map_id, after.lane) - after.s - 0.5 * setup.length
    obeyed = (after.lane >= 0) & (to_line < STOP_NEAR) & (to_line > -1.5) & (after.waited >= round(STOP_TIME / config.dt))
    halted = (obeyed & lane_field(maps.stop_must, setup.map_id, after.lane) & (after.released != after.lane))[:, :n]
    after = after._replace(released=torch.where(obeyed, after.lane, after.released))
    # what happened to the learners
    boxes = (after.x, after.y, after.yaw, setup.length, setup.width, after.valid)
    stats = update_stats(after.stats, after, setup, maps, learner_overlap(*boxes, learners=n), config.dt)
    box = corners(after.x[:, :n], after.y[:, :n], after.yaw[:, :n], setup.length[:, :n], setup.width[:, :n])  # (B, N, 4, 2)
    edge = drivable_distance(maps, setup.map_id, box[..., 0], box[..., 1]).amin(-1)
    # judged by the direction of motion; where the goal is a place, reversing is part of the manoeuvre
    pace, backwards = after.speed[:, :n].abs(), after.speed[:, :n] < 0.0
    course = after.yaw[:, :n] + torch.where(backwards, math.pi, 0.0)
    wrong = against_traffic(maps, setup.map_id, after.x[:, :n], after.y[:, :n], course) & (edge > -OFF_ROAD)
    wrong = wrong & (pace > 0.1) & ~(backwards & (setup.goal_kind[:, :n] == 2))
    metres = torch.where(wrong, stats.wrong_way_metres + pace * config.dt, 0.0)
    red, unstopped = _lines_crossed(before, after, setup, maps, lights, n)
    left = remaining(after, setup, maps, n)
    total = setup.route_length[:, :n]
    gained = torch.where(setup.goal_kind[:, :n] == 0, stats.distance, torch.where(torch.isfinite(left), total - left, stats.progress))
    was = state.stats
    valid = after.valid[:, :n] & ~(was.arrived | was.collision | was.off_road | was.wrong_way)  # what comes after the end does not count
    clean = valid & ~stats.collision
    stats = stats._replace(
        progress=torch.where(valid, torch.maximum(stats.progress, torch.minimum(gained, total)), stats.progress),
        arrived=stats.arrived | (_arrived(after, setup, maps, left, n, config.dt) & clean),
        off_road=stats.off_road | ((edge < -OFF_ROAD) & valid),
        wrong_way=stats.wrong_way | ((metres > WRONG_WAY) & valid),
        wrong_way_ticks=torch.where(wrong, stats.wrong_way_ticks + 1, 0),
        wrong_way_metres=metres,
        red_light=stats.red_light + (red & valid).to(torch.int64),
        stop_sign=stats.stop_sign + (unstopped & valid).to(torch.int64),
        stops=stats.stops + (halted & valid).to(torch.int64),
    )
    return after._replace(stats=stats), touching(*boxes)


def lost(state: State, setup: Setup, maps: Maps, learners: int) -> Tensor:
    """Learners that have run off the end of the map, or from where the destination can no longer be reached. (B, N) bool."""
    n = learners
    lane = state.lane[:, :n]
    following = route_field(maps.next_lane, setup.map_id, setup.goal[:, :n], lane)
    past = (lane >= 0) & (following < 0) & (state.s[:, :n] > lane_field(maps.lane_length, setup.map_id, lane) + 1.0)
    unreachable = (lane >= 0) & ~torch.isfinite(route_field(maps.to_go, setup.map_id, setup.goal[:, :n], lane))
    strayed = (lane >= 0) & (state.d[:, :n].abs() > STRAY)
    routed = (setup.goal[:, :n] > 0) | (setup.goal_kind[:, :n] != 2)
    return (past | unreachable | strayed) & routed & state.valid[:, :n]


def haste(state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """By how much the learners are too fast to come to rest with CALM before the line of their lane where they have to, (B, N) m/s.

    They have to at a stop sign not yet obeyed, and at a light that shows red or red-yellow. 0 elsewhere, and once the front bumper is past
    the line.
    """
    n, mid = config.learners, setup.map_id
    lane = state.lane[:, :n]
    to_line = lane_field(maps.stop_s, mid, lane) - state.s[:, :n] - 0.5 * setup.length[:, :n]
    light = governing_light(maps, mid, light_states(maps, mid, state.step, config.dt), lane)
    asked = _is_red(light) | (lane_field(maps.stop_must, mid, lane) & (state.released[:, :n] != lane))
    asked = asked & (lane >= 0) & (to_line >= 0.0)
    allowed = torch.sqrt(2.0 * CALM * torch.where(asked, to_line, 0.0))
    return torch.where(asked, (state.speed[:, :n] - allowed).clamp(min=0.0), 0.0)


def conclude(before: Stats, state: State, setup: Setup, maps: Maps, touched: Tensor, config: DrivingConfig) -> Out:
    """What one decision step tells: `before` are the statistics at its beginning."""
    now = state.stats
    gone = lost(state, setup, maps, config.learners) & ~now.arrived
    collision, off_road, wrong = now.collision & ~before.collision, now.off_road & ~before.off_road, now.wrong_way & ~before.wrong_way
    ended = now.arrived | now.collision | now.off_road | now.wrong_way | gone
    lasting = setup.goal_kind[:, : config.learners] == 0
    return Out(
        arrived=now.arrived & ~before.arrived,
        collision=collision,
        collision_fault=now.collision_fault & ~before.collision_fault,
        off_road=off_road,
        wrong_way=wrong,
        red_light=now.red_light > before.red_light,
        stop_sign=now.stop_sign > before.stop_sign,
        stopped=now.stops > before.stops,
        haste=haste(state, setup, maps, config),
        lost=gone,
        progress=now.progress - before.progress,
        terminated=torch.where(lasting & now.arrived & ~(now.collision | now.off_road | now.wrong_way), gone, ended),
        truncated=state.step >= setup.duration,
        touched=touched,
    )
