"""The traffic model: car following (IDM), lane changes (MOBIL), scripts, and who enters when.

Shapes: B worlds, A agents; pairs (B, A, A) read [b, i, j]: agent j as seen by agent i. K preview points.
IDM: Treiber, Hennecke & Helbing, "Congested traffic states in empirical observations and microscopic simulations", Phys. Rev. E
62 (2000). Above the desired speed: the improved IDM of Treiber & Kesting, "Traffic Flow Dynamics" (2013), ch. 11.
MOBIL: Kesting, Treiber & Helbing, "General lane-changing model MOBIL", Transp. Res. Rec. 1999 (2007).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.collision import direction, stored
from envs.driving.control import lateral_slope
from envs.driving.lanes import CHAIN, Chain, chain_point, lane_field, route_field
from envs.driving.lights import governing_light, must_stop_at
from envs.driving.types import Maps, Setup, State
from scenarios.episode import Action, Role, Trigger
from scenarios.network import LaneEnd, LaneType

__all__ = ["Features", "clear_to_enter", "fire_scripts", "follow", "free_road", "interaction", "lane_change", "signals_ahead"]

SPACING = 5.0  # m between the preview points of a path
POINTS = 32  # of them: agents look 155 m ahead
LATERAL_MARGIN = 0.25  # m kept sideways when judging whether somebody is in the way
CALM = 2.0  # m/s^2, deceleration with which a driver prepares for a lower limit ahead
SETTLE_TIME = 0.5  # s, time constant with which a speed above the limit of the place is given up
SETTLE = 3.0  # m/s^2, hardest braking for it
SUBSETS = 4  # a quarter of the drivers consider a lane change at each tick
PATH_SIGHT = 40.0  # m ahead and behind, short enough for the road to count as straight
RUNOUT = 12.0  # m kept before the end of a lane, enough to steer out of it from a standstill
COOLDOWN = 2.0  # s between two lane changes of one driver
URGENT = 250.0  # m before a needed change is overdue, over which its urgency grows


class Features(NamedTuple):
    """What a batch of episodes can contain; parts that cannot occur are left out of the computation."""

    conflicts: bool = True
    lights: bool = True
    logs: bool = True
    scripts: bool = True
    lane_changes: bool = True
    entries: bool = True
    paths: bool = True  # agents on private recorded paths
    regions: bool = True  # goals that are a region


def free_road(speed: Tensor, wanted: Tensor, accel: Tensor, decel: Tensor) -> Tensor:
    """Acceleration (m/s^2) on an empty road: a (1 - (v/v0)^4) up to v0, -b (1 - (v0/v)^(4a/b)) above.

    The power is taken by exp and log: `pow` rounds differently in the tail of a batch.
    """
    wanted = wanted.clamp(min=0.1)
    ratio = speed / wanted
    below = accel * (1.0 - (ratio * ratio) ** 2)
    above = -decel * (1.0 - torch.exp(torch.log(ratio.clamp(min=1.0)) * (-4.0 * accel / decel)))
    return torch.where(ratio <= 1.0, below, above)


def interaction(gap: Tensor, speed: Tensor, closing: Tensor, headway: Tensor, min_gap: Tensor, root: Tensor) -> Tensor:
    """(s*/s)^2 of the IDM, s* = s0 + max(0, v T + v dv / (2 sqrt(a b))). gap m, closing m/s (positive: approaching), root = 2 sqrt(a b)."""
    wanted = min_gap + (speed * headway + speed * closing / root).clamp(min=0.0)
    ratio = wanted / gap.clamp(min=0.1)
    return ratio * ratio


def _path_ahead(state: State, setup: Setup, maps: Maps, chain: Chain) -> tuple[Tensor, ...]:
    """x, y, cos, sin of the route every SPACING metres, each (B, A, K); the agent itself is at station 0."""
    ahead = torch.arange(POINTS, device=state.x.device, dtype=state.x.dtype) * SPACING
    return chain_point(maps, setup.map_id, chain, ahead.expand(*state.x.shape, POINTS))


class Pairs(NamedTuple):
    """Agent j in the path of agent i; all (B, A, A)."""

    gap: Tensor  # m, bumper to bumper along i's path
    speed: Tensor  # m/s of j along i's path
    ahead: Tensor  # bool: j is in i's way, ahead of it


def in_path(state: State, setup: Setup, maps: Maps, chain: Chain) -> Pairs:
    """Who is in whose way, by geometry: j's box against the corridor that i will sweep along its route.

    Works alike for leaders, crossing traffic, pedestrians and obstacles, whatever lane they think they are in.
    """
    px, py, pc, ps = (stored(v) for v in _path_ahead(state, setup, maps, chain))
    slope, off = stored(lateral_slope(state.speed)).unsqueeze(2), stored(torch.where(state.lane >= 0, state.d, 0.0)).unsqueeze(2)
    x_j = stored(torch.where(state.valid, state.x, torch.inf)).unsqueeze(
        1
    )  # the absent are out of sight; cheaper than a mask in the loop over pairs
    dx, dy = x_j - state.x.unsqueeze(2), state.y.unsqueeze(1) - state.y.unsqueeze(2)
    station = (torch.sqrt(dx * dx + dy * dy) * (1.0 / SPACING) + 0.5).floor().clamp(max=POINTS - 1)
    k = station.to(torch.int64)
    qx, qy, c, s = px.gather(2, k), py.gather(2, k), pc.gather(2, k), ps.gather(2, k)
    ex, ey = x_j - qx, state.y.unsqueeze(1) - qy
    past = ex * c + ey * s  # m beyond the preview point, along its tangent; a tangent says nothing about places far from its point
    along = station * SPACING + past
    left = ey * c - ex * s
    cos_yaw, sin_yaw = direction(state.yaw)
    cos_rel = cos_yaw.unsqueeze(1) * c + sin_yaw.unsqueeze(1) * s
    sin_rel = sin_yaw.unsqueeze(1) * c - cos_yaw.unsqueeze(1) * s
    half_l, half_w = setup.length.unsqueeze(1) * 0.5, setup.width.unsqueeze(1) * 0.5
    reach_along = cos_rel.abs() * half_l + sin_rel.abs() * half_w
    reach_left = sin_rel.abs() * half_l + cos_rel.abs() * half_w
    # i's own sideways place when it gets there: where it is now, less what a lane change works off on the way
    way = (along - setup.length.unsqueeze(2) * 0.5 - reach_along).clamp(min=0.0) * slope
    aside = off - torch.minimum(torch.maximum(off, -way), way)
    reach = setup.width.unsqueeze(2) * 0.5 + LATERAL_MARGIN + reach_left
    inside = (left < aside.clamp(min=0.0) + reach) & (left > aside.clamp(max=0.0) - reach)
    # whoever is changing into i's lane shows it with his indicator, and counts from then on
    lane = stored(state.lane.to(state.x.dtype))  # numbers are compared twice as fast as float
    entered = stored(torch.where(state.origin != state.lane, state.lane, -2).to(state.x.dtype))
    joins = (entered.unsqueeze(1) == lane.unsqueeze(2)) & (left.abs() < 6.0)
    forward = dx * cos_yaw.unsqueeze(2) + dy * sin_yaw.unsqueeze(2)  # 0 for i itself
    ahead = (inside | joins) & (past.abs() < SPACING) & (along > 0.0) & (forward > 0.0) & (station < POINTS - 1)
    gap = along - setup.length.unsqueeze(2) * 0.5 - reach_along
    return Pairs(gap, state.speed.unsqueeze(1) * cos_rel, ahead)


class Ahead(NamedTuple):
    """Fixed things ahead on each agent's route, distances from its front bumper; (B, A)."""

    line: Tensor  # m to the next painted line, +inf none
    stop: Tensor  # m to the nearest place where one must come to rest for a light, a stop sign or the end of a lane, +inf none
    held: Tensor  # bool: stands or will stand at a red light
    speed: Tensor  # m/s allowed here, lower limits further on already prepared for


