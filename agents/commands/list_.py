"""`closedloop list`: everything that has a name here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["LISTS", "command"]

Rows = list[dict[str, Any]]


def _scenarios() -> Rows:
    from scenarios import load, names

    found = [load(name) for name in names()]
    return [
        {
            "name": s.name,
            "variants": list(s.variants),
            "road": getattr(s.model.road, "kind", ""),
            "description": s.model.description.strip(),
        }
        for s in found
    ]


def _suites() -> Rows:
    from scenarios import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    return [{"name": s.name, "scenarios": len(s.entries), "tasks": len(s.tasks), "episodes": _episodes(s)} for s in suites]


def _episodes(suite: Any) -> int:
    return sum(each.episodes for each in (*suite.entries, *suite.tasks))


def _policies() -> Rows:
    from agents.planners.base import PLANNERS, make_planner
    from agents.policies.arcade_spec import ARCADE_WEIGHTS
    from agents.policies.base import WEIGHTS, shipped_names
    from agents.policies.baselines import BASELINES
    from agents.policies.bundle import load_bundle
    from agents.policies.robot_spec import ROBOT_WEIGHTS
    from agents.policies.shipped import shipped_in

    baselines = [(name, "baseline", (BASELINES[name].__doc__ or "").split(". ")[0].split(": ")[0].rstrip(".\n")) for name in BASELINES]
    planners = [(name, "planner", (make_planner(name).__doc__ or "").split(". ")[0].rstrip(".\n")) for name in PLANNERS]
    specs = [(name, load_bundle(WEIGHTS / f"{name}.safetensors").spec) for name in shipped_names()]
    trained = [
        (
            name,
            "trained",
            f"{s.algorithm} on {', '.join(s.training.scenarios)}, {s.training.steps:,} decisions"
            + (f", {s.driving.observation}" if s.driving else "")
            + (f", telling {s.planner} what to aim at" if s.planner else ""),
        )
        for name, s in specs
    ]
    for folder in (ROBOT_WEIGHTS, ARCADE_WEIGHTS):
        for name in shipped_in(folder):
            s = load_bundle(folder / f"{name}.safetensors").spec
            made = s.robot or s.arcade
            told = f"{s.algorithm} on the task {name}, {s.training.steps:,} decisions, {made and made.observation}"
            trained.append((name, "trained", told))
    return [{"name": name, "kind": kind, "description": text} for name, kind, text in [*baselines, *planners, *trained]]


def _envs() -> Rows:
    from envs import entries

    return [{"name": e.id, "options": ", ".join(f"{k}={v}" for k, v in e.options.items())} for e in entries()]


def _roads() -> Rows:
    from scenarios.roads import ROADS

    return [{"name": kind, "description": (road.__doc__ or "").strip().splitlines()[0]} for kind, road in ROADS.items()]


def _games() -> Rows:
    from agents.games.players import players
    from agents.learning.alphazero.shipped import shipped_games
    from envs.games import GAMES, game_named

    found, shipped = [game_named(name) for name in GAMES], shipped_games()
    against = {name: [p for p in players() if p != "alphazero" or name in shipped] for name in GAMES}
    return [
        {"name": g.name, "board": f"{g.rows}x{g.columns}", "moves": g.actions, "against": against[g.name], "description": g.about}
        for g in found
    ]


def _robots() -> Rows:
    from importlib.util import find_spec

    from envs.robots import TASKS, robot_id, task_named

    if find_spec("mujoco") is None:
        return [{"name": name, "id": robot_id(name), "description": "needs pip install 'closedloop[robots]'"} for name in TASKS]
    from agents.policies.robot_spec import shipped_tasks
    from agents.robots.players import players_of

    tasks, shipped = [task_named(name) for name in TASKS], shipped_tasks()
    pictured = {name: f"{name}_pixels" for name in TASKS}
    who = {name: [*players_of(name), *(["trained"] if name in shipped else []), *({pictured[name]} & {*shipped})] for name in TASKS}
    return [
        {
            "name": t.name,
            "id": robot_id(t.name),
            "decisions": t.duration,
            "cameras": list(t.cameras),
            "policies": who[t.name],
            "description": t.about,
        }
        for t in tasks
    ]


def _arcade() -> Rows:
    from importlib.util import find_spec

    from agents.arcade.players import players_of
    from agents.policies.arcade_spec import shipped_arcade
    from envs.games.arcade import ARCADE

    shipped, there = shipped_arcade(), find_spec("ale_py") is not None
    who = {name: [*players_of(name), *(["trained"] if name in shipped else [])] for name in ARCADE}
    told = {name: g.about if g.extra != "atari" or there else "needs pip install 'closedloop[atari]'" for name, g in ARCADE.items()}
    return [
        {"name": name, "id": g.id, "players": [*map(str, g.players)], "policies": who[name], "description": told[name]}
        for name, g in ARCADE.items()
    ]


LISTS: dict[str, Callable[[], Rows]] = {
    "scenarios": _scenarios,
    "suites": _suites,
    "policies": _policies,
    "envs": _envs,
    "roads": _roads,
    "games": _games,
    "arcade": _arcade,
    "robots": _robots,
}


@click.command("list")
@click.argument("what", nargs=-1, type=click.Choice(list(LISTS)), metavar="[scenarios|suites|policies|envs|roads|games|arcade|robots]...")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(what: tuple[str, ...], json_: bool) -> None:
    """List scenarios, suites, policies, environments, kinds of road, board games, arcade games and robot tasks; all of them by default.

    \b
    closedloop list
    closedloop list scenarios policies
    closedloop list --json
    """
    from agents.commands.output import print_json, print_table

    found = {name: LISTS[name]() for name in (what or LISTS)}
    if json_:
        print_json(found)
        return
    for name, rows in found.items():
        if rows:
            print_table(name, list(rows[0]), [[_text(v) for v in row.values()] for row in rows])
        click.echo("" if rows else f"{name}: none\n")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
