"""`closedloop eval`: put policies through the same episodes, of scenarios, of robot tasks or of arcade games, and say how well they did."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.evaluation.report import Sheet
    from agents.evaluation.rollout import EpisodeResult
    from agents.evaluation.suite import Plan

__all__ = ["command"]


@click.command("eval")
@click.argument("policies", nargs=-1, required=True, metavar="POLICY...")
@click.option("--suite", metavar="NAME", help="A suite of scenarios, by name or path; see `closedloop list suites`.")
@click.option(
    "--scenario", "scenario_names", multiple=True, metavar="NAME", help="A scenario, by name (merge, merge/hard) or path; may be repeated."
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="A robot task or an arcade game (see `closedloop list robots arcade`); may be repeated.",
)
@click.option("--episodes", type=click.IntRange(1), help="Episodes of each scenario or task. [default: 100, or as the suite says]")
@click.option("--seed", type=click.IntRange(0), help="Seed of the first episode; the others follow. [default: 0, or as the suite says]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results, new or empty. [default: runs/eval/<time>]"
)
@click.option("--force", is_flag=True, help="Replace the results and traces of an earlier run in --out.")
@click.option(
    "--traces",
    metavar="all|failures|none|N",
    help="Traces to write; N: the first N of each scenario. Tasks leave none. [default: failures]",
)
@click.option("--workers", type=click.IntRange(1), help="Processes. Results do not depend on it. [default: one a core]")
@click.option(
    "--compile/--no-compile",
    "compile_",
    default=False,
    help="Compile the simulator with torch.compile: a slow start, then several times faster. Pays from some hundred episodes on.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the worlds live: cpu, cuda, cuda:1. A GPU drives 512 at once.")
@click.option("--json", "json_", is_flag=True, help="Print the results as JSON on stdout.")
def command(
    policies: tuple[str, ...],
    suite: str | None,
    scenario_names: tuple[str, ...],
    tasks: tuple[str, ...],
    episodes: int | None,
    seed: int | None,
    out: Path | None,
    force: bool,
    traces: str | None,
    workers: int | None,
    compile_: bool,
    device: str,
    json_: bool,
) -> int:
    """Judge policies: a shipped checkpoint, a baseline (random, idm, constant), a planner (pdm, lattice, idm_mobil), or a run's path;
    any of them behind a shield: shield:NAME. On robot tasks: trained (the checkpoint that is shipped for the task), expert, sampling,
    random, or a run's path; on arcade games the same but for sampling.

    Every policy drives the same episodes. Writes results.json, report.md and traces. Exit code 4 if any episode was lost to an error.
    Ctrl-C keeps what has been driven, names what is missing, and ends with exit code 130. Seeds from 1000000 on belong to training.

    \b
    closedloop eval highway idm random --scenario highway --episodes 500
    closedloop eval runs/mine --suite driving --out runs/mine/eval
    closedloop eval idm --scenario merge/hard --seed 1000 --traces all --json
    closedloop eval pdm lattice --scenario junction/hard --episodes 512 --device cuda
    closedloop eval trained expert sampling random --task reach --episodes 200
    closedloop eval trained trained@perceived expert random --task rally
    """
    from agents.commands.compiling import checked_device, require_compiler
    from agents.commands.output import CountProgress, as_json, print_json
    from agents.evaluation.domains import are_arcade, changed_task_weights
    from agents.evaluation.report import DRIVING, ROBOTS, arcade_sheet, markdown, report, trained_on
    from agents.evaluation.suite import Interrupted, changed_weights, default_workers, judge, resolve, trace_rule
    from scenarios.files import write_atomic

    require_compiler(compile_)
    checked_device(device)
    plan = _plan(suite, scenario_names, tasks, episodes, seed)
    robots = bool(plan.tasks)
    if robots and (traces not in (None, "none") or compile_ or device != "cpu"):
        raise click.UsageError("tasks: no traces are left (--traces), nothing is compiled (--compile), and they run on the CPU (--device)")
    traces = traces or ("none" if robots else "failures")
    sheet = DRIVING if not robots else arcade_sheet(plan.tasks) if are_arcade(plan.tasks) else ROBOTS
    folder = out or Path("runs") / "eval" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = scenario_names or tasks
    title = f"{', '.join(policies)} on {suite or (names[0] if len(names) == 1 else f'{len(names)} {sheet.what}s')}"
    rule = trace_rule(folder / "traces", traces, plan)
    resolve(policies, plan)  # what cannot be driven is refused before anything is written,
    _prepare(folder, force)  # and a folder that cannot be written before anything is driven
    if warning := trained_on(seed for _, seeds in plan.entries for seed in seeds):
        click.echo(f"warning: {warning}", err=True)
    warnings = changed_task_weights([*policies], plan.tasks) if robots else changed_weights(policies)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    workers = workers or default_workers(plan, len(policies), os.cpu_count() or 1, device)
    try:
        with CountProgress(len(policies) * plan.episodes) as tick:
            results = judge(policies, plan, workers=workers, traces=rule, progress=tick, compile=compile_, device=device)
    except Interrupted as stop:
        results = stop.results
        if all(r.error for r in results):
            raise  # there is nothing to keep

    line = shlex.join(["closedloop", "eval", *sys.argv[2:]]) if sys.argv[1:2] == ["eval"] else ""
    summary = report(results, title=title, command=line, warnings=warnings, sheet=sheet, device=device)
    write_atomic(folder / "results.json", as_json(summary) + "\n")
    write_atomic(folder / "report.md", markdown(results, title=title, command=line, warnings=warnings, sheet=sheet))
    if json_:
        print_json(summary)
    else:
        _show(title, results, sheet)
    return _closing(results, folder)


def _plan(suite: str | None, names: tuple[str, ...], tasks: tuple[str, ...], episodes: int | None, seed: int | None) -> Plan:
    """What to drive. Raises UsageError unless exactly one of suite, names and tasks is given, ScenarioError if they cannot be used."""
    from agents.evaluation.domains import task_spec
    from agents.evaluation.suite import Plan, scenario_spec, seeds_from
    from scenarios import load_suite

    if (bool(suite), bool(names), bool(tasks)).count(True) != 1:
        raise click.UsageError("say what to drive: either --suite NAME or --scenario NAME; of robots and arcade games --task NAME")
    if len(set(names)) < len(names) or len(set(tasks)) < len(tasks):
        raise click.UsageError(f"a {'scenario' if names else 'task'} is named twice")
    if suite:
        found = load_suite(suite)
        entries = found.entries
        if found.tasks:
            return Plan(
                entries=tuple(
                    (task_spec(e.task), seeds_from(e.seed if seed is None else seed, episodes or e.episodes)) for e in found.tasks
                )
            )
        picked = [(scenario_spec(e.scenario), seeds_from(e.seed if seed is None else seed, episodes or e.episodes)) for e in entries]
    else:
        picked = [(name, seeds_from(seed or 0, episodes or 100)) for name in names or map(task_spec, tasks)]
    return Plan(entries=tuple(picked))


def _prepare(folder: Path, force: bool) -> None:
    """Make the folder. Raises FileExistsError if it is not empty, unless forced: then what an earlier run left there is removed."""
    if folder.exists() and any(folder.iterdir()):
        if not force:
            raise FileExistsError(17, "not empty; choose another --out, or replace the results there with --force", str(folder))
        traces = list((folder / "traces").rglob("*.trace"))
        for old in (folder / "results.json", folder / "report.md", *traces, *(trace.with_suffix(".html") for trace in traces)):
            old.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def _show(title: str, results: list[EpisodeResult], sheet: Sheet) -> None:
    from agents.commands.output import print_table
    from agents.evaluation.report import cell, driven, endings, repeats, rows
    from agents.evaluation.report import shown as columns

    table = rows(results, sheet)
    long = ("wrong way", "red light", "nuPlan IQM")  # headings that are left to the page
    shown = [heading for heading in columns(table, sheet) if heading not in long]
    body = [[row.scenario, row.policy, driven(row), *(cell(row.figures[h], sheet.columns[h][1]) for h in shown)] for row in table]
    print_table(title, (sheet.what, "policy", "episodes", *shown), body)
    click.echo(f"Rates in %, {sheet.units.replace(' from', '')}, with 95 % intervals.\n")
    print_table("how episodes ended", *endings(table, sheet.what))
    if warning := repeats(results):
        click.echo(warning)


def _closing(results: list[EpisodeResult], folder: Path) -> int:
    """Say where things are and what was lost; the exit code."""
    from agents.cli import CRASHED, INTERRUPTED
    from agents.evaluation.report import missing

    click.echo(f"Results: {folder / 'results.json'}, {folder / 'report.md'}", err=True)
    traced = [r for r in results if r.trace]
    if traced:
        example = next((r for r in traced if r.failed), traced[0])
        click.echo(f"{len(traced)} traces below {folder / 'traces'}; to watch one: closedloop play {shlex.quote(example.trace)}", err=True)
    lost = [r for r in results if r.end == "error"]
    for r in lost[:10]:
        click.echo(f"lost: {r.policy}, {r.scenario}, seed {r.seed}: {r.error}", err=True)
    if lost:
        click.echo(f"{len(lost)} of {len(results)} episodes were lost to errors: no figure counts them", err=True)
    if any(r.end == "interrupted" for r in results):
        click.echo("\n".join(["interrupted; not driven, and in no figure:", *missing(results)]), err=True)
        return INTERRUPTED
    return CRASHED if lost else 0
