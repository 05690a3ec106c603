"""Policies of robot tasks by name: experts, sampling and chance, checkpoints that come with the package, and the paths of bundles.

Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.policies.base import PolicyError
from agents.policies.images import rows_of
from agents.policies.robot_spec import ROBOT_WEIGHTS, shipped_tasks
from agents.policies.shipped import HERE, TRAINED, shipped_file
from agents.robots.players import PLAYERS, PREDICTOR, MakePlayer, expert_forecasts
from agents.robots.sampling import SamplingPlanner
from agents.robots.told import flat, told_spec
from envs.checks import ConfigError
from envs.robots.physics import Floats
from envs.robots.registry import task_named
from envs.robots.robots import Robots
from envs.robots.sight import SightConfig
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from agents.policies.bundle import PolicyBundle

__all__ = ["TRAINED", "Network", "RobotPolicy", "check_fits", "load_robot_policy", "robot_policy_names"]

ACTS = ("control",)  # options that change what actions mean, and not what is to be done


@dataclass(frozen=True, kw_only=True)
class RobotPolicy:
    """Someone who acts on a robot task, and what worlds it has to have."""

    name: str  # what tables call it
    make: MakePlayer
    observation: str = "truth"  # level of the ladder that its worlds are on
    options: Mapping[str, Any] = field(default_factory=dict)  # of the task
    sight: SightConfig | None = None  # how it sees; None: as everybody does
    sha256: str = ""  # of a bundle, or of the network that forecasts for it
    perception: Mapping[str, str] = field(default_factory=dict)  # stage -> sha256 of the weights that a bundle was trained to see through

    def check_exam(self, task: str) -> None:
        """Raises PolicyError if its options make another task of it than others are judged on: a policy does not choose its exam."""
        usual, own = task_named(task), task_named(task, **self.options)
        other = [
            f"{name}={getattr(own, name)!r} in place of {getattr(usual, name)!r}"
            for name in self.options
            if name not in ACTS and getattr(own, name) != getattr(usual, name)
        ]
        if other:
            raise PolicyError(
                f"policy {self.name!r} was trained on another {task}, with {', '.join(other)}: it cannot be judged beside policies of the "
                f"task as it is. Train it without these robot.options; {', '.join(ACTS)} may differ"
            )

    def worlds(self, task: str, batch: int, *, threads: int = 1) -> Robots:
        """Worlds of a task as this policy needs them. Raises ConfigError where there can be none, NoRenderer as `Robots`."""
        found = task_named(task, **self.options)
        return Robots(found, batch=batch, threads=threads, observation=self.observation, sight=self.sight)


class Network:
    """A trained network in some worlds. Its action in a world depends on nothing but what it is told there."""

    def __init__(self, bundle: PolicyBundle, robots: Robots) -> None:
        """Raises PolicyError if the network was made for another task, or for observations of another layout than this version's."""
        from agents.policies.sb3 import Actor

        spec = bundle.spec
        if spec.robot is None or spec.robot.task != robots.task.name:
            made = f"the robot task {spec.robot.task!r}" if spec.robot else "no robot task"
            raise PolicyError(f"policy {spec.name!r} was trained on {made}, not on {robots.task.name!r}")
        if spec.observation != (now := told_spec(robots.task, robots.observation_space)):
            raise PolicyError(
                f"policy {spec.name!r} was trained on {spec.observation.layout} (features {spec.observation.features[:8]}); this version "
                f"makes {now.layout} ({now.features[:8]}): train it again, or use closedloop {spec.versions.get('closedloop', 'unknown')}"
            )
        self.actor = Actor(bundle)

    def act(self, robots: Robots) -> Floats:
        """Actions (B, n) in [-1, 1]."""
        observation = robots.observe()
        action: Floats = self.actor(*rows_of(observation if robots.pictures else flat(observation))).numpy().astype(np.float64)
        return action


def robot_policy_names() -> list[str]:
    """Every name that `load_robot_policy` knows."""
    return [*PLAYERS, TRAINED, *shipped_tasks()]


