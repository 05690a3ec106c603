"""`closedloop compare --unit seed`: did a training recipe get worse anywhere?"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.gate.plan import GatePlan
    from agents.gate.run_recipes import RecipeOrder

__all__ = ["compare_recipes"]


def compare_recipes(
    plan: GatePlan,
    suite: str,
    texts: Sequence[str],
    *,
    out: Path | None,
    resume: bool,
    workers: int | None,
    cluster: str | None,
    compile: bool,
    dry_run: bool,
    json_: bool,
) -> int:
    """As the command, for BASELINE and CANDIDATE that name several runs each (`agents.gate.recipes`); the exit code."""
    from agents.commands.comparing import guarded
    from agents.gate.recipes import recipe
    from agents.gate.run_recipes import RecipeOrder

    baseline, candidate = map(recipe, texts)
    order = RecipeOrder(plan=plan, baseline=baseline, candidate=candidate, compile=compile)
    folder = out or Path("runs") / "compare" / order.run
    for warning in (*plan.warnings, *order.warnings):
        click.echo(f"warning: {warning}", err=True)
    here = workers or os.cpu_count() or 1
    if dry_run:
        return _show_plan(order, folder, here, json_)
    words = ["closedloop", "compare", *texts, "--suite", suite, "--unit", "seed"]
    words += ["--alpha", f"{plan.design.alpha:g}"] if plan.design.alpha != 0.05 else []
    words += ["--compile"] * compile
    words += ["--cluster", cluster] if cluster else []
    again = shlex.join([*words, "--out", str(folder)])
    return guarded(again, lambda: _compare(order, folder, resume, here, workers is not None, cluster, again, json_))


def _compare(
    order: RecipeOrder, folder: Path, resume: bool, workers: int, chosen: bool, cluster: str | None, again: str, json_: bool
) -> int:
    """Drive, judge, write, tell; the exit code. chosen: somebody said how many workers."""
    from agents.commands.comparing import closing, crashed, crew_for, files_of, show, write
    from agents.commands.output import CountProgress, print_json
    from agents.gate.html import report_page
    from agents.gate.run_recipes import run_recipes
    from scenarios.files import write_atomic

    with crew_for(cluster) as crew:
        outcome = run_recipes(
            order, folder, resume=resume, workers=workers if crew is None or chosen else crew.size, crew=crew,
            progress=lambda total: CountProgress(max(total, 1)),
        )  # fmt: skip
    report = outcome.report
    assert report is not None
    try:
        write(report, folder, again)
        write_atomic(folder / "report.html", report_page(report, command=again))
    except OSError as error:
        return crashed(f"{error.filename or folder}: {error.strerror or error}: the results could not be written; the journal has them")
    if json_:
        print_json(report.model_dump(mode="json"))
    else:
        show(report)
    click.echo(f"Report: {files_of(folder)}", err=True)
    closing(report.lost, report.incidents, again)
    return report.exit_code


def _show_plan(order: RecipeOrder, folder: Path, workers: int, json_: bool) -> int:
    """Which runs, how they are paired, what the tests can give, and how long it takes."""
    from dataclasses import asdict

    from agents.commands.comparing import duration
    from agents.commands.output import print_json, print_table
    from agents.gate.run import seconds

    plan, specs = order.plan, list(order.policies.values())
    time = seconds(plan, specs, workers, compile=order.compile)
    if json_:
        sides = {role: [asdict(run) for run in side] for role, side in order.sides.items()}
        metrics = [asdict(metric) for metric in plan.design.metrics]
        print_json(
            {
                "run": order.run, "out": str(folder), "suite": plan.suite, "unit": "seed", "runs": sides, "paired": order.paired,
                "episodes": plan.episodes * len(specs), "episodes_a_run": plan.episodes, "metrics": metrics, "least_p": order.least,
                "workers": workers, "seconds": time,
            }
        )  # fmt: skip
        return 0
    rows = [
        (role, run.spec, "-" if run.seed is None else str(run.seed), run.sha256[:12]) for role, side in order.sides.items() for run in side
    ]
    print_table("training runs", ("side", "policy", "seed", "weights"), rows)
    how = "in pairs of equal seeds" if order.paired else "not in pairs, as their seeds differ"
    click.echo(f"{len(specs)} runs, {how}; {plan.episodes} episodes each, {plan.episodes * len(specs)} to drive")
    click.echo(f"The smallest p-value that so many runs can give is {order.least:.2g}; alpha is {plan.design.alpha:g} over all tests")
    click.echo(f"About {duration(time)} for all of it, on {workers} process{'es' * (workers != 1)}; journal and report in {folder}")
    return 0
