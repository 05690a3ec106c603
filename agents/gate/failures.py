"""What went wrong, and under which circumstances: from a result and its trace to a class of failure, and from many to clusters.

Shapes: A agents of an episode, S decision steps. World frame, SI units; the ego is slot 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.playback.trace import Trace
from scenarios.episode import Role

__all__ = [
    "CLASSES",
    "Circumstances",
    "circumstances",
    "failure_of",
    "moment_of",
    "nearest_first",
    "shares",
    "side_of",
    "speed_band",
    "worded",
]

# metric -> what its failure is called; the first that holds is the class
CLASSES = {
    "collision_at_fault": "collision at fault",
    "collision": "collision",
    "off_road": "off road",
    "wrong_way": "against traffic",
    "red_light": "red light run",
    "stop_sign": "stop sign run",
}
ENDS = {"lost": "cannot reach the goal any more", "time": "time ran out"}  # by the end of the episode, where no metric says more
BANDS = (0.5, 5.0, 10.0, 20.0, 30.0)  # m/s, edges of the speed bands
HIT = ("collision at fault", "collision")
ANGLE = math.radians(45.0)  # headings that differ by less go the same way, by more than 180 - 45 degrees against each other
STANDS = 0.5  # m/s


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """How things stood when it went wrong. "" where it does not apply."""

    failure: str  # of `CLASSES` or `ENDS`
    moment: float  # s since the start of the episode
    speed: float  # m/s of the ego
    other: str = ""  # what was hit: a kind of road user, "parked car"
    side: str = ""  # of the ego on which that was: front, rear, left, right
    motion: str = ""  # of that, relative to the ego: standing, same way, oncoming, crossing
    weather: str = ""  # where cameras look
    cause: str = ""  # where the policy is not told the truth: `agents.evaluation.struck.CAUSES`


def failure_of(end: str, metrics: Mapping[str, float | None]) -> str:
    """The class of failure of a result; "" for a success."""
    if metrics.get("success"):
        return ""
    return next((name for metric, name in CLASSES.items() if metrics.get(metric)), ENDS.get(end, "no success"))


def circumstances(trace: Trace, failure: str, *, cause: str = "") -> Circumstances:
    """From the candidate's trace. cause: what was believed of the thing hit, if that is known."""
    k = moment_of(trace, failure)
    states, agents = trace.states, trace.episode.agents
    common = {
        "failure": failure, "moment": float(trace.times[k]), "speed": float(abs(states["speed"][k, 0])), "weather": _weather(trace),
    }  # fmt: skip
    slot = _struck(trace, k) if failure in HIT else 0
    if slot == 0:
        return Circumstances(**common)  # type: ignore[arg-type]
    other = agents[slot]
    kind = other.kind.name.lower()
    turn = abs(math.remainder(float(states["yaw"][k, slot] - states["yaw"][k, 0]), 2.0 * math.pi))
    stands = abs(float(states["speed"][max(k - 1, 0), slot])) < STANDS
    motion = "standing" if stands else "same way" if turn < ANGLE else "oncoming" if turn > math.pi - ANGLE else "crossing"
    return Circumstances(
        **common,  # type: ignore[arg-type]
        other=f"parked {kind}" if other.role is Role.STATIC else kind,
        side=side_of(*_ahead_left(trace, k, slot), agents[0].length),
        motion=motion,
        cause=cause if trace.config.observation != "truth" else "",
    )


def moment_of(trace: Trace, failure: str) -> int:
    """The index of the state in which it happened: the first step that says so, else the last."""
    metric = next((metric for metric, name in CLASSES.items() if name == failure), "")
    flag = {"collision_at_fault": "collision_fault"}.get(metric, metric)
    steps: list[int] = np.flatnonzero(trace.outs[flag][:, 0]).tolist() if flag else []
    return steps[0] + 1 if steps else trace.steps


def side_of(ahead: float, left: float, length: float) -> str:
    """Where something with its centre (ahead, left) m of the ego's is: beyond its bumpers front or rear, beside it left or right."""
    if abs(ahead) > 0.5 * length:
        return "front" if ahead > 0.0 else "rear"
    return "left" if left > 0.0 else "right"


def speed_band(speed: float) -> str:
    """The band that a speed m/s falls into, in words."""
    k = sum(speed >= edge for edge in BANDS)
    if k == 0:
        return "standing"
    return f"{BANDS[k - 1]:g} to {BANDS[k]:g} m/s" if k < len(BANDS) else f"{BANDS[-1]:g} m/s and more"


def nearest_first(trace: Trace) -> list[int]:
    """Slots of the others, those first that came nearest to the ego; who was never there at the end."""
    count = len(trace.episode.agents)
    x, y, valid = (trace.states[name][:, :count].astype(np.float64) for name in ("x", "y", "valid"))
    gap = np.where((valid[:, 1:] > 0) & (valid[:, :1] > 0), np.hypot(x[:, 1:] - x[:, :1], y[:, 1:] - y[:, :1]), np.inf).min(axis=0)
    return [int(i) + 1 for i in np.argsort(gap, kind="stable")]


def worded(failure: str, family: str, other: str, side: str) -> str:
    """A cluster in words: "collision at fault with a car on the left, in merge"."""
    where = {"front": " ahead", "rear": " behind", "left": " on the left", "right": " on the right"}.get(side, "")
    return failure + (f" with a {other}{where}" if other else "") + f", in {family}"


def shares(found: Sequence[tuple[str, Circumstances]]) -> dict[str, dict[str, int]]:
    """How often which circumstance, among members (stratum, circumstances) of a cluster; those that do not apply are left out."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("scenario", "speed", "motion", "weather", "cause")}
    for stratum, each in found:
        values = {"scenario": stratum, "speed": speed_band(each.speed), "motion": each.motion, "weather": each.weather, "cause": each.cause}
        for name, value in values.items():
            if value:
                counts[name][value] += 1
    return {name: dict(count.most_common()) for name, count in counts.items() if count}


def _struck(trace: Trace, k: int) -> int:
    """The slot that the ego touches in state k, the deepest in it; 0: none."""
    touched = trace.outs["touched"][k - 1] if k else np.zeros(0, bool)
    agents, best, depth = trace.episode.agents, 0, math.inf
    for slot in range(1, len(agents)):
        if not touched[slot]:
            continue
        ahead, left = _ahead_left(trace, k, slot)
        gap = max(abs(ahead) - 0.5 * agents[0].length, abs(left) - 0.5 * agents[0].width)
        reach = 0.5 * math.hypot(agents[slot].length, agents[slot].width)
        if gap <= reach and gap - reach < depth:
            best, depth = slot, gap - reach
    return best


def _ahead_left(trace: Trace, k: int, slot: int) -> tuple[float, float]:
    """Of the centre of an agent from the ego's, m in the ego's frame."""
    x, y, yaw = (trace.states[name][k].astype(np.float64) for name in ("x", "y", "yaw"))
    dx, dy, cos, sin = x[slot] - x[0], y[slot] - y[0], math.cos(yaw[0]), math.sin(yaw[0])
    return float(dx * cos + dy * sin), float(dy * cos - dx * sin)


def _weather(trace: Trace) -> str:
    """What the cameras look through; "" where there are none."""
    config = trace.config
    if config.observation not in ("perceived", "pixels"):
        return ""
    import torch

    from envs.driving.camera.config import CONDITIONS, CameraConfig
    from envs.driving.camera.weather import draw_weather

    camera = CameraConfig(cameras=tuple(config.cameras.split("+")), weather=config.weather)
    return CONDITIONS[int(draw_weather(torch.tensor([trace.episode.seed]), camera).condition[0])]
