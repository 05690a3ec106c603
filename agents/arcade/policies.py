"""Policies of arcade games by name: the expert, chance, and the paths of bundles.

Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agents.arcade.players import PLAYERS, MakePlayer
from agents.arcade.told import game_config, told_spec
from agents.policies.base import PolicyError
from envs.checks import ConfigError
from envs.games.rally.worlds import LEVELS, RallyWorlds
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from agents.policies.bundle import PolicyBundle

__all__ = ["ArcadePolicy", "Network", "arcade_labels", "load_arcade_policy"]

ACTS = ("action",)  # options that change how is acted, and not what is to be done
NUMBERS = tuple(level for level in LEVELS if level != "pixels")


@dataclass(frozen=True, kw_only=True)
class ArcadePolicy:
    """Someone who plays a game, and what worlds they have to have."""

    name: str  # what tables call it
    make: MakePlayer
    observation: str = "truth"  # level of the ladder that its worlds are on
    options: Mapping[str, Any] = field(default_factory=dict)  # of the game
    sha256: str = ""  # of a bundle

    def check_exam(self, task: str) -> None:
        """Raises PolicyError if its options make another game of it than others are judged on: a policy does not choose its exam."""
        usual, own = game_config(task), game_config(task, self.options)
        other = [f"{name}={getattr(own, name)!r} in place of {getattr(usual, name)!r}" for name in self.options if name not in ACTS]
        if replace(own, action=usual.action) != usual:
            raise PolicyError(
                f"policy {self.name!r} was trained on another {task}, with {', '.join(other)}: it cannot be judged beside others"
            )

    def worlds(self, task: str, batch: int) -> RallyWorlds:
        """Worlds of a game as this policy needs them. Raises ConfigError where there can be none."""
        return RallyWorlds(batch, game_config(task, self.options), observation=self.observation)


class Network:
    """A trained network. Its action in a world depends on nothing but what it is told there."""

    def __init__(self, bundle: PolicyBundle) -> None:
        from agents.policies.sb3 import Actor

        self.actor = Actor(bundle)

    def act(self, worlds: RallyWorlds) -> Tensor:
        """Actions (B,) or (B, 1)."""
        told = worlds.tensor()
        pictures = told.ndim > 2
        action: Tensor = self.actor(told.new_zeros(len(told), 0, dtype=torch.float32), told) if pictures else self.actor(told)
        return action


def load_arcade_policy(spec: str | Path, task: str) -> ArcadePolicy:
    """Who is meant by `spec` on a game: `expert`, `random`, or the path of a bundle or run folder; `NAME@LEVEL` is the same on another
    level of the observation ladder. Names win over paths.

    Raises ConfigError for a game that does not exist; PolicyError, with the nearest name, for a policy that does not, or that is of another
    game or level; BundleError if there is a file but it is damaged.
    """
    game_config(task)
    name = str(spec)
    if "@" in name and not Path(name).exists():
        base, _, level = name.partition("@")
        if level not in LEVELS:
            raise PolicyError(f"no observation level {level!r}; {did_you_mean(level, LEVELS) or 'known: ' + ', '.join(LEVELS)}")
        found = load_arcade_policy(base, task)
        if found.observation == "pixels":
            if level != "pixels":
                raise PolicyError(f"{name}: {found.name} was trained on pictures, a space of its own, and stays on 'pixels'")
            return found
        if level not in NUMBERS:
            raise PolicyError(f"{name}: pictures are a space of its own, and it takes numbers; it can be on {', '.join(NUMBERS)}")
        return replace(found, name=name, observation=level)
    if name in PLAYERS:
        return ArcadePolicy(name=name, make=PLAYERS[name])
    if Path(name).exists():
        return _bundled(Path(name), task)
    says = did_you_mean(name, PLAYERS)
    raise PolicyError(
        f"no policy {name!r} of arcade games: neither a known name nor an existing path{'; ' + says if says else '.'} "
        f"Known: {', '.join(PLAYERS)}"
    )


def _bundled(path: Path, task: str) -> ArcadePolicy:
    from agents.policies.bundle import load_bundle

    bundle = load_bundle(path)
    spec = bundle.spec
    if spec.arcade is None or spec.arcade.task != task:
        made = f"the arcade game {spec.arcade.task!r}" if spec.arcade else "no arcade game"
        raise PolicyError(f"policy {spec.name!r} was trained on {made}, not on {task!r}")
    if spec.observation != (now := told_spec(task, spec.arcade.observation)):
        raise PolicyError(
            f"policy {spec.name!r} was trained on {spec.observation.layout} (features {spec.observation.features[:8]}); this version makes "
            f"{now.layout} ({now.features[:8]}): train it again, or use closedloop {spec.versions.get('closedloop', 'unknown')}"
        )
    return ArcadePolicy(
        name=spec.name,
        make=lambda worlds: Network(bundle),
        observation=spec.arcade.observation,
        options=spec.arcade.options,
        sha256=bundle.sha256,
    )


def arcade_labels(specs: list[str], tasks: list[str]) -> dict[str, str]:
    """What tables call each policy: its own name, or what the user wrote where two would be called the same.

    Raises PolicyError or BundleError if one cannot play one of the games, or if one is named twice.
    """
    if len(set(specs)) < len(specs):
        raise PolicyError(f"a policy is named twice: {', '.join(specs)}")
    names: dict[str, str] = {}
    for spec in specs:
        for task in tasks:
            policy = load_arcade_policy(spec, task)
            try:
                policy.check_exam(task)
                policy.make(policy.worlds(task, 1))
            except ConfigError as error:
                raise PolicyError(f"policy {policy.name!r} on {task}: {error}") from error
            names[spec] = policy.name
    return {spec: name if list(names.values()).count(name) == 1 else spec for spec, name in names.items()}
