"""One world as a `gymnasium.Env`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import scenarios
from envs.driving.make import TRAINING_SEED, ScenarioLike, action_space, driving_config, load_scenarios, sample_episodes, seed_from
from envs.driving.rewards import RewardWeights
from envs.driving.sensors import check_sensors, is_flat, observation_space
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Arrays, Worlds, WorldsState, picture
from scenarios.episode import Episode

__all__ = ["DrivingEnv", "DrivingEnvState"]

PROBES = 64  # episodes looked at to find the roads of a scenario
FPS = 10  # pictures per second at the default of two ticks of 0.1 s a step, played at twice the speed


@dataclass(frozen=True, kw_only=True)
class DrivingEnvState:
    """What `DrivingEnv.get_state` returns."""

    worlds: WorldsState
    random: dict[str, Any]  # state of the generator that draws the seeds of later episodes


class DrivingEnv(gymnasium.Env[Arrays, Any]):
    """Drive the ego of a scenario.

    ### Observation
    A Dict (or, with `flat=True`, one Box of all but the mask), float32, scaled to about [-1, 1]; feature by feature in
    `envs.driving.observation`.

    | key | shape | what |
    |---|---|---|
    | ego | (29,) | speed, accelerations, place in the lane, limits, route left |
    | objects | (K, 24) | the K nearest objects: pose, velocity, size, kind, place relative to the route |
    | objects_mask | (K,) | 1 where there is one |
    | route | (10, 4) | points of the route ahead, 5 m to 100 m |
    | lanes | (3, 19) | left, own and right lane: geometry, where they lead, gaps |
    | rules | (14,) | next light, stop line and junction |
    | goal | (18,) | what counts as arriving |

    With `observation="pixels"` a Dict of `image`, (3 C, H, W) uint8 of C cameras with the channels first, and `state`, (87,) float32: ego,
    route and goal as above in one vector. It is what the `MultiInputPolicy` of Stable-Baselines3 takes; see `envs.driving.pixels`.

    ### Action
    `continuous`: Box(2) in [-1, 1]: acceleration (times the vehicle's strongest drive or braking) and steering (left positive).
    `discrete`: 0 keep, 1 faster, 2 slower, 3 change left, 4 change right.
    `trajectory`: Box(20, 3): x, y (m, ego frame) and speed (m/s) at 0.1 s, 0.2 s, ..., 2 s ahead, tracked by a controller.

    ### Reward
    Share of the route gained, +1 on arriving, -1 for a collision, leaving the road, driving against traffic or losing the route, less
    for lights and stop signs; see `envs.driving.rewards`. The unweighted terms are in `info["reward_terms"]`.

    ### End
    Terminated on arriving or on one of the infractions above; truncated when the scenario's duration is over. Then `info["metrics"]`
    holds the metrics of the episode and `info["is_success"]` whether it succeeded.

    ### Start
    `reset(seed=s)` drives episode s of the scenario. Without a seed one is drawn. `reset(options={"episode": episode})` drives that one.

    Args:
        scenario: name ("merge", "merge/hard"), path, or scenario.
        config: a whole configuration; the options given beside it win.
        action, observation, ticks_per_step, nearest, view_range, view_fov, autopilot: see `DrivingConfig`.
        flat: one vector instead of a Dict.
        sensors: "lidar" (64 rays) and "bev" (a 9 x 64 x 64 bird's-eye raster) as further keys; see `envs.driving.sensors`.
        reward: weights of the reward's terms.
        compile: run under torch.compile: a minute or two at the first step, then several times faster. Every road of the scenario
            is loaded at once then, so that further episodes need no further compilation.
        device: where the simulation runs; observations are numpy arrays.
        render_mode: None or "rgb_array".
        size: of the picture, pixels.

    Raises scenarios.ScenarioError or ValueError, with a suggestion, for names that do not exist.

    ### Versions
    v0: first.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        scenario: ScenarioLike = "highway",
        *,
        config: DrivingConfig | None = None,
        action: str | None = None,
        observation: str | None = None,
        ticks_per_step: int | None = None,
        nearest: int | None = None,
        view_range: float | None = None,
        view_fov: float | None = None,
        autopilot: bool | None = None,
        flat: bool = False,
        sensors: Collection[str] = (),
        reward: RewardWeights | None = None,
        compile: bool = False,
        device: str = "cpu",
        render_mode: str | None = None,
        size: tuple[int, int] = (960, 540),
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
        (self.scenario,) = load_scenarios(scenario)
        options = {"ticks_per_step": ticks_per_step, "nearest": nearest, "view_range": view_range, "view_fov": view_fov}
        self.config = driving_config(config, action=action, observation=observation, autopilot=autopilot, learners=1, **options)
        self.flat, self.sensors = is_flat(self.config, flat), check_sensors(sensors, flat=flat)
        self.weights, self.render_mode, self.size = reward or RewardWeights(), render_mode, size
        self.compile, self.device = compile, device
        self._company = _roads(self.scenario) if compile else []
        self.observation_space = observation_space(self.config, flat=flat, sensors=sensors)
        self.action_space = action_space(self.config)
        self._worlds: Worlds | None = None

    @property
    def worlds(self) -> Worlds:
        """The world under the shell. Raises ResetNeeded before the first reset."""
        if self._worlds is None:
            raise gymnasium.error.ResetNeeded("call reset() first")
        return self._worlds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Start episode `seed`, or `options["episode"]`, or one drawn at random. Raises as `seed_from` for what is no seed."""
        seed = None if seed is None else seed_from(seed)
        super().reset(seed=seed)
        episode = (options or {}).get("episode")
        if episode is None:
            drawn = int(self.np_random.integers(TRAINING_SEED, 2**31)) if seed is None else seed
            episode = scenarios.sample(self.scenario, drawn)
        self._start(episode)
        return self._observe(), {"scenario": episode.scenario, "seed": episode.seed}

    def _start(self, episode: Episode) -> None:
        bank = [episode, *self._company]
        self._worlds = Worlds(bank, self.config, batch=1, weights=self.weights, compile=self.compile, device=self.device)

    def _observe(self) -> Arrays:
        arrays = self.worlds.arrays(flat=self.flat, sensors=self.sensors)
        return {name: part[0, 0] for name, part in arrays.items()} if isinstance(arrays, dict) else arrays[0, 0]

    def step(self, action: Any) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """One decision. Raises ValueError for an action of the wrong shape or with numbers that are not finite."""
        step = self.worlds.step(self.worlds.command(action))
        terminated = bool(step.terminated[0, 0])
        truncated = bool(step.truncated[0]) and not terminated
        info: dict[str, Any] = {"reward_terms": {name: float(term[0, 0]) for name, term in step.terms.items()}}
        if terminated or truncated:
            info["metrics"] = {name: float(value[0, 0]) for name, value in self.worlds.metrics().items()}
            info["is_success"] = info["metrics"]["success"] > 0.5
        return self._observe(), float(step.reward[0, 0]), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The world from above, (height, width, 3); None without a render mode."""
        return picture(self.worlds, 0, size=self.size) if self.render_mode else None

    def get_state(self) -> DrivingEnvState:
        """A deep copy of all that the future depends on."""
        return DrivingEnvState(worlds=self.worlds.get_state(), random=dict(self.np_random.bit_generator.state))

    def set_state(self, saved: DrivingEnvState) -> Arrays:
        """Continue exactly from `saved`, whatever episode is running now. Returns the observation there."""
        self._start(saved.worlds.episodes[0])
        self.worlds.set_state(saved.worlds)
        self.np_random.bit_generator.state = saved.random
        return self._observe()


def _roads(scenario: scenarios.Scenario) -> list[Episode]:
    """One episode on each road of a scenario, so that tensors of all its episodes have the same shapes; among them a crowded one."""
    some = sorted(sample_episodes(scenario, PROBES, TRAINING_SEED), key=lambda episode: len(episode.agents))
    return list({episode.network_key: episode for episode in some}.values())
