"""What a training run is: one strict, frozen configuration.

Values come in layers, each over the one before: `defaults/base.yaml` for all, then for the algorithm; the file of the scenario's family
(`defaults/highway.yaml`), its `all` part and that of the algorithm; then what the caller gives. So `TrainConfig(scenario="merge")` is
the tuned run, and anything named in it replaces one value. `TrainConfig(task="reach")` is one on a robot task, with `defaults/robots`, and
`TrainConfig(task="rally")` one on an arcade game, with `defaults/arcade`.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from agents.learning.algorithms import Algorithm, check_hyper, find_algorithm
from agents.learning.config_arcade import arcade_picture, arcade_problems
from agents.learning.config_pictures import picture_problems
from agents.learning.config_robots import RobotSettings, robot_picture, robot_problems
from agents.learning.seeds import Seeds, seeds_for
from agents.policies.spec import ACTIVATIONS
from envs.driving.types import DrivingConfig
from envs.games.arcade import ARCADE
from scenarios.errors import did_you_mean

__all__ = [
    "DEFAULTS",
    "TrainConfig",
    "TrainConfigError",
    "command_line",
    "config_from",
    "overlaid",
    "parse_count",
    "parse_settings",
    "read_yaml",
]

DEFAULTS = Path(__file__).resolve().parent / "defaults"
DRIVING_ONLY = ("scenario", "episodes", "compile", "driving", "planner", "reward")  # robots meet ever new episodes
_Positive = Annotated[int, Field(ge=1)]


class TrainConfigError(ValueError):
    """A training configuration that cannot be used. One problem per line, each with the field, the value and the rule."""


class TrainConfig(BaseModel):
    """A training run. Raises pydantic's ValidationError (a ValueError) with every problem; `config_from` gives them as plain lines."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    scenario: tuple[str, ...] = ()  # names or files; several are mixed, episodes shared equally
    task: str = ""  # a robot task (`envs.robots.TASKS`) or an arcade game (`envs.games.arcade`) instead of scenarios
    algo: str = "ppo"
    steps: _Positive = 1_000_000  # decisions over all worlds
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    envs: _Positive = 256  # worlds side by side
    episodes: _Positive = 2048  # distinct training episodes, drawn once
    validation_episodes: _Positive = 256
    evaluations: _Positive = 20  # how often the policy is validated and a checkpoint written, evenly over the run
    device: str = "cpu"
    compile: bool = False  # torch.compile the simulator: a minute at the start, then faster
    threads: Annotated[int, Field(ge=0)] = 1  # of torch; 0: as torch likes. More only pay where the cores are otherwise idle
    tensorboard: bool = True
    driving: DrivingConfig = DrivingConfig()
    robot: RobotSettings = RobotSettings()  # of an arcade game: observation, options and screen
    planner: str = ""  # the learner tells this planner what to aim at (`agents.planners.wish`); "": it drives by itself
    imitate: str = ""  # all steps are for distilling this planner or expert by DAgger (`agents.learning.dagger`); "": from rewards
    init: str = ""  # folder of a run whose last policy, critic and normaliser this one begins with; "": from scratch
    init_sha256: str = ""  # of its checkpoint, which `train` fills in; another one is refused
    reward: dict[str, float] = {}  # weights of `envs.driving.rewards.RewardWeights`, by name
    normalise_observations: bool = True
    normalise_rewards: bool = False  # by the running deviation of the return
    network: tuple[_Positive, ...] = Field(default=(128, 128), min_length=1, max_length=8)
    activation: str = "tanh"
    schedule: Literal["constant", "linear"] = "linear"  # of the learning rate
    hyper: dict[str, Any] = {}  # parameters of the algorithm, by their names in Stable-Baselines3

    @model_validator(mode="before")
    @classmethod
    def _layer(cls, data: Any, info: ValidationInfo) -> Any:
        """Unknown names are refused, then the defaults laid under what was given (not for a finished configuration read back)."""
        if not isinstance(data, Mapping):
            return data
        given = dict(data)
        if unknown := [_unknown(key, cls.model_fields) for key in given if key not in cls.model_fields]:
            raise ValueError("\n".join(unknown))
        if isinstance(given.get("scenario"), str | Path):
            given["scenario"] = (given["scenario"],)
        if isinstance(given.get("scenario"), list | tuple):
            given["scenario"] = tuple(os.fspath(s) if isinstance(s, Path) else s for s in given["scenario"])
        if not (isinstance(info.context, Mapping) and info.context.get("complete")):
            algo, names = given.get("algo", "ppo"), given.get("scenario", ())
            if isinstance(algo, str) and all(isinstance(n, str) for n in names):
                task = given.get("task", "")
                robot = given.get("robot")
                pictures = isinstance(robot, Mapping) and robot.get("observation") == "pixels"
                below = task_defaults(task, algo, pictures=pictures) if task and isinstance(task, str) else layered_defaults(names, algo)
                given = overlaid(below, given)
        if isinstance(given.get("network"), list):
            given["network"] = tuple(given["network"])
        if isinstance(given.get("driving"), Mapping):
            given["driving"] = _driving(given["driving"])
        return given

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        algorithm = find_algorithm(self.algo)
        problems = check_hyper(self.algo, self.hyper)
        if self.activation not in ACTIVATIONS:
            problems.append(f"activation: {self.activation!r}; must be one of {', '.join(ACTIVATIONS)}")
        problems += self._robot_problems(algorithm) if self.task else self._driving_problems(algorithm)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _robot_problems(self, algorithm: Algorithm) -> list[str]:
        strange = DRIVING_ONLY
        given = [name for name in strange if getattr(self, name) != type(self).model_fields[name].get_default()]
        problems = [f"{name}: is about driving, and task={self.task!r} is none: leave it out" for name in given]
        if self.arcade:
            problems += arcade_problems(self.task, self.robot, algorithm, self.imitate)
        else:
            problems += robot_problems(self.task, self.robot, algorithm, self.imitate, envs=self.envs, hyper=self.hyper)
        if not problems and self.robot.observation == "pixels":
            shape = arcade_picture(self.task) if self.arcade else robot_picture(self.task, self.robot)
            problems += picture_problems(
                shape, steps=self.steps, envs=self.envs, imitate=self.imitate, on_policy=algorithm.on_policy, hyper=self.hyper
            )
        return problems

    def _driving_problems(self, algorithm: Algorithm) -> list[str]:
        problems = []
        if not self.scenario:
            problems.append("scenario: expected at least one scenario, or a robot task: task")
        if self.robot != RobotSettings():
            problems.append("robot: is about a robot's task, and none is named: task")
        if self.driving.action not in algorithm.actions:
            problems.append(f"driving.action: {self.algo} learns {' or '.join(algorithm.actions)} actions, not {self.driving.action}")
        problems += _planner_problems(self.planner, self.driving)
        problems += _imitation_problems(self.imitate, self.planner, self.driving, algorithm)
        if self.driving.learners != 1:
            problems.append(f"driving.learners: {self.driving.learners}; one policy is trained on one learner a world: must be 1")
        if self.driving.autopilot:
            problems.append("driving.autopilot: must be off, or the traffic model drives instead of the policy")
        return problems + _reward_problems(self.reward)

    @property
    def arcade(self) -> bool:
        """Whether the task is an arcade game, and no robot's."""
        return self.task in ARCADE

    @property
    def seeds(self) -> Seeds:
        """Every seed of the run."""
        return seeds_for(self.seed, training_episodes=self.episodes, validation_episodes=self.validation_episodes)

    @property
    def title(self) -> str:
        """`highway-ppo`: for folder names and tables."""
        if self.task:
            return f"{self.task}-{self.algo}"
        names = [Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in self.scenario]
        return f"{'+'.join(names).replace('/', '-')}-{self.algo}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml: without those of the other domain."""
        other = DRIVING_ONLY if self.task else ("task", "robot")
        values = {name: value for name, value in {**self.model_dump(), "driving": asdict(self.driving)}.items() if name not in other}
        plain: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python(values, mode="json")
        return plain


