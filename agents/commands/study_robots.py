"""`closedloop study perception --task`: what perceiving costs on robots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.commands.study_output import asked

if TYPE_CHECKING:
    from agents.studies.robots import Row

__all__ = ["run"]


def run(
    tasks: tuple[str, ...],
    policies: tuple[str, ...],
    levels: tuple[str, ...],
    *,
    detector: str | None,
    noise: str | None,
    episodes: int,
    seed: int,
    folder: Path,
    dry_run: bool,
    json_: bool,
) -> int:
    """Judge, tell and write report.json; the exit code."""
    import torch

    from agents.commands.output import CountProgress, as_json, print_json
    from agents.evaluation.report import versions
    from agents.studies.robots import as_data, study_robots
    from envs.robots.registry import task_named
    from envs.robots.sight import SightConfig
    from scenarios.files import write_atomic

    tasks, policies = tuple(dict.fromkeys(tasks)), tuple(dict.fromkeys(policies)) or ("expert",)
    for name in tasks:
        task_named(name)
    usual = SightConfig()
    sight = SightConfig(detector=detector or usual.detector, noise=noise or usual.noise)
    arms = 1 + len(levels) * len([name for name in policies if name != "random"])
    if dry_run:
        for name in tasks:
            click.echo(f"{name}: {', '.join(policies)} on {', '.join(levels)} and chance, {arms * episodes} episodes from seed {seed}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: list[Row] = []
    with CountProgress(len(tasks) * arms * episodes) as tick:
        rows.extend(study_robots(tasks, policies, levels, episodes=episodes, seed=seed, sight=sight, progress=tick))
    data = as_data(rows, command=asked(), seed=seed, versions=versions())
    write_atomic(folder / "report.json", as_json(data) + "\n")
    click.echo(f"Report: {folder / 'report.json'}", err=True)
    if json_:
        print_json(data)
    else:
        _show(rows)
    return 0


def _show(rows: list[Row]) -> None:
    from agents.commands.output import print_table
    from agents.evaluation.report import cell
    from agents.studies.html import signed

    lines = [
        (row.task, row.policy, row.level, f"{row.episodes}", cell(row.success, "rate"), cell(row.reward, "mean"),
         signed(row.gap, 2) if row.gap else "-")
        for row in rows
    ]  # fmt: skip
    print_table("What perceiving costs on robots", ("task", "policy", "level", "episodes", "success", "return", "gap"), lines)
    click.echo("Rates in %, with 95 % intervals. Gap: (truth - level) / (truth - random), of returns.")
