"""Failures explained: every lost pair gets a class and its circumstances, alike ones are counted together, and some are made small."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agents.evaluation.rollout import fitting_batch, plain_name, rollout
from agents.gate.coverage import coverage
from agents.gate.drive import BASELINE, CANDIDATE
from agents.gate.failures import Circumstances, circumstances, failure_of, nearest_first, shares, worded
from agents.gate.gallery import gallery
from agents.gate.html import report_page
from agents.gate.replays import Replay, drive_again
from agents.gate.report import Cluster, Failure, Minimal, Report
from agents.gate.run import Order, Outcome
from agents.gate.shrink import Shrunk, shrink
from agents.gate.trials import TOGETHER, Hunt, hunt_all
from agents.playback.trace import Trace
from agents.policies.base import Policy, load_policy
from scenarios import ScenarioError, load, sample
from scenarios.explicit import ExplicitError, explicit, text_of
from scenarios.files import write_atomic

__all__ = ["BUDGET", "Planted", "explain", "shrink_all", "write_page"]

BUDGET = 150  # simulations for one failure
REFERENCE = "idm"  # passes in place of a baseline that is not there to drive
FOLDER = "failures"  # of the small scenarios, below the report's
Tick = Callable[[int], None]
Progress = Callable[[int], AbstractContextManager[Tick]]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A failure to make small."""

    spec: str  # the scenario, as `scenarios.load` takes it
    seed: int
    failure: str  # its class
    trace: Trace  # of the candidate
    name: str  # of the file to write, without .yaml
    cluster: int = 0


def explain(
    order: Order,
    outcome: Outcome,
    folder: Path,
    *,
    shrinks: int,
    workers: int = 1,
    progress: Progress = lambda total: nullcontext(lambda count: None),
) -> tuple[Report, list[Replay]]:
    """The report with failures, clusters and small scenarios, and the replays of the pairs it lists. Writes below `folder`.

    Without a verdict if an episode did not come out as it was judged: who does not repeat himself cannot be compared.
    shrinks: how many failures to make small at most. progress: given how many simulations are made at most, what to tell of them.
    Raises OSError.
    """
    report = outcome.report
    if report is None or not report.worse:
        if report is None:
            raise ValueError("there is no report to explain: nothing was compared")
        return report, []
    if order.plan.tasks:  # robots leave no traces, and there is no traffic to leave out: the report names the pairs and their commands
        return report, []
    with progress(len(report.worse) * len(order.policies)) as tick:
        replays, differ = drive_again(order, outcome, report.worse, folder, workers=workers, progress=tick)
    lost = [replay for replay in replays if _is_lost(order, outcome, replay)]
    told = [(replay, trace, _circumstances(replay, trace)) for replay in lost if (trace := replay.trace(CANDIDATE)) is not None]
    families = {stratum.name: stratum.family for stratum in order.plan.strata}
    clusters = _clusters([(families[replay.worse.scenario], replay.worse.scenario, each) for replay, _, each in told])
    failures = []
    for number, (replay, _, each) in enumerate(told, start=1):
        family = families[replay.worse.scenario]
        home = next(c for c in clusters if (c.failure, c.family, c.other, c.side) == (each.failure, family, each.other, each.side))
        traces = tuple(
            str(Path(r.trace).relative_to(folder)) for role in (CANDIDATE, BASELINE) if (r := replay.results.get(role)) and r.trace
        )
        failures.append(
            Failure(
                number=number, cluster=home.number, scenario=replay.worse.scenario, family=family, seed=replay.worse.seed, traces=traces,
                **asdict(each),
            )
        )  # fmt: skip
    specs = {stratum.name: stratum.spec for stratum in order.plan.strata}
    planted = []
    for failure in _chosen(failures, shrinks):
        trace = told[failure.number - 1][1]
        name = plain_name(f"{failure.failure}-{failure.family}-{failure.number}").replace(".", "-")[:64]
        planted.append(
            Planted(
                spec=specs[failure.scenario], seed=failure.seed, failure=failure.failure, trace=trace, name=name, cluster=failure.cluster
            )
        )
    with progress(BUDGET * len(planted)) if planted else nullcontext(lambda count: None) as tick:
        minimal = shrink_all(planted, order.candidate, order.baseline or REFERENCE, folder, progress=tick)
    explained = report.model_copy(update={"failures": tuple(failures), "clusters": tuple(clusters), "minimal": tuple(minimal)})
    if differ:
        explained = explained.spoilt(differ, f"{len(differ)} episodes, driven again for their traces, did not come out as they were judged")
    return explained, replays


