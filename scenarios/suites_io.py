"""Suites: which scenarios or tasks are judged, on how many episodes, from which seed on, and by which metrics. As strict as
scenario files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from scenarios.document import Node, parse, read_text
from scenarios.errors import Problem, ScenarioError, did_you_mean
from scenarios.loader import SUFFIXES, Scenario, load
from scenarios.translate import problem_at, validate

__all__ = ["SUITES", "Suite", "SuiteEntry", "SuiteTask", "SuiteMetric", "is_suite", "load_suite", "suite_names"]

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True)
class SuiteEntry:
    """A stratum, episodes of one scenario: seeds `seed`, `seed` + 1, ..., `seed` + `episodes` - 1."""

    scenario: Scenario
    family: str  # the entries of one family are also judged together
    episodes: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class SuiteTask:
    """A stratum, episodes of one robot task or arcade game: seeds as of an entry. Which tasks there are is not known here."""

    task: str
    family: str
    episodes: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class SuiteMetric:
    """A metric that may not get worse. Margins are shares of its range (0.02: two points of a rate in percent)."""

    metric: str
    margin: float  # a mean loss of this much over the whole suite is too much
    family_margin: float | None  # the same within a family; None: a family can fail but need not be shown to have kept up
    priority: int  # 1 first: its tests get the larger share of the permitted error


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Entries or tasks, and metrics, in the order of the file."""

    name: str
    description: str
    entries: tuple[SuiteEntry, ...]
    metrics: tuple[SuiteMetric, ...]
    shrink: int  # failures that `closedloop compare` makes small
    file: str  # its name in messages
    root: Node = field(repr=False, compare=False)  # for the places in messages
    tasks: tuple[SuiteTask, ...] = ()  # then there are no entries

    def error(self, path: tuple[str | int, ...], expected: str, *, value: str | None = None, hint: str = "") -> ScenarioError:
        """A ScenarioError at a path of the file."""
        return ScenarioError([problem_at(self.root, self.file, path, expected, value=value, hint=hint)])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class EntryModel(_Strict):
    """One entry."""

    scenario: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(
        description="name, with variant (merge/hard), or a path inside the suite's folder"
    )
    episodes: Annotated[int, Field(ge=1, le=100_000)] | None = Field(default=None, description="left out: the suite's")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="first seed; left out: the suite's")
    family: _Name | None = Field(default=None, description="judged together with others of the same name; left out: the scenario's")


class TaskModel(_Strict):
    """One robot task or arcade game."""

    task: _Name = Field(description="name, as in `closedloop list robots arcade`")
    episodes: Annotated[int, Field(ge=1, le=100_000)] | None = Field(default=None, description="left out: the suite's")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="first seed; left out: the suite's")
    family: _Name | None = Field(default=None, description="judged together with others of the same name; left out: the task's")


class MetricModel(_Strict):
    """One gated metric, as `closedloop compare` judges it."""

    metric: _Name = Field(description="its name in results")
    margin: Annotated[float, Field(ge=0.001, le=1)] = Field(description="the mean loss, as a share of the range, that is too much")
    family_margin: Annotated[float, Field(ge=0.001, le=1)] | None = Field(
        default=None, description="the same within each family; left out: families can fail but need not be shown to have kept up"
    )
    priority: Annotated[int, Field(ge=1, le=9)] = Field(default=2, description="1 first; safety comes first")


class SuiteModel(_Strict):
    """A suite file."""

    version: Literal[1]
    name: _Name = Field(description="the file's name without .yaml")
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    episodes: Annotated[int, Field(ge=1, le=100_000)] = Field(default=10, description="of each entry that says nothing else")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(default=0, description="first seed of each entry that says nothing else")
    metrics: Annotated[tuple[MetricModel, ...], Field(max_length=50)] = Field(default=(), description="what `closedloop compare` gates")
    shrink: Annotated[int, Field(ge=0, le=50)] = Field(
        default=3, description="failures that `closedloop compare` makes small, up to 150 simulations each, unless --shrink says otherwise"
    )
    entries: Annotated[tuple[EntryModel, ...], Field(min_length=1, max_length=1000)] | None = Field(default=None, description="scenarios")
    tasks: Annotated[tuple[TaskModel, ...], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="robot tasks or arcade games, in place of entries"
    )


def suite_names() -> list[str]:
    """The suites that come with the package, sorted."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def is_suite(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether this names a suite: one that comes with the package, or a file that has `entries` or `tasks`, and no `road`."""
    text = os.fspath(name_or_path)
    if not text.endswith(SUFFIXES):
        return text in suite_names()
    try:
        root, _ = parse(read_text(Path(text), text), text)
    except ScenarioError:
        return False
    return isinstance(root.value, dict) and ("entries" in root.value or "tasks" in root.value) and "road" not in root.value


