"""B matches: what every shell has in common. The shells add the conventions of their libraries and nothing else.

An episode is one number, its seed. Shapes: B worlds, P players who act (1: the built-in opponent is the other one), F numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from envs.checks import ConfigError, seed_from, unknown
from envs.games.arcade_worlds import LEVELS, Bools, Ints
from envs.games.rally.looking import Looking
from envs.games.rally.observation import Objects, locate, observe, screen_space, truth_space
from envs.games.rally.opponent import opponent
from envs.games.rally.raster import canvas, draw
from envs.games.rally.rules import reset, reset_where, step
from envs.games.rally.screen import Screen, ScreenConfig, looks_of
from envs.games.rally.types import RallyConfig, RallyState
from envs.robots.rng import later_seeds
from perception.states import map_tensors

__all__ = ["LEVELS", "MOVES", "RallyStep", "RallyWorlds", "RallyWorldsState"]

MOVES = 3  # discrete actions: down, stay, up


class RallyStep(NamedTuple):
    """What one decision brings; on the device of the worlds."""

    reward: Tensor  # (B, 2)
    terminated: Tensor  # (B,) bool
    truncated: Tensor  # (B,) bool
    hit: Tensor  # (B, 2) bool


@dataclass(frozen=True, kw_only=True)
class RallyWorldsState:
    """Everything that a batch of matches will ever depend on; `RallyWorlds.set_state` continues from it exactly."""

    config: RallyConfig
    screen: ScreenConfig
    observation: str
    state: RallyState
    key: Ints  # (B,) what later episodes are drawn from
    count: Ints  # (B,) episodes had since
    hits: Tensor  # (B, 2) int64, balls returned in the episode
    belief: Any = field(default=None)  # of who looks


class RallyWorlds:
    """B matches of one configuration. Implements `envs.games.arcade_worlds.ArcadeWorlds`.

    Args:
        batch: B.
        config: the rules' numbers.
        players: who act: 1, against the built-in opponent, or 2.
        observation: what they are told, one of `LEVELS`. Nothing hides anything on this screen, so `visible` is `truth`.
        screen: the pictures.
        device: where the worlds live.

    Raises ConfigError for an unknown level or another number of players, WeightsError where `perceived` has no detector.
    """

    def __init__(
        self,
        batch: int,
        config: RallyConfig | None = None,
        *,
        players: int = 1,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if observation not in LEVELS:
            raise ConfigError(unknown("observation", observation, LEVELS))
        if players not in (1, 2):
            raise ConfigError(f"players={players}: must be 1, against the built-in opponent, or 2")
        self.batch, self.config, self.players, self.observation = batch, config or RallyConfig(), players, observation
        self.screen_config, self.device, self.dt = screen or ScreenConfig(), torch.device(device), (config or RallyConfig()).dt
        self.action_space: spaces.Space[Any] = (
            spaces.Discrete(MOVES) if self.config.action == "discrete" else spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
        )
        self.observation_space = screen_space(self.screen_config.size) if observation == "pixels" else truth_space()
        self._all = torch.arange(batch, device=self.device)
        self.eye = self._eye()
        self.reset(np.arange(batch))

    def _eye(self) -> Screen | Looking | None:
        """Who looks at the screen, if anybody does."""
        if self.observation == "pixels":
            return Screen(self.batch, self.config, self.screen_config, self.device)
        if self.observation in ("noisy", "perceived"):
            return Looking(self.batch, self.config, self.screen_config, self.device, noisy=self.observation == "noisy")
        return None

    def reset(self, seeds: Ints, *, key: Ints | None = None) -> None:
        """Start the episodes `seeds` (B,). key (B,): what later ones are drawn from, by default the first ones' seeds.

        Raises ValueError for another number of seeds, or what is no seed (see `seed_from`).
        """
        if np.shape(seeds) != (self.batch,):
            raise ConfigError(f"seeds of shape {np.shape(seeds)} for {self.batch} worlds")
        first = np.array([seed_from(seed) for seed in seeds], dtype=np.int64)
        self.key, self.count = (first if key is None else np.array(key, dtype=np.int64)).copy(), np.zeros(self.batch, dtype=np.int64)
        self.state = reset(torch.from_numpy(first).to(self.device), self.config)
        self.hits = torch.zeros_like(self.state.score)
        if self.eye:
            self.eye.start(self.state, self._all)

    def reset_where(self, mask: Bools) -> None:
        """Start another episode in the worlds of `mask` (B,)."""
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self.count[rows] += 1
        seeds = self.seeds
        seeds[rows] = later_seeds(self.key[rows], rows.astype(np.int64), self.count[rows])
        chosen = torch.from_numpy(np.asarray(mask, dtype=np.bool_)).to(self.device)
        self.state = reset_where(chosen, reset(torch.from_numpy(seeds).to(self.device), self.config), self.state)
        self.hits = torch.where(chosen[:, None], 0, self.hits)
        if self.eye:
            self.eye.start(self.state, torch.from_numpy(rows).to(self.device))

    @property
    def seeds(self) -> Ints:
        """(B,) of the episodes running, copied."""
        return np.array(self.state.seed.cpu().numpy(), dtype=np.int64)

    @property
    def steps(self) -> Ints:
        """(B,) decisions taken in them."""
        return np.array(self.state.step.cpu().numpy(), dtype=np.int64)

    def command(self, action: Any) -> Tensor:
        """Actions as (B, P) in [-1, 1]. They are (B, P) or (B, P, 1), of one player also (B,) or (B, 1), of one world without the B.

        Raises ValueError for a wrong shape, for what is not finite, and for discrete ones that are no whole number from 0 to 2.
        """
        given = action if isinstance(action, Tensor) else torch.from_numpy(np.asarray(action))
        if given.numel() != self.batch * self.players or given.dim() > 3:
            raise ValueError(f"actions of shape {tuple(given.shape)} for {self.batch} worlds of {self.players} players")
        given = given.to(self.device).reshape(self.batch, self.players)
        if self.config.action == "discrete":
            if given.is_floating_point() or given.dtype == torch.bool or bool(((given < 0) | (given >= MOVES)).any()):
                raise ValueError(f"discrete actions are 0 down, 1 stay, 2 up; got {given.flatten()[:8].tolist()}")
            return given.to(torch.float32) - 1.0
        real = given.to(torch.float32)
        if not bool(torch.isfinite(real).all()):
            raise ValueError("an action is not finite")
        return real.clamp(-1.0, 1.0)

    def step(self, action: Any) -> RallyStep:
        """One decision in every world. Raises as `command` does."""
        chosen = self.command(action)
        if self.players == 1:
            chosen = torch.stack((chosen[:, 0], opponent(self.state, self.config)), -1)
        self.state, out = step(self.state, chosen, self.config)
        self.hits = self.hits + out.hit
        if self.eye:
            self.eye.look(self.state)
        return RallyStep(out.reward, out.terminated, out.truncated, out.hit)

    def objects(self) -> Objects:
        """Where things are believed to be."""
        return self.eye.objects() if isinstance(self.eye, Looking) else locate(self.state)

    def tensor(self, player: int = 0) -> Tensor:
        """What a player is told now, on the device: (B, F) float32, or (B, 4, H, W) uint8."""
        return self.eye.observe(player) if isinstance(self.eye, Screen) else observe(self.objects(), player)

    def observe(self, player: int = 0) -> NDArray[Any]:
        """The same as a fresh array."""
        return np.array(self.tensor(player).cpu().numpy())

    def traced(self) -> NDArray[np.float32]:
        """(B, 6) places and the ball's velocity, for fingerprints."""
        parts = (self.state.ball, self.state.velocity, self.state.paddle)
        return np.concatenate([part.cpu().numpy() for part in parts], axis=1)

    def metrics(self, player: int = 0) -> dict[str, NDArray[np.floating[Any]]]:
        """Figures of the episodes as they are now, (B,) each: success (ahead), return (points won less points lost), won, lost, share (of
        the points that was won; a half before there are any), hits and seconds."""
        score, hits = (part.cpu().numpy().astype(np.float64) for part in (self.state.score, self.hits))
        won, lost = score[:, player], score[:, 1 - player]
        return {
            "success": (won > lost).astype(np.float64),
            "return": won - lost,
            "won": won,
            "lost": lost,
            "share": np.where(won + lost > 0.0, won / np.maximum(won + lost, 1.0), 0.5),
            "hits": hits[:, player],
            "seconds": self.steps * self.dt,
        }

    def pictures(self, rows: Tensor | None = None, *, size: int = 336) -> NDArray[np.uint8]:
        """(n, size, size, 3), worlds `rows` as people see them; all of them without."""
        chosen = self._all if rows is None else rows
        state = RallyState(*(part[chosen] for part in self.state))
        looks = looks_of(state.seed, self.screen_config)
        image = draw(state, looks, canvas(looks, size), self.config)
        return np.ascontiguousarray(image.permute(0, 2, 3, 1).cpu().numpy())

    def picture(self, world: int, *, size: int = 336) -> NDArray[np.uint8]:
        """(size, size, 3) of one world."""
        (found,) = self.pictures(self._all[world : world + 1], size=size)
        return np.asarray(found)

    def close(self) -> None:
        """Nothing to release."""

    def get_state(self) -> RallyWorldsState:
        """A deep copy of all that the future depends on."""
        return RallyWorldsState(
            config=self.config,
            screen=self.screen_config,
            observation=self.observation,
            state=RallyState(*(part.clone() for part in self.state)),
            key=self.key.copy(),
            count=self.count.copy(),
            hits=self.hits.clone(),
            belief=map_tensors(torch.clone, self.eye.belief) if self.eye else None,
        )

    def set_state(self, saved: RallyWorldsState) -> None:
        """Continue exactly from `saved`. Raises ValueError if it is of another number of worlds, configuration or level."""
        ours, theirs = (self.config, self.screen_config, self.observation), (saved.config, saved.screen, saved.observation)
        if ours != theirs or saved.state.seed.shape != (self.batch,):
            raise ConfigError(f"a state of {len(saved.state.seed)} worlds with {theirs}: here are {self.batch} with {ours}")
        self.state = RallyState(*(part.to(self.device).clone() for part in saved.state))
        self.key, self.count, self.hits = saved.key.copy(), saved.count.copy(), saved.hits.to(self.device).clone()
        if self.eye:
            self.eye.resume(self.state, saved.belief)