def load_robot_policy(spec: str | Path, task: str) -> RobotPolicy:
    """Who is meant by `spec` on a task: `expert`, `expert_forecasts`, `sampling`, `random`; `trained`, which is the checkpoint that comes
    with the package for it, or the name of one; or the path of a bundle or run folder, in which `{task}` stands for the task.

    `NAME@LEVEL` is the same on another level of the observation ladder. Names win over paths: write `./expert`. Raises ConfigError for a
    task that does not exist; PolicyError, with the nearest name, for a policy that does not, or that is of another task or level;
    BundleError if there is a file but it is damaged.
    """
    task_named(task)
    name = str(spec).replace(HERE, task)
    if "@" in name and not Path(name).exists():
        base, _, level = name.partition("@")
        return _at_level(load_robot_policy(base, task), level)
    if name in PLAYERS:
        return RobotPolicy(name=name, make=PLAYERS[name], sha256=_acts_by(PLAYERS[name]))
    if shipped := shipped_file(name, task, ROBOT_WEIGHTS):
        return replace(_bundled(shipped, task), name=name)
    if Path(name).exists():
        return _bundled(Path(name), task)
    known = robot_policy_names()
    says = did_you_mean(name, known)
    hint = f"; {says}" if says else "."
    raise PolicyError(f"no policy {name!r} of robots: neither a known name nor an existing path{hint} Known: {', '.join(known)}")


def _acts_by(make: MakePlayer) -> str:
    """The sha256 of the network that is a part of who somebody is, "" where none is. Raises WeightsError."""
    if make is not expert_forecasts:
        return ""
    from perception.registry import weights_sha256

    return weights_sha256("predictor", PREDICTOR)


def _bundled(path: Path, task: str) -> RobotPolicy:
    from agents.policies.bundle import load_bundle

    bundle = load_bundle(path)
    robot, name = bundle.spec.robot, bundle.spec.name
    if robot is None or robot.task != task:
        made = f"the robot task {robot.task!r}" if robot else "no robot task"
        raise PolicyError(f"policy {name!r} was trained on {made}, not on {task!r}")
    return RobotPolicy(
        name=name,
        make=lambda robots: Network(bundle, robots),
        observation=robot.observation,
        options=robot.options,
        sight=SightConfig(frames=robot.frames) if robot.observation == "pixels" else None,
        sha256=bundle.sha256,
        perception={str(stage): sha256 for stage, sha256 in bundle.spec.perception.items()},
    )


def _at_level(policy: RobotPolicy, level: str) -> RobotPolicy:
    from envs.robots.sight import LEVELS

    levels = [known for known in LEVELS if known != "pixels"]
    if level not in LEVELS:
        raise PolicyError(f"no observation level {level!r}; {did_you_mean(level, LEVELS) or 'known: ' + ', '.join(LEVELS)}")
    if policy.observation == "pixels" and level != "pixels":
        raise PolicyError(f"{policy.name}@{level}: it was trained on pictures, a space of its own, and stays on 'pixels'")
    if policy.observation == "pixels":
        return policy
    if policy.make is SamplingPlanner and level in levels and level != "truth":
        raise PolicyError(f"{policy.name}@{level}: sampling tries out candidates on copies of the true state, so its level is truth always")
    if level not in levels:
        raise PolicyError(f"{policy.name}@{level}: pictures are a space of its own, and it takes numbers; it can be on {', '.join(levels)}")
    return replace(policy, name=f"{policy.name}@{level}", observation=level)


def check_fits(policy: RobotPolicy, task: str, *, judged: bool = True) -> None:
    """Raises PolicyError if the policy cannot act on the task, NoRenderer if it has to see and nothing renders: makes it for one world.

    judged: refuse one whose options make another task of it, too.
    """
    try:
        if judged:
            policy.check_exam(task)
        robots = policy.worlds(task, 1)
        try:
            policy.make(robots)
        finally:
            robots.close()
    except ConfigError as error:
        raise PolicyError(f"policy {policy.name!r} on {task}: {error}") from error
