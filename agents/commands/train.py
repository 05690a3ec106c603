"""`closedloop train`: train a policy on scenarios, on a robot task or on an arcade game, or a network on a board game."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.commands.train_game import is_game_run, resume_game, train_game

if TYPE_CHECKING:
    from agents.learning.config import TrainConfig
    from agents.learning.trainer import RunResult

__all__ = ["check_training", "command"]

TIMED = ("driving.action=continuous", "driving.ticks_per_step=2", "hyper.gamma=0.99")  # a plan lasts 0.2 s
PLAN = ("planner=lattice", *TIMED)  # --action plan


@click.command("train")
@click.option(
    "--scenario",
    "scenario",
    multiple=True,
    metavar="NAME",
    help="A scenario, by name (merge, merge/hard) or path; repeat to train on a mix.",
)
@click.option("--task", metavar="NAME", help="A robot task or an arcade game instead (see `closedloop list robots arcade`).")
@click.option("--game", metavar="NAME", help="A board game instead (see `closedloop list games`), learned by self-play.")
@click.option(
    "--algo", metavar="NAME", help="ppo, a2c, trpo, sac, tqc, td3, ddpg, dqn or qrdqn; for games alphazero. [default: ppo, or alphazero]"
)
@click.option("--steps", metavar="N", help="Decisions over all worlds: 300000, 500k, 1M. [default: as tuned; games: 1M]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run's folder, new or empty. [default: runs/<scenario, task or game>-<algo>-<time>]",
)
@click.option("--observation", metavar="LEVEL", help="truth, visible, noisy, perceived or pixels. [default: truth]")
@click.option(
    "--action",
    type=click.Choice(["continuous", "discrete", "plan"]),
    help="Pedals and wheel, manoeuvres, or what a planner is to aim at (side, pace, boldness), which then drives. [default: as tuned]",
)
@click.option(
    "--imitate",
    metavar="PLANNER",
    help="Distil a planner (pdm, lattice, ...; on robots expert or sampling) by DAgger, instead of learning from rewards.",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Begin with the last policy of the run in DIR, and its scenarios, level, actions and network where they are not given.",
)
@click.option("--seed", type=click.IntRange(0, 1_000_000), help="Seed of the run. [default: 0]")
@click.option("--envs", type=click.IntRange(1), help="Worlds, or games, side by side. [default: as tuned; games: 128]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting: hyper.n_steps=64, driving.action=discrete, reward.comfort=-0.01.",
)
@click.option(
    "--compile/--no-compile", "compile_", default=None, help="Compile the simulator with torch.compile: a slow start, then faster."
)
@click.option("--device", metavar="NAME", help="cpu or cuda. [default: cpu]")
@click.option(
    "--resume",
    "resume_",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Go on with the run in DIR; only --steps may be given with it.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, print the complete configuration, train nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON on stdout.")
def command(
    scenario: tuple[str, ...],
    task: str | None,
    game: str | None,
    algo: str | None,
    steps: str | None,
    out: Path | None,
    observation: str | None,
    action: str | None,
    imitate: str | None,
    init: Path | None,
    seed: int | None,
    envs: int | None,
    settings: tuple[str, ...],
    compile_: bool | None,
    device: str | None,
    resume_: Path | None,
    dry_run: bool,
    json_: bool,
) -> int:
    """Train a policy with reinforcement learning.

    Settings that are not given are those tuned for the scenario's family or the task; --dry-run shows them. The run's folder gets the
    best and the last policy, learning curves, TensorBoard events, a checkpoint and everything needed to repeat the run. Ctrl-C saves and
    ends with exit code 130; --resume goes on, but not with --imitate.

    \b
    closedloop train --scenario highway --steps 1M --out runs/mine
    closedloop train --scenario highway --observation pixels --envs 32 --compile
    closedloop train --scenario merge/hard --action plan --set planner=pdm
    closedloop train --scenario merge --scenario merge/hard --algo sac --set hyper.batch_size=256
    closedloop train --resume runs/mine --steps 2M
    closedloop train --scenario merge/hard --imitate pdm --steps 300k --out runs/like_pdm
    closedloop train --init runs/like_pdm --steps 2M --out runs/better
    closedloop train --task reach --algo sac
    closedloop train --task ball_catch --imitate expert --steps 200k
    closedloop train --task rally --algo dqn
    closedloop train --game connect_four --algo alphazero --set search.simulations=32
    """
    from agents.learning.config import overlaid, parse_count, parse_settings

    try:
        count = parse_count(steps) if steps is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--steps") from None
    named = {"scenario": scenario or None, "task": task, "game": game, "algo": algo, "seed": seed, "envs": envs}
    named |= {"compile": compile_, "device": device}
    given = {key: value for key, value in named.items() if value is not None}
    if game is not None and resume_ is None:
        if scenario or task or observation is not None or action is not None or compile_ is not None or imitate or init:
            raise click.UsageError("--game: a board game has no --scenario, --task, --observation, --action, --imitate, --init, --compile")
        if envs is not None:
            given["games"] = given.pop("envs")
        given |= {"steps": count} if count is not None else {}
        return train_game({**parse_settings(settings), **given}, out=out, dry_run=dry_run, json_=json_)
    if task is not None and (scenario or action is not None or compile_ is not None):
        raise click.UsageError("--task: a task has no --scenario, --action or --compile (--set robot.options.control=joints)")
    robots = task is not None or (init is not None and _is_robot_run(init))
    if observation is not None:
        settings = (*settings, f"{'robot' if robots else 'driving'}.observation={observation}")
    if action is not None:
        settings = (*(PLAN if action == "plan" else (f"driving.action={action}",)), *settings)
    if imitate is not None:
        if action not in (None, "continuous"):
            raise click.UsageError(f"--imitate: what a planner does are continuous actions, not --action {action}")
        settings = (*(() if robots else TIMED), *settings, f"imitate={imitate}")
    if resume_ is not None:
        if given or settings or out or init:
            raise click.UsageError("a resumed run keeps its configuration: with --resume, only --steps, --dry-run and --json may be given")
        return (resume_game if is_game_run(resume_) else _resume)(resume_, count, dry_run=dry_run, json_=json_)
    if init is not None:
        return _train(overlaid(_taken(init), {**parse_settings(settings), **given}), count, out, dry_run=dry_run, json_=json_)
    if not scenario and task is None:
        raise click.UsageError(
            "say what to train on: --scenario NAME (see `closedloop list scenarios`), --task NAME, --game NAME, or --resume DIR"
        )
    return _train({**parse_settings(settings), **given}, count, out, dry_run=dry_run, json_=json_)


def _train(given: dict[str, Any], steps: int | None, out: Path | None, *, dry_run: bool, json_: bool) -> int:
    from agents.learning.config import config_from

    config = config_from({**given, **({"steps": steps} if steps is not None else {})})
    check_training(config)
    if dry_run:
        return _show(config, json_)
    from agents.learning.trainer import train

    return _close(train(config, out=out), config, json_)


def _is_robot_run(folder: Path) -> bool:
    """Whether the run in a folder is one on a robot task. False for what holds no run."""
    from agents.learning.config import read_yaml

    path = folder / "config.yaml"
    return path.is_file() and "task" in read_yaml(path)


def _taken(folder: Path) -> dict[str, Any]:
    """What a run that begins with the policy in `folder` takes over from there, unless told otherwise."""
    from agents.learning.record import read_config

    before = read_config(folder).as_dict()
    domain = ("task", "robot") if "task" in before else ("scenario", "driving", "planner", "reward")
    names = (*domain, "algo", "network", "activation", "normalise_observations", "normalise_rewards")
    taken = {name: before[name] for name in names} | {"init": str(folder)}
    return taken | ({"hyper": {"gamma": before["hyper"]["gamma"]}} if "gamma" in before["hyper"] else {})


def _resume(folder: Path, steps: int | None, *, dry_run: bool, json_: bool) -> int:
    from agents.learning.record import read_config
    from agents.learning.trainer import resume, resumed_config

    if dry_run:
        return _show(resumed_config(folder, steps), json_)
    return _close(resume(folder, steps=steps), read_config(folder), json_)


def check_training(config: TrainConfig) -> None:
    """What can be checked before training: seeds, scenarios (one episode of each), device, what is begun with, a world of an arcade game.

    Raises ScenarioError, TrainConfigError, CheckpointError, BundleError, UsageError, WeightsError or ModuleNotFoundError.
    """
    import torch

    from agents.commands.compiling import require_compiler
    from agents.learning.beginning import check_beginning
    from scenarios import load, sample

    require_compiler(config.compile)
    check_beginning(config)
    try:
        seeds = config.seeds
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if config.task and config.device != "cpu":
        raise click.UsageError(f"--device {config.device}: tasks run on the cpu")
    if config.arcade:
        from agents.learning.arcade import arcade_world

        arcade_world(config)
    ticks = {name: sample(load(name), seeds.training).dt for name in config.scenario}
    if len(set(ticks.values())) > 1:
        told = ", ".join(f"{name} {tick:g} s" for name, tick in ticks.items())
        raise click.UsageError(f"scenarios with different ticks cannot be trained on together: {told}")
    if config.device.partition(":")[0] not in ("cpu", "cuda"):
        raise click.UsageError(f"--device {config.device}: must be cpu or cuda")
    if config.device != "cpu" and not torch.cuda.is_available():
        raise click.UsageError(f"--device {config.device}: torch finds no CUDA device here")


def _show(config: TrainConfig, json_: bool) -> int:
    """Print the configuration."""
    from agents.commands.output import print_json
    from agents.learning.record import as_yaml

    if json_:
        print_json(config.as_dict())
    else:
        click.echo(as_yaml(config), nl=False)
    return 0


def _close(result: RunResult, config: TrainConfig, json_: bool) -> int:
    """Tell what came of a run; the exit code."""
    from agents.cli import INTERRUPTED
    from agents.commands.output import print_json

    if json_:
        print_json(result.as_dict())
    else:
        click.echo(f"{result.status} after {result.steps} steps in {result.seconds:.0f} s: {_figures(result.best)}")
        click.echo(f"Policy: {result.policy}   curves: {result.folder / 'curves.png'}")
        stopped = result.status == "interrupted"
        go_on = "--init" if config.imitate else "--resume"  # states to imitate by are not kept: from there only by rewards
        again = ["train", go_on, str(result.folder)] if stopped else ["eval", str(result.folder), *_on(config)]
        click.echo(f"{'Go on' if stopped else 'Judge it on fresh episodes'}: {shlex.join(['closedloop', *again])}", err=True)
    return INTERRUPTED if result.status == "interrupted" else 0


def _on(config: TrainConfig) -> list[str]:
    """The scenarios or the task of a run as options."""
    if config.task:
        return ["--task", config.task]
    return [part for name in config.scenario for part in ("--scenario", name)]


def _figures(best: dict[str, Any] | None) -> str:
    if best is None:
        return "not validated"
    parts = [
        f"{name} {100 * best[name]['value']:.1f} % [{100 * best[name]['low']:.1f}, {100 * best[name]['high']:.1f}]"
        for name in ("success", "collision")
        if best[name] is not None
    ]
    parts.append(f"return {best['reward']['mean']:.2f}")
    return f"{', '.join(parts)} on {best['episodes']} validation episodes"
