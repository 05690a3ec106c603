"""Runs that begin with another run's policy (`init`): whether it fits, and what it has learned from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from agents.learning.checkpoint import load_checkpoint
from agents.learning.config import TrainConfig, TrainConfigError
from agents.policies.bundle import load_bundle
from agents.policies.sb3 import observation_spec
from agents.policies.spec import BundleSpec, ObservationSpec, RobotSpec

__all__ = ["check_beginning", "learned_from", "pinned"]


def pinned(config: TrainConfig) -> TrainConfig:
    """`config` with the sha256 of the checkpoint that it begins with. Raises TrainConfigError if another one is named, OSError."""
    if not config.init:
        return config
    found = _sha256(_checkpoint(config))
    if config.init_sha256 not in ("", found):
        raise TrainConfigError(f"init_sha256: {config.init_sha256}; the checkpoint in {config.init} has {found}")
    return config.model_copy(update={"init_sha256": found})


def check_beginning(config: TrainConfig) -> None:
    """Raises TrainConfigError, with every problem, if the networks that `config` begins with were made for other inputs or outputs.

    Raises CheckpointError, BundleError or OSError if they cannot be read.
    """
    if not config.init:
        return
    folder = Path(config.init)
    load_checkpoint(_checkpoint(config))
    pinned(config)
    last = folder / "final.safetensors"
    spec = load_bundle(last if last.exists() else folder).spec
    planner = ("a planner's wishes", "the simulator's own actions")
    pairs = (
        ("algo", config.algo, spec.algorithm),
        ("network", list(config.network), list(spec.network.sizes[1:-1])),
        ("activation", config.activation, spec.network.activation),
        ("normalise_observations", config.normalise_observations and spec.observation.size > 0, spec.normaliser is not None),
        *_domain(config, spec),
        ("planner", planner[not config.planner], planner[not spec.planner]),
    )
    problems = [f"{name}: {mine}; the policy in {folder} has {other}" for name, mine, other in pairs if mine != other]
    if said := _other_observation(_told(config), spec.observation):
        problems.append(f"{'robot' if config.task else 'driving'}: {said} the policy in {folder}")
    if problems:
        raise TrainConfigError("\n".join(["init: its networks can only go on as what they are", *problems]))


def _domain(config: TrainConfig, spec: BundleSpec) -> list[tuple[str, object, object]]:
    """What else has to be equal: of driving the kind of action, of a robot the task and how it is commanded."""
    if not config.task:
        return [("driving.action", config.driving.action, spec.action.kind)]
    if config.arcade:
        known = (spec.arcade.task, spec.arcade.options) if spec.arcade else ("none", {})
        return [("task", config.task, known[0]), ("robot.options", config.robot.told, known[1])]
    theirs = spec.robot or RobotSpec(task="none")
    pairs: list[tuple[str, object, object]] = [("task", config.task, theirs.task), ("robot.options", config.robot.told, theirs.options)]
    if "pixels" in (config.robot.observation, theirs.observation):  # the other levels tell the same numbers
        pairs += [(f"robot.{name}", getattr(config.robot, name), getattr(theirs, name)) for name in ("observation", "frames")]
    return pairs


def _told(config: TrainConfig) -> ObservationSpec:
    """What a policy trained by `config` is told."""
    if not config.task:
        return observation_spec(config.driving)
    if config.arcade:
        from agents.arcade.told import told_spec as game_spec

        return game_spec(config.task, config.robot.observation)
    from agents.robots.told import told_spec
    from envs.robots.registry import task_named
    from envs.robots.sight import SightConfig, picture_space

    task = task_named(config.task, **config.robot.options)
    pictures = config.robot.observation == "pixels"
    return told_spec(task, picture_space(task, SightConfig(frames=config.robot.frames)) if pictures else None)


def learned_from(config: TrainConfig) -> str:
    """What a policy trained by `config` has learned from, for its card: also what it began with had."""
    kind = "arcade game" if config.arcade else "robot task"
    parts = [f"episodes of the {kind} {config.task}" if config.task else "episodes drawn from the scenarios named in the command"]
    if config.imitate:
        who = "the scripted expert" if config.imitate == "expert" else f"the planner {config.imitate}"
        parts.append(f"what {who} would do in every state")
    if config.init:
        parts.append(f"the checkpoint of {config.init} (sha256 {config.init_sha256 or 'not known'}), which learned from {_earlier(config)}")
    return ", ".join(parts) + ("" if config.init else ", nothing else")


def _earlier(config: TrainConfig) -> str:
    """What the run that was begun with says for itself: its data and its command."""
    try:
        if _sha256(_checkpoint(config)) == config.init_sha256:
            card = json.loads((Path(config.init) / "final.json").read_text(encoding="utf-8"))
            return f"({card['data']}) by `{card['command']}`"
    except (OSError, ValueError, KeyError, TypeError):
        pass  # moved away, or stopped before it had a card
    return "what its own card names"


def _other_observation(mine: ObservationSpec, other: ObservationSpec) -> str:
    if (mine.size, mine.layout) != (other.size, other.layout):
        return f"observations are {mine.size} numbers, not the {other.size} (or not made of the same parts) that are known to"
    if mine.features != other.features:
        return "observations of this version of closedloop mean something else than those of the one that made"
    return ""


def _checkpoint(config: TrainConfig) -> Path:
    return Path(config.init) / "checkpoint.safetensors"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
