"""B games: what every shell has in common. The shells add the conventions of their libraries and nothing else.

An episode is one number, its seed: it says how many frames pass before we may act, and in which frames the last action is held. Shapes: B
worlds, T = skip + 1 frames, F numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from envs.checks import ConfigError, seed_from, unknown
from envs.games.arcade_worlds import LEVELS, Bools, Ints
from envs.games.atari.emulator import Consoles
from envs.games.atari.games import find_game
from envs.games.atari.observation import locate, screen_space, truth_space
from envs.games.atari.seeing import Grey, Looking
from envs.games.atari.types import HEIGHT, RAM, WIDTH, AtariConfig, AtariState, Bytes, Objects, ScreenConfig
from envs.robots.rng import Draws, later_seeds
from perception.states import map_tensors

__all__ = ["AtariStep", "AtariWorlds", "AtariWorldsState"]

NOOPS, STICK = 124, 125  # streams


class AtariStep(NamedTuple):
    """What one decision brings."""

    reward: Tensor  # (B, 1) points
    terminated: Tensor  # (B,) bool
    truncated: Tensor  # (B,) bool


@dataclass(frozen=True, kw_only=True)
class AtariWorldsState:
    """Everything that a batch of games will ever depend on; `AtariWorlds.set_state` continues from it exactly."""

    config: AtariConfig
    screen: ScreenConfig
    observation: str
    consoles: tuple[tuple[bytes, Bytes], ...]
    state: AtariState
    key: Ints  # (B,) what later episodes are drawn from
    count: Ints  # (B,) episodes had since
    shot: Bytes  # what was last looked at
    belief: Any  # of who looks


class AtariWorlds:
    """B games of one configuration. Implements `envs.games.arcade_worlds.ArcadeWorlds`.

    Args:
        batch: B.
        config: the game, and the rules' numbers.
        observation: what is told, one of `LEVELS`. Nothing hides anything on these screens, so `visible` is `truth`.
        screen: what is made of the screen.
        device: where observations and rewards are put; the emulator runs on the CPU.

    Raises ConfigError for an unknown level, ModuleNotFoundError without ale-py, WeightsError where `perceived` has no detector.
    """

    def __init__(
        self,
        batch: int,
        config: AtariConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if observation not in LEVELS:
            raise ConfigError(unknown("observation", observation, LEVELS))
        self.batch, self.config, self.observation = batch, config or AtariConfig(), observation
        self.screen_config = screen or ScreenConfig()
        self.game, self.dt, self.device = find_game(self.config.game), self.config.dt, torch.device(device)
        self.action_space: spaces.Space[Any] = spaces.Discrete(len(self.game.buttons))
        self.observation_space = screen_space(self.screen_config.size) if observation == "pixels" else truth_space(self.game)
        self.consoles = Consoles(batch, self.game.name, self.game.buttons)
        self.eye = self._eye()
        self._shot, self._grey = self._blank(), self.eye is not None and self.eye.shot == "grey"
        self.reset(np.arange(batch))

    def _eye(self) -> Grey | Looking | None:
        """Who looks at the screen, if anybody does."""
        if self.observation == "pixels":
            return Grey(self.batch, self.screen_config)
        if self.observation in ("noisy", "perceived"):
            return Looking(self.batch, self.game, self.screen_config, self.dt, noisy=self.observation == "noisy")
        return None

    def _blank(self) -> Bytes:
        """Room for what is looked at: two grey frames, or one in colour, of each world."""
        shape = {"grey": (2, HEIGHT, WIDTH), "colour": (HEIGHT, WIDTH, 3)}.get(self.eye.shot if self.eye else "", (0,))
        return np.zeros((self.batch, *shape), dtype=np.uint8)

    def reset(self, seeds: Ints, *, key: Ints | None = None) -> None:
        """Start the episodes `seeds` (B,). key (B,): what later ones are drawn from, by default the first ones' seeds.

        Raises ValueError for another number of seeds, or what is no seed (see `seed_from`).
        """
        if np.shape(seeds) != (self.batch,):
            raise ConfigError(f"seeds of shape {np.shape(seeds)} for {self.batch} worlds")
        first = np.array([seed_from(seed) for seed in seeds], dtype=np.int64)
        self.key, self.count = (first if key is None else np.array(key, dtype=np.int64)).copy(), np.zeros(self.batch, dtype=np.int64)
        none = torch.zeros(self.batch, dtype=torch.int64)
        self.state = AtariState(
            seed=torch.from_numpy(first.copy()),
            step=none,
            button=none.clone(),
            ram=torch.zeros((self.batch, self.config.skip + 1, RAM), dtype=torch.uint8),
            won=none.double(),
            lost=none.double(),
            lives=none.clone(),
            over=none.bool(),
        )
        self._begin(np.arange(self.batch), first)

    def reset_where(self, mask: Bools) -> None:
        """Start another episode in the worlds of `mask` (B,)."""
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self.count[rows] += 1
        self._begin(rows, later_seeds(self.key[rows], rows.astype(np.int64), self.count[rows]))

    def _begin(self, rows: Ints, seeds: Ints) -> None:
        """Start episodes `seeds` (n,) in worlds `rows` (n,): the console is switched on, and some frames pass."""
        state, chosen = self.state, torch.from_numpy(rows)
        seed = torch.from_numpy(seeds.copy())
        wait = 1 + (self.config.noops * Draws(seeds).uniform(NOOPS, 1)[:, 0]).astype(np.int64)
        ram, lives = state.ram.numpy().copy(), state.lives.numpy().copy()
        for world, frames in zip(rows.tolist(), wait.tolist(), strict=True):
            memory = np.zeros((frames, RAM), dtype=np.uint8)
            self.consoles.start(world)
            self._play(world, [0] * frames, memory)
            if frames == 1 and self._grey:
                self._shot[world, 0] = self._shot[world, 1]
            ram[world], lives[world] = memory[-1], self.consoles.lives(world)
        fresh = torch.zeros(self.batch, dtype=torch.bool).index_fill(0, chosen, True)
        self.state = AtariState(
            seed=state.seed.index_copy(0, chosen, seed),
            step=torch.where(fresh, 0, state.step),
            button=torch.where(fresh, 0, state.button),
            ram=torch.from_numpy(ram),
            won=torch.where(fresh, 0.0, state.won),
            lost=torch.where(fresh, 0.0, state.lost),
            lives=torch.from_numpy(lives),
            over=state.over & ~fresh,
        )
        if self.eye:
            self.eye.start(self.state, self._shot, chosen)

    def _play(self, world: int, buttons: list[int], ram: Bytes) -> list[float]:
        """Frames of one world, as `Consoles.play`; what has to be seen of them is kept."""
        points = self.consoles.play(world, buttons, ram, self._shot[world] if self._grey else None)
        if self.eye and self.eye.shot == "colour":
            self._shot[world] = self.consoles.screen(world)
        return points

    @property
    def seeds(self) -> Ints:
        """(B,) of the episodes running, copied."""
        return np.array(self.state.seed.numpy(), dtype=np.int64)

    @property
    def steps(self) -> Ints:
        """(B,) decisions taken in them."""
        return np.array(self.state.step.numpy(), dtype=np.int64)

    def command(self, action: Any) -> Tensor:
        """Actions as (B,) int64. They are (B,) or (B, 1), of one world also without the B.

        Raises ValueError for a wrong shape, and for what is no whole number from 0 to the number of buttons less 1.
        """
        given = action if isinstance(action, Tensor) else torch.from_numpy(np.asarray(action))
        if given.numel() != self.batch or given.dim() > 2:
            raise ValueError(f"actions of shape {tuple(given.shape)} for {self.batch} worlds")
        given, count = given.cpu().reshape(self.batch), len(self.game.buttons)
        if given.is_floating_point() or given.dtype == torch.bool or bool(((given < 0) | (given >= count)).any()):
            known = ", ".join(f"{number} {name}" for number, name in enumerate(self.game.buttons))
            raise ValueError(f"actions are {known}; got {given[:8].tolist()}")
        return given.to(torch.int64)

    def step(self, action: Any) -> AtariStep:
        """One decision in every world; nothing happens in those whose game is over. Raises as `command` does."""
        chosen, state, skip = self.command(action), self.state, self.config.skip
        held = Draws(self.seeds, self.steps).uniform(STICK, skip) < self.config.sticky  # (B, skip)
        late = np.where(held.all(axis=1), skip, (~held).argmax(axis=1)).tolist()  # frames until the button is another
        ram, lives, over = state.ram.numpy().copy(), state.lives.numpy().copy(), state.over.numpy().copy()
        ram[~over, 0] = ram[~over, -1]
        button, wish = state.button.tolist(), chosen.tolist()
        won, lost = np.zeros(self.batch), np.zeros(self.batch)
        for world in np.flatnonzero(~over).tolist():
            pressed = [button[world]] * late[world] + [wish[world]] * (skip - late[world])
            points = self._play(world, pressed, ram[world, 1:])
            button[world] = pressed[-1]
            if any(points):
                won[world] = sum(point for point in points if point > 0)
                lost[world] = -sum(point for point in points if point < 0)
            lives[world], over[world] = self.consoles.lives(world), self.consoles.over(world)
        went = ~state.over
        self.state = AtariState(
            seed=state.seed,
            step=state.step + went,
            button=torch.tensor(button),
            ram=torch.from_numpy(ram),
            won=state.won + torch.from_numpy(won),
            lost=state.lost + torch.from_numpy(lost),
            lives=torch.from_numpy(lives),
            over=torch.from_numpy(over),
        )
        if self.eye:
            self.eye.look(self.state, self._shot)
        truncated = (self.state.step >= self.config.duration) & ~self.state.over
        reward = torch.from_numpy(won - lost).to(torch.float32)[:, None]
        return AtariStep(*(part.to(self.device) for part in (reward, self.state.over, truncated)))

    def objects(self) -> Objects:
        """Where things are believed to be."""
        return self.eye.objects() if isinstance(self.eye, Looking) else locate(self.game, self.state)

    def tensor(self) -> Tensor:
        """What is told now, on the device: (B, F) float32, or (B, 4, H, W) uint8."""
        if isinstance(self.eye, Grey):
            return self.eye.belief.frames.to(self.device)
        facts = self.eye.belief.facts if self.eye else self.game.known(self.state)
        return self.game.observe(self.objects(), facts).to(self.device)

    def observe(self) -> NDArray[Any]:
        """The same as a fresh array."""
        return np.array(self.tensor().cpu().numpy())

    def traced(self) -> Bytes:
        """(B, skip * 128) the memory after each frame, for fingerprints."""
        return np.array(self.state.ram[:, 1:].flatten(1).numpy())

    def metrics(self) -> dict[str, NDArray[np.floating[Any]]]:
        """Figures of the episodes as they are now, (B,) each: success (see `Game.success`), return, points won and lost, share (of the
        points that was won; a half before there are any), normalised (the return, 0 being random play's and 1 a human tester's), lives
        left and seconds."""
        won, lost, lives = (part.numpy().astype(np.float64) for part in (self.state.won, self.state.lost, self.state.lives))
        random, human = self.game.scores
        return {
            "success": (won - lost >= self.game.success).astype(np.float64),
            "return": won - lost,
            "won": won,
            "lost": lost,
            "share": np.where(won + lost > 0.0, won / np.maximum(won + lost, 1.0), 0.5),
            "normalised": (won - lost - random) / (human - random),
            "lives": lives,
            "seconds": self.steps * self.dt,
        }

    def pictures(self, rows: Tensor | None = None, *, size: int = 420) -> NDArray[np.uint8]:
        """(n, size, W, 3), worlds `rows` as people see them, all of them without; a px of the screen is twice as wide as high."""
        chosen = range(self.batch) if rows is None else rows.tolist()
        wide = round(size * 2 * WIDTH / HEIGHT)
        shown = [cv2.resize(self.consoles.screen(world), (wide, size), interpolation=cv2.INTER_NEAREST) for world in chosen]
        return np.stack([np.asarray(one, dtype=np.uint8) for one in shown])

    def picture(self, world: int, *, size: int = 420) -> NDArray[np.uint8]:
        """(size, W, 3) of one world."""
        (found,) = self.pictures(torch.tensor([world]), size=size)
        return np.asarray(found)

    def close(self) -> None:
        """Nothing to release."""

    def get_state(self) -> AtariWorldsState:
        """A deep copy of all that the future depends on."""
        return AtariWorldsState(
            config=self.config,
            screen=self.screen_config,
            observation=self.observation,
            consoles=self.consoles.save(),
            state=map_tensors(torch.clone, self.state),
            key=self.key.copy(),
            count=self.count.copy(),
            shot=self._shot.copy(),
            belief=map_tensors(torch.clone, self.eye.belief) if self.eye else None,
        )

    def set_state(self, saved: AtariWorldsState) -> None:
        """Continue exactly from `saved`. Raises ValueError if it is of another number of worlds, configuration or level."""
        ours, theirs = (self.config, self.screen_config, self.observation), (saved.config, saved.screen, saved.observation)
        if ours != theirs or len(saved.consoles) != self.batch:
            raise ConfigError(f"a state of {len(saved.consoles)} worlds with {theirs}: here are {self.batch} with {ours}")
        self.consoles.load(saved.consoles)
        self.state = map_tensors(torch.clone, saved.state)
        self.key, self.count, self._shot = saved.key.copy(), saved.count.copy(), saved.shot.copy()
        if self.eye:
            self.eye.resume(saved.belief)
