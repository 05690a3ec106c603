"""`closedloop compare`: did a policy get worse anywhere? Pass, regression, or an honest "inconclusive"."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.gate.baseline import Baseline
    from agents.gate.plan import GatePlan
    from agents.gate.replays import Replay
    from agents.gate.report import Report
    from agents.gate.run import Order, Outcome

__all__ = ["command"]


@click.command("compare")
@click.argument("policies", nargs=-1, required=True, metavar="[BASELINE] CANDIDATE")
@click.option("--suite", required=True, metavar="NAME", help="A suite with metrics, by name or path; see `closedloop list suites`.")
@click.option(
    "--baseline",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Kept results, instead of a BASELINE to drive.",
)
@click.option("--update-baseline", "reason", metavar="REASON", help="Write the candidate's results to --baseline, with the reason.")
@click.option(
    "--alpha", default=0.05, show_default=True, type=click.FloatRange(0.0001, 0.2), help="Chance of a false alarm, over all tests."
)
@click.option(
    "--test",
    type=click.Choice(["sequential", "fixed"]),
    default="sequential",
    show_default=True,
    help="sequential: stops as soon as it is known; fixed: McNemar and signed-rank tests when all has been driven.",
)
@click.option("--full", is_flag=True, help="Drive everything, even when the verdict is known.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for journal and report. [default: runs/compare/<run>]"
)
@click.option(
    "--shrink",
    type=click.IntRange(0),
    metavar="N",
    help="Make so many failures small, each to a scenario of its own; 0: none. Costs up to 150 simulations each. [default: the suite's, 3]",
)
@click.option("--resume", is_flag=True, help="Go on with a comparison that was interrupted.")
@click.option("--workers", type=click.IntRange(1), help="Processes. The verdict does not depend on it. [default: one a core]")
@click.option(
    "--unit",
    type=click.Choice(["episode", "seed"]),
    default="episode",
    show_default=True,
    help="What the claim is about: seed: training recipes, each known by several runs: a folder of them, a pattern, or a list with commas.",
)
@click.option(
    "--cluster", type=click.Choice(["ray"]), help="Drive on a Ray cluster (RAY_ADDRESS, or this machine); needs closedloop[cluster]."
)
@click.option("--compile/--no-compile", "compile_", default=False, help="Run the simulator under torch.compile; see `closedloop eval`.")
@click.option("--dry-run", is_flag=True, help="Say what would be driven, what it could find and how long it takes; drive next to nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the report as JSON on stdout; its schema: closedloop schema --report.")
def command(
    policies: tuple[str, ...],
    suite: str,
    file: Path | None,
    reason: str | None,
    alpha: float,
    test: str,
    full: bool,
    out: Path | None,
    shrink: int | None,
    resume: bool,
    workers: int | None,
    unit: str,
    cluster: str | None,
    compile_: bool,
    dry_run: bool,
    json_: bool,
) -> int:
    """Did CANDIDATE get worse anywhere? Both policies drive the same episodes until that is known.

    Writes report.html, report.md, report.json, junit.xml and journal.jsonl, and where it did worse traces and small scenarios in which it
    fails and the baseline does not. Exit codes: 0 pass (it kept up within the margins of the suite, or nothing has changed), 1 regression,
    2 bad input, 3 inconclusive, 4 something was lost or crashed, 130 interrupted: --resume goes on.

    \b
    closedloop compare highway runs/mine --suite nightly
    closedloop compare highway runs/mine --suite nightly --dry-run
    closedloop compare runs/mine --suite smoke --baseline gate/mine.json
    closedloop compare runs/mine --suite smoke --baseline gate/mine.json --update-baseline "learned to merge"
    closedloop compare runs/before runs/after --suite nightly --unit seed
    closedloop compare expert sampling --suite robots
    """
    from agents.commands.comparing import guarded
    from agents.commands.compiling import require_compiler
    from agents.gate.baseline import load_baseline
    from agents.gate.plan import plan_from
    from agents.gate.run import Order
    from scenarios import load_suite

    require_compiler(compile_)
    if len(policies) > 2:
        raise click.UsageError("two policies at most: BASELINE and CANDIDATE")
    if reason is not None and (file is None or not reason.strip()):
        raise click.UsageError("--update-baseline needs a reason, and --baseline FILE to write to")
    if len(policies) == 2 and file is not None and reason is None:
        raise click.UsageError("either a BASELINE to drive or --baseline FILE, not both")
    if len(policies) == 1 and file is None:
        raise click.UsageError("what to compare with? BASELINE CANDIDATE, or --baseline FILE")
    if unit == "seed" and (len(policies) != 2 or file is not None or full or test != "sequential"):
        raise click.UsageError("--unit seed takes two recipes, drives all of it and tests once: no --baseline, --full or --test")
    chosen = load_suite(suite)
    plan = plan_from(chosen, alpha=alpha, test=test if unit == "episode" else "permutation")
    if plan.tasks and (unit == "seed" or compile_ or shrink):
        raise click.UsageError("a suite of robot tasks: --unit seed, --compile and --shrink are for suites of scenarios")
    if unit == "seed":
        from agents.commands.compare_recipes import compare_recipes

        return compare_recipes(
            plan, suite, policies, out=out, resume=resume, workers=workers, cluster=cluster, compile=compile_, dry_run=dry_run, json_=json_
        )
    found = load_baseline(file) if file is not None and (reason is None or file.exists()) else None
    order = Order(
        plan=plan,
        candidate=policies[-1],
        baseline=policies[0] if len(policies) == 2 else None,
        kept=_fitting(found, plan, new=reason is not None) if len(policies) == 1 else None,
        replaces=found,
        full=full or reason is not None,
        compile=compile_,
    )
    folder = out or Path("runs") / "compare" / order.run
    for warning in (*plan.warnings, *order.warnings):
        click.echo(f"warning: {warning}", err=True)
    if dry_run:
        return _show_plan(order, folder, workers or _workers(order), json_)
    again = _again(order, suite, file, reason, folder, cluster)
    shrinks = 0 if plan.tasks else chosen.shrink if shrink is None else shrink
    return guarded(again, lambda: _compare(order, folder, resume, workers, cluster, shrinks, file, reason, again, json_))


def _workers(order: Order) -> int:
    """Processes where nobody says how many."""
    from agents.evaluation.suite import Plan, default_workers

    plan = Plan(entries=tuple((stratum.spec, stratum.seeds) for stratum in order.plan.strata))
    return default_workers(plan, len(order.policies), os.cpu_count() or 1)


def _fitting(found: Baseline | None, plan: GatePlan, *, new: bool) -> Baseline | None:
    """The baseline if it can be compared with. One of other episodes is an error, unless a new one is about to be made."""
    from agents.gate.baseline import BaselineError

    try:
        if found is not None:
            found.fits(plan)
    except BaselineError:
        if not new:
            raise
        click.echo("warning: the baseline holds other episodes than the suite: it is replaced, not compared with", err=True)
        return None
    return found


def _compare(
    order: Order,
    folder: Path,
    resume: bool,
    workers: int | None,
    cluster: str | None,
    shrink: int,
    file: Path | None,
    reason: str | None,
    again: str,
    json_: bool,
) -> int:
    """Drive, judge, write, explain, tell; the exit code."""
    from agents.commands.comparing import closing, crashed, crew_for, files_of, show, write
    from agents.commands.output import CountProgress, print_json
    from agents.gate.run import run_gate

    here = workers or _workers(order)
    with crew_for(cluster) as crew:
        outcome = run_gate(
            order, folder, resume=resume, workers=here if crew is None or workers else crew.size, crew=crew,
            progress=lambda total: CountProgress(max(total, 1)),
        )  # fmt: skip
    report = outcome.report
    try:
        if report is not None:
            write(report, folder, again)  # the verdict is there, whatever becomes of the explanations
            report = _explained(order, outcome, folder, shrink, here, again)
            write(report, folder, again)
        if reason is not None and file is not None and not outcome.lost and not outcome.incidents:
            outcome.as_baseline(order, reason).save(file)
    except OSError as error:
        return crashed(f"{error.filename or folder}: {error.strerror or error}: the results could not be written; the journal has them")
    if report is not None:
        if json_:
            print_json(report.model_dump(mode="json"))
        else:
            show(report)
        click.echo(f"Report: {files_of(folder)}", err=True)
    code = closing(outcome.lost, report.incidents if report else outcome.incidents, again)
    if reason is not None and not code:
        click.echo(f"{file} now holds the results of {order.candidate}: {reason}", err=True)
        return 0
    return report.exit_code if report is not None else code


def _explained(order: Order, outcome: Outcome, folder: Path, shrink: int, workers: int, again: str) -> Report:
    """The report with its failures explained, and report.html written; with what went wrong, where something did."""
    from agents.commands.output import CountProgress
    from agents.gate.explain import explain, write_page

    replays: list[Replay] = []
    report = outcome.report
    assert report is not None
    try:
        report, replays = explain(
            order, outcome, folder, shrinks=shrink, workers=workers, progress=lambda total: CountProgress(max(total, 1), "simulation")
        )
    except OSError:
        raise
    except Exception as error:
        why = f"The failures could not be explained: {type(error).__name__}: {error}"
        click.echo(f"warning: {why}", err=True)
        if report.verdict == "pass":  # what crashes is none; what is bad already stays so
            report = report.spoilt([why], "explaining it crashed")
        else:
            report = report.model_copy(update={"warnings": (*report.warnings, why)})
    if report.failures and not shrink:
        click.echo(f"To make failures small: {again} --resume --shrink 3", err=True)
    write_page(order, outcome, report, replays, folder / "report.html", command=again)
    return report


def _again(order: Order, suite: str, file: Path | None, reason: str | None, folder: Path, cluster: str | None) -> str:
    """The command line that does the same."""
    design = order.plan.design
    words = ["closedloop", "compare", *order.policies.values(), "--suite", suite]
    words += ["--baseline", str(file)] if file else []
    words += ["--update-baseline", reason] if reason else ["--full"] * order.full
    words += ["--alpha", f"{design.alpha:g}"] if design.alpha != 0.05 else []
    words += ["--test", design.test] if design.test != "sequential" else []
    words += ["--compile"] * order.compile
    words += ["--cluster", cluster] if cluster else []
    return shlex.join([*words, "--out", str(folder)])


def _show_plan(order: Order, folder: Path, workers: int, json_: bool) -> int:
    """What would be driven, what it can find, and how long it takes."""
    from dataclasses import asdict

    from agents.commands.comparing import duration
    from agents.commands.output import print_json, print_table
    from agents.gate.power import NOISE, outlook
    from agents.gate.run import seconds

    plan, design = order.plan, order.plan.design
    found, time = outlook(design, plan.rounds), seconds(plan, list(order.policies.values()), workers, compile=order.compile)
    if json_:
        strata = [{"scenario": s.name, "family": s.family, "seeds": [s.seeds[0], s.seeds[-1]]} for s in plan.strata]
        print_json(
            {
                "run": order.run,
                "out": str(folder),
                "suite": plan.suite,
                "pairs": plan.episodes,
                "episodes": order.episodes,
                "rounds": plan.rounds,
                "strata": strata,
                "metrics": [asdict(metric) for metric in design.metrics],
                "noise": NOISE,
                "outlook": [asdict(o) for o in found],
                "workers": workers,
                "seconds": time,
            }
        )
        return 0
    click.echo(
        f"{plan.suite}: {plan.episodes} pairs, in {plan.rounds} rounds of {len(design.strata)}; up to {order.episodes} episodes to drive"
    )
    rows = []
    for o in found:
        drop = "-" if o.detectable is None else f"{100 * o.detectable:.1f}"
        pairs = "-" if o.pairs is None else str(o.pairs)
        rows.append((o.metric, f"{100 * o.margin:g}", drop, f"{100 * o.keeps_up:.0f} %", pairs))
    headings = ("metric", "margin", "drop found with 90 % power", "chance that no change passes", "after pairs")
    print_table("in points of the range", headings, rows)
    click.echo(f"On the whole suite, if {100 * NOISE:g} % of pairs differ by chance; where fewer do, much less is needed.")
    click.echo(f"About {duration(time)} for all of it, on {workers} process{'es' * (workers != 1)}; journal and report in {folder}")
    return 0
