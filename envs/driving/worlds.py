"""What the four shells have in common: a batch of worlds with their bank of episodes, rewards and observations.

Shapes: B worlds, N learners. The shells add nothing to this but the conventions of their libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from envs.driving.bank import build_bank
from envs.driving.eyes import Eyes, EyesState, needs_eyes
from envs.driving.lights import light_states
from envs.driving.make import action_space, fit
from envs.driving.metrics import episode_metrics
from envs.driving.objects import Objects
from envs.driving.observation import Observation, flatten, observe
from envs.driving.pixels import PixelObservation, Sight, state_vector
from envs.driving.rewards import RewardWeights, reward_terms, total
from envs.driving.rng import integers
from envs.driving.sensors import sense
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Maps, Out, Setup, State, Stats
from scenarios.episode import Episode

__all__ = ["Arrays", "Step", "Worlds", "WorldsState", "picture"]

STREAM = 4001  # of the counter-based generator: which episode a world drives next
OWN = ("key", "count", "returns", "lengths", "terms")  # tensors of `Worlds` itself that a saved state holds
TERMS = tuple(field.name for field in fields(RewardWeights))
T = TypeVar("T", Setup, State)
Arrays: TypeAlias = dict[str, NDArray[Any]] | NDArray[np.float32]


class Step(NamedTuple):
    """What one decision step brings."""

    reward: Tensor  # (B, N)
    terms: dict[str, Tensor]  # (B, N) each: the unweighted parts of the reward
    terminated: Tensor  # (B, N) bool
    truncated: Tensor  # (B,) bool
    out: Out


@dataclass(frozen=True, kw_only=True)
class WorldsState:
    """Everything that a batch of worlds will ever depend on; `Worlds.set_state` continues from it exactly."""

    episodes: tuple[Episode, ...]
    setup: Setup
    state: State
    rows: Tensor
    key: Tensor
    count: Tensor
    returns: Tensor
    lengths: Tensor
    terms: Tensor
    eyes: EyesState | None = None
    objects: Objects | None = None  # as last believed


@cache
def _compiled(config: DrivingConfig) -> Any:
    def bound(state: State, setup: Setup, maps: Maps, believed: Objects | None) -> Observation:
        return observe(state, setup, maps, config, believed)

    return torch.compile(bound, fullgraph=True, dynamic=False)


def _copy(value: T) -> T:
    """A deep copy of a setup or a state."""
    copies: list[Any] = [part.clone() if isinstance(part, Tensor) else Stats(*(each.clone() for each in part)) for part in value]
    return type(value)(*copies)


class Worlds:
    """B worlds with a bank of episodes.

    Args:
        episodes: the bank. Worlds take further episodes from it at random when they start anew.
        config: agent slots and tick are fitted to the episodes, see `fit`.
        batch: B.
        weights: of the reward's terms.

    After `reset`, world b drives episode b (modulo their number); which ones follow depends on (key, b, how many it has had) alone.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        config: DrivingConfig,
        *,
        batch: int,
        seed: int = 0,
        weights: RewardWeights | None = None,
        compile: bool = False,
        device: str = "cpu",
    ) -> None:
        self.config = fit(config, episodes)
        self.weights = weights or RewardWeights()
        self.sim = DrivingSim(build_bank(episodes, self.config), self.config, batch=batch, device=device, compile=compile)
        self.batch, self.device = batch, device
        self.eyes = Eyes(self.sim) if needs_eyes(self.config) else None
        self.sight = Sight(self.sim) if self.config.observation == "pixels" else None
        self._world = torch.arange(batch, device=device)
        self.reset(torch.full((batch,), seed, dtype=torch.int64))

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The bank's episodes."""
        return self.sim.bank.episodes

    def episode(self, world: int) -> Episode:
        """The episode that a world is driving."""
        return self.episodes[int(self.sim.rows[world])]

    def reset(self, key: Tensor, *, shuffle: bool = False) -> None:
        """Start anew in all worlds. key (B,) int64 decides on the episodes drawn later, and with `shuffle` on the first ones too."""
        self.key = key.to(self.device)
        self.count = torch.zeros(self.batch, dtype=torch.int64, device=self.device)
        self.sim.reset(self._draw() if shuffle else self._world % len(self.episodes))
        if self.eyes:
            self.eyes.reset()
        if self.sight:
            self.sight.look()
        self.returns = torch.zeros(self.batch, self.config.learners, device=self.device)
        self.lengths = torch.zeros(self.batch, dtype=torch.int64, device=self.device)
        self.terms = torch.zeros(self.batch, self.config.learners, len(TERMS), device=self.device)

    def reset_where(self, mask: Tensor) -> None:
        """Start another episode in the worlds of `mask` (B,) bool."""
        self.count = self.count + mask
        self.sim.reset_where(mask, self._draw())
        if self.eyes:
            self.eyes.reset_where(mask)
        if self.sight:
            self.sight.reset_where(mask)
        self.returns = torch.where(mask.unsqueeze(1), 0.0, self.returns)
        self.lengths = torch.where(mask, 0, self.lengths)
        self.terms = torch.where(mask.view(-1, 1, 1), 0.0, self.terms)

    def _draw(self) -> Tensor:
        return integers(self.key, self.count, STREAM, self._world, 0, len(self.episodes))

    def step(self, action: Tensor) -> Step:
        """One decision step of all worlds; see `DrivingSim.step`."""
        out = self.sim.step(action.to(self.device))
        if self.eyes:
            self.eyes.look()
        if self.sight:
            self.sight.look()
        terms = reward_terms(out, self.sim.state, self.sim.setup)
        reward = total(terms, self.weights)
        self.returns = self.returns + reward
        self.lengths = self.lengths + 1
        self.terms = self.terms + torch.stack([terms[name] for name in TERMS], dim=-1)
        return Step(reward, terms, out.terminated, out.truncated, out)

    @torch.no_grad()
    def observe(self) -> Observation | PixelObservation:
        """What the learners are told now."""
        if self.sight:
            return self.sight.observe()
        args, believed = (self.sim.state, self.sim.setup, self.sim.maps), self.eyes.objects if self.eyes else None
        result: Observation = _compiled(self.config)(*args, believed) if self.sim.compile else observe(*args, self.config, believed)
        return result

    def arrays(self, *, flat: bool, sensors: Sequence[str] = ()) -> Arrays:
        """The observation as fresh numpy arrays (B, N, ...): one flat one, or one for each part and sensor."""
        seen = self.observe()
        if isinstance(seen, PixelObservation):
            parts = {"image": seen.image, "state": state_vector(seen)}
        elif flat:
            return flatten(seen).cpu().numpy()
        else:
            parts = seen._asdict()
        further = {name: sense(name, self.sim.state, self.sim.setup, self.sim.maps, self.config) for name in sensors}
        return {name: part.cpu().numpy() for name, part in (parts | further).items()}

    def command(self, action: Any) -> Tensor:
        """Actions of all learners as the tensor that `step` takes; dimensions of size 1 may be left out.

        Raises ValueError for a wrong shape, a number that is not finite, or a manoeuvre that does not exist.
        """
        one = action_space(self.config)
        wanted = (self.batch, self.config.learners, *(one.shape or ()))
        given = np.asarray(action)
        if [size for size in given.shape if size != 1] != [size for size in wanted if size != 1]:
            raise ValueError(f"actions of shape {given.shape} for {self.batch} worlds: {self.config.action} actions are {wanted}")
        if not np.isfinite(given).all():
            raise ValueError("an action is not finite")
        if isinstance(one, spaces.Discrete) and not ((given == given.astype(np.int64)) & (given >= 0) & (given < one.n)).all():
            raise ValueError(f"no manoeuvre {given.ravel().tolist()[:8]}: discrete actions are whole numbers from 0 to {one.n - 1}")
        return torch.from_numpy(given.astype(one.dtype).reshape(wanted))

    def metrics(self) -> dict[str, Tensor]:
        """Metrics so far, (B, N) each; see `envs.driving.metrics.episode_metrics`."""
        return episode_metrics(self.sim.state, self.sim.setup, self.config.dt)

    def term_sums(self) -> dict[str, Tensor]:
        """Unweighted terms of the reward, added up since the episode began, (B, N) each."""
        return dict(zip(TERMS, self.terms.unbind(-1), strict=True))

    def get_state(self) -> WorldsState:
        """A deep copy of all that matters."""
        own = {name: getattr(self, name).clone() for name in OWN}
        return WorldsState(
            episodes=self.episodes,
            setup=_copy(self.sim.setup),
            state=_copy(self.sim.state),
            rows=self.sim.rows.clone(),
            eyes=self.eyes.state if self.eyes else None,  # made anew at every look, never written into
            objects=self.eyes.objects if self.eyes else None,
            **own,
        )

    def set_state(self, saved: WorldsState) -> None:
        """Continue exactly from `saved`. Raises ValueError if it belongs to other episodes."""
        if saved.episodes is not self.episodes and [_key(e) for e in saved.episodes] != [_key(e) for e in self.episodes]:
            raise ValueError("this state was saved with other episodes: make the environment with the scenario, number and seed it had")
        self.sim.set(_copy(saved.setup), _copy(saved.state), saved.rows.clone())
        for name in OWN:
            setattr(self, name, getattr(saved, name).clone())
        if self.eyes:
            if saved.eyes is None or saved.objects is None:
                raise ValueError("this state was saved without a perception stack")
            self.eyes.state, self.eyes.objects = saved.eyes, saved.objects
        if self.sight:
            self.sight.look()


def _key(episode: Episode) -> tuple[str, int, str]:
    return episode.scenario, episode.seed, episode.network_key


def picture(worlds: Worlds, world: int, *, size: tuple[int, int] = (960, 540)) -> NDArray[np.uint8]:
    """One world from above, (height, width, 3) uint8."""
    from envs.driving.draw import draw_scene
    from envs.driving.scenery import goals

    sim, episode = worlds.sim, worlds.episode(world)
    lights = light_states(sim.maps, sim.setup.map_id, sim.state.step, worlds.config.dt)[world]
    moving = {name: getattr(sim.state, name)[world].cpu().numpy() for name in ("x", "y", "yaw", "valid", "accel")}
    fixed = {name: getattr(sim.setup, name)[world].cpu().numpy() for name in ("length", "width", "kind")}
    return draw_scene(
        episode.network,
        **moving,
        **fixed,
        light_states=lights[: len(episode.network.lights)].cpu().numpy(),
        goals=goals(episode.network, episode.goal),
        size=size,
    )
