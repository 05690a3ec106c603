"""What the studies do and say alike: driving all arms, writing the report, what would be driven, and what was lost."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.evaluation.rollout import EpisodeResult
    from agents.evaluation.suite import Plan
    from agents.studies.arms import Arm
    from agents.studies.perception import Study
    from agents.studies.planners import PlannerStudy

__all__ = ["asked", "closing", "judged", "show_plan", "written"]


def judged(
    arms: list[Arm], plan: Plan, *, workers: int | None, compile_: bool, account: bool = False, device: str = "cpu"
) -> list[EpisodeResult]:
    """Drive all arms, on as many processes as pay where `workers` is None; after Ctrl-C what was driven by then.

    account: keep the errors of perception. Raises Interrupted if nothing was.
    """
    from agents.commands.output import CountProgress
    from agents.evaluation.suite import Interrupted, default_workers, judge

    specs = [arm.spec for arm in arms]
    workers = workers or default_workers(plan, len(specs), os.cpu_count() or 1, device)
    try:
        with CountProgress(len(specs) * plan.episodes) as tick:
            return judge(specs, plan, workers=workers, account=account, progress=tick, compile=compile_, device=device)
    except Interrupted as stop:
        if all(r.error for r in stop.results):
            raise  # there is nothing to keep
        return stop.results


def asked() -> str:
    """The command line of this study, '' where it was not started by one."""
    return shlex.join(["closedloop", "study", *sys.argv[2:]]) if sys.argv[1:2] == ["study"] else ""


def written(folder: Path, data: dict[str, Any], results: list[EpisodeResult], html: str) -> None:
    """report.json, episodes.json and report.html."""
    from dataclasses import asdict

    from agents.commands.output import as_json
    from scenarios.files import write_atomic

    write_atomic(folder / "report.json", as_json(data) + "\n")
    write_atomic(folder / "episodes.json", as_json([asdict(r) for r in results]) + "\n")
    write_atomic(folder / "report.html", html)
    click.echo(f"Report: {folder / 'report.html'}, {folder / 'report.json'}", err=True)


def closing(made: Study | PlannerStudy, results: list[EpisodeResult]) -> int:
    """Say what was lost; the exit code."""
    from agents.cli import CRASHED, INTERRUPTED

    for line in made.lost[:10]:
        click.echo(f"lost: {line}", err=True)
    if made.lost:
        click.echo(f"{len(made.lost)} of {len(results)} episodes were lost to errors: no figure counts them", err=True)
    if made.undriven:
        click.echo("\n".join(["interrupted; not driven, and in no figure:", *made.undriven]), err=True)
        return INTERRUPTED
    return CRASHED if made.lost else 0


def show_plan(arms: list[Arm], plan: Plan, json_: bool) -> int:
    """Say what would be driven; the exit code."""
    from agents.commands.output import print_json

    if json_:
        entries = [{"scenario": name, "seeds": [seeds[0], seeds[-1]]} for name, seeds in plan.entries]
        print_json({"arms": [vars(arm) for arm in arms], "entries": entries, "episodes": len(arms) * plan.episodes})
        return 0
    for arm in arms:
        click.echo(arm.spec)
    click.echo(f"{len(arms)} arms of {plan.episodes} episodes: {len(arms) * plan.episodes} in all")
    return 0