def _is_lost(order: Order, outcome: Outcome, replay: Replay) -> bool:
    """Whether the candidate fails and the baseline does not, by what was judged."""
    scenario, seed = replay.worse.scenario, replay.worse.seed
    theirs, mine = (outcome.records.get((role, scenario, seed)) for role in (BASELINE, CANDIDATE))
    if mine is None or not failure_of(mine["end"], mine["metrics"]):
        return False
    if theirs is not None:
        return not failure_of(theirs["end"], theirs["metrics"])
    for kept in order.kept.strata if order.kept else ():
        if kept.scenario == scenario and "success" in kept.events:
            return kept.events["success"][seed - kept.seeds[0]] == "1"
    return False


def _circumstances(replay: Replay, trace: Trace) -> Circumstances:
    result = replay.results[CANDIDATE]
    return circumstances(trace, failure_of(result.end, result.metrics), cause=result.struck.cause if result.struck else "")


def _clusters(found: Sequence[tuple[str, str, Circumstances]]) -> list[Cluster]:
    """Of (family, scenario, circumstances): the largest first, then in the order of what they are made of."""
    groups: dict[tuple[str, str, str, str], list[tuple[str, Circumstances]]] = {}
    for family, scenario, each in found:
        groups.setdefault((each.failure, family, each.other, each.side), []).append((scenario, each))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        Cluster(
            number=number, words=worded(failure, family, other, side), failure=failure, family=family, other=other, side=side,
            count=len(members), shares=shares(members),
        )
        for number, ((failure, family, other, side), members) in enumerate(ordered, start=1)
    ]  # fmt: skip


def _chosen(failures: Sequence[Failure], most: int) -> list[Failure]:
    """One of each cluster, the largest first, then a second of each, until there are enough."""
    seen: dict[int, int] = {}
    ranked = []
    for failure in failures:
        seen[failure.cluster] = seen.get(failure.cluster, 0) + 1
        ranked.append((seen[failure.cluster], failure.cluster, failure))
    return [failure for _, _, failure in sorted(ranked, key=lambda item: item[:2])[:most]]


def write_page(order: Order, outcome: Outcome, report: Report, replays: Sequence[Replay], path: Path, *, command: str = "") -> None:
    """Write the report as one HTML file. Raises OSError; TraceError for traces that cannot be read."""
    names = {role: str(side.get("name", "")) for role, side in ((BASELINE, report.baseline), (CANDIDATE, report.candidate))}
    covered = {}
    for stratum in () if order.plan.tasks else order.plan.strata:  # robot tasks have no parameters that a file names
        records = {seed: outcome.records.get((CANDIDATE, stratum.name, seed)) for seed in stratum.seeds}
        driven = {seed: bool(failure_of(r["end"], r["metrics"])) for seed, r in records.items() if r is not None and not r["error"]}
        try:
            covered[stratum.name] = coverage(stratum.spec, driven)
        except ScenarioError:
            continue  # spoilt meanwhile: its episodes are lost, and named
    write_atomic(path, report_page(report, gallery=gallery(replays, report.failures, names), covered=covered, command=command))


# ---------------------------------------------------------------- small scenarios


