"""One world with several learners as a PettingZoo `ParallelEnv`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

import scenarios
from envs.driving.make import TRAINING_SEED, ScenarioLike, action_space, driving_config, load_scenarios, seed_from, unknown
from envs.driving.rewards import RewardWeights
from envs.driving.sensors import check_sensors, is_flat, observation_space
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Worlds, WorldsState, picture
from scenarios.episode import Episode, Role
from scenarios.kinds import Kind

__all__ = ["DrivingParallelEnv", "ParallelState", "promote"]

DISCRETE_STOP = 2  # slower


@dataclass(frozen=True, kw_only=True)
class ParallelState:
    """What `DrivingParallelEnv.get_state` returns."""

    worlds: WorldsState
    agents: tuple[str, ...]
    random: dict[str, Any]


def promote(episode: Episode, count: int, *, kinds: Collection[Kind], roles: Collection[Role]) -> Episode:
    """The episode with up to `count` learners in its first slots: the ego, then those of the given kinds and roles, in their order.

    Only agents that are there from the start are taken. The ego keeps its slot and its goal; the others keep their destinations.
    """
    ego, *others = episode.agents
    fits = [agent for agent in others if agent.kind in kinds and agent.role in roles and agent.enter_time == 0.0]
    chosen = fits[: count - 1]
    taken = {id(agent) for agent in chosen}
    rest = [agent for agent in others if id(agent) not in taken]
    return replace(episode, agents=(ego, *(replace(agent, role=Role.LEARNER) for agent in chosen), *rest))


class DrivingParallelEnv(ParallelEnv):  # type: ignore[misc]
    """Several learners in one world. Each sees, does and is rewarded what `DrivingEnv` describes, from its own place.

    "agent_0" is the scenario's ego. The others take the place of traffic of the chosen kinds and roles that is there at the start. An
    agent that is finished leaves `agents`; its vehicle brakes and stays where it stops. Time runs out for all at once.
    Episodes with less traffic start with fewer agents.

    Args:
        scenario: name, path or scenario.
        agents: most learners in a world.
        kinds: names of kinds that may be learners, such as ("car", "pedestrian").
        roles: names of roles that may be replaced by learners, such as ("idm", "log").
        others: see `DrivingEnv`; further options are those of `DrivingConfig`.
    """

    metadata = {"name": "closedloop_driving_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}  # noqa: RUF012

    def __init__(
        self,
        scenario: ScenarioLike = "highway",
        *,
        agents: int = 4,
        kinds: Collection[str] = ("car", "truck", "bus", "motorcycle"),
        roles: Collection[str] = ("idm",),
        config: DrivingConfig | None = None,
        flat: bool = False,
        sensors: Collection[str] = (),
        reward: RewardWeights | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
        (self.scenario,) = load_scenarios(scenario)
        self.config = driving_config(config, **options, learners=agents)
        self.kinds = frozenset(Kind[_known("kind", kind, Kind.__members__)] for kind in kinds)
        self.roles = frozenset(Role[_known("role", role, Role.__members__)] for role in roles)
        self.flat, self.sensors = is_flat(self.config, flat), check_sensors(sensors, flat=flat)
        self.weights, self.render_mode = reward or RewardWeights(), render_mode
        self.possible_agents = [f"agent_{i}" for i in range(agents)]
        self.agents: list[str] = []
        self.observation_spaces = {agent: observation_space(self.config, flat=flat, sensors=sensors) for agent in self.possible_agents}
        self.action_spaces = {agent: action_space(self.config) for agent in self.possible_agents}
        self._random = seeding.np_random()[0]
        self._worlds: Worlds | None = None

    def observation_space(self, agent: str) -> Any:
        """The same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The same object every time."""
        return self.action_spaces[agent]

    @property
    def worlds(self) -> Worlds:
        """The world under the shell. Raises RuntimeError before the first reset."""
        if self._worlds is None:
            raise RuntimeError("call reset() first")
        return self._worlds

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start episode `seed`, or one drawn at random, or `options["episode"]`. Raises as `seed_from` for what is no seed."""
        if seed is not None:
            seed = seed_from(seed)
            self._random = seeding.np_random(seed)[0]
        episode = (options or {}).get("episode")
        if episode is None:
            episode = scenarios.sample(self.scenario, int(self._random.integers(TRAINING_SEED, 2**31)) if seed is None else seed)
        self._start(promote(episode, len(self.possible_agents), kinds=self.kinds, roles=self.roles))
        self.agents = self.possible_agents[: self.worlds.config.learners]
        return self._observe(), {agent: {"scenario": episode.scenario, "seed": episode.seed} for agent in self.agents}

    def _start(self, episode: Episode) -> None:
        learners = sum(agent.role == Role.LEARNER for agent in episode.agents)
        self._worlds = Worlds([episode], replace(self.config, learners=learners), batch=1, weights=self.weights)

    def _observe(self) -> dict[str, Any]:
        arrays = self.worlds.arrays(flat=self.flat, sensors=self.sensors)
        slots = {agent: self.possible_agents.index(agent) for agent in self.agents}
        if isinstance(arrays, dict):
            return {agent: {name: part[0, slot] for name, part in arrays.items()} for agent, slot in slots.items()}
        return {agent: arrays[0, slot] for agent, slot in slots.items()}

    def _commands(self, actions: dict[str, Any]) -> NDArray[Any]:
        """Actions of all slots; finished ones come to rest, with wheels straight."""
        space = self.action_space("agent_0")
        all_actions = np.zeros((1, self.worlds.config.learners, *space.shape), dtype=space.dtype)
        if self.config.action != "trajectory":  # a plan of zeros is a plan to stand still
            all_actions[:] = DISCRETE_STOP if self.config.action == "discrete" else self._halt()
        for agent in self.agents:
            if agent not in actions:
                raise ValueError(f"no action for {agent}; the agents that need one: {', '.join(self.agents)}")
            all_actions[0, self.possible_agents.index(agent)] = actions[agent]
        return all_actions

    def _halt(self) -> NDArray[np.float32]:
        """(N, 2) continuous actions that brake to rest and no further: full braking in reverse would drive backwards."""
        sim, config = self.worlds.sim, self.worlds.config
        speed, drive, brake = (t[0, : config.learners].cpu().numpy() for t in (sim.state.speed, sim.setup.accel_max, sim.setup.brake_max))
        push = -speed / (config.dt * config.ticks_per_step)
        push = np.clip(push / np.where(push < 0.0, brake, drive), -1.0, 1.0)
        return np.stack([push, np.zeros_like(push)], axis=-1).astype(np.float32)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One decision of every agent left. Raises ValueError if one of their actions is missing or of the wrong shape."""
        step = self.worlds.step(self.worlds.command(self._commands(actions)))
        slots = {agent: self.possible_agents.index(agent) for agent in self.agents}
        observations = self._observe()
        rewards = {agent: float(step.reward[0, slot]) for agent, slot in slots.items()}
        terminated = {agent: bool(step.terminated[0, slot]) for agent, slot in slots.items()}
        truncated = {agent: bool(step.truncated[0]) and not terminated[agent] for agent in slots}
        ended = [agent for agent in self.agents if terminated[agent] or truncated[agent]]
        infos: dict[str, dict[str, Any]] = {
            agent: {"reward_terms": {name: float(term[0, slot]) for name, term in step.terms.items()}} for agent, slot in slots.items()
        }
        if ended:
            metrics = self.worlds.metrics()
            for agent in ended:
                infos[agent]["metrics"] = {name: float(value[0, slots[agent]]) for name, value in metrics.items()}
                infos[agent]["is_success"] = infos[agent]["metrics"]["success"] > 0.5
        self.agents = [agent for agent in self.agents if agent not in ended]
        return observations, rewards, terminated, truncated, infos

    def render(self) -> NDArray[np.uint8] | None:
        """The world from above; None without a render mode."""
        return picture(self.worlds, 0) if self.render_mode else None

    def close(self) -> None:
        """Nothing to release."""

    def get_state(self) -> ParallelState:
        """A deep copy of all that the future depends on."""
        return ParallelState(worlds=self.worlds.get_state(), agents=tuple(self.agents), random=dict(self._random.bit_generator.state))

    def set_state(self, saved: ParallelState) -> dict[str, Any]:
        """Continue exactly from `saved`, whatever episode is running now. Returns the observations there."""
        self._start(saved.worlds.episodes[0])
        self.worlds.set_state(saved.worlds)
        self.agents = list(saved.agents)
        self._random.bit_generator.state = saved.random
        return self._observe()


def _known(what: str, name: str, members: Any) -> str:
    if name.upper() not in members:
        raise ValueError(unknown(what, name, [member.lower() for member in members]))
    return name.upper()
