"""The worst failures as ordinary scenario files, a suite of them, and the proof that each one fails again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from agents.evaluation.rollout import plain_name, rollout
from agents.policies.base import Policy
from agents.stress.margins import failed
from agents.stress.space import REST, Space
from agents.stress.trials import Trial
from scenarios import Scenario, load, sample
from scenarios.files import write_atomic
from scenarios.frozen import write_frozen

__all__ = ["Case", "chosen", "save_cases"]

TELL = 4  # unusual numbers told of a case
UNUSUAL = 1.0  # standard deviations from which a number is told


@dataclass(frozen=True, kw_only=True)
class Case:
    """A failure that was written down."""

    file: str
    trial: Trial
    unusual: dict[str, float]  # numbers of the draw farthest from their middle, by name: quantiles, 0 to 1
    command: str  # drives it again and keeps the trace
    reproduced: str  # "to the last bit" or "the same end"; empty: it did not fail again


def chosen(trials: Sequence[Trial], count: int) -> list[Trial]:
    """At most `count` failures, the worst first: those that somebody survives before the others, and one of each end in turn."""
    queues: dict[tuple[bool, str], list[Trial]] = {}
    for trial in sorted((t for t in trials if t.failed), key=lambda t: t.margin):
        queues.setdefault((not trial.avoidable, trial.end), []).append(trial)
    picked: list[Trial] = []
    for unavoidable in (False, True):
        turn = [queue for (key, _), queue in sorted(queues.items()) if key is unavoidable]
        while any(turn) and len(picked) < count:
            picked += [queue.pop(0) for queue in turn if queue][: count - len(picked)]
    return picked


def save_cases(
    trials: Sequence[Trial],
    scenario: Scenario,
    policy: Policy,
    spec: str,
    space: Space,
    folder: Path,
    rule: str,
    telling: Sequence[str] = (),
) -> list[Case]:
    """Write `cases/<scenario>-<k>.yaml` for each trial and `cases/suite.yaml` below `folder`; load, draw and drive each one again.

    spec: the policy as the command line takes it. telling: coordinates in which failures differ, told of before others. A case that does
    not fail again is told, but its file does not stay. Raises OSError.
    """
    if not trials:
        return []
    stem = plain_name(scenario.id.replace("/", "_")).replace(".", "_")[:50]
    paths = [folder / "cases" / f"{stem}-{k:02d}.yaml" for k in range(1, len(trials) + 1)]
    episodes = [sample(scenario, trial.seed, draws=trial.draws) for trial in trials]
    unusual = [_unusual(trial, space, telling) for trial in trials]
    for path, episode, trial, odd in zip(paths, episodes, trials, unusual, strict=True):
        write_frozen(scenario, episode, path, description=_told(trial, spec), comments=_comments(trial, scenario, odd))
    again = [sample(load(path), trial.seed) for path, trial in zip(paths, trials, strict=True)]
    both = [*episodes, *(replace(episode, scenario=scenario.id) for episode in again)]  # one name, so that they share a simulator
    results = rollout(policy, both, fingerprints=True)
    cases = []
    for path, trial, odd, then, now in zip(paths, trials, unusual, results[: len(trials)], results[len(trials) :], strict=True):
        same = not now.error and failed(now, rule) and now.end == trial.end
        reproduced = "to the last bit" if same and now.fingerprint == then.fingerprint else "the same end" if same else ""
        words = ["closedloop", "eval", spec, "--scenario", str(path), "--seed", str(trial.seed), "--episodes", "1", "--traces", "all"]
        cases.append(Case(file=str(path), trial=trial, unusual=odd, command=shlex.join(words), reproduced=reproduced))
        if not same:
            path.unlink()
    if kept := [case for case in cases if case.reproduced]:
        write_atomic(folder / "cases" / "suite.yaml", _suite(kept, scenario, spec))
    return cases


def _unusual(trial: Trial, space: Space, telling: Sequence[str]) -> dict[str, float]:
    z = np.nan_to_num(ndtri(np.clip(trial.u, 1e-12, 1.0 - 1e-12)))
    order = sorted((i for i, name in enumerate(space.names) if name != REST), key=lambda i: (space.names[i] not in telling, -abs(z[i])))
    return {space.names[i]: round(float(trial.u[i]), 4) for i in order[:TELL] if abs(z[i]) >= UNUSUAL}


def _told(trial: Trial, spec: str) -> str:
    what = f"a collision at {trial.impact:.1f} m/s relative speed" if trial.end == "collision" else trial.end.replace("_", " ")
    who = f"{', '.join(trial.survived)} survived it." if trial.survived else "No reference survived it."
    return f"{plain_name(Path(spec).name)} fails: {what}. {who}"


def _comments(trial: Trial, scenario: Scenario, unusual: dict[str, float]) -> tuple[str, ...]:
    source = f"Found by closedloop stress in {scenario.id}, seed {trial.seed}{', with numbers of its own' if trial.draws else ''}."
    told = ", ".join(f"{name} at {100.0 * u:.4g} %" for name, u in unusual.items())
    return (source, f"Most unusual, as quantiles: {told}.") if told else (source,)


def _suite(cases: Sequence[Case], scenario: Scenario, spec: str) -> str:
    about = f"The worst failures of {plain_name(Path(spec).name)} that closedloop stress found in {scenario.id}."
    lines = ["version: 1", "name: suite", f"description: {json.dumps(about)}", "episodes: 1", "metrics:"]
    lines += ["  - {metric: collision, margin: 0.05, priority: 1}", "  - {metric: success, margin: 0.05, priority: 2}", "entries:"]
    lines += [f"  - {{scenario: {Path(case.file).name}, seed: {case.trial.seed}, family: {scenario.name}}}" for case in cases]
    return "\n".join([*lines, ""])
