"""closedloop validate and closedloop schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.commands import schema, validate
from scenarios.jsonschema import schema_text

BAD = Path(__file__).parent / "bad"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(validate.command, list(arguments), standalone_mode=False)
    assert result.exception is None, result.output
    return result


def test_sound_files_pass(tmp_path: Path) -> None:
    result = run("merge", "driving", "--seeds", "1")
    assert (result.return_value, result.stdout) == (0, "merge: ok\ndriving: ok\n")


def test_every_mistake_of_every_file_is_shown() -> None:
    result = run(str(BAD / "many_at_once.yaml"), "merge", str(BAD / "unit_typo.yaml"), "nosuch")
    assert result.return_value == 2
    lines = result.stdout.splitlines()
    assert sum("many_at_once.yaml:" in line for line in lines) == 5
    assert sum("unit_typo.yaml:4:36:" in line for line in lines) == 1
    assert "merge: ok" in lines
    assert "7 problems in 3 of 4 files" in result.stderr


def test_json_is_all_there_is_on_stdout() -> None:
    result = run("--json", "--quick", "merge", str(BAD / "unit_typo.yaml"))
    found = json.loads(result.stdout)
    assert (result.return_value, found["ok"]) == (2, False)
    assert found["files"][0] == {"name": "merge", "problems": [], "warnings": []}
    (problem,) = found["files"][1]["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (4, 36, "road.speed_limit")


def test_more_road_users_than_fit_are_a_warning_and_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(
        "version: 1\nname: full\nduration: 40 s\nmax_agents: 12\nroad: {kind: highway}\nego: {lane: main.0, s: 10 m}\n"
        "traffic:\n  - flow: {lanes: [main.0, main.1], rate: 1500 veh/h}\n"
    )
    told = run(str(path))
    assert told.return_value == 0
    warning, verdict = told.stdout.splitlines()
    assert warning.startswith("warning: full: 20 of 20 trial episodes draw more road users than max_agents=12 holds")
    assert verdict == f"{path}: ok"
    (entry,) = json.loads(run("--json", str(path)).stdout)["files"]
    assert (entry["problems"], len(entry["warnings"])) == ([], 1)
    assert "warning" not in run("--quick", str(path)).stdout


def test_what_loading_does_not_see_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "version: 1\nname: x\nduration: 99 s\nmaps: 30\nroad: {kind: highway, lanes: {integer: [1, 3]}}\nego: {lane: main.0}\n"
        "variants:\n  wide: {road: {lanes: 3}, ego: {lane: main.2}}\n  odd: {ego: {lane: main.2}}\n"
    )
    result = run(str(path))
    assert result.return_value == 2
    assert "x.yaml:9:21: ego.lane" in result.stdout
    assert "x.yaml:8" not in result.stdout


def test_the_whole_library_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--quick")
    assert result.return_value == 0
    assert {"junction: ok", "suite smoke: ok"} <= set(result.stdout.splitlines())


def test_schema(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(schema.command, []).stdout == schema_text()
    assert json.loads(runner.invoke(schema.command, ["--suite"]).stdout)["title"] == "closedloop suite"
    target = tmp_path / "s.json"
    result = runner.invoke(schema.command, ["-o", str(target)])
    assert result.exit_code == 0
    assert target.read_text() == schema_text()
