"""What the studies say in the same words: what would be driven, and what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.evaluation.rollout import EpisodeResult
    from agents.evaluation.suite import Plan
    from agents.studies.arms import Arm
    from agents.studies.perception import Study
    from agents.studies.planners import PlannerStudy

__all__ = ["closing", "show_plan"]


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
