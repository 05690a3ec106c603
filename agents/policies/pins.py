"""Whether a trained policy still sees through the perception weights it was trained with.

A policy names its detector, predictor and noise model; what a name stands for can change. So its description holds their sha256 too
(`BundleSpec.perception`), and whoever drives it with others under the same names is told. Naming others on purpose is no change:
`highway_perceived@perceived,detector=FILE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agents.policies.spec import Stage
from perception.registry import weights_sha256

if TYPE_CHECKING:
    from agents.arcade.policies import ArcadePolicy
    from agents.policies.base import Policy
    from agents.policies.bundle import PolicyBundle
    from agents.robots.policies import RobotPolicy

__all__ = [
    "PerceptionChanged", "Sees", "arcade_weights", "arcade_weights_changed", "perception_weights", "robot_weights", "robot_weights_changed",
    "weights_changed",
]  # fmt: skip


class PerceptionChanged(UserWarning):
    """A policy is about to see through other weights than those it was trained with."""


class Sees(Protocol):
    """What says which stages a policy sees through: a `PolicyNeeds`, `DrivingSpec` or `DrivingConfig`."""

    @property
    def observation(self) -> str: ...
    @property
    def forecasts(self) -> int: ...
    @property
    def detector(self) -> str: ...
    @property
    def predictor(self) -> str: ...
    @property
    def noise(self) -> str: ...


def _stages(needs: Sees) -> dict[Stage, str]:
    """The stages that are looked through, by the names they have there."""
    used: dict[Stage, str] = {}
    if needs.observation == "perceived":
        used["detector"] = needs.detector
    if needs.observation == "noisy":
        used["noise"] = needs.noise
    if needs.forecasts:
        used["predictor"] = needs.predictor
    return used


def perception_weights(needs: Sees) -> dict[Stage, str]:
    """The sha256 of the weights of every stage that is looked through, as they are now; stages without weights are left out.

    Raises the ValueError or OSError of weights that cannot be had.
    """
    found = {stage: weights_sha256(stage, name) for stage, name in _stages(needs).items()}
    return {stage: sha256 for stage, sha256 in found.items() if sha256}


def robot_weights(observation: str) -> dict[Stage, str]:
    """The sha256 of what policies of robot tasks see through on a level of the observation ladder, as it is now; empty if nothing.

    Raises WeightsError for weights that cannot be had.
    """
    from envs.robots.noise_card import load_noise
    from envs.robots.sight import SightConfig

    return _on_level(observation, SightConfig.detector, lambda: load_noise(SightConfig.noise).sha256)


def arcade_weights(task: str, observation: str, screen: Any = None) -> dict[Stage, str]:
    """The same of policies of an arcade game. screen: its ScreenConfig, or options of it; None: the usual one."""
    from agents.arcade.told import screen_config
    from envs.games.arcade import arcade_game

    game = arcade_game(task)
    given = screen_config(task, screen) if isinstance(screen, Mapping) else screen
    seeing: Mapping[Any, str] = game.seeing(observation, given or game.screen())
    found: dict[Stage, str] = {stage: weights_sha256(stage, name) for stage, name in seeing.items()}
    return {stage: sha256 for stage, sha256 in found.items() if sha256}


def _on_level(observation: str, detector: str, noise: Callable[[], str]) -> dict[Stage, str]:
    """noise: tells the error model's sha256."""
    if observation == "perceived":
        return {"detector": weights_sha256("detector", detector)}
    return {"noise": noise()} if observation == "noisy" else {}


def robot_weights_changed(policy: RobotPolicy) -> str:
    """As `weights_changed`, of a policy of a robot task. On another level than that of its training it sees otherwise on purpose."""
    return _changes(policy, robot_weights(policy.observation))


def arcade_weights_changed(policy: ArcadePolicy, task: str) -> str:
    """The same of a policy of an arcade game."""
    return _changes(policy, arcade_weights(task, policy.observation, policy.screen))


def _changes(policy: RobotPolicy | ArcadePolicy, weights: Mapping[Stage, str]) -> str:
    now: Mapping[str, str] = {str(stage): sha256 for stage, sha256 in weights.items()}
    changes = [
        f"the {stage} with sha256 {pinned[:16]}..., and here it is {now[stage][:16]}..."
        for stage, pinned in policy.perception.items()
        if stage in now and now[stage] != pinned
    ]
    if not changes:
        return ""
    says = "figures that were published for it do not hold. Bring those weights back, or train it again"
    return f"{policy.name} was trained with {' and '.join(changes)}: {says}"


def weights_changed(policy: Policy, called: str = "") -> str:
    """What to tell whoever drives `policy`, or "" if it sees through what it was trained with, or through something else on purpose.

    called: what the user calls it. Weights that cannot be had are not told of: the simulator will.
    """
    bundle: PolicyBundle | None = getattr(policy, "bundle", None)
    if bundle is None or bundle.spec.driving is None:
        return ""
    called = called or policy.name
    meant: frozenset[str] = getattr(policy, "chosen", frozenset())
    then, now = _stages(bundle.spec.driving), _stages(policy.needs)
    changes = []
    for stage, pinned in bundle.spec.perception.items():
        if stage in meant or stage not in now or now[stage] != then.get(stage):
            continue
        try:
            here = weights_sha256(stage, now[stage])
        except (ValueError, OSError):
            continue
        if here != pinned:
            changes.append(f"the {stage} {now[stage]!r} with sha256 {pinned[:16]}..., and here it has {here[:16] or 'none'}...")
    if not changes:
        return ""
    stages = " and ".join(changes)
    option = ",".join(f"{stage}=..." for stage in bundle.spec.perception)
    base = called.partition("@")[0]
    return (
        f"{called} was trained with {stages}: figures that were published for it do not hold. Bring those weights back, train it again, or "
        f"say that others are meant: {base}@{policy.needs.observation},{option}"
    )