def signals_ahead(state: State, setup: Setup, maps: Maps, chain: Chain, lights: Tensor, features: Features) -> Ahead:
    """Lines, lights, stop signs, lane ends and limits ahead. lights (B, GL) states."""
    half = setup.length * 0.5
    line, stop = torch.full_like(state.x, torch.inf), torch.full_like(state.x, torch.inf)
    held = torch.zeros_like(state.valid)
    allowed = torch.where(chain.lane[0] >= 0, lane_field(maps.lane_limit, setup.map_id, chain.lane[0]) * setup.speed_factor, torch.inf)
    for c in range(CHAIN - 1):
        lane = chain.lane[c]
        there = lane >= 0
        base = torch.where(there, chain.base[c], 0.0)
        at = base + lane_field(maps.stop_s, setup.map_id, lane)
        to_line = torch.where(there, at - half, torch.inf)
        to_line = torch.where(to_line > -1.5, to_line, torch.inf)
        line = torch.minimum(line, to_line)
        sign = lane_field(maps.stop_must, setup.map_id, lane) & (state.released != lane)
        halt = sign & torch.isfinite(to_line)
        if features.lights:
            red = must_stop_at(governing_light(maps, setup.map_id, lights, lane), to_line, state.speed) & torch.isfinite(to_line)
            held = held | red
            halt = halt | red
        stop = torch.where(halt, torch.minimum(stop, to_line), stop)
        end = base + lane_field(maps.lane_length, setup.map_id, lane) - half
        blocked = there & (lane_field(maps.lane_end, setup.map_id, lane) == int(LaneEnd.BLOCKED))
        stop = torch.where(blocked, torch.minimum(stop, (end - RUNOUT).clamp(min=0.0)), stop)
        if c > 0:  # v^2 = v_next^2 + 2 b d
            limit = lane_field(maps.lane_limit, setup.map_id, lane) * setup.speed_factor
            reachable = torch.sqrt(limit * limit + 2.0 * CALM * base.clamp(min=0.0))
            allowed = torch.where(there, torch.minimum(allowed, reachable), allowed)
    return Ahead(line, stop, held, allowed)