def shrink_all(
    planted: Sequence[Planted], candidate: str, reference: str, folder: Path, *, budget: int = BUDGET, progress: Tick | None = None
) -> list[Minimal]:
    """Make failures of `candidate` small, all at once, and write them below `folder`; what is said of each, in their order.

    reference: the policy that has to pass. Each file is loaded and driven once more as the command line does. Raises OSError.
    """
    policies = load_policy(candidate), load_policy(reference)
    hunts: list[Hunt | str] = []
    for each in planted:
        try:
            original = load(each.spec)
            spelled = explicit(original, sample(original, each.seed), name=each.name)
        except (ExplicitError, ScenarioError) as error:
            hunts.append(str(error))
            continue
        nearest = [spelled.model.actors[slot - 1].id for slot in nearest_first(each.trace)]
        search = shrink(original, spelled, each.seed, nearest)
        hunts.append(Hunt(scenario=spelled, seed=each.seed, failure=each.failure, search=search, budget=budget - 2))  # 2: to check the file
    hunt_all([hunt for hunt in hunts if isinstance(hunt, Hunt)], *policies, progress=progress)
    said = [_minimal(each, hunt, candidate, reference, folder) for each, hunt in zip(planted, hunts, strict=True)]
    return _checked(planted, said, policies, folder, progress)


def _minimal(each: Planted, hunt: Hunt | str, candidate: str, reference: str, folder: Path) -> Minimal:
    """Write what was found."""
    others = len(each.trace.episode.agents) - 1
    plain = {
        "cluster": each.cluster, "scenario": each.trace.episode.scenario, "seed": each.seed, "failure": each.failure,
        "reference": reference, "others": others, "fingerprint": "",
    }  # fmt: skip
    nothing = {"file": "", "command": "", "others_left": others, "unusual": (), "thorough": False}
    if isinstance(hunt, str):
        return Minimal(**plain, **nothing, simulations=0, why=hunt)  # type: ignore[arg-type]
    found: Shrunk | None = hunt.found
    if found is None:
        why = f"{reference} does not pass there, or the episode does not fail the same way when spelled out"
        return Minimal(**plain, **nothing, simulations=hunt.simulations, why=why)  # type: ignore[arg-type]
    path, left = folder / FOLDER / f"{each.name}.yaml", len(found.model.actors)
    words = ["closedloop", "eval", candidate, "--scenario", str(path), "--seed", str(each.seed), "--episodes", "1", "--traces", "all"]
    command = shlex.join(words)
    says = (
        f"{candidate}: {each.failure}; {reference} passes. Made small from {plain['scenario']}, seed {each.seed}, with {left} of {others} "
        f"others left. {command}"
    )
    write_atomic(path, text_of(found.model.model_copy(update={"description": says})))
    return Minimal(
        **plain,  # type: ignore[arg-type]
        file=str(path.relative_to(folder)),
        command=command,
        others_left=left,
        unusual=found.unusual,
        simulations=hunt.simulations,
        thorough=not hunt.spent,
        why="",
    )


def _checked(
    planted: Sequence[Planted], said: Sequence[Minimal], policies: tuple[Policy, Policy], folder: Path, progress: Tick | None
) -> list[Minimal]:
    """With the files loaded and driven by both policies: the fingerprints, and what is wrong where one does not do as it should."""
    written = [i for i, each in enumerate(said) if each.file]
    episodes = [replace(sample(load(folder / said[i].file), planted[i].seed), scenario=TOGETHER) for i in written]
    mine, theirs = (rollout(policy, episodes, batch=fitting_batch(policy, len(episodes)), fingerprints=True) for policy in policies)
    found = list(said)
    for i, own, other in zip(written, mine, theirs, strict=True):
        failure, passes = failure_of(own.end, own.metrics), not other.error and not failure_of(other.end, other.metrics)
        why = "" if passes else f"{said[i].reference} does not pass in the file: {other.error or other.end}"
        if failure != said[i].failure:
            why = f"the file does not fail like the episode: {own.error or failure or 'success'}"
        found[i] = said[i].model_copy(update={"why": why, "fingerprint": own.fingerprint, "simulations": said[i].simulations + 2})
    if progress:
        progress(2 * len(written))
    return found
