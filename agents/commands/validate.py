"""`closedloop validate`: check scenario files and suites, and show every mistake with its place."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["command"]

BAD_INPUT = 2


@click.command("validate", short_help="Check scenario files and suites and show every mistake with its place.")
@click.argument("files", nargs=-1, metavar="[NAME_OR_PATH]...")
@click.option("--quick", is_flag=True, help="Only what loading checks: no other variants of the road, no trial episodes.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(0, 1000), help="Trial episodes drawn from each variant.")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")
def command(files: tuple[str, ...], quick: bool, seeds: int, json_: bool) -> int:
    """Check scenario files and suites and show every mistake with its place.

    Without arguments: the whole library and all suites. Exit code 0 if nothing is wrong, else 2.

    \b
    closedloop validate merge.yaml
    closedloop validate highway suites/mine.yaml --json
    """
    import scenarios

    names = files or (*scenarios.names(), *(f"suite {name}" for name in scenarios.suite_names()))
    results = [{"name": name, "problems": _problems(name, 0 if quick else seeds, quick=quick)} for name in names]
    bad = sum(1 for result in results if result["problems"])
    if json_:
        from agents.commands.output import print_json

        shown = [{**result, "problems": [problem.as_dict() for problem in result["problems"]]} for result in results]
        print_json({"ok": not bad, "files": shown})
        return BAD_INPUT if bad else 0
    for result in results:
        for problem in result["problems"]:
            click.echo(str(problem))
        if not result["problems"]:
            click.echo(f"{result['name']}: ok")
    count = sum(len(result["problems"]) for result in results)
    if bad:
        click.echo(f"{count} problem{'s' * (count != 1)} in {bad} of {len(results)} file{'s' * (len(results) != 1)}", err=True)
    return BAD_INPUT if bad else 0


def _problems(name: str, seeds: int, *, quick: bool) -> list[Any]:
    """Everything wrong with a scenario or suite."""
    import scenarios

    try:
        if name.startswith("suite "):
            scenarios.load_suite(name.removeprefix("suite "))
            return []
        if scenarios.is_suite(name):
            scenarios.load_suite(name)
            return []
        scenario = scenarios.load(name)
        return [] if quick else scenarios.check(scenario, seeds=seeds)
    except scenarios.ScenarioError as error:
        return list(error.problems)