class Following(NamedTuple):
    """What the car-following model wants."""

    accel: Tensor  # (B, A) m/s^2, everything considered
    road: Tensor  # (B, A) m/s^2, leaders and free road only (what a lane change could improve)
    wanted: Tensor  # (B, A) m/s, desired speed here
    allowed: Tensor  # (B, A) m/s, speed that the place allows, lower limits ahead prepared for; +inf for walkers


def _settled(free: Tensor, speed: Tensor, allowed: Tensor) -> Tensor:
    """Acceleration on a free road that also gives up a speed above the allowed one: the IDM's own excess decays over many seconds."""
    settle = ((allowed - speed) / SETTLE_TIME).clamp(min=-SETTLE)
    return torch.where(speed > allowed, torch.minimum(free, settle), free)


def follow(state: State, setup: Setup, maps: Maps, chain: Chain, ahead: Ahead, wait: Tensor) -> Following:
    """IDM acceleration against everyone in the path, places to stop, and `wait` (B, A) m, where to give way."""
    root = stored(2.0 * torch.sqrt(setup.accel * setup.decel))
    speed = state.speed.clamp(min=0.0)
    braking = (setup.script == int(Action.BRAKE)) & (state.fired >= 0)
    own = torch.where((setup.script == int(Action.SPEED)) & (state.fired >= 0), setup.script_magnitude, setup.desired_speed)
    own = torch.where(braking, setup.script_until, own)
    walker = lane_field(maps.lane_type, setup.map_id, state.lane) == int(LaneType.WALKWAY)
    allowed = torch.where(walker, torch.inf, ahead.speed)
    wanted = torch.minimum(own, allowed)
    pairs = in_path(state, setup, maps, chain)
    push = interaction(
        pairs.gap,
        speed.unsqueeze(2),
        speed.unsqueeze(2) - pairs.speed,
        setup.headway.unsqueeze(2),
        setup.min_gap.unsqueeze(2),
        root.unsqueeze(2),
    )
    push = torch.where(pairs.ahead, push, 0.0).amax(2)  # the worst of all: order does not matter
    free = free_road(speed, wanted, setup.accel, setup.decel)
    free = _settled(free, speed, allowed)
    road = free - setup.accel * push
    # places to stop: a standing leader, with s0 shortened so that the bumper rests about 0.5 m before the line
    place = torch.minimum(ahead.stop, wait)
    held = interaction(place.clamp(min=0.0) + setup.min_gap - 0.5, speed, speed, setup.headway, setup.min_gap, root)
    held = torch.where(torch.isfinite(place), held, 0.0)
    reckless = setup.reckless & (state.fired >= 0)
    accel = torch.where(reckless, free, free - setup.accel * torch.maximum(push, held))
    hard = -setup.script_magnitude
    accel = torch.where(braking & (state.speed > setup.script_until), torch.minimum(accel, hard), accel)
    accel = torch.where((setup.script == int(Action.GO)) & (state.fired < 0), -setup.brake_max, accel)
    accel = torch.minimum(torch.maximum(accel, -setup.brake_max), setup.accel_max)
    return Following(accel, torch.maximum(road, -setup.brake_max), wanted, allowed)


