"""What a policy is, what it asks of the simulator, and how one is found by name.

Shapes: B worlds, N learners. A policy is a pure function of the observation, the episode's seed and the tick: asked twice, it answers
twice the same, and world b of a batch gets what it would get alone in a batch of that size.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from envs.driving.types import DrivingConfig
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from envs.driving.observation import Observation

__all__ = ["SHIELD", "WEIGHTS", "Policy", "PolicyError", "PolicyNeeds", "Told", "load_policy", "policy_names", "shipped_names"]

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # checkpoints shipped with the package: <name>.safetensors + <name>.json

SHIELD = "shield:"  # before the name of a policy: that policy behind a shield


class PolicyError(ValueError):
    """A policy could not be found or does not fit what it is asked to drive."""


@dataclass(frozen=True, kw_only=True)
class PolicyNeeds:
    """The part of `DrivingConfig` that a policy was made for. Fields and defaults, but `scene` and `told`, are those of `DrivingConfig`.

    `dt` and `ticks_per_step` together say how often it decides; worlds with another tick keep that interval as nearly as they can.
    """

    action: str = DrivingConfig.action
    observation: str = DrivingConfig.observation
    dt: float = DrivingConfig.dt  # s
    ticks_per_step: int = DrivingConfig.ticks_per_step
    nearest: int = DrivingConfig.nearest
    view_range: float = DrivingConfig.view_range  # m
    view_fov: float = DrivingConfig.view_fov  # rad
    forecasts: int = DrivingConfig.forecasts
    detector: str = DrivingConfig.detector
    tracker: str = DrivingConfig.tracker
    predictor: str = DrivingConfig.predictor
    noise: str = DrivingConfig.noise
    recall: float = DrivingConfig.recall
    position: float = DrivingConfig.position
    cameras: str = DrivingConfig.cameras
    weather: str = DrivingConfig.weather
    perceive_every: int = DrivingConfig.perceive_every
    latency: int = DrivingConfig.latency
    drop: float = DrivingConfig.drop
    autopilot: bool = DrivingConfig.autopilot
    steer_bias: float = DrivingConfig.steer_bias
    brake_limit: float = DrivingConfig.brake_limit
    scene: bool = False  # planners: told tracks, forecasts and map themselves (`agents.planners.base.Scene`) instead of numbers
    told: bool = False  # what looks at a scene besides what it, or the policy in it, sees: `act` is given a `Told`

    def config(self, *, agents: int, dt: float = 0.1, learners: int = 1) -> DrivingConfig:
        """The simulator's configuration for this policy: `agents` slots a world, ticks of `dt` s. Raises ValueError on nonsense."""
        mine = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("scene", "told")}
        mine |= {"dt": dt, "ticks_per_step": max(1, round(self.ticks_per_step * self.dt / dt))}
        return DrivingConfig(agents=agents, learners=learners, **mine)


class Told(NamedTuple):
    """A scene, and what the policy sees: for shields, and for policies that a planner drives for."""

    scene: Any  # agents.planners.base.Scene
    seen: Any  # an Observation, a PixelObservation, or the scene once more if the policy is a planner


@runtime_checkable
class Policy(Protocol):
    """Anything that drives."""

    @property
    def name(self) -> str:
        """What tables and traces call it."""
        ...

    @property
    def needs(self) -> PolicyNeeds:
        """What it asks of the simulator."""
        ...

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """The action of every learner.

        observation: fields (B, N, ...). seed (B,) int64: the episode's seed. step (B,) int64: ticks since the start of the episode.
        Returns (B, N, 2) float32, (B, N) int64 or (B, N, 20, 3) float32 as `needs.action` says; see `envs.driving.sim`. Deterministic;
        never changes its arguments.
        """
        ...


def shipped_names() -> list[str]:
    """Names of the trained checkpoints that come with the package."""
    return sorted(card.stem for card in WEIGHTS.glob("*.json") if card.with_suffix(".safetensors").exists())


def policy_names() -> list[str]:
    """Every name `load_policy` knows: the baselines first, then the planners and the shipped checkpoints."""
    from agents.planners.base import PLANNERS
    from agents.policies.baselines import BASELINES

    return [*BASELINES, *PLANNERS, *shipped_names()]


def load_policy(spec: str | Path, *, changed: Literal["warn", "refuse", "ignore"] = "warn") -> Policy:
    """The policy that `spec` names: a baseline, a planner, a shipped checkpoint, or the path of a bundle.

    Of run folders their `policy` is used.

    Names win over paths: write `./idm` for a folder called idm. `NAME@LEVEL` is the same policy on another level of the observation
    ladder, see `agents.policies.levels`; `NAME~FAULT=VALUE,...`, before the level, the policy with faults planted in it, see
    `agents.policies.perturbed`; `shield:NAME`, before all that, what a shield overrides in an emergency, see `agents.planners.shield`.
    changed: what to do about a policy that would see through other perception weights than those it was
    trained with, see `agents.policies.pins`: a `PerceptionChanged` warning, a PolicyError, or nothing. Raises PolicyError, with the
    nearest name, if there is no such policy; `agents.policies.bundle.BundleError` if there is a file but it is damaged.
    """
    policy = _load(spec)
    if changed != "ignore":
        from agents.policies.pins import PerceptionChanged, weights_changed

        if says := weights_changed(policy, str(spec)):
            if changed == "refuse":
                raise PolicyError(says)
            warnings.warn(says, PerceptionChanged, stacklevel=2)
    return policy


def _load(spec: str | Path) -> Policy:
    from agents.planners.base import PLANNERS
    from agents.policies.baselines import BASELINES

    name = str(spec)
    if name.startswith(SHIELD) and not Path(name).exists():
        from agents.planners.shield import shielded

        return shielded(_load(name.removeprefix(SHIELD)))
    if "@" in name and not Path(name).exists():
        from agents.policies.levels import at_level

        name, level = name.split("@", 1)
        return at_level(_load(name), level)
    if "~" in name and not Path(name).exists():
        from agents.policies.perturbed import perturbed

        name, faults = name.split("~", 1)
        return perturbed(_load(name), faults)
    if name in BASELINES:
        return BASELINES[name]()
    if name in PLANNERS:
        from agents.planners.policy import PlannerPolicy

        return PlannerPolicy(name)

    from agents.policies.sb3 import load_bundle_policy

    if name in shipped_names():
        return load_bundle_policy(WEIGHTS / f"{name}.safetensors")
    path = Path(spec)
    if path.exists():
        return load_bundle_policy(path)
    known = policy_names()
    hint = did_you_mean(name, known)
    says = f"; {hint}" if hint else "."
    raise PolicyError(f"no policy {name!r}: neither a known name nor an existing path{says} Known: {', '.join(known)}")
