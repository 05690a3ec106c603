"""How well each learner drove: what is added up at every tick, and the metrics of an episode.

Shapes: B worlds, A agents, N learners (the first N of A). SI units.

Sources of the definitions:
    nuPlan      Karnchanachari et al., "Towards learning-based planning: the nuPlan benchmark for real-world autonomous driving",
                ICRA 2024, and its devkit (metrics and thresholds of the closed-loop score).
    CARLA       CARLA Autonomous Driving Leaderboard 2.0, "Evaluation and metrics" (driving score).
    Bench2Drive Jia et al., NeurIPS 2024 (success rate).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.driving.collision import direction, overlap, stored_mask
from envs.driving.dynamics import yaw_rate
from envs.driving.lanes import lane_field, lane_point
from envs.driving.ttc import time_to_collision
from envs.driving.types import Maps, Setup, State, Stats
from scenarios.episode import Role
from scenarios.kinds import Kind
from scenarios.network import LaneType

__all__ = [
    "COMFORT",
    "TTC_HORIZON",
    "TTC_MIN",
    "at_fault",
    "episode_metrics",
    "nearest_ttc",
    "update_stats",
    "within_lane",
]

TTC_HORIZON = 3.0  # s, nuPlan: constant-velocity look-ahead
OFF_LANE = 2.0  # m, what counts as the distance from the line for who follows none
TTC_MIN = 0.95  # s, nuPlan: least time to collision
# nuPlan's comfort bounds, in the order of Stats.uncomfortable: name, least, greatest
COMFORT = (
    ("lon_accel", -4.05, 2.40),  # m/s^2
    ("lat_accel", -4.89, 4.89),  # m/s^2
    ("jerk", 0.0, 8.37),  # m/s^3, magnitude
    ("lon_jerk", -4.13, 4.13),  # m/s^3
    ("yaw_rate", -0.95, 0.95),  # rad/s
    ("yaw_accel", -1.93, 1.93),  # rad/s^2
)
STOPPED_EGO = 0.05  # m/s, nuPlan: below this the ego is at rest when hit
STOPPED_OTHER = 0.005  # m/s, nuPlan: below this the other is at rest; also the ego for the time to collision
AHEAD = math.cos(math.radians(20.0))  # nuPlan: an agent is ahead within 20 deg of the heading, seen from the rear axle
BEHIND = math.cos(math.radians(150.0))  # and behind beyond 150 deg
SMOOTH = 0.5  # s, time constant of the low-pass that accelerations go through before comfort is judged
OVERSPEED = 2.23  # m/s, nuPlan: a mean excess of this much over the limit scores 0
PROGRESS_MIN = 0.2  # nuPlan: least share of the expert's progress
PENALTY = {"pedestrian": 0.5, "vehicle": 0.6, "static": 0.65, "red_light": 0.7, "stop_sign": 0.8}  # CARLA leaderboard


def update_stats(stats: Stats, state: State, setup: Setup, maps: Maps, contact: Tensor, dt: float) -> Stats:
    """Add one physics tick: distance, collisions, fault and impact, time to collision, comfort, speeding, distance off the line, ticks.

    `stats` are those before the tick, `state` the state after it (its own `stats` are not read), `contact` (B, N, A) which agents
    each learner's box overlaps now. Route progress, arrival, off-road, wrong-way and lights are left as they are. A learner that
    has arrived, collided, left the road or driven the wrong way before this tick, or that is not on the road, no longer counts:
    its numbers stay as they were at the end of its episode.

    Comfort judges longitudinal acceleration, speed times yaw rate and the yaw rate, each smoothed, and their rates of change. nuPlan
    smooths with Savitzky-Golay filters over 0.8 to 1.5 s, which look ahead; here it is a first-order low-pass (`SMOOTH`), which does not.
    """
    n = contact.shape[1]
    live = state.valid[:, :n] & ~(stats.arrived | stats.collision | stats.off_road | stats.wrong_way)  # (B, N)
    speed, accel = state.speed[:, :n], state.accel[:, :n]
    turning = yaw_rate(speed, state.steer[:, :n], setup.wheelbase[:, :n])
    alone = within_lane(state, setup, maps, n)

    contact = stored_mask(contact & live.unsqueeze(-1))
    fault = at_fault(state, setup, contact, alone)  # (B, N, A)
    slots = contact.shape[2]
    index = torch.arange(slots, device=contact.device, dtype=speed.dtype)
    rank = torch.where(fault, index, torch.where(contact, index + slots, 2.0 * slots)).amin(-1).to(torch.int64)  # culpable contacts first
    hit, guilty = rank < 2 * slots, rank < slots

    ttc = torch.where(guilty, 0.0, nearest_ttc(state, setup, maps, contact, alone))
    raw = torch.stack([accel, speed * turning, turning, torch.ones_like(speed)], dim=-1)  # (B, N, 4)
    share = torch.where(stats.prev[..., 3:] > 0.0, dt / (SMOOTH + dt), 1.0)  # the first tick is taken as it is
    felt = stats.prev + share * (raw - stats.prev)
    change = (felt - stats.prev)[..., :3] / dt * stats.prev[..., 3:]  # (B, N, 3); none at the first tick
    jerk = torch.sqrt(change[..., 0] ** 2 + change[..., 1] ** 2)
    measured = torch.stack([felt[..., 0], felt[..., 1], jerk, change[..., 0], felt[..., 2], change[..., 2]], dim=-1)  # (B, N, 6)
    rough = torch.stack([(measured[..., k] < low) | (measured[..., k] > high) for k, (_, low, high) in enumerate(COMFORT)], dim=-1)
    lane = state.lane[:, :n]
    excess = torch.where(lane >= 0, (speed - lane_field(maps.lane_limit, setup.map_id, lane)).clamp(min=0.0), 0.0)
    # a lane change in order is not off its line
    beside = torch.where(lane >= 0, torch.abs(state.d[:, :n] - state.shift[:, :n]), OFF_LANE)
    slot = torch.where(hit, rank % slots, stats.collision_slot)
    impact = torch.where(hit, _closing(state, slot.clamp(min=0), n), stats.impact)
    once, real = live.to(torch.int64), live.to(speed.dtype)
    return stats._replace(
        distance=stats.distance + real * torch.abs(speed - 0.5 * accel * dt) * dt,
        collision=stats.collision | hit,
        collision_fault=stats.collision_fault | guilty,
        collision_slot=slot,
        ttc_min=torch.where(live, torch.minimum(stats.ttc_min, ttc), stats.ttc_min),
        ttc_bad=stats.ttc_bad + (live & (ttc < TTC_MIN)).to(torch.int64),
        uncomfortable=stats.uncomfortable + (rough & live.unsqueeze(-1)).to(torch.int64),
        speeding=stats.speeding + real * excess,
        astray=stats.astray + real * beside,
        impact=impact,
        ticks=stats.ticks + once,
        prev=torch.where(live.unsqueeze(-1), felt, stats.prev),
    )


def _closing(state: State, slot: Tensor, learners: int) -> Tensor:
    """Relative speed (B, N) m/s of each learner and the agent in `slot` (B, N)."""
    vx, vy = (state.speed * axis for axis in direction(state.yaw))
    dx, dy = (v[:, :learners] - torch.gather(v, 1, slot) for v in (vx, vy))
    return torch.sqrt(dx * dx + dy * dy)


def within_lane(state: State, setup: Setup, maps: Maps, learners: int) -> Tensor:
    """Whether a learner's whole box is inside the lane it follows, (B, N) bool; a lane change is outside until it is over.

    Judged in the lane's own frame at the centre of the box. Stands for nuPlan's "not in multiple lanes nor in a non-drivable area".
    """
    n = learners
    lane, yaw = state.lane[:, :n], state.yaw[:, :n]
    point = lane_point(maps, setup.map_id, lane, state.s[:, :n])
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    along = torch.abs(cos * point[..., 2] + sin * point[..., 3])  # |cos| of the angle between box and lane
    across = torch.abs(sin * point[..., 2] - cos * point[..., 3])
    reach = 0.5 * (setup.length[:, :n] * across + setup.width[:, :n] * along)  # m, half the box's extent across the lane
    half = 0.5 * lane_field(maps.lane_width, setup.map_id, lane)
    return (lane >= 0) & (torch.abs(state.d[:, :n]) + reach <= half)


def at_fault(state: State, setup: Setup, contact: Tensor, alone: Tensor) -> Tensor:
    """Which contacts are the learner's fault, (B, N, A) bool: those that it could have prevented, by nuPlan's classification.

    In this order: a learner at rest (<= 0.05 m/s) is not at fault; driving into something at rest (<= 0.005 m/s) is; being struck
    from behind (centre of the other beyond 150 deg of the heading, seen from the learner's rear axle) is not; contact at the front
    bumper is; any other contact is sideways and is the learner's fault only if it is not `alone` (B, N): wholly within its lane.
    """
    n = contact.shape[1]
    ego = [t[:, :n].unsqueeze(-1) for t in (state.x, state.y, state.yaw, state.speed, setup.length, setup.width)]  # (B, N, 1)
    x, y, yaw, speed, length, width = ego
    dot, distance = _bearing(state, setup, n)
    resting = torch.abs(speed) <= STOPPED_EGO
    other_resting = torch.abs(state.speed).unsqueeze(1) <= STOPPED_OTHER
    behind = dot < BEHIND * distance
    cos, sin = direction(yaw)
    nose_x, nose_y = x + 0.5 * length * cos, y + 0.5 * length * sin
    other = [t.unsqueeze(1) for t in (state.x, state.y, state.yaw, setup.length, setup.width)]  # (B, 1, A)
    front = overlap(nose_x, nose_y, yaw, torch.zeros_like(length), width, *other)  # the bumper as a box without length
    active = ~behind & (front | ~alone.unsqueeze(-1))
    return contact & ~resting & (other_resting | active)


def nearest_ttc(state: State, setup: Setup, maps: Maps, contact: Tensor, alone: Tensor) -> Tensor:
    """Smallest time to collision of each learner now, (B, N) s, clipped to 3.

    All boxes keep their speed and heading (nuPlan projects in steps of 0.3 s; here it is exact). As in nuPlan, agents ahead count
    (within 20 deg of the heading, seen from the rear axle); those beside (up to 150 deg) count only while the learner is not
    `alone` (B, N) in its lane or is on a junction lane; those behind, those in `contact` (B, N, A) already, and all while the
    learner is at rest do not.
    """
    n = contact.shape[1]
    dot, distance = _bearing(state, setup, n)
    vx, vy = (state.speed * axis for axis in direction(state.yaw))
    boxes = (state.x, state.y, state.yaw, setup.length, setup.width, vx, vy)
    times = time_to_collision(*(t[:, :n].unsqueeze(-1) for t in boxes), *(t.unsqueeze(1) for t in boxes))  # (B, N, A)
    crossing = lane_field(maps.lane_type, setup.map_id, state.lane[:, :n]) == int(LaneType.JUNCTION)
    wide = (~alone | crossing).unsqueeze(-1)
    relevant = (dot > AHEAD * distance) | (wide & ~(dot < BEHIND * distance))
    slot = torch.arange(state.x.shape[1], device=state.x.device, dtype=state.x.dtype)
    relevant &= stored_mask(state.valid).unsqueeze(1) & ~contact & (slot[:n, None] != slot)
    relevant &= (torch.abs(state.speed[:, :n]) > STOPPED_OTHER).unsqueeze(-1)
    return torch.where(relevant, times, torch.inf).amin(-1).clamp(max=TTC_HORIZON)


def _bearing(state: State, setup: Setup, n: int) -> tuple[Tensor, Tensor]:
    """From each learner's rear axle to every agent's centre: component along the heading and distance, (B, N, A) m."""
    cos, sin = direction(state.yaw[:, :n])
    half = 0.5 * setup.wheelbase[:, :n]
    dx = state.x.unsqueeze(1) - (state.x[:, :n] - half * cos).unsqueeze(-1)
    dy = state.y.unsqueeze(1) - (state.y[:, :n] - half * sin).unsqueeze(-1)
    return dx * cos.unsqueeze(-1) + dy * sin.unsqueeze(-1), torch.sqrt(dx * dx + dy * dy)


def episode_metrics(state: State, setup: Setup, dt: float) -> dict[str, Tensor]:
    """Metrics of each learner's episode, every one (B, N); read them when the learner's episode has ended.

    success             bool   arrived (where the goal is to last: lasted until the end) without collision, leaving the road,
                               driving the wrong way, running a red light or ignoring a stop sign (Bench2Drive)
    collision           bool   overlapped any other agent's full box
    collision_at_fault  bool   as `at_fault` (nuPlan)
    off_road, wrong_way bool   left the drivable area; drove against traffic for too long
    red_light, stop_sign int   how many were run
    impact              m/s    relative speed at the first collision, 0 without one: what decides how bad it was
    lane_offset         m      mean distance from the middle of the lane followed; during a lane change of the discrete manoeuvres, from
                               the line that leads over. Time on no lane counts as 2 m, beyond the edge of most lanes
    route_progress      0..1   share of the route covered, 1 on arrival; where the goal is to last, the route is what the
                               ego would cover at its desired speed, or the limit where it starts if that is lower
    ttc_min             s      smallest time to collision, at most 3 (see `nearest_ttc`); 0 in an at-fault collision
    ttc_ok              bool   never below 0.95 s (nuPlan)
    comfort_*           bool   never outside that bound of `COMFORT` (nuPlan)
    comfort             bool   all six bounds held
    speed_ok            0..1   1 - mean excess over the limit / 2.23 m/s, at least 0 (nuPlan)
    nuplan_score        0..1   no at-fault collision x stayed on the road x progress >= 0.2 x not the wrong way, times the mean of
                               progress (weight 5), ttc_ok (5), speed_ok (4), comfort (2). Instead of the expert's progress the
                               route counts; the wrong way is all or nothing, for it ends the episode
    driving_score       0..1   route_progress times 0.5 for hitting a pedestrian, 0.6 a vehicle, 0.65 something parked, 0.7 for every
                               red light and 0.8 for every stop sign run (CARLA, there in percent)
    distance            m      travelled
    duration            s      lived
    """
    stats = state.stats
    clean = ~(stats.collision | stats.off_road | stats.wrong_way) & (stats.red_light == 0) & (stats.stop_sign == 0)
    learners = stats.progress.shape[1]
    covered = (stats.progress / setup.route_length[:, :learners]).clamp(0.0, 1.0)
    progress = torch.where(stats.arrived & (setup.goal_kind[:, :learners] > 0), 1.0, covered)
    smooth = stats.uncomfortable == 0  # (B, N, 6)
    comfort, ttc_ok = smooth.all(-1), stats.ttc_bad == 0
    speed_ok = (1.0 - stats.speeding / stats.ticks.clamp(min=1) / OVERSPEED).clamp(min=0.0)
    allowed = ~stats.collision_fault & ~stats.off_road & ~stats.wrong_way & (progress >= PROGRESS_MIN)
    weighted = (5.0 * progress + 5.0 * ttc_ok + 4.0 * speed_ok + 2.0 * comfort) / 16.0
    return {
        "success": stats.arrived & clean,
        "collision": stats.collision,
        "collision_at_fault": stats.collision_fault,
        "off_road": stats.off_road,
        "wrong_way": stats.wrong_way,
        "red_light": stats.red_light,
        "stop_sign": stats.stop_sign,
        "impact": stats.impact,
        "lane_offset": stats.astray / stats.ticks.clamp(min=1),
        "route_progress": progress,
        "ttc_min": stats.ttc_min,
        "ttc_ok": ttc_ok,
        **{f"comfort_{name}": smooth[..., k] for k, (name, _, _) in enumerate(COMFORT)},
        "comfort": comfort,
        "speed_ok": speed_ok,
        "nuplan_score": torch.where(allowed, weighted, 0.0),
        "driving_score": progress * _penalty(stats, setup),
        "distance": stats.distance,
        "duration": stats.ticks * dt,
    }


def _penalty(stats: Stats, setup: Setup) -> Tensor:
    """Product of CARLA's infraction penalties, (B, N)."""
    kind = torch.gather(setup.kind, 1, stats.collision_slot.clamp(min=0))
    parked = torch.gather(setup.role, 1, stats.collision_slot.clamp(min=0)) == int(Role.STATIC)
    thing = torch.where(parked, PENALTY["static"], PENALTY["vehicle"])
    struck = torch.where(kind == int(Kind.PEDESTRIAN), PENALTY["pedestrian"], thing)
    # exp and log, not pow: that rounds differently in the tail of a batch
    lights = torch.exp(stats.red_light * math.log(PENALTY["red_light"]) + stats.stop_sign * math.log(PENALTY["stop_sign"]))
    return torch.where(stats.collision, struck, 1.0) * lights