def load_suite(name_or_path: str | os.PathLike[str]) -> Suite:
    """Read a suite and every scenario in it. Raises ScenarioError with everything that is wrong, in the suite or its scenarios."""
    path = _find(os.fspath(name_or_path))
    file = str(path)
    root, problems = parse(read_text(path, file), file)
    model, problems = validate(SuiteModel, root, file, problems)
    if model is None:
        raise ScenarioError(problems)
    if model.name != path.stem:
        problems.append(
            problem_at(root, file, ("name",), "expected the file's name without its suffix", hint=f"did you mean '{path.stem}'?")
        )
    entries, seen = [], set[tuple[str, int]]()
    for index, entry in enumerate(model.entries or ()):
        scenario = _scenario(entry.scenario, path.parent, root, file, index, problems)
        seed = model.seed if entry.seed is None else entry.seed
        if (entry.scenario, seed) in seen:
            problems.append(
                problem_at(root, file, ("entries", index), "expected each scenario once for each seed", hint="raise episodes instead")
            )
        seen.add((entry.scenario, seed))
        if scenario is not None:
            episodes = model.episodes if entry.episodes is None else entry.episodes
            entries.append(SuiteEntry(scenario=scenario, family=entry.family or scenario.name, episodes=episodes, seed=seed))
    tasks = _tasks(model, root, file, problems)
    metrics = tuple(SuiteMetric(**metric.model_dump()) for metric in model.metrics)
    for index, metric in enumerate(metrics):
        if metric.metric in (other.metric for other in metrics[:index]):
            problems.append(problem_at(root, file, ("metrics", index, "metric"), "expected each metric once"))
    if problems:
        raise ScenarioError(problems)
    return Suite(
        name=model.name, description=model.description, entries=tuple(entries), metrics=metrics, shrink=model.shrink, file=file, root=root,
        tasks=tasks,
    )  # fmt: skip


def _tasks(model: SuiteModel, root: Node, file: str, problems: list[Problem]) -> tuple[SuiteTask, ...]:
    """The tasks of a suite; what is wrong with them goes to `problems`."""
    if bool(model.tasks) == bool(model.entries):
        said = "expected the key 'entries' (scenarios) or 'tasks' (of robots or games), one of the two"
        hint = "a suite judges one domain: make two of it" if model.tasks else "for example: entries: [{scenario: merge}]"
        problems.append(problem_at(root, file, (), said, value="", hint=hint))
    found: list[SuiteTask] = []
    for index, each in enumerate(model.tasks or ()):
        seed = model.seed if each.seed is None else each.seed
        if (each.task, seed) in ((other.task, other.seed) for other in found):
            said = "expected each task once for each seed"
            problems.append(problem_at(root, file, ("tasks", index), said, hint="raise episodes instead"))
        episodes = model.episodes if each.episodes is None else each.episodes
        found.append(SuiteTask(task=each.task, family=each.family or each.task, episodes=episodes, seed=seed))
    return tuple(found)


def _find(text: str) -> Path:
    if text.endswith(SUFFIXES):
        return Path(text)
    known = suite_names()
    if text not in known:
        hint = did_you_mean(text, known) or "known: " + ", ".join(known)
        raise ScenarioError(
            [Problem(file=repr(text) if "\0" in text else text, expected="no such suite, and no path ending in .yaml", hint=hint)]
        )
    return SUITES / f"{text}.yaml"


def _scenario(text: str, folder: Path, root: Node, file: str, index: int, problems: list[Problem]) -> Scenario | None:
    """The scenario of an entry; what is wrong with it goes to `problems`, at the entry and at its own file's lines."""
    at = ("entries", index, "scenario")
    name: str | Path = text
    if ".yaml" in text or ".yml" in text:
        outside = Path(text).is_absolute() or "\\" in text or not (folder / text).resolve().is_relative_to(folder.resolve())
        if outside:
            problems.append(problem_at(root, file, at, "expected a name of the library or a path inside the suite's folder"))
            return None
        name = str(folder / text)
    try:
        return load(name)
    except ScenarioError as error:
        general = [p for p in error.problems if not p.line and not (".yaml" in text or ".yml" in text)]
        problems += [problem_at(root, file, at, p.expected, hint=p.hint) for p in general]
        if not general:
            problems.append(problem_at(root, file, at, "expected a scenario without mistakes"))
            problems += error.problems
        return None