class Change(NamedTuple):
    """Lane changes to begin now."""

    side: Tensor  # (B, A) int64 +1 left, -1 right
    go: Tensor  # (B, A) bool


def lane_change(state: State, setup: Setup, maps: Maps, following: Following, features: Features) -> Change:
    """MOBIL for a quarter of the agents, one side at a time (left and right in turn, so that no two change towards each other).

    Go if the new follower need not brake harder than `safe_decel`, and the own gain plus politeness times the new follower's
    gain exceeds the threshold. The old follower, who can only gain, is left out: it would
    cost another pass over all pairs. Changes that the route needs count as gains that grow towards the end of the lane.
    """
    worlds, agents = state.x.shape
    phase = (state.step % (2 * SUBSETS)).unsqueeze(1)
    left_turn = phase < SUBSETS
    turn = phase % SUBSETS  # agents turn, turn + SUBSETS, ... are asked

    index = torch.arange(agents, device=state.x.device)
    who = index[::SUBSETS].unsqueeze(0) + turn  # (B, a)

    def pick(table: Tensor) -> Tensor:
        """The columns of the agents asked: (B, A) -> (B, a)."""
        return stored(table.gather(1, who))

    lane, s, goal, mid = pick(state.lane), pick(state.s), pick(setup.goal), setup.map_id
    side = torch.where(left_turn, 1, -1).expand_as(lane)
    beside = torch.where(side > 0, lane_field(maps.lane_left, mid, lane), lane_field(maps.lane_right, mid, lane))
    beside = torch.where(lane >= 0, beside, -1)
    s_new = s * lane_field(maps.lane_length, mid, beside) / lane_field(maps.lane_length, mid, lane)
    after = torch.where(beside >= 0, route_field(maps.next_lane, mid, goal, beside), -1)
    long = lane_field(maps.lane_length, mid, beside)
    # where j is along i's new lane; numbers are compared as float, which is twice as fast, and the absent are on no lane
    nowhere, real = -2, state.x.dtype
    on_lane = state.valid & (state.lane >= 0)
    following_j = torch.where(on_lane, route_field(maps.next_lane, mid, setup.goal, state.lane), nowhere)
    lane_j = stored(torch.where(on_lane, state.lane, nowhere).to(real)).unsqueeze(1)
    origin_j = stored(torch.where(state.valid & (state.origin >= 0), state.origin, nowhere).to(real)).unsqueeze(1)
    next_j = stored(torch.where(following_j >= 0, following_j, nowhere).to(real)).unsqueeze(1)
    length_j, s_j = stored(lane_field(maps.lane_length, mid, state.lane)).unsqueeze(1), state.s.unsqueeze(1)
    new, onward = stored(beside.to(real)).unsqueeze(2), stored(after.to(real)).unsqueeze(2)
    s_new, long = stored(s_new), stored(long)
    on, beyond = (lane_j == new) | (origin_j == new), lane_j == onward
    offset = torch.where(on, s_j, torch.where(beyond, long.unsqueeze(2) + s_j, s_j - length_j)) - s_new.unsqueeze(2)
    there = on | beyond | (next_j == new)
    if features.paths or features.logs:
        # recorded agents, replayed or on paths of their own, have no lane to be found by, or leave it as they please: those beside,
        # where the new lane is, count by their place
        cos, sin = (axis.unsqueeze(2) for axis in direction(pick(state.yaw)))
        own = (lane_field(maps.lane_type, mid, state.lane) == int(LaneType.PATH)) | (setup.role == int(Role.LOG))
        x_j = stored(torch.where(own & state.valid, state.x, torch.inf)).unsqueeze(1)
        dx, dy = x_j - pick(state.x).unsqueeze(2), state.y.unsqueeze(1) - pick(state.y).unsqueeze(2)
        along, left = dx * cos + dy * sin, dy * cos - dx * sin
        apart = stored(0.5 * (lane_field(maps.lane_width, mid, lane) + lane_field(maps.lane_width, mid, beside)) * side)
        near = ((left - apart.unsqueeze(2)).abs() < 2.0) & (along.abs() < PATH_SIGHT) & (new >= 0.0)
        offset, there = torch.where(near, along, offset), there | near
    there = there & (index.to(real).view(1, 1, -1) != stored(who.to(real)).unsqueeze(2))
    v_i, v_j = pick(state.speed).clamp(min=0.0).unsqueeze(2), state.speed.clamp(min=0.0).unsqueeze(1)
    gap = offset.abs() - 0.5 * (pick(setup.length).unsqueeze(2) + setup.length.unsqueeze(1))
    root = stored(2.0 * torch.sqrt(setup.accel * setup.decel))
    headway, min_gap, accel, decel = pick(setup.headway), pick(setup.min_gap), pick(setup.accel), pick(setup.decel)
    leads, trails = there & (offset >= 0.0), there & (offset < 0.0)
    push_i = interaction(gap, v_i, v_i - v_j, headway.unsqueeze(2), min_gap.unsqueeze(2), pick(root).unsqueeze(2))
    push_i = torch.where(leads, push_i, 0.0).amax(2)
    push_j = interaction(gap, v_j, v_j - v_i, setup.headway.unsqueeze(1), setup.min_gap.unsqueeze(1), root.unsqueeze(1))
    speed = state.speed.clamp(min=0.0)
    free_j = stored(_settled(free_road(speed, following.wanted, setup.accel, setup.decel), speed, following.allowed)).unsqueeze(1)
    accel_j = free_j - setup.accel.unsqueeze(1) * push_j
    worst = torch.where(trails, accel_j, torch.inf).amin(2)
    loss = torch.where(trails, accel_j - following.road.unsqueeze(1), torch.inf).amin(2)
    loss = torch.where(torch.isfinite(loss), loss, 0.0).clamp(max=0.0)
    close = torch.where(there, gap - (1.0 + 0.2 * (v_j - v_i).abs()), torch.inf).amin(2) < 0.0
    limit = lane_field(maps.lane_limit, mid, beside) * pick(setup.speed_factor)
    slowest = torch.minimum(limit, pick(following.allowed))  # lower limits ahead hold in the next lane too
    free_i = free_road(v_i.squeeze(2), torch.minimum(pick(setup.desired_speed), slowest), accel, decel)
    new_accel = _settled(free_i, v_i.squeeze(2), slowest) - accel * push_i
    needed = torch.where(lane >= 0, route_field(maps.change, mid, goal, lane), 0)
    needed_there = torch.where(beside >= 0, route_field(maps.change, mid, goal, beside), 0)
    left_over = lane_field(maps.lane_length, mid, lane) - s
    urgency = ((URGENT - left_over) / URGENT).clamp(0.0, 1.0)
    must = needed == side
    gain = new_accel - pick(following.road) + pick(setup.politeness) * loss
    gain = gain - torch.where(side < 0, -pick(setup.keep_right), pick(setup.keep_right)) + torch.where(must, 2.5 + 6.0 * urgency, 0.0)
    harmless = worst > -(pick(setup.safe_decel) + torch.where(must, 2.0 * urgency, 0.0))
    soft = new_accel > -pick(setup.brake_max) * torch.where(must, 0.5, 0.35)
    # never away from where the route leads, nor into a lane that the route leaves again soon, nor over a junction or the oncoming lane
    sensible = (needed != -side) & (must | (needed_there == 0) | (left_over > 400.0))
    plain = (lane_field(maps.lane_type, mid, beside) == int(LaneType.DRIVE)) & (
        lane_field(maps.lane_type, mid, lane) == int(LaneType.DRIVE)
    )
    settled = (pick(state.cooldown) <= 0) & (pick(state.shift).abs() < 0.3) & (pick(state.d).abs() < 0.8)
    moving = must | (pick(state.speed) > 1.0)
    drives = (pick(setup.role) == int(Role.IDM)) | (pick(setup.role) == int(Role.LEARNER))
    free_to = pick(setup.changes_lanes) & pick(state.valid) & (beside >= 0) & settled & moving & plain
    go = free_to & sensible & harmless & soft & ~close & (gain > torch.where(must, 0.0, pick(setup.change_threshold))) & drives
    asked = torch.arange(SUBSETS, device=state.x.device).view(1, 1, -1) == turn.unsqueeze(2)  # (B, 1, SUBSETS)
    return Change((asked * side.unsqueeze(2)).reshape(worlds, agents), (asked & go.unsqueeze(2)).reshape(worlds, agents))


