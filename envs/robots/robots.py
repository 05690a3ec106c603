"""B worlds of a robot task: what every shell has in common. The shells add the conventions of their libraries and nothing else.

An episode is one number, its seed: the first state, the randomised model and everything drawn later are functions of it alone.
Shapes: B worlds. SI units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError, seed_from, unknown
from envs.robots.camera import Camera
from envs.robots.lidar import Lidar, LineOfSight
from envs.robots.perceived import Estimates, Perceiving
from envs.robots.physics import Floats, Physics, compile_model
from envs.robots.randomise import Randomisation, randomise
from envs.robots.rng import Draws, Ints, later_seeds
from envs.robots.sight import LEVELS, Belief, Pictures, Sight, SightConfig
from envs.robots.task import Arrays, Ending, Objects, Scanned, Task

__all__ = ["Bools", "Diverged", "Robots", "RobotsState", "Step"]

Bools = NDArray[np.bool_]


class Diverged(RuntimeError):
    """A simulation blew up. The message names task, episode and decision, which are enough to see it again."""


class Step(NamedTuple):
    """What one decision brings."""

    reward: Floats  # (B,)
    terms: dict[str, Floats]  # (B,) each, unweighted
    terminated: Bools  # (B,)
    truncated: Bools  # (B,) and not terminated
    success: Bools  # (B,) at this moment


@dataclass(frozen=True, kw_only=True)
class RobotsState:
    """Everything that a batch of worlds will ever depend on; `Robots.set_state` continues from it exactly."""

    task: Task
    randomisation: Randomisation
    physics: Floats  # (B, nstate)
    seeds: Ints  # (B,) of the episodes running
    steps: Ints  # (B,) decisions taken in them
    key: Ints  # (B,) what later episodes are drawn from
    count: Ints  # (B,) episodes had since
    returns: Floats  # (B,)
    terms: dict[str, Floats]  # (B,) each, sums over the episode
    belief: Belief | Estimates | None = None  # as last seen, where that is what a policy is told
    observation: str = "truth"  # level, and how is looked, which a belief comes from
    sight: SightConfig | None = None
    pictures: NDArray[np.uint8] | None = None  # as last taken, where those are what a policy is told


class Robots:
    """B worlds of one task.

    Args:
        task: what is to be done.
        batch: B.
        threads: that step the physics; 0 takes every core. The results are the same bit by bit.
        randomisation: how much the model differs from episode to episode.
        observation: what policies are told, one of `LEVELS`: the truth, what cameras see of it, what is perceived, or pictures.
        sight: the pictures, and who sees.

    Raises ConfigError for an unknown level, NoRenderer where it needs pictures and there is no OpenGL, WeightsError where the detector or
    its noise cannot be had.
    """

    def __init__(
        self,
        task: Task,
        *,
        batch: int,
        threads: int = 0,
        randomisation: Randomisation | None = None,
        observation: str = "truth",
        sight: SightConfig | None = None,
    ) -> None:
        if observation not in LEVELS:
            raise ConfigError(unknown("observation", observation, LEVELS))
        self.task, self.batch, self.observation = task, batch, observation
        self.randomisation = randomisation or Randomisation()
        model = compile_model(task.mjcf(), delay=self.randomisation.delay)
        self.physics = Physics(model, batch=batch, threads=threads)
        self.dt = task.substeps * float(model.opt.timestep)  # s a decision
        self.action_space = spaces.Box(-1.0, 1.0, shape=(task.action_size,), dtype=np.float32)
        self._world = np.arange(batch, dtype=np.int64)
        self._camera: Camera | None = None  # for people; made when first needed
        self.sight_config = sight or SightConfig()
        self.sight = self._sight(self.sight_config)
        self.pictures = Pictures(self.physics, task, self.sight_config) if observation == "pixels" else None
        self.observation_space: spaces.Space[Any] = self.pictures.space if self.pictures else task.observation_space
        self.reset(self._world)

    def _sight(self, config: SightConfig) -> Sight | Perceiving | None:
        if not self.task.things:  # what is told depends on nothing that is seen
            return None
        if self.observation == "visible":
            return (LineOfSight if isinstance(self.task, Scanned) else Sight)(self.physics, self.task, config)
        if self.observation in ("noisy", "perceived"):
            kind = Lidar if isinstance(self.task, Scanned) and self.observation == "perceived" else Perceiving
            return kind(self.physics, self.task, config, dt=self.dt, noisy=self.observation == "noisy")
        return None

    def reset(self, seeds: Ints, *, key: Ints | None = None) -> None:
        """Start the episodes `seeds` (B,). key (B,): what later ones are drawn from, by default the first ones' seeds.

        Raises ValueError for another number of seeds, or what is no seed (see `seed_from`).
        """
        if np.shape(seeds) != (self.batch,):
            raise ConfigError(f"seeds of shape {np.shape(seeds)} for {self.batch} worlds")
        self.seeds = np.array([seed_from(seed) for seed in seeds], dtype=np.int64)
        self.key = self.seeds.copy() if key is None else np.array(key, dtype=np.int64)
        self.steps, self.count = np.zeros(self.batch, dtype=np.int64), np.zeros(self.batch, dtype=np.int64)
        self.returns = np.zeros(self.batch)
        self.terms = {name: np.zeros(self.batch) for name in self.task.weights}
        self._start(self._world)

    def reset_where(self, mask: Bools) -> None:
        """Start another episode in the worlds of `mask` (B,)."""
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self.count[rows] += 1
        self.seeds[rows] = later_seeds(self.key[rows], rows, self.count[rows])
        self.steps[rows], self.returns[rows] = 0, 0.0
        for value in self.terms.values():
            value[rows] = 0.0
        self._start(rows)

    def _start(self, rows: Ints) -> None:
        draws = Draws(self.seeds[rows])
        self.physics.reset(rows)
        if self.randomisation:
            randomise(self.physics, self.randomisation, rows, draws)
        self.task.start(self.physics, rows, draws)
        self.physics.hold(rows)
        self.physics.forward(rows)
        if self.sight:
            self.sight.forget(rows)
            self.sight.look(rows, draws)
        if self.pictures:
            self.pictures.start(rows)

    def step(self, action: Any) -> Step:
        """One decision in every world. Raises as `command` does, and Diverged if a simulation blows up; `reset` then starts anew.

        Such a world is not just ended: where each decision costs a reward, to blow up would be a way to end it cheaply, and there is no
        observation to tell.
        """
        chosen = self.command(action)
        self.task.act(self.physics, chosen)
        self.physics.step(self.task.substeps)
        self.steps += 1
        if (broken := self.physics.diverged()).any():
            told = ", ".join(f"episode {self.seeds[k]} at decision {self.steps[k]}" for k in np.flatnonzero(broken)[:5])
            raise Diverged(f"{self.task.name} diverged in {broken.sum()} of {self.batch} worlds: {told}")
        if self.sight:
            self.sight.look(self._world, Draws(self.seeds, self.steps))
        if self.pictures:
            self.pictures.look()
        terms = self.task.reward_terms(self.physics, chosen)
        reward = np.zeros(self.batch)
        for name, weight in self.task.weights.items():
            reward += weight * terms[name]
            self.terms[name] += terms[name]
        self.returns += reward
        failed = self.task.failed(self.physics)
        terminated = failed | self.task.finished(self.physics) if isinstance(self.task, Ending) else failed
        truncated = (self.steps >= self.task.duration) & ~terminated
        return Step(reward, terms, terminated, truncated, self.task.success(self.physics) & ~failed)

    def command(self, action: Any) -> Floats:
        """Actions as (B, action_size) in [-1, 1]: what is beyond is cut off. Raises ValueError for a wrong shape, or what is not finite."""
        given, wanted = np.asarray(action, dtype=np.float64), (self.batch, self.task.action_size)
        if given.shape != wanted and not (self.batch == 1 and given.shape == wanted[1:]):
            raise ValueError(f"actions of shape {given.shape} for {self.batch} worlds: {self.task.name} takes {wanted}")
        if not np.isfinite(given).all():
            raise ValueError("an action is not finite")
        return np.clip(given.reshape(wanted), -1.0, 1.0)

    def objects(self) -> Objects:
        """Where things are believed to be: the truth, what could be seen of it, or what was perceived."""
        return self.sight.objects() if self.sight else self.task.locate(self.physics)

    def observe(self) -> Arrays:
        """What the policies are told now, fresh arrays (B, ...)."""
        if self.pictures:
            return self.pictures.observe()
        return self.task.observe(self.physics, self.objects())

    def picture(self, world: int, *, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(height, width, 3), a world seen by the camera for people. Raises NoRenderer where no OpenGL works."""
        if self._camera is None or (self._camera.width, self._camera.height) != size:
            self._close_camera()
            self._camera = Camera(self.physics, width=size[0], height=size[1], things=self.task.things, fine=True)
        return self._camera.picture(world, self.task.cameras[-1])

    def close(self) -> None:
        """Release all renderers. Worlds that are told what cameras see cannot go on after it."""
        self._close_camera()
        for part in (self.sight, self.pictures):
            if part:
                part.close()

    def _close_camera(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def get_state(self) -> RobotsState:
        """A deep copy of all that the future depends on, the solver's warm starts included."""
        return RobotsState(
            task=self.task,
            randomisation=self.randomisation,
            physics=self.physics.get_state(),
            seeds=self.seeds.copy(),
            steps=self.steps.copy(),
            key=self.key.copy(),
            count=self.count.copy(),
            returns=self.returns.copy(),
            terms={name: value.copy() for name, value in self.terms.items()},
            belief=self.sight.belief.copy() if self.sight else None,
            observation=self.observation,
            sight=self.sight_config,
            pictures=self.pictures.taken.copy() if self.pictures else None,
        )

    def set_state(self, saved: RobotsState) -> None:
        """Continue exactly from `saved`. Raises ValueError if it is of another number of worlds, task, randomisation or observation."""
        for what, theirs, ours in (("task", saved.task, self.task), ("randomisation", saved.randomisation, self.randomisation)):
            if theirs != ours:
                raise ConfigError(f"a state with {what} {theirs}: worlds here have {ours}")
        if (saved.belief is None) != (self.sight is None):
            raise ConfigError(f"a state with{'out' if saved.belief is None else ''} a belief: worlds here are told {self.observation!r}")
        if self.sight and ((saved.observation, saved.sight) != (self.observation, self.sight_config) or not self.sight.takes(saved.belief)):
            raise ConfigError(
                f"a state with a belief of level {saved.observation!r} by {saved.sight}: worlds here are told {self.observation!r} by "
                f"{self.sight_config}"
            )
        if self.pictures and (saved.pictures is None or saved.pictures.shape != self.pictures.taken.shape):
            raise ConfigError(f"a state of level {saved.observation!r} by {saved.sight}: here pictures are by {self.sight_config}")
        if saved.seeds.shape != (self.batch,):
            raise ConfigError(f"a state of {len(saved.seeds)} worlds: here are {self.batch} of {self.task.name}")
        if self.randomisation:
            randomise(self.physics, self.randomisation, self._world, Draws(saved.seeds))
        self.physics.set_state(saved.physics)
        self.seeds, self.steps = saved.seeds.copy(), saved.steps.copy()
        self.key, self.count, self.returns = saved.key.copy(), saved.count.copy(), saved.returns.copy()
        self.terms = {name: value.copy() for name, value in saved.terms.items()}
        if self.sight and saved.belief:
            self.sight.belief = saved.belief.copy()
        if self.pictures and saved.pictures is not None:
            self.pictures.taken = saved.pictures.copy()
