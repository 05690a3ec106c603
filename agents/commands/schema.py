"""`closedloop schema`: the JSON Schema of scenario files, with which editors complete and check them while one types."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("schema", short_help="Print the JSON Schema of scenario files, for editors.")
@click.option("--suite", is_flag=True, help="That of suite files instead.")
@click.option("--report", is_flag=True, help="That of the reports of `closedloop compare` instead.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file.")
def command(suite: bool, report: bool, output: Path | None) -> None:
    """Print the JSON Schema of scenario files, for editors.

    In the scenario file, name it in the first line: # yaml-language-server: $schema=schema.json

    \b
    closedloop schema -o schema.json
    closedloop schema --suite
    closedloop schema --report
    """
    if suite and report:
        raise click.UsageError("either --suite or --report")
    text = _text("suite" if suite else "report" if report else "scenario")
    if output is None:
        click.echo(text, nl=False)
        return
    from scenarios.files import write_atomic

    write_atomic(output, text)
    click.echo(f"wrote {output}", err=True)


def _text(kind: str) -> str:
    import json

    from scenarios.jsonschema import schema_text, suite_schema

    if kind == "scenario":
        return schema_text()
    if kind == "suite":
        return json.dumps(suite_schema(), indent=1, ensure_ascii=False) + "\n"
    from agents.gate.report import report_schema

    return json.dumps(report_schema(), indent=1, ensure_ascii=False) + "\n"
