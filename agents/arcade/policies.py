"""Policies of arcade games by name: experts, chance, checkpoints that come with the package, and the paths of bundles.

Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agents.arcade.players import MakePlayer, players_of
from agents.arcade.told import game_config, screen_config, told_spec
from agents.policies.arcade_spec import ARCADE_WEIGHTS, shipped_arcade
from agents.policies.base import PolicyError
from agents.policies.shipped import HERE, TRAINED, shipped_file
from envs.checks import ConfigError
from envs.games.arcade import arcade_game
from envs.games.arcade_worlds import LEVELS, ArcadeWorlds
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from agents.policies.bundle import PolicyBundle

__all__ = ["ArcadePolicy", "Network", "arcade_policy_names", "check_fits", "load_arcade_policy"]

ACTS = ("action",)  # options that change how is acted, and not what is to be done
NUMBERS = tuple(level for level in LEVELS if level != "pixels")


@dataclass(frozen=True, kw_only=True)
class ArcadePolicy:
    """Someone who plays a game, and what worlds they have to have."""

    name: str  # what tables call it
    make: MakePlayer
    observation: str = "truth"  # level of the ladder that its worlds are on
    options: Mapping[str, Any] = field(default_factory=dict)  # of the game
    screen: Any = None  # how it sees, a ScreenConfig of the game; None: as everybody does
    sha256: str = ""  # of a bundle
    perception: Mapping[str, str] = field(default_factory=dict)  # stage -> sha256 of the weights that a bundle was trained to see through

    def check_exam(self, task: str) -> None:
        """Raises PolicyError if its options make another game of it than others are judged on: a policy does not choose its exam."""
        usual, own = game_config(task), game_config(task, self.options)
        other = [f"{name}={getattr(own, name)!r} in place of {getattr(usual, name)!r}" for name in self.options if name not in ACTS]
        if replace(own, **{name: getattr(usual, name) for name in ACTS if hasattr(usual, name)}) != usual:
            raise PolicyError(
                f"policy {self.name!r} was trained on another {task}, with {', '.join(other)}: it cannot be judged beside others"
            )

    def worlds(self, task: str, batch: int) -> ArcadeWorlds:
        """Worlds of a game as this policy needs them. Raises ConfigError where there can be none, WeightsError, ModuleNotFoundError."""
        return arcade_game(task).worlds(batch, game_config(task, self.options), observation=self.observation, screen=self.screen)


class Network:
    """A trained network. Its action in a world depends on nothing but what it is told there."""

    def __init__(self, bundle: PolicyBundle) -> None:
        from agents.policies.sb3 import Actor

        self.actor = Actor(bundle)

    def act(self, worlds: ArcadeWorlds) -> Tensor:
        """Actions (B,) or (B, 1)."""
        told = worlds.tensor()
        pictures = told.ndim > 2
        action: Tensor = self.actor(told.new_zeros(len(told), 0, dtype=torch.float32), told) if pictures else self.actor(told)
        return action


def arcade_policy_names(task: str) -> list[str]:
    """Every name that `load_arcade_policy` knows on a game; of checkpoints that ship, those of other games too."""
    return [*players_of(task), TRAINED, *shipped_arcade()]


def load_arcade_policy(spec: str | Path, task: str) -> ArcadePolicy:
    """Who is meant by `spec` on a game: `expert`, `random`; `trained`, which is the checkpoint that comes with the package for it, or the
    name of one; or the path of a bundle or run folder, in which `{task}` stands for the game.

    `NAME@LEVEL` is the same on another level of the observation ladder, `NAME@perceived,detector=FILE` through another detector: fields of
    the game's ScreenConfig follow the level. Names win over paths: write `./expert`. Raises ConfigError for a game that does not exist;
    PolicyError, with the nearest name, for a policy that does not, or that is of another game or level; BundleError if there is a file but
    it is damaged.
    """
    game_config(task)
    name = str(spec).replace(HERE, task)
    if "@" in name and not Path(name).exists():
        base, _, text = name.partition("@")
        level, *rest = text.split(",")
        if level not in LEVELS:
            raise PolicyError(f"no observation level {level!r}; {did_you_mean(level, LEVELS) or 'known: ' + ', '.join(LEVELS)}")
        found = load_arcade_policy(base, task)
        if found.observation == "pixels":
            if level != "pixels":
                raise PolicyError(f"{name}: {found.name} was trained on pictures, a space of its own, and stays on 'pixels'")
            return replace(found, screen=_seen(rest, task, name) or found.screen)
        if level not in NUMBERS:
            raise PolicyError(f"{name}: pictures are a space of its own, and it takes numbers; it can be on {', '.join(NUMBERS)}")
        return replace(found, name=f"{found.name}@{text}", observation=level, screen=_seen(rest, task, name) or found.screen)
    if name in (players := players_of(task)):
        return ArcadePolicy(name=name, make=players[name])
    if shipped := shipped_file(name, task, ARCADE_WEIGHTS):
        return replace(_bundled(shipped, task), name=name)
    if Path(name).exists():
        return _bundled(Path(name), task)
    known = arcade_policy_names(task)
    says = did_you_mean(name, known)
    raise PolicyError(
        f"no policy {name!r} of {task}: neither a known name nor an existing path{'; ' + says if says else '.'} Known: {', '.join(known)}"
    )


def _seen(given: list[str], task: str, name: str) -> Any:
    """What `detector=FILE` and the like after a level say of how the screen is seen, None without any. Raises PolicyError."""
    pairs = [part.partition("=") for part in given]
    if strange := [part for part, (_, equals, _) in zip(given, pairs, strict=True) if not equals]:
        raise PolicyError(f"{name}: {strange[0]!r} after the level: options are name=value")
    try:
        return screen_config(task, {key: value for key, _, value in pairs})
    except ConfigError as error:
        raise PolicyError(f"{name}: {error}") from None


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
        screen=screen_config(task, spec.arcade.screen),
        sha256=bundle.sha256,
        perception={str(stage): sha256 for stage, sha256 in spec.perception.items()},
    )


def check_fits(policy: ArcadePolicy, task: str, *, judged: bool = True) -> None:
    """Raises PolicyError if the policy cannot play the game, WeightsError if what it sees through is not there: makes it for one world.

    judged: refuse one whose options make another game of it, too.
    """
    try:
        if judged:
            policy.check_exam(task)
        policy.make(policy.worlds(task, 1))
    except ConfigError as error:
        raise PolicyError(f"policy {policy.name!r} on {task}: {error}") from error