def fire_scripts(state: State, setup: Setup, dt: float) -> Tensor:
    """`State.fired` after this tick's look at the triggers. The ego is slot 0. (B, A) int64."""
    ex, ey, ev = state.x[:, :1], state.y[:, :1], state.speed[:, :1]
    cos, sin = torch.cos(state.yaw[:, :1]), torch.sin(state.yaw[:, :1])
    dx, dy = state.x - ex, state.y - ey
    ahead = dx * cos + dy * sin
    apart = torch.sqrt(dx * dx + dy * dy)
    closing = ev - state.speed * (torch.cos(state.yaw) * cos + torch.sin(state.yaw) * sin)
    ttc = torch.where((ahead > 0.0) & (closing > 0.1), ahead / closing.clamp(min=0.1), torch.inf)
    value = setup.trigger_value
    now = (
        ((setup.trigger == int(Trigger.TIME)) & (state.step.unsqueeze(1) * dt >= value))
        | ((setup.trigger == int(Trigger.DISTANCE)) & (apart < value))
        | ((setup.trigger == int(Trigger.AHEAD)) & (ahead < value))
        | ((setup.trigger == int(Trigger.TTC)) & (ttc < value))
    )
    return torch.where((state.fired < 0) & now & state.valid, state.step.unsqueeze(1), state.fired)


