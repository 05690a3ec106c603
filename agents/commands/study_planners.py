"""`closedloop study planners`: planners on levels of the observation ladder and on families of scenarios, side by side."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.commands.study_output import asked, closing, judged, show_plan, written

if TYPE_CHECKING:
    from agents.evaluation.speed_planners import PlanPace
    from agents.evaluation.suite import Plan
    from agents.studies.arms import Arm
    from agents.studies.planners import PlannerStudy

__all__ = ["command"]

POLICIES = ("pdm", "lattice", "idm_mobil", "idm")
LEVELS = ("truth", "visible", "noisy", "perceived")
SCENARIOS = ("merge/hard", "highway/hard", "roundabout/hard", "junction/hard")
BATCHES = (1, 64)


@click.command("planners")
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="By name or path; may be repeated. [default: four hard ones]")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME|PATH",
    help="A planner or any other policy, on every level; NAME@LEVEL[,option=value...]: on that one only. May be repeated. The others are "
    f"compared with the first. [default: {', '.join(POLICIES)}]",
)
@click.option("--level", "levels", multiple=True, metavar="NAME", help="Levels to drive on; may be repeated. [default: the first four]")
@click.option("--detector", metavar="NAME|FILE", help="What perceived sees with. [default: the one that ships]")
@click.option("--noise", metavar="NAME|FILE", help="Error model of noisy. [default: the one that ships]")
@click.option("--weather", metavar="NAME", help="Seen by cameras: any (by the episode's seed), clear, fog, rain or night. [default: any]")
@click.option("--episodes", type=click.IntRange(1), default=100, show_default=True, help="Episodes of each scenario.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first episode; the others follow.")
@click.option("--seconds", type=click.FloatRange(0.0), default=2.0, show_default=True, help="CPU seconds to time each planner; 0: do not.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/study/<time>]")
@click.option("--workers", type=click.IntRange(1), help="Processes. Results do not depend on it. [default: one a core]")
@click.option("--compile/--no-compile", "compile_", default=False, help="Compile simulator and camera: a slow start, then faster.")
@click.option("--device", default="cpu", show_default=True, help="Where the worlds live: cpu, cuda, cuda:1. A GPU drives 512 at once.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be driven, drive nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the report as JSON on stdout.")
def command(
    scenarios: tuple[str, ...],
    policies: tuple[str, ...],
    levels: tuple[str, ...],
    detector: str | None,
    noise: str | None,
    weather: str | None,
    episodes: int,
    seed: int,
    seconds: float,
    out: Path | None,
    workers: int | None,
    compile_: bool,
    device: str,
    dry_run: bool,
    json_: bool,
) -> int:
    """Which planner drives best where, and what seeing less costs it: planner by level by family, on the same episodes.

    Writes report.html and report.json: success, collisions and scores with intervals, differences pair by pair, and the time that a plan
    takes. episodes.json holds every episode. Exit code 4 if any episode was lost to an error; Ctrl-C keeps what has been driven and ends
    with 130.

    \b
    closedloop study planners --episodes 100
    closedloop study planners --policy pdm --policy lattice --policy merge --scenario merge/hard --level truth --level noisy
    closedloop study planners --policy hybrid_astar --scenario parking/hard --level truth --seconds 0
    """
    from agents.commands.compiling import checked_device, require_compiler
    from agents.evaluation.suite import Plan, resolve, seeds_from
    from agents.studies.arms import check_stages
    from agents.studies.planners import planner_arms

    require_compiler(compile_)
    checked_device(device)
    options = (("detector", detector), ("noise", noise), ("weather", weather))
    given = {key: value for key, value in options if value is not None}
    folder = out or Path("runs") / "study" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out", str(folder))
    plan = Plan(entries=tuple((name, seeds_from(seed, episodes)) for name in scenarios or SCENARIOS))
    arms = planner_arms(policies or POLICIES, tuple(dict.fromkeys(levels)) or LEVELS, given)
    if not arms:
        raise click.UsageError("--policy random alone: name a policy that decides something")
    resolve([arm.spec for arm in arms], plan)
    check_stages(arms)
    if dry_run:
        return show_plan(arms, plan, json_)
    return _drive(arms, plan, folder, seconds=seconds, workers=workers, compile_=compile_, device=device, json_=json_)


def _drive(
    arms: list[Arm], plan: Plan, folder: Path, *, seconds: float, workers: int | None, compile_: bool, device: str, json_: bool
) -> int:
    """Time the planners, judge all arms, and write the report; the exit code."""
    from agents.commands.output import print_json
    from agents.evaluation.report import versions
    from agents.studies.planners import as_data, planner_study
    from agents.studies.planners_page import page

    folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written, before anything is driven
    where, seeds = [name for name, _ in plan.entries], plan.entries[0][1]
    paces = _timed(arms, where, seconds) if seconds > 0.0 else []  # first: what goes wrong here takes nothing that was driven
    results = judged(arms, plan, workers=workers, compile_=compile_, device=device)
    title = f"{', '.join(dict.fromkeys(arm.policy for arm in arms))} on {', '.join(where)}"
    made = planner_study(arms, results, title=title, command=asked(), scenarios=where, seeds=seeds, paces=paces)
    data = as_data(made) | {"versions": versions(device)}
    written(folder, data, results, page(made))
    if json_:
        print_json(data)
    else:
        _show(made)
    return closing(made, results)


def _timed(arms: list[Arm], scenarios: list[str], seconds: float) -> list[PlanPace]:
    """How fast the planners among the policies plan, in worlds of the first scenario."""
    import torch

    from agents.evaluation.speed_planners import FOR_PARKING, SCENE, measure_plans, world_of
    from agents.planners.base import PLANNERS

    names = [name for name in dict.fromkeys(arm.spec.partition("@")[0] for arm in arms) if name in PLANNERS]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            measure_plans(name, scenario=world_of(name, scenarios[0]), batch=batch, seconds=seconds)
            for name in ([SCENE, *names] if names else [])
            for batch in (BATCHES[:1] if name == FOR_PARKING else BATCHES)
        ]
    finally:
        torch.set_num_threads(threads)


def _show(made: PlannerStudy) -> None:
    from agents.commands.output import print_table
    from agents.evaluation.report import COLUMNS, cell
    from agents.studies.arms import ANY
    from agents.studies.planners import FIGURES
    from agents.studies.planners_page import findings

    rows = [
        (
            e.row.scenario,
            "-" if e.arm.level == ANY else e.arm.shown,
            e.arm.policy,
            f"{e.row.episodes}",
            *(cell(e.row.figures[name], COLUMNS[name][1]) for name in FIGURES),
        )
        for e in made.table
    ]
    print_table(made.title, ("scenario", "level", "policy", "episodes", *FIGURES), rows)
    click.echo("Rates in %, scores 0 to 1, with 95 % intervals.")
    for pace in made.paces:
        click.echo(f"{pace.planner} in {pace.scenario}, {pace.batch} at once: {1e3 / pace.per_second:.2f} ms a plan")
    for line in [*findings(made), *made.warnings]:
        click.echo(f"- {line}")
