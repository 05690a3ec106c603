"""Write docs/reference/*.md from the docstrings, help texts and schema of the code, so that they cannot drift apart.

python docs/build.py            write the pages
python docs/build.py --check    exit code 1 if one is not up to date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- made by docs/build.py from the code: do not edit -->\n\n"


def cli_page() -> str:
    """Help of every command."""
    from agents.cli import cli

    def helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
        settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
        context = click.Context(command, info_name=name, parent=parent, **settings)
        command._help_option = None  # click keeps the first one it made, named as in whatever context that was
        yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            for sub in command.list_commands(context):
                found = command.get_command(context, sub)
                assert found is not None
                yield from helps(found, sub, context)

    return "# Command line\n\n" + "\n".join(helps(cli, "closedloop", None))


def metrics_page() -> str:
    """Metrics, statistics behind them, and rewards."""
    from agents.evaluation import stats
    from agents.gate import betting, fixed, multiple
    from envs.driving import metrics, rewards

    sections = [
        ("Metrics of an episode", metrics, [metrics.episode_metrics, metrics.at_fault, metrics.nearest_ttc, metrics.within_lane]),
        ("Intervals", stats, [stats.proportion, stats.mean_interval, stats.iqm, stats.paired_difference, stats.of_means]),
        ("The gate: evidence by betting", betting, [betting.log_payoff, betting.log_evidence, betting.mean_bounds]),
        ("The gate: tests at the end", fixed, [fixed.mcnemar_midp, fixed.tango, fixed.signed_rank]),
        ("The gate: many tests", multiple, [multiple.holm, multiple.benjamini_hochberg]),
        ("Rewards", rewards, [rewards.reward_terms]),
    ]
    body = ["# Metrics and rewards\n"]
    for title, module, functions in sections:
        body.append(f"## {title}\n\n```\n{inspect.getdoc(module)}\n```\n")
        body += [f"### `{function.__name__}`\n\n```\n{inspect.getdoc(function)}\n```\n" for function in functions]
    weights = rewards.RewardWeights()
    body.append("Default weights: " + ", ".join(f"{name} {value:g}" for name, value in vars(weights).items()) + ".\n")
    return "\n".join(body)


def observations_page() -> str:
    """Features of the observation and the configuration of the simulator."""
    from envs.driving import features_lanes, features_objects, observation, types

    fields = [
        ("ego", observation, "EGO_FEATURES"),
        ("objects", features_objects, "OBJECT_FEATURES"),
        ("route", observation, "ROUTE_FEATURES"),
        ("lanes", features_lanes, "LANE_FEATURES"),
        ("rules", features_lanes, "RULE_FEATURES"),
        ("goal", observation, "GOAL_FEATURES"),
    ]
    body = ["# Observations and actions\n", f"```\n{inspect.getdoc(observation)}\n```\n"]
    for name, module, table in fields:
        rows = [f"| {k} | `{feature}` | {what} |" for k, (feature, what) in enumerate(_features(module, table))]
        body.append(f"## {name}\n\n| # | feature | meaning, scale |\n|---:|---|---|\n" + "\n".join(rows) + "\n")
    options = re.findall(r"^    (\w+): (\w+) = ([^#\n]+?)\s+# (.+)$", inspect.getsource(types.DrivingConfig), re.MULTILINE)
    rows = [f"| `{name}` | {kind} | {default} | {what} |" for name, kind, default, what in options]
    body.append("## Configuration\n\n| option | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(body)


def _features(module: Any, table: str) -> list[tuple[str, str]]:
    """Names in a tuple of the source with the comments behind them; the tuple itself says which names there are."""
    source = (
        inspect.getsource(module)
        .partition(f"\n{table} = (")[2]
        .partition("\n)\n" if f"\n{table} = (\n" in inspect.getsource(module) else "\n")[0]
    )
    comments = dict(re.findall(r'"(\w+)",[^\S\n]*(?:# (.*))?$', source, re.MULTILINE))
    return [(name, comments.get(name, "")) for name in getattr(module, table)]


def scenarios_page() -> str:
    """Keys of scenario files by object, and the roads with their lanes and destinations."""
    from scenarios.jsonschema import scenario_schema
    from scenarios.roads import ROADS

    document = scenario_schema()
    objects = {"scenario": document, **{name: d for name, d in document["$defs"].items() if "properties" in d}}
    body = ["# Scenario files: every key\n"]
    for name, definition in objects.items():
        if name.endswith("Road"):
            continue
        body.append(f"## {name.removesuffix('Model')}\n\n{definition.get('description', '').strip()}\n\n{_keys(definition)}")
    body.append("# Roads\n")
    for kind, model in ROADS.items():
        body.append(f"## {kind}\n\n```\n{inspect.getdoc(model)}\n```\n\n{_keys(document['$defs'].get(model.__name__, {}))}")
    return "\n".join(body)


def _keys(definition: dict[str, Any]) -> str:
    rows = []
    for key, value in definition.get("properties", {}).items():
        default = "needed" if key in definition.get("required", ()) else _shown(value.get("default"))
        rows.append(f"| `{key}` | {_type(value)} | {default} | {' '.join(value.get('description', '').split()).replace('|', ' or ')} |")
    return "| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    return "" if default in (None, "") or isinstance(default, dict | list) else f"`{default}`"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2].removesuffix("Model")
    if "anyOf" in value or "oneOf" in value:
        names = [_type(v) for v in value.get("anyOf", value.get("oneOf", ()))]
        names = list(dict.fromkeys(n for n in names if n != "null"))
        return "a road, see below" if all(n.endswith("Road") for n in names) else " or ".join(names)
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{v}`" for v in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    return str(value.get("type", "any"))


PAGES = {"cli.md": cli_page, "metrics.md": metrics_page, "observations.md": observations_page, "scenarios.md": scenarios_page}


def main(check: bool) -> int:
    """Write or compare every page; the exit code."""
    stale = []
    for name, make in PAGES.items():
        text, path = NOTE + make().rstrip() + "\n", REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            REFERENCE.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'nothing'}" + ("; run `make docs`" if check and stale else ""))
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
