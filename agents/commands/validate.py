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

    Without arguments: the whole library and all suites. Exit code 0 if nothing is wrong, else 2. A warning, for example that more road
    users are drawn than an episode can hold, is no error.

    \b
    closedloop validate merge.yaml
    closedloop validate highway suites/mine.yaml --json
    """
    import scenarios

    names = files or (*scenarios.names(), *(f"suite {name}" for name in scenarios.suite_names()))
    results = [_result(name, 0 if quick else seeds, quick=quick) for name in names]
    bad = sum(1 for result in results if result["problems"])
    if json_:
        from agents.commands.output import print_json

        shown = [{**result, "problems": [problem.as_dict() for problem in result["problems"]]} for result in results]
        print_json({"ok": not bad, "files": shown})
        return BAD_INPUT if bad else 0
    for result in results:
        for problem in result["problems"]:
            click.echo(str(problem))
        for warning in result["warnings"]:
            click.echo(f"warning: {warning}")
        if not result["problems"]:
            click.echo(f"{result['name']}: ok")
    count = sum(len(result["problems"]) for result in results)
    if bad:
        click.echo(f"{count} problem{'s' * (count != 1)} in {bad} of {len(results)} file{'s' * (len(results) != 1)}", err=True)
    return BAD_INPUT if bad else 0


def _result(name: str, seeds: int, *, quick: bool) -> dict[str, Any]:
    """Everything wrong with a scenario or suite, and what is odd about it."""
    import scenarios

    problems: list[Any] = []
    warnings: list[str] = []
    try:
        if name.startswith("suite ") or scenarios.is_suite(name):
            scenarios.load_suite(name.removeprefix("suite "))
        else:
            scenario = scenarios.load(name)
            problems = [] if quick else scenarios.check(scenario, seeds=seeds)
            warnings = scenarios.crowded(scenario) if seeds and not problems else []
    except scenarios.ScenarioError as error:
        problems = list(error.problems)
    return {"name": name, "problems": problems, "warnings": warnings}
