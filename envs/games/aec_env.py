"""A board game as a PettingZoo `AECEnv`: a batch of one behind the library's interface."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray
from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.utils import wrappers  # type: ignore[import-untyped]

from envs.games.game import play
from envs.games.registry import game_named

__all__ = ["BoardGameEnv", "env"]


class BoardGameEnv(AECEnv, EzPickle):  # type: ignore[misc]
    """Two players of a board game, in turn.

    Observation of each: `observation` (rows, columns, planes) of 0 and 1, own stones first, then the opponent's, then what the game adds;
    `action_mask` (actions,) of 0 and 1, all 0 for the one who is not to move. Reward at the end: 1 won, -1 lost, 0 drawn. Nothing is
    random, so `seed` changes nothing. A move that is not legal raises IllegalMove; `env()` wraps it as PettingZoo's own games are, where
    whoever makes one loses.

    Args:
        game: its name, as `closedloop list games` shows it.
        render_mode: "ansi" for text, or None.
    """

    metadata = {"name": "closedloop_board_v0", "render_modes": ["ansi"], "is_parallelizable": False}  # noqa: RUF012

    def __init__(self, game: str = "connect_four", *, render_mode: str | None = None) -> None:
        EzPickle.__init__(self, game, render_mode=render_mode)
        super().__init__()
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode={render_mode!r}: must be None or 'ansi'")
        self.game, self.render_mode = game_named(game), render_mode
        self.metadata = {**self.metadata, "name": f"closedloop_{game}_v0"}
        self.possible_agents = ["player_0", "player_1"]
        self.agents: list[str] = []
        shape = (self.game.rows, self.game.columns, self.game.planes)
        self.observation_spaces = {
            agent: spaces.Dict(
                {
                    "observation": spaces.Box(0, 1, shape, dtype=np.int8),
                    "action_mask": spaces.Box(0, 1, (self.game.actions,), dtype=np.int8),
                }
            )
            for agent in self.possible_agents
        }
        self.action_spaces = {agent: spaces.Discrete(self.game.actions) for agent in self.possible_agents}
        self.position = self.game.initial(1)

    def observation_space(self, agent: str) -> spaces.Dict:
        """The same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """The same object every time."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """The first position."""
        self.position = self.game.initial(1)
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]

    def observe(self, agent: str) -> dict[str, NDArray[np.int8]]:
        """The board as `agent` sees it."""
        planes = self.game.observe(self.position)[0].transpose(1, 2, 0).copy()
        mask = np.zeros(self.game.actions, dtype=np.int8)
        if agent == self.possible_agents[int(self.position.player[0])]:
            mask[:] = self.game.legal(self.position)[0]
        else:
            planes[..., :2] = planes[..., 1::-1]
        return {"observation": planes, "action_mask": mask}

    def step(self, action: int) -> None:
        """One move of the player whose turn it is. Raises IllegalMove."""
        if self.terminations[self.agent_selection] or self.truncations[self.agent_selection]:
            self._was_dead_step(action)
            return
        self.position = play(self.game, self.position, np.array([action], dtype=np.int64))
        self._cumulative_rewards[self.agent_selection] = 0
        outcome = int(self.position.outcome[0])
        self.rewards = dict(zip(self.agents, (outcome, -outcome), strict=True))
        self.terminations = dict.fromkeys(self.agents, bool(self.position.done[0]))
        self.agent_selection = self.agents[int(self.position.player[0])]
        self._accumulate_rewards()

    def render(self) -> str | None:
        """The board as text; None without a render mode."""
        return self.game.board_text(self.position) if self.render_mode else None

    def close(self) -> None:
        """Nothing to release."""


def env(game: str = "connect_four", *, render_mode: str | None = None) -> AECEnv:
    """`BoardGameEnv` in the wrappers of PettingZoo's own games: illegal moves lose, calls out of order are told."""
    inner = wrappers.TerminateIllegalWrapper(BoardGameEnv(game, render_mode=render_mode), illegal_reward=-1)
    return wrappers.OrderEnforcingWrapper(wrappers.AssertOutOfBoundsWrapper(inner))
