"""A match of two players as a PettingZoo `ParallelEnv`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from envs.checks import TRAINING_SEED, seed_from
from envs.games.rally.make import rally_config
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds, RallyWorldsState

__all__ = ["RallyParallelEnv"]


class RallyParallelEnv(ParallelEnv):  # type: ignore[misc]
    """Two players, "left" and "right", who move at once. Each sees, does and is rewarded what `RallyEnv` describes, with its own paddle on
    the left of what it sees: one policy can play either side.

    Args: see `RallyEnv`; `skill` is of nobody.
    """

    metadata = {"name": "closedloop_rally_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}  # noqa: RUF012

    def __init__(
        self,
        config: RallyConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        render_mode: str | None = None,
        size: int = 336,
        **options: Any,
    ) -> None:
        self.config = rally_config(config, render_mode=render_mode, **options)
        self.worlds = RallyWorlds(1, self.config, players=2, observation=observation, screen=screen)
        self.render_mode, self.size = render_mode, size
        self.possible_agents = ["left", "right"]
        self.agents: list[str] = []
        self.observation_spaces = dict.fromkeys(self.possible_agents, self.worlds.observation_space)
        self.action_spaces = dict.fromkeys(self.possible_agents, self.worlds.action_space)
        self._random = seeding.np_random()[0]

    def observation_space(self, agent: str) -> Any:
        """The same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The same object every time."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start episode `seed`, or one drawn at random. Raises as `seed_from` for what is no seed."""
        if seed is not None:
            seed = seed_from(seed)
            self._random = seeding.np_random(seed)[0]
        drawn = int(self._random.integers(TRAINING_SEED, 2**31)) if seed is None else seed
        self.worlds.reset(np.array([drawn]))
        self.agents = list(self.possible_agents)
        return self._observe(), {agent: {"seed": drawn} for agent in self.agents}

    def _observe(self) -> dict[str, Any]:
        return {agent: self.worlds.observe(self.possible_agents.index(agent))[0] for agent in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One decision of both. Raises ValueError if one's action is missing or is none."""
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise ValueError(f"no action for {', '.join(missing)}")
        step = self.worlds.step(torch.stack([torch.from_numpy(np.asarray(actions[agent])).reshape(()) for agent in self.agents])[None])
        observations = self._observe()
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        infos: dict[str, dict[str, Any]] = {agent: {"hit": bool(step.hit[0, k])} for k, agent in enumerate(self.agents)}
        rewards = {agent: float(step.reward[0, k]) for k, agent in enumerate(self.agents)}
        if terminated or truncated:
            for player, agent in enumerate(self.agents):
                infos[agent]["metrics"] = {name: float(value[0]) for name, value in self.worlds.metrics(player).items()}
        result = (observations, rewards, dict.fromkeys(self.agents, terminated), dict.fromkeys(self.agents, truncated), infos)
        self.agents = [] if terminated or truncated else self.agents
        return result

    def render(self) -> NDArray[np.uint8] | None:
        """The court, (size, size, 3); None without a render mode."""
        return self.worlds.picture(0, size=self.size) if self.render_mode else None

    def close(self) -> None:
        """Nothing to release."""

    def get_state(self) -> tuple[RallyWorldsState, tuple[str, ...], dict[str, Any]]:
        """A deep copy of all that the future depends on."""
        return self.worlds.get_state(), tuple(self.agents), dict(self._random.bit_generator.state)

    def set_state(self, saved: tuple[RallyWorldsState, tuple[str, ...], dict[str, Any]]) -> dict[str, Any]:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it is of another configuration."""
        worlds, agents, random = saved
        self.worlds.set_state(worlds)
        self.agents, self._random.bit_generator.state = list(agents), random
        return self._observe()
