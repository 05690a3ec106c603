"""One training run in progress: what is done at every report, validation and checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.learning.algorithms import build_model, find_algorithm
from agents.learning.beginning import learned_from
from agents.learning.checkpoint import Checkpoint, begin_with, load_checkpoint, restore, save_checkpoint, take
from agents.learning.config import TrainConfig, command_line
from agents.learning.curves import draw_curves
from agents.learning.export import bundle_from_model
from agents.learning.meter import EpisodeMeter
from agents.learning.progress import Console
from agents.learning.record import read_progress, write_progress
from agents.learning.validate import Validation, validate
from agents.learning.worlds import Worlds
from agents.policies.bundle import PolicyBundle, save_bundle
from agents.policies.pins import arcade_weights, perception_weights, robot_weights
from agents.policies.sb3 import Actor
from agents.policies.spec import TrainingSpec

__all__ = ["Run"]

REPORTS = 200  # rows of progress.csv over a run
DRAW_EVERY = 60.0  # s between drawings of the curves
# SB3's name of a figure -> column of progress.csv
_LOGGED = {
    "train/loss": "loss",
    "train/policy_gradient_loss": "policy_loss",
    "train/policy_objective": "policy_loss",
    "train/actor_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/critic_loss": "value_loss",
    "train/approx_kl": "kl",
    "train/kl_divergence_loss": "kl",
    "train/explained_variance": "explained_variance",
    "train/learning_rate": "learning_rate",
    "imitation/error": "imitation_error",
}


class _Latest(KVWriter):
    """Keeps the last value of everything logged."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.values.update(key_values)

    def close(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best validation so far."""

    score: tuple[float, float]
    steps: int
    figures: dict[str, Any]


class Run(BaseCallback):
    """A run, as the callback that Stable-Baselines3 calls. Set `stopping` to end it after the present step."""

    def __init__(
        self, config: TrainConfig, folder: Path, worlds: Worlds, console: Console, *, checkpoint: Checkpoint | None = None,
        spent: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.folder, self.worlds, self.console = config, folder, worlds, console
        self.stopping = False
        self.meter = EpisodeMeter(worlds.training)
        gamma = float(config.hyper.get("gamma", 0.99))
        normalised = config.normalise_observations and _numbers(self.meter)
        self.normalise = VecNormalize(
            self.meter, norm_obs=normalised, norm_reward=config.normalise_rewards, gamma=gamma, epsilon=worlds.floor,
            norm_obs_keys=["state"] if _images(self.meter) and normalised else None,  # images go as they are
        )  # fmt: skip
        done = checkpoint.counters["num_timesteps"] if checkpoint else 0
        self.learner: BaseAlgorithm = build_model(
            config.algo, self.normalise, hyper=config.hyper, network=config.network, activation=config.activation, schedule=config.schedule,
            seed=(config.seed + done) % 2**31, device=config.device, hindsight=worlds.hindsight,
            wishes=bool(config.planner),
        )  # fmt: skip
        self.latest = _Latest()
        writers: list[KVWriter] = [self.latest]
        if config.tensorboard:
            writers.append(TensorBoardOutputFormat(str(folder / "tensorboard")))
        self.learner.set_logger(Logger(str(folder), writers))
        self.rows: list[dict[str, Any]] = []
        self.best: Best | None = None
        self.last: Validation | None = None
        self.last_at = (-1, -1)  # `moment` of it
        self.perception = perception_weights(worlds.driving) if worlds.driving else {}
        if worlds.robot:
            self.perception = robot_weights(worlds.robot.observation)
        if worlds.arcade:
            self.perception = arcade_weights(worlds.arcade.task, worlds.arcade.observation, worlds.arcade.screen)
        self.data = learned_from(config)
        self.before = spent  # s until now: drawing the episodes, and earlier parts of a resumed run
        if checkpoint:
            restore(self.learner, checkpoint, algorithm=config.algo, normalise=self.normalise)
            self.rows = [row for row in read_progress(folder / "progress.csv") if row["steps"] <= done]
            self.before += float(checkpoint.notes["seconds"])
            if (then := checkpoint.notes.get("perception", self.perception)) != self.perception:
                raise ValueError(
                    f"the run began with perception weights {_hashes(then)}; here they are {_hashes(self.perception)}: "
                    "bring those back, or train anew"
                )
            if kept := checkpoint.notes["best"]:
                self.best = Best(score=tuple(kept["score"]), steps=kept["steps"], figures=kept["figures"])
        elif config.init:
            begin_with(
                self.learner, load_checkpoint(Path(config.init) / "checkpoint.safetensors"), algorithm=config.algo, normalise=self.normalise
            )
        self.begun = self.drawn = time.monotonic()
        self.first = done
        self.next_report = self.next_validation = done
        self._plan(done)

    @property
    def steps(self) -> int:
        """Decisions taken so far, over all worlds."""
        return self.learner.num_timesteps

    @property
    def moment(self) -> tuple[int, int]:
        """Steps and updates: a policy is still the one that was validated only if neither has moved on."""
        return self.steps, int(self.learner._n_updates)

    @property
    def current(self) -> Validation | None:
        """The validation of the policy as it is now, if there was one."""
        return self.last if self.last_at == self.moment else None

    @property
    def seconds(self) -> float:
        """Time spent, from the drawing of the episodes on, earlier parts included."""
        return self.before + time.monotonic() - self.begun

    def learn(self) -> None:
        """Train until all steps are done or `stopping` is set."""
        left = self.config.steps - self.steps
        if left > 0 and self.config.imitate:
            self._imitate(left)
        elif left > 0:
            interval = 1 if find_algorithm(self.config.algo).on_policy else self.config.envs  # rollouts; episodes
            self.learner.learn(left, callback=self, log_interval=interval, reset_num_timesteps=self.first == 0)

    def _imitate(self, steps: int) -> None:
        """Learn what the expert of the worlds does. Raises ValueError where there is none."""
        from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

        from agents.learning.dagger import imitate

        if self.worlds.expert is None or not isinstance(self.learner, OnPolicyAlgorithm):
            raise ValueError(f"imitate={self.config.imitate!r}: these worlds have nobody to imitate")

        def learned(error: float, loss: float) -> None:
            self.learner.logger.record("imitation/error", error)
            self.learner.logger.record("train/loss", loss)
            self.console.say(f"{self.steps} decisions: the network was off by {error:.3f} (root mean square)")
            self._on_rollout_end()

        imitate(self.learner, self.normalise, self.worlds.expert, steps=steps, each=learned, stop=lambda: self.stopping)

    def _on_step(self) -> bool:
        return not self.stopping

    def _on_rollout_end(self) -> None:
        if self.stopping or self.steps < self.next_report:
            return
        if self.steps >= self.config.steps:  # left to `finish`, after the last update
            return
        validating = self.steps >= self.next_validation
        if validating:
            self.validate()
        self.report()
        if validating:
            self.keep()
        self._plan(self.steps)

    def _plan(self, steps: int) -> None:
        """When to report and to validate next: at the next multiple of an even share of the run."""
        share = max(1, self.config.steps // REPORTS)
        self.next_report = (steps // share + 1) * share
        share = max(1, self.config.steps // self.config.evaluations)
        self.next_validation = (steps // share + 1) * share

    def validate(self) -> None:
        """Drive the validation episodes; keep the policy if it is the best so far."""
        bundle = self.bundle()
        result = validate(Actor(bundle), self.worlds.validation, episodes=self.config.validation_episodes, stop=lambda: self.stopping)
        if result is None:
            return
        better = self.best is None or result.score > self.best.score
        self.last, self.last_at = result, self.moment
        if better:
            self.best = Best(score=result.score, steps=self.steps, figures=result.as_dict())
            self.save("policy", bundle, result.as_dict())
        self.console.validated(self.steps, result, best=better)
        for name, estimate in (("success", result.success), ("collision", result.collision)):
            if estimate is not None:
                self.learner.logger.record(f"validation/{name}", estimate.value)
        self.learner.logger.record("validation/return", result.reward)

    def bundle(self) -> PolicyBundle:
        """The policy as it is now."""
        return bundle_from_model(
            self.learner, name=self.config.title, algorithm=self.config.algo, activation=self.config.activation,
            observation=self.worlds.observation, normalise=self.normalise, driving=self.worlds.driving, robot=self.worlds.robot,
            arcade=self.worlds.arcade, planner=self.config.planner, perception=self.perception,
            training=TrainingSpec(scenarios=self.config.scenario, steps=self.steps, seed=self.config.seed),
        )  # fmt: skip

    def save(self, name: str, bundle: PolicyBundle, figures: dict[str, Any] | None) -> Path:
        """Write a policy of this run with its card."""
        card = {
            "command": command_line(self.config),
            "data": self.data,
            "licence": "Apache-2.0",
            "validation": figures,
            "seconds": round(self.seconds, 1),
            "config": self.config.as_dict(),
        }
        return save_bundle(self.folder / f"{name}.safetensors", bundle, card=card)

    def report(self) -> None:
        """A row of progress.csv and a word on the console."""
        row: dict[str, Any] = {"steps": self.steps, "seconds": round(self.seconds, 2)}
        row["steps_per_second"] = round((self.steps - self.first) / max(time.monotonic() - self.begun, 1e-9), 1)
        figures = self.meter.figures()
        logged = {**self.latest.values, **self.learner.logger.name_to_value}
        learner = {column: float(logged[name]) for name, column in _LOGGED.items() if name in logged}
        if "train/entropy_loss" in logged:
            learner["entropy"] = -float(logged["train/entropy_loss"])
        row |= {key: float(f"{value:.6g}") for key, value in (figures | learner).items()}
        if result := self.current:
            row |= _columns(result) | {"best": int(self.best is not None and self.best.steps == self.steps)}
        self.rows.append(row)
        write_progress(self.folder / "progress.csv", self.rows)
        for key, value in figures.items():
            self.learner.logger.record(f"episodes/{key}", value)
        told = (f"{key} {figures[key]:.2f}" for key in ("success", "collision", "reward") if key in figures)
        self.console.advance(self.steps, " ".join(told))

    def keep(self, *, last: bool = False) -> None:
        """Write the checkpoint, and the curves now and then: drawing them takes a second."""
        notes = {
            "seconds": self.seconds,
            "best": json.loads(json.dumps(vars(self.best))) if self.best else None,
            "perception": dict(self.perception),
        }
        checkpoint = take(self.learner, algorithm=self.config.algo, normalise=self.normalise, notes=notes)
        save_checkpoint(self.folder / "checkpoint.safetensors", checkpoint)
        if last or time.monotonic() - self.drawn > DRAW_EVERY:
            draw_curves(self.folder / "curves.png", self.rows, title=f"{self.config.title}, seed {self.config.seed}")
            self.drawn = time.monotonic()

    def finish(self) -> tuple[Path, Path]:
        """Validate and save what the run ended with; when stopped, only save. Returns the paths of the best and of the last policy."""
        if not self.stopping and self.current is None:
            self.validate()
        bundle = self.bundle()
        figures = self.current.as_dict() if self.current else None
        final = self.save("final", bundle, figures)
        policy = self.folder / "policy.safetensors"
        if not policy.exists():  # stopped before the first validation
            self.save("policy", bundle, figures)
        if not self.rows or self.rows[-1]["steps"] != self.steps or figures:
            self.rows = [row for row in self.rows if row["steps"] != self.steps]
            self.report()
        self.keep(last=True)
        self.learner.logger.dump(self.steps)
        return policy, final

    def close(self) -> None:
        """Close the log files."""
        self.learner.logger.close()


def _images(worlds: VecEnv) -> bool:
    """Whether its observations have pictures."""
    return isinstance(worlds.observation_space, spaces.Dict) and "image" in worlds.observation_space.spaces


def _numbers(worlds: VecEnv) -> bool:
    """Whether its observations have anything beside pictures."""
    return not _images(worlds) or "state" in worlds.observation_space.spaces  # type: ignore[attr-defined]  # a Dict, then


def _hashes(weights: Mapping[Any, str]) -> str:
    return ", ".join(f"{stage} {sha256[:16]}..." for stage, sha256 in weights.items()) or "none"


def _columns(result: Validation) -> dict[str, float]:
    """A validation as columns of progress.csv."""
    columns = {"val_reward": float(f"{result.reward:.6g}"), "val_length": float(f"{result.length:.6g}")}
    for name, estimate in (("val_success", result.success), ("val_collision", result.collision)):
        if estimate is not None:
            bounds = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
            columns |= {f"{name}{suffix}": float(f"{value:.6g}") for suffix, value in bounds.items()}
    return columns