def config_from(data: Mapping[str, Any], *, complete: bool = False) -> TrainConfig:
    """A configuration from plain values. complete: a finished one read back, with nothing laid under it. Raises TrainConfigError."""
    try:
        return TrainConfig.model_validate(dict(data), context={"complete": complete})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = ".".join(map(str, problem["loc"]))
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message} (got {str(problem['input'])[:60]!r})" if where else message)
        raise TrainConfigError("\n".join(lines)) from None


def command_line(config: TrainConfig) -> str:
    """The command that trains with `config`: what differs from the defaults for its scenario and algorithm is named."""
    mine = config.as_dict()
    what = "task" if config.task else "scenario"
    pictures = bool(config.task) and config.robot.observation == "pixels"  # which have defaults of their own
    below: dict[str, Any] = {"robot": {"observation": "pixels"}} if pictures else {}
    usual = config_from({**below, **{name: mine[name] for name in (what, "algo")}}).as_dict()
    on = ["--task", config.task] if config.task else [part for name in config.scenario for part in ("--scenario", name)]
    words = ["closedloop", "train", *on, "--algo", config.algo, "--steps", str(config.steps), "--seed", str(config.seed)]
    words += (["--observation", "pixels"] if pictures else []) + (["--compile"] if config.compile else [])
    for key, value in _flat({name: value for name, value in mine.items() if name not in (what, "algo", "steps", "seed", "compile")}):
        if (key, value) not in _flat(usual):
            words += ["--set", f"{key}={json.dumps(value)}"]
    return shlex.join(words)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values by their dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML 1.2 mapping from a file. Raises TrainConfigError if it is none."""
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise TrainConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise TrainConfigError(f"{path}: expected a mapping")
    return data


@cache
def _defaults_in(path: Path) -> dict[str, Any]:
    return read_yaml(path)


def families(names: tuple[str, ...]) -> set[str]:
    """'merge/hard', 'my/merge.yaml' -> 'merge'."""
    return {Path(n).stem if n.endswith((".yaml", ".yml")) else n.split("/")[0] for n in names}


def layered_defaults(names: tuple[str, ...], algo: str) -> dict[str, Any]:
    """The values under what the caller gives. Scenarios of several families get the base values, as no family's were tuned for them."""
    files = [DEFAULTS / "base.yaml"]
    found = families(names)
    if len(found) == 1 and (own := DEFAULTS / f"{next(iter(found))}.yaml").exists():
        files.append(own)
    merged: dict[str, Any] = {}
    for file in files:
        parts = _defaults_in(file)
        merged = overlaid(overlaid(merged, parts.get("all", {})), parts.get(algo, {}))
    actions = find_algorithm(algo).actions
    if merged.get("driving", {}).get("action") not in actions:  # a family tuned for manoeuvres, an algorithm that cannot choose among them
        merged = overlaid(merged, {"driving": {"action": actions[0]}})
    return merged


