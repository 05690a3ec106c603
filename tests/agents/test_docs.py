"""What the documentation says is true: commands parse, links lead somewhere, Python runs, reference pages are those of the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agents.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def command_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.splitlines():
                if line.startswith("closedloop "):
                    yield page.name, line.partition("#")[0].partition(">")[0].strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_commands_parse(page: str, line: str) -> None:
    """Names and options are the program's; files that an example names need not exist here."""
    command: click.Command | None = cli
    context, arguments = click.Context(cli, info_name="closedloop"), shlex.split(line)[1:]
    while isinstance(command, click.Group) and arguments:
        name, command, arguments = command.resolve_command(context, arguments)
        assert command is not None
        context = click.Context(command, info_name=name, parent=context)
    assert command is not None
    try:
        command.parse_args(context, arguments)
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


def test_there_are_commands_to_check() -> None:
    assert len(set(command_lines())) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`?\bmake ([a-z-]+)\b", " ".join(blocks(page, "bash"))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_python_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in [*blocks(ROOT / "docs" / "python.md", "python"), *blocks(ROOT / "README.md", "python")]:
        exec(compile(block, "python.md", "exec"), scope)
    assert "Estimate(" in capsys.readouterr().out


def test_reference_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    code = build.main(check=True)
    assert code == 0, capsys.readouterr().out