def clear_to_enter(state: State, setup: Setup) -> Tensor:
    """Waiting agents whose turn it is and whose place is clear: nobody within a safe gap ahead, beside or behind. (B, A) bool."""
    waiting = (
        setup.exists
        & ~state.valid
        & ~state.done
        & (setup.enter > 0)
        & (state.step.unsqueeze(1) >= setup.enter)
        & (setup.role != int(Role.LOG))
    )
    cos, sin = torch.cos(setup.yaw).unsqueeze(2), torch.sin(setup.yaw).unsqueeze(2)
    dx, dy = state.x.unsqueeze(1) - setup.x.unsqueeze(2), state.y.unsqueeze(1) - setup.y.unsqueeze(2)
    along, aside = dx * cos + dy * sin, (dy * cos - dx * sin).abs()
    room = 0.5 * (setup.length.unsqueeze(2) + setup.length.unsqueeze(1)) + setup.min_gap.unsqueeze(2)
    slower = (setup.speed.unsqueeze(2) - state.speed.unsqueeze(1)).clamp(min=0.0)
    ahead = room + setup.headway.unsqueeze(2) * setup.speed.unsqueeze(2) + slower * slower / (2.0 * setup.decel.unsqueeze(2))
    faster = (state.speed.unsqueeze(1) - setup.speed.unsqueeze(2)).clamp(min=0.0)
    behind = room + faster * faster / 4.0 + state.speed.unsqueeze(1).clamp(min=0.0)
    near = aside < 0.5 * (setup.width.unsqueeze(2) + setup.width.unsqueeze(1)) + 0.5
    near = near | ((state.lane.unsqueeze(1) == setup.lane.unsqueeze(2)) & (aside < 6.0))  # somebody still changing into this lane
    taken = (near & (along < ahead) & (along > -behind) & state.valid.unsqueeze(1)).any(2)
    # one at a time from each place
    index = torch.arange(state.x.shape[1], device=state.x.device)
    same = (setup.lane.unsqueeze(1) == setup.lane.unsqueeze(2)) & (index.view(1, 1, -1) < index.view(1, -1, 1))
    queued = (same & waiting.unsqueeze(1)).any(2)
    return waiting & ~taken & ~queued
