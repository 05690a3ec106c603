"""`closedloop study perception --task`: what perceiving costs on robot tasks and arcade games."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.commands.study_output import asked

if TYPE_CHECKING:
    from agents.studies.html import Cell
    from agents.studies.tasks import Row

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
    """Judge, tell and write report.html and report.json; the exit code, 4 if episodes were lost to errors."""
    import torch

    from agents.cli import CRASHED
    from agents.commands.output import CountProgress, as_json, print_json
    from agents.evaluation.report import versions
    from agents.studies.tasks import as_data, plan_tasks, study_tasks
    from scenarios.files import write_atomic

    torch.set_num_threads(1)
    plan = plan_tasks(tasks, policies or ("expert",), levels, detector=detector, noise=noise)
    if dry_run and json_:
        print_json(
            {"tasks": plan.tasks, "policies": plan.policies, "levels": plan.levels, "seed": seed, "episodes": plan.episodes(episodes)}
        )
        return 0
    if dry_run:
        for name in plan.tasks:
            who = f"{', '.join(plan.policies)} on {', '.join(plan.levels)} and chance"
            click.echo(f"{name}: {who}, {plan.arms * episodes} episodes from seed {seed}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with CountProgress(plan.episodes(episodes)) as tick:
        rows.extend(study_tasks(plan, episodes=episodes, seed=seed, progress=tick))
    data = as_data(rows, command=asked(), seed=seed, versions=versions())
    write_atomic(folder / "report.json", as_json(data) + "\n")
    write_atomic(folder / "report.html", _page(rows, data["command"]))
    click.echo(f"Report: {folder / 'report.html'}, {folder / 'report.json'}", err=True)
    if json_:
        print_json(data)
    else:
        _show(rows)
    if lost := sum(row.lost for row in rows):
        click.echo(f"{lost} of {plan.episodes(episodes)} episodes were lost to errors: no figure counts them", err=True)
    return CRASHED if lost else 0


TITLE = "What perceiving costs on tasks"
HEADS = ("task", "policy", "level", "episodes", "success", "return", "gap")
READING = "Rates in %, with 95 % intervals. Gap: (truth - level) / (truth - random), of returns."


def _lines(rows: list[Row]) -> list[tuple[str, ...]]:
    from agents.evaluation.report import cell
    from agents.studies.html import signed

    return [
        (row.task, row.policy, row.level, f"{row.episodes}", cell(row.success, "rate"), cell(row.reward, "mean"),
         signed(row.gap, 2) if row.gap else "-")
        for row in rows
    ]  # fmt: skip


def _show(rows: list[Row]) -> None:
    from agents.commands.output import print_table

    print_table(TITLE, HEADS, _lines(rows))
    click.echo(READING)


def _page(rows: list[Row], command: str) -> str:
    import html

    from agents.studies.html import document, section, table

    def body(name: str) -> list[list[Cell]]:
        return [[(line[1], "text"), (line[2], "text"), *line[3:]] for line in _lines(rows) if line[0] == name]

    head = f"<header><h1>{TITLE}</h1>\n<p>{READING}</p>\n<p><code>{html.escape(command)}</code></p></header>\n"
    names = dict.fromkeys(row.task for row in rows)
    return document(TITLE, [head, *(section(name, "", table(HEADS[1:], body(name), text=2)) for name in names)])
