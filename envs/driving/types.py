"""The data of the batched driving core.

Shapes: B worlds, A agent slots, N learner slots (the first N of A; the ego is slot 0), M maps, L lanes, G destinations,
P centreline points of a map (all lanes one after another), X lanes with conflicts, T log ticks.
SI units; world frame unless suffixed _e (ego frame); float32, int64, bool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from envs.checks import ConfigError

__all__ = ["LEVELS", "SAME_SPACE", "ConfigError", "DrivingConfig", "Logs", "Maps", "Out", "Setup", "State", "Stats"]

SAME_SPACE = ("truth", "visible", "noisy", "perceived")  # levels of the observation ladder between which a policy can change
LEVELS = (*SAME_SPACE, "pixels")


class Maps(NamedTuple):
    """Compiled road networks. Lane indices are local to a map; index -1 means none."""

    # centrelines, resampled at `lane_step`; the points of one lane are consecutive
    points: Tensor  # (M, P, 5) x, y m, cos, sin of heading, curvature 1/m (left positive)
    lane_start: Tensor  # (M, L) int64, index of the first point
    lane_count: Tensor  # (M, L) int64, number of points (>= 2; 0: no such lane)
    lane_step: Tensor  # (M, L) m between points, close to 1 m
    lane_length: Tensor  # (M, L) m
    lane_width: Tensor  # (M, L) m
    lane_limit: Tensor  # (M, L) m/s
    lane_type: Tensor  # (M, L) int64, scenarios.network.LaneType
    lane_end: Tensor  # (M, L) int64, scenarios.network.LaneEnd
    lane_left: Tensor  # (M, L) int64, neighbour into which a change is allowed
    lane_right: Tensor  # (M, L) int64
    stop_s: Tensor  # (M, L) m, stop line; +inf: none
    stop_light: Tensor  # (M, L) int64, index of the light, -1: none
    stop_must: Tensor  # (M, L) bool, stop sign
    # routes: per destination
    next_lane: Tensor  # (M, G, L) int64, successor to take towards the destination; -1: none (see lane_end)
    to_go: Tensor  # (M, G, L) m from the start of the lane to the destination along the best route; +inf: unreachable
    change: Tensor  # (M, G, L) int64, lane change needed before this lane ends to reach the destination: +1 left, -1 right, 0 none
    # lights: programmes of at most 8 phases
    light_ends: Tensor  # (M, GL, 8) s, end of each phase within the cycle (+inf padded)
    light_states: Tensor  # (M, GL, 8) int64, scenarios.network.LightState
    light_cycle: Tensor  # (M, GL) s
    light_offset: Tensor  # (M, GL) s
    light_pose: Tensor  # (M, GL, 3) x, y, heading
    light_far: Tensor  # (M, GL, 2) x, y of its second head, across the junction
    # right of way
    conflict_id: Tensor  # (M, L) int64, row in `conflict`, -1: no conflicts
    # (M, X, X, 5) s_enter, s_exit on the row's lane; other_enter, other_exit on the column's; yields (0 no, 1 yes, 2 mutual).
    # No conflict: s_enter = +inf
    conflict: Tensor
    # rasters
    raster_origin: Tensor  # (M, 2) m, world position of the centre of pixel [0, 0]
    raster_step: Tensor  # (M,) m per pixel
    sdf: Tensor  # (M, H, W) m, signed distance to the drivable edge, positive inside, clipped to +-10; row = y, column = x
    # (M, H, W) int64 bit k set: some lane here allows travel within 90 deg of heading 2 pi k / 16; all bits: no direction prescribed
    headings: Tensor
    # static boxes that block sight
    occluders: Tensor  # (M, O, 5) x, y, yaw, length, width; length 0: none


class Logs(NamedTuple):
    """Recordings, one row per distinct recording."""

    pose: Tensor  # (R, A, T, 4) x, y, yaw, speed
    lane: Tensor  # (R, A, T) int64 nearest lane, -1 none
    s: Tensor  # (R, A, T) m along it
    valid: Tensor  # (R, A, T) bool


class Setup(NamedTuple):
    """What is drawn once per episode. The same tuple with leading dimension R (rows) is a bank of episodes."""

    map_id: Tensor  # (B,) int64
    log_id: Tensor  # (B,) int64, row in Logs, -1: none
    seed: Tensor  # (B,) int64
    duration: Tensor  # (B,) int64 ticks; truncated at this step count
    # per agent
    exists: Tensor  # (B, A) bool, slot is used at some time of the episode
    kind: Tensor  # (B, A) int64, scenarios.kinds.Kind
    role: Tensor  # (B, A) int64, scenarios.episode.Role
    length: Tensor  # (B, A) m
    width: Tensor  # (B, A) m
    wheelbase: Tensor  # (B, A) m
    speed_max: Tensor  # (B, A) m/s
    accel_max: Tensor  # (B, A) m/s^2
    brake_max: Tensor  # (B, A) m/s^2, positive
    steer_max: Tensor  # (B, A) rad
    reverse_max: Tensor  # (B, A) m/s, positive
    # start
    x: Tensor  # (B, A) m
    y: Tensor  # (B, A) m
    yaw: Tensor  # (B, A) rad
    speed: Tensor  # (B, A) m/s
    lane: Tensor  # (B, A) int64
    s: Tensor  # (B, A) m
    d: Tensor  # (B, A) m, left positive
    enter: Tensor  # (B, A) int64 ticks; 0: there from the start
    goal: Tensor  # (B, A) int64 destination index
    # driver
    desired_speed: Tensor  # (B, A) m/s
    speed_factor: Tensor  # (B, A)
    headway: Tensor  # (B, A) s
    min_gap: Tensor  # (B, A) m
    accel: Tensor  # (B, A) m/s^2
    decel: Tensor  # (B, A) m/s^2
    politeness: Tensor  # (B, A)
    change_threshold: Tensor  # (B, A) m/s^2
    keep_right: Tensor  # (B, A) m/s^2
    safe_decel: Tensor  # (B, A) m/s^2
    changes_lanes: Tensor  # (B, A) bool
    yields: Tensor  # (B, A) bool
    # script
    trigger: Tensor  # (B, A) int64, scenarios.episode.Trigger
    trigger_value: Tensor  # (B, A)
    script: Tensor  # (B, A) int64, scenarios.episode.Action
    script_magnitude: Tensor  # (B, A)
    script_until: Tensor  # (B, A)
    reckless: Tensor  # (B, A) bool
    # ego's goal
    goal_kind: Tensor  # (B, A) int64: 0 last until the end, 1 destination, 2 region (the ego only)
    region: Tensor  # (B, 9) x, y, yaw, length, width, heading, heading_tolerance, speed_min, speed_max
    goal_window: Tensor  # (B, 2) int64 ticks, earliest and latest arrival
    route_length: Tensor  # (B, A) m from the start to the goal (route, or straight line for a region without route)


class Stats(NamedTuple):
    """Per-learner accumulators over the episode, from which metrics are made. Counts in ticks."""

    progress: Tensor  # (B, N) m, furthest along the route so far
    distance: Tensor  # (B, N) m travelled
    arrived: Tensor  # (B, N) bool
    collision: Tensor  # (B, N) bool
    collision_fault: Tensor  # (B, N) bool, at fault (nuPlan's definition)
    collision_slot: Tensor  # (B, N) int64, with whom; -1 none
    off_road: Tensor  # (B, N) bool
    wrong_way: Tensor  # (B, N) bool
    wrong_way_ticks: Tensor  # (B, N) int64, run length of driving against traffic
    wrong_way_metres: Tensor  # (B, N) m driven against traffic within the current run
    red_light: Tensor  # (B, N) int64, red lights run
    stop_sign: Tensor  # (B, N) int64, stop signs run
    stops: Tensor  # (B, N) int64, stop signs obeyed
    ttc_min: Tensor  # (B, N) s, smallest so far (clipped to 3)
    ttc_bad: Tensor  # (B, N) int64 ticks below 0.95 s
    uncomfortable: Tensor  # (B, N, 6) int64 ticks outside bounds: lon accel, lat accel, jerk, lon jerk, yaw rate, yaw accel
    speeding: Tensor  # (B, N) m/s * ticks above the limit
    astray: Tensor  # (B, N) m * ticks beside the line to be driven
    impact: Tensor  # (B, N) m/s, relative speed at the collision; 0 without one
    ticks: Tensor  # (B, N) int64 ticks lived
    prev: Tensor  # (B, N, 4) lon accel, lat accel, yaw rate, each low-passed (see metrics.SMOOTH), valid (1) at the previous tick


class State(NamedTuple):
    """What changes at every tick."""

    step: Tensor  # (B,) int64 ticks since reset
    x: Tensor  # (B, A) m
    y: Tensor  # (B, A) m
    yaw: Tensor  # (B, A) rad, wrapped to (-pi, pi]
    speed: Tensor  # (B, A) m/s along yaw, negative: reversing
    accel: Tensor  # (B, A) m/s^2 applied at the last tick
    steer: Tensor  # (B, A) rad applied at the last tick
    valid: Tensor  # (B, A) bool, on the road now
    done: Tensor  # (B, A) bool, has left for good
    lane: Tensor  # (B, A) int64, lane followed (the target lane during a lane change); -1: none
    s: Tensor  # (B, A) m along it
    d: Tensor  # (B, A) m left of it
    shift: Tensor  # (B, A) m, lateral reference offset still to be worked off by a lane change
    origin: Tensor  # (B, A) int64, lane being left during a change, else = lane
    set_speed: Tensor  # (B, A) m/s, speed wanted by discrete manoeuvres
    cooldown: Tensor  # (B, A) int64 ticks until the next lane change may start
    fired: Tensor  # (B, A) int64 tick at which the script fired, -1: not yet
    waited: Tensor  # (B, A) int64 ticks at rest (for stop signs and deadlocks)
    released: Tensor  # (B, A) int64, lane whose stop sign has been obeyed; -1: none
    stats: Stats


class Out(NamedTuple):
    """What one decision step tells. Collisions etc. are edges: True in the step in which it first happened."""

    arrived: Tensor  # (B, N) bool
    collision: Tensor  # (B, N) bool
    collision_fault: Tensor  # (B, N) bool
    off_road: Tensor  # (B, N) bool
    wrong_way: Tensor  # (B, N) bool
    red_light: Tensor  # (B, N) bool
    stop_sign: Tensor  # (B, N) bool, one was run
    stopped: Tensor  # (B, N) bool, one was obeyed
    haste: Tensor  # (B, N) m/s, by how much too fast to come to rest calmly where a red light or a stop sign asks for it
    lost: Tensor  # (B, N) bool, left the map or can no longer reach the destination
    progress: Tensor  # (B, N) m gained along the route in this decision step
    terminated: Tensor  # (B, N) bool
    truncated: Tensor  # (B,) bool
    touched: Tensor  # (B, A) bool, overlaps any other agent now (all pairs)


@dataclass(frozen=True, kw_only=True)
class DrivingConfig:
    """How worlds are simulated and shown. Raises ConfigError on nonsense."""

    agents: int = 32  # A, slots per world, at most 64, a multiple of 8
    learners: int = 1  # N, first slots driven by the policy
    dt: float = 0.1  # s, physics tick
    ticks_per_step: int = 2  # decisions every dt * ticks_per_step seconds
    action: str = "continuous"  # continuous | discrete | trajectory
    observation: str = "truth"  # truth | visible | noisy | perceived | pixels
    nearest: int = 12  # K, objects shown
    view_range: float = 100.0  # m
    view_fov: float = 6.283185307179586  # rad, field of view of `visible`, centred on the heading
    forecasts: int = 0  # M, likeliest futures shown of each object (0: none, and no uncertainties)
    detector: str = "detector_driving"  # of `perceived`: a name, a file, "onnx:FILE" or "package.module:attribute"
    tracker: str = "kalman"  # of levels with a perception stack: kalman, imm (knows who stands) or "package.module:attribute"
    predictor: str = "constant_velocity"  # of `forecasts`: a name, a file or "package.module:attribute"
    noise: str = "noise_driving"  # of `noisy`: the error model, a name or a card's file
    recall: float = 1.0  # of `noisy`: share kept of what the error model would detect
    position: float = 1.0  # of `noisy`: factor on the error model's errors of place
    cameras: str = "front"  # of `perceived` and `pixels`: front, left, right, rear, joined by "+"
    weather: str = "any"  # seen by the cameras: any (drawn per episode), clear, fog, rain or night
    perceive_every: int = 1  # decision steps from one run of the detector to the next
    latency: int = 0  # decision steps from a frame to the arrival of what was seen in it
    drop: float = 0.0  # share of frames lost
    autopilot: bool = False  # the traffic model drives the learners too (the IDM baseline)
    steer_bias: float = 0.0  # share of the widest steering angle by which the learners' wheels stand off, left positive; a planted fault
    brake_limit: float = 1.0  # share of the strongest braking that the learners' brakes still give; a planted fault

    def __post_init__(self) -> None:
        if not 1 <= self.agents <= 64 or self.agents % 8:
            raise ConfigError(f"agents={self.agents}: must be a multiple of 8 between 8 and 64")
        if not 1 <= self.learners <= self.agents:
            raise ConfigError(f"learners={self.learners}: must be between 1 and agents={self.agents}")
        if not 0.01 <= self.dt <= 0.5:
            raise ConfigError(f"dt={self.dt}: must be between 0.01 and 0.5 s")
        if self.ticks_per_step < 1:
            raise ConfigError(f"ticks_per_step={self.ticks_per_step}: must be at least 1")
        if self.action not in ("continuous", "discrete", "trajectory"):
            raise ConfigError(f"action={self.action!r}: must be 'continuous', 'discrete' or 'trajectory'")
        if self.observation not in LEVELS:
            raise ConfigError(f"observation={self.observation!r}: must be one of {', '.join(map(repr, LEVELS))}")
        if self.perceive_every < 1:
            raise ConfigError(f"perceive_every={self.perceive_every}: must be at least 1")
        if self.latency < 0:
            raise ConfigError(f"latency={self.latency}: must not be negative")
        if not 0.0 <= self.drop <= 1.0:
            raise ConfigError(f"drop={self.drop}: must be between 0 and 1")
        if not 0.0 <= self.recall <= 1.0:
            raise ConfigError(f"recall={self.recall}: must be between 0 and 1")
        if not 0.0 <= self.position <= 100.0:
            raise ConfigError(f"position={self.position}: must be between 0 and 100")
        if self.observation != "noisy" and (self.recall, self.position) != (1.0, 1.0):
            raise ConfigError(
                f"recall={self.recall}, position={self.position}: only observation='noisy' has an error model to change, "
                f"not {self.observation!r}"
            )
        if not 0 <= self.forecasts <= 6:
            raise ConfigError(f"forecasts={self.forecasts}: must be between 0 and 6")
        if self.observation == "pixels" and self.forecasts:
            raise ConfigError(f"forecasts={self.forecasts}: observation='pixels' shows images, no objects whose future could be told")
        if not -1.0 <= self.steer_bias <= 1.0:
            raise ConfigError(f"steer_bias={self.steer_bias}: must be between -1 and 1")
        if not 0.0 < self.brake_limit <= 1.0:
            raise ConfigError(f"brake_limit={self.brake_limit}: must be above 0 and at most 1")
        if self.nearest < 1:
            raise ConfigError(f"nearest={self.nearest}: must be at least 1")
        if not 0.0 < self.view_range < float("inf"):
            raise ConfigError(f"view_range={self.view_range}: must be positive and finite, in m")
        if not 0.0 < self.view_fov <= 6.2831854:
            raise ConfigError(f"view_fov={self.view_fov}: must be between 0 and 2 pi rad")