def task_defaults(task: str, algo: str, *, pictures: bool = False) -> dict[str, Any]:
    """The values under what the caller gives, for a robot task or an arcade game; pictures: what is learned from."""
    merged: dict[str, Any] = {}
    folder = DEFAULTS / ("arcade" if task in ARCADE else "robots")
    own = folder / f"{Path(task).name}.yaml"
    for file in (folder / "base.yaml", own, *([folder / "pixels.yaml"] if pictures else [])):
        parts = _defaults_in(file) if file.exists() else {}
        merged = overlaid(overlaid(merged, parts.get("all", {})), parts.get(algo, {}))
    return overlaid(merged, _defaults_in(own).get("pixels", {})) if pictures and own.exists() else merged


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, mappings key by key."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = overlaid(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _driving(values: Mapping[str, Any]) -> DrivingConfig:
    known = {f.name for f in fields(DrivingConfig)}
    if unknown := [f"driving.{_unknown(key, known)}" for key in values if key not in known]:
        raise ValueError("\n".join(unknown))
    try:
        return TypeAdapter(DrivingConfig).validate_python(dict(values))
    except ValidationError as error:
        lines = (f"driving.{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise ValueError("\n".join(line.replace("driving.: ", "driving.") for line in lines)) from None


def _planner_problems(planner: str, driving: DrivingConfig) -> list[str]:
    from agents.planners.wish import GUIDED

    if not planner:
        return []
    if planner not in GUIDED:
        return [f"planner: {planner!r} cannot be told what to aim at; {did_you_mean(planner, GUIDED) or 'those can: ' + ', '.join(GUIDED)}"]
    if driving.action != "continuous":
        return [f"driving.action: {driving.action}; a planner drives by continuous actions"]
    if driving.observation == "pixels":
        return ["driving.observation: pixels; a planner needs tracks, and images alone tell of none"]
    return []


def _imitation_problems(imitate: str, planner: str, driving: DrivingConfig, algorithm: Algorithm) -> list[str]:
    from agents.planners.base import PLANNERS

    if not imitate:
        return []
    if imitate not in PLANNERS:
        return [f"imitate: no planner {imitate!r}; {did_you_mean(imitate, PLANNERS) or 'known: ' + ', '.join(PLANNERS)}"]
    problems = []
    if not algorithm.on_policy:
        problems.append(f"imitate: {algorithm.name} cannot go on from a distilled policy; ppo, a2c and trpo can")
    if driving.action != "continuous":
        problems.append(f"driving.action: {driving.action}; what a planner does are continuous actions")
    if driving.observation == "pixels":
        problems.append("driving.observation: pixels; a planner needs tracks, and images alone tell of none")
    if planner:
        problems.append(f"planner: {planner!r} is told wishes, and a planner that is imitated has none: leave one of the two out")
    return problems


def _reward_problems(weights: Mapping[str, float]) -> list[str]:
    from envs.driving.rewards import RewardWeights

    known = {f.name for f in fields(RewardWeights)}
    problems = [f"reward.{_unknown(key, known)}" for key in weights if key not in known]
    if not problems:
        try:
            RewardWeights(**weights)
        except ValueError as error:
            problems.append(f"reward: {error}")
    return problems


def _unknown(key: str, known: Any) -> str:
    hint = did_you_mean(key, known)
    return f"{key}: unknown; {hint or 'known: ' + ', '.join(sorted(known))}"


def parse_count(text: str) -> int:
    """'1M' -> 1_000_000, '500k', '2e6', '300000'. Raises ValueError."""
    factors = {"k": 10**3, "m": 10**6, "g": 10**9}
    body = text.strip().replace("_", "")
    factor = factors.get(body[-1:].lower(), 1)
    try:
        value = float(body[:-1] if factor > 1 else body) * factor
    except ValueError:
        raise ValueError(f"{text!r} is no count: write 300000, 500k, 1M or 2e6") from None
    if not 1 <= value < 1e12 or value != int(value):
        raise ValueError(f"{text!r}: must be a whole number of at least 1")
    return int(value)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """('hyper.n_steps=64', 'driving.action=discrete') -> nested mapping; values are YAML. Raises TrainConfigError."""
    nested: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise TrainConfigError(f"--set {setting}: write key=value, with dots for nested keys: hyper.n_steps=64")
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            raise TrainConfigError(f"--set {setting}: {text!r} is not valid YAML") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = overlaid(nested, value)
    return nested
