"""`closedloop study`: evaluations that only mean something side by side, and a report of what they say."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from agents.commands.group import HelpfulGroup
from agents.commands.study_output import asked, closing, judged, show_plan, written
from agents.commands.study_planners import command as planners

if TYPE_CHECKING:
    from agents.studies.arms import Arm
    from agents.studies.perception import Study

__all__ = ["command"]

SWEEPS = ("recall", "position", "latency", "drop", "all", "none")
SAME_SPACE = ("truth", "visible", "noisy", "perceived")


class _Studies(HelpfulGroup):
    noun = "study"


@click.group("study", cls=_Studies)
def command() -> None:
    """Several evaluations side by side, on the same episodes, and a report of what they say.

    \b
    closedloop study perception --policy highway
    closedloop study planners --episodes 100
    """


command.add_command(planners)


@command.command("perception")
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="By name or path; may be repeated. [default: highway]")
@click.option(
    "--task", "tasks", multiple=True, metavar="NAME", help="A robot task or an arcade game instead; may be repeated. Policy: expert."
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME|PATH",
    help="On every level; NAME@LEVEL[,option=value...]: on that one only. May be repeated. [default: highway]",
)
@click.option("--level", "levels", multiple=True, metavar="NAME", help="Levels to drive on; may be repeated. [default: the first four]")
@click.option("--train", metavar="STEPS", help="First train a policy on every level, for so many decisions: 300000, 500k, 1M.")
@click.option("--cross", is_flag=True, help="With --train: drive every trained policy on every level, not on its own only.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="With --train: as for `closedloop train`.")
@click.option("--detector", metavar="NAME|FILE", help="What perceived sees with. [default: the one that ships]")
@click.option("--noise", metavar="NAME|FILE", help="Error model of noisy. [default: the one that ships]")
@click.option("--weather", metavar="NAME", help="Seen by cameras: any (by the episode's seed), clear, fog, rain or night. [default: any]")
@click.option("--cameras", metavar="NAMES", help="Of perceived and pixels: front, left, right, rear, joined by +. [default: front]")
@click.option("--episodes", type=click.IntRange(1), default=200, show_default=True, help="Episodes of each scenario.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first episode; the others follow.")
@click.option("--sweep", "sweeps", type=click.Choice(SWEEPS), multiple=True, help="What to make worse and worse. [default: all]")
@click.option("--sweep-level", type=click.Choice(["noisy", "perceived"]), default="noisy", show_default=True, help="On which level.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/study/<time>]")
@click.option("--workers", type=click.IntRange(1), help="Processes. Results do not depend on it. [default: one a core]")
@click.option("--compile/--no-compile", "compile_", default=False, help="Compile simulator and camera: a slow start, then faster.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be driven, drive nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the report as JSON on stdout.")
@click.pass_context
def perception(
    ctx: click.Context,
    scenarios: tuple[str, ...],
    tasks: tuple[str, ...],
    policies: tuple[str, ...],
    levels: tuple[str, ...],
    train: str | None,
    cross: bool,
    settings: tuple[str, ...],
    detector: str | None,
    noise: str | None,
    weather: str | None,
    cameras: str | None,
    episodes: int,
    seed: int,
    sweeps: tuple[str, ...],
    sweep_level: str,
    out: Path | None,
    workers: int | None,
    compile_: bool,
    dry_run: bool,
    json_: bool,
) -> int:
    """What perceiving costs: the same episodes with the truth, with what is visible, with the errors of a detector, with cameras.

    Writes report.html and report.json: return, success and collisions on every level with intervals; the perception gap, (truth - level) /
    (truth - random); how they change with the detector's recall, errors of place, latency and lost frames; and where it fails: by weather,
    occlusion and distance. episodes.json holds every episode. Exit code 4 if any episode was lost to an error; Ctrl-C keeps what has been
    driven and ends with 130.

    \b
    closedloop study perception --policy highway --scenario highway --episodes 500
    closedloop study perception --policy highway --level truth --level visible --sweep none
    closedloop study perception --policy runs/a@perceived --policy runs/b@perceived --detector runs/seer/detector.safetensors
    closedloop study perception --train 1M --cross --set compile=true --out runs/gap
    closedloop study perception --task reach --task ball_catch --episodes 100
    closedloop study perception --task rally --policy trained --policy expert --episodes 200
    """
    from agents.commands.compiling import require_compiler
    from agents.evaluation.suite import Plan, resolve, seeds_from
    from agents.studies.arms import check_stages, plan_arms

    if tasks:
        from agents.commands.study_tasks import run

        if scenarios or train or cross or settings or weather or cameras or sweeps or compile_:
            raise click.UsageError("--task: tasks have no --scenario, --train, --cross, --set, --weather, --cameras, --sweep or --compile")
        if workers or ctx.get_parameter_source("sweep_level") is not ParameterSource.DEFAULT:
            raise click.UsageError("--task: tasks have no --workers, as they take one process, and no --sweep-level")
        return run(
            tasks, policies, tuple(dict.fromkeys(levels)) or SAME_SPACE, detector=detector, noise=noise, episodes=episodes, seed=seed,
            folder=_new_folder(out), dry_run=dry_run, json_=json_,
        )  # fmt: skip
    require_compiler(compile_)
    if (settings or cross) and train is None:
        raise click.UsageError("--set and --cross are for policies trained here: give --train STEPS too")
    if train is not None and policies:
        raise click.UsageError("either --policy, to judge policies that there are, or --train, to make some")
    names, levels = scenarios or ("highway",), tuple(dict.fromkeys(levels)) or SAME_SPACE
    wanted = tuple(dict.fromkeys(sweeps)) or ("all",)
    if len(wanted) > 1 and {"all", "none"} & {*wanted}:
        raise click.UsageError("--sweep all and --sweep none stand alone")
    chosen = () if wanted == ("none",) else wanted if wanted != ("all",) else _every(sweep_level)
    options = (("detector", detector), ("noise", noise), ("weather", weather), ("cameras", cameras))
    given = {key: value for key, value in options if value is not None}
    folder = _new_folder(out)
    plan = Plan(entries=tuple((name, seeds_from(seed, episodes)) for name in names))
    called: dict[str, str] = {}
    if train is not None:
        if len(levels) == 1 and not cross:
            chosen = chosen if levels[0] == sweep_level else ()
        configs = _configs(names, levels, train, settings, given)
        if dry_run:
            return _show_training(configs, json_)
        for level, config in configs.items():
            path = folder / "policies" / level
            if _train(level, config, path):
                return _stopped(folder, names, [*called])
            called[str(path)] = f"trained on {level}"
        policies = tuple(path if cross and Path(path).name != "pixels" else f"{path}@{Path(path).name}" for path in called)
        levels = tuple(level for level in levels if level != "pixels")
    arms = plan_arms(policies or ("highway",), levels, given, chosen, sweep_level, called)
    resolve([arm.spec for arm in arms], plan)
    check_stages(arms)
    if dry_run:
        return show_plan(arms, plan, json_)
    return _drive(arms, plan, folder, weather=weather or "any", workers=workers, compile_=compile_, json_=json_)


def _new_folder(out: Path | None) -> Path:
    """Where the report goes. Raises FileExistsError for a folder with something in it."""
    folder = out or Path("runs") / "study" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out", str(folder))
    return folder


def _every(sweep_level: str) -> tuple[str, ...]:
    from agents.studies.arms import NEEDS_MODEL

    return tuple(name for name in SWEEPS[:-2] if sweep_level == "noisy" or name not in NEEDS_MODEL)


def _drive(
    arms: list[Arm], plan: Any, folder: Path, *, weather: str, workers: int | None, compile_: bool, json_: bool
) -> int:  # fmt: skip
    """Judge all arms and write the report; the exit code."""
    from agents.commands.output import print_json
    from agents.studies.page import page
    from agents.studies.perception import as_data, study

    folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written, before anything is driven
    results = judged(arms, plan, workers=workers, compile_=compile_, account=True)
    where, seeds = [name for name, _ in plan.entries], plan.entries[0][1]
    policies = [name for name in dict.fromkeys(arm.policy for arm in arms) if name != "random"]
    title = f"What perceiving costs {', '.join(policies)} on {', '.join(where)}"
    made = study(arms, results, title=title, command=asked(), scenarios=where, seeds=seeds, weather=weather)
    data = as_data(made)
    written(folder, data, results, page(made))
    if json_:
        print_json(data)
    else:
        _show(made)
    return closing(made, results)


def _show(made: Study) -> None:
    from agents.commands.output import print_table
    from agents.evaluation.report import cell
    from agents.studies.html import signed
    from agents.studies.page import findings

    rows = []
    for o in made.main:
        gap = signed(o.gap, 2) if o.gap else "-"
        rates = (cell(o.figures.success, "rate"), cell(o.figures.collision, "rate"), cell(o.figures.reward, "mean"))
        rows.append((o.arm.policy, o.arm.shown, f"{o.figures.episodes}", *rates, gap))
    print_table(made.title, ("policy", "level", "episodes", "success", "collision", "return", "gap"), rows)
    click.echo("Rates in %, with 95 % intervals. Gap: (truth - level) / (truth - random), of returns.")
    for line in findings(made):
        click.echo(f"- {line}")
    for warning in made.warnings:
        click.echo(warning)


def _configs(
    scenarios: tuple[str, ...], levels: tuple[str, ...], steps: str, settings: tuple[str, ...], given: dict[str, str]
) -> dict[str, Any]:
    """A training for every level, checked."""
    from agents.commands.train import check_training
    from agents.learning.config import config_from, parse_count, parse_settings
    from agents.studies.arms import check_needs

    try:
        count = parse_count(steps)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--train") from None
    configs = {}
    for level in levels:
        driving = [f"driving.observation={level}", *(f"driving.{key}={value}" for key, value in given.items())]
        config = config_from({**parse_settings((*settings, *driving)), "scenario": scenarios, "steps": count})
        check_training(config)
        check_needs(config.driving)
        configs[level] = config
    return configs


def _show_training(configs: dict[str, Any], json_: bool) -> int:
    from agents.commands.output import print_json
    from agents.learning.config import command_line

    if json_:
        print_json({level: config.as_dict() for level, config in configs.items()})
    else:
        for config in configs.values():
            click.echo(command_line(config))
    return 0


def _train(level: str, config: Any, folder: Path) -> bool:
    """Train one policy; whether it was interrupted."""
    from agents.learning.trainer import train

    click.echo(f"training on {level}", err=True)
    return train(config, out=folder).status == "interrupted"


def _stopped(folder: Path, scenarios: tuple[str, ...], done: list[str]) -> int:
    """Say what there is after Ctrl-C while training; the exit code."""
    from agents.cli import INTERRUPTED

    click.echo(
        f"interrupted while training; the runs so far are in {folder / 'policies'}: closedloop train --resume goes on with one", err=True
    )
    if done:
        words = [part for path in done for part in ("--policy", f"{path}@{Path(path).name}")]
        where = [part for name in scenarios for part in ("--scenario", name)]
        click.echo(f"Judge those that are done: {shlex.join(['closedloop', 'study', 'perception', *where, *words])}", err=True)
    return INTERRUPTED
