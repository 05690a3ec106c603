"""The command line: what it imports, how it fails, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from agents import cli
from agents.commands import doctor, play
from agents.evaluation.suite import PlanError
from agents.gate.baseline import BaselineError
from agents.gate.journal import OtherRunError
from agents.gate.report import EXIT
from agents.layout import PACKAGES, intruders, package_folders
from agents.learning.checkpoint import CheckpointError
from agents.learning.config import TrainConfigError
from agents.playback.storage import TraceError
from agents.policies.base import PolicyError
from agents.policies.bundle import BundleError
from scenarios.codec import DataError
from scenarios.errors import Problem, ScenarioError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "gymnasium", "stable_baselines3", "matplotlib", "scipy", "cv2")
Fake = Callable[[Callable[[], object]], None]


def python(code: str, *, cwd: Path = ROOT, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Add a command `fake` that runs a function."""

    def add(function: Callable[[], object]) -> None:
        module = types.ModuleType("fake_command")
        module.command = click.Command("fake", callback=function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", ("fake_command", "A fake."))

    return add


def raising(error: BaseException) -> Callable[[], object]:
    def function() -> None:
        raise error

    return function


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, line) in cli.COMMANDS.items():
        assert f"  {name} " in shown
        assert line in shown


@pytest.mark.parametrize("argv", [["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    done = python(f"import sys; from agents.cli import run; code = run({argv!r}); print(code, [m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_help_of_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    assert f"closedloop {name} " in capsys.readouterr().out.partition("Usage:")[2].partition("\n")[2]


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evl"]) == 2
    assert "no command 'evl'; did you mean 'eval'?" in capsys.readouterr().err


def test_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--jsn"]) == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PolicyError("no policy 'imd'"), 2, "closedloop: no policy 'imd'\n"),
        (ScenarioError([Problem(file="a.yaml", expected="expected a name")]), 2, "closedloop: a.yaml: expected a name\n"),
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), 2, "closedloop: a.yaml: No such file or directory\n"),
        (
            ModuleNotFoundError("No module named 'av'", name="av"),
            2,
            "closedloop: this needs the extra 'video': pip install 'closedloop[video]'\n",
        ),
        (KeyboardInterrupt(), 130, "closedloop: interrupted\n"),
    ],
)
def test_errors_of_the_user_have_no_traceback(
    error: BaseException, code: int, said: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(raising(error))
    assert cli.run(["fake"]) == code
    assert capsys.readouterr().err.lstrip("\n") == said


@pytest.mark.parametrize(
    "error", [PolicyError, BundleError, TraceError, TrainConfigError, CheckpointError, PlanError, DataError, BaselineError, OtherRunError]
)
def test_every_error_type_of_ours_is_about_the_input(error: type[Exception], fake: Fake) -> None:
    fake(raising(error("no")))
    assert cli.run(["fake"]) == 2


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (RuntimeError("oh"), "RuntimeError: oh"),
        (ValueError("setting an array element with a sequence"), "ValueError: setting an array element with a sequence"),
        (json.JSONDecodeError("Expecting value", "x", 0), "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (KeyError("lane"), "KeyError: 'lane'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_unexpected_is_a_bug_and_says_so(error: Exception, last: str, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake(raising(error))
    assert cli.run(["fake"]) == 4
    shown = capsys.readouterr().err
    assert shown.splitlines()[0] == f"closedloop: {last}"
    assert "a bug in closedloop" in shown
    assert "--debug" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(("error", "code"), [(PolicyError("no"), 2), (ValueError("no"), 4)])
def test_debug_anywhere_shows_the_traceback(error: Exception, code: int, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake(raising(error))
    assert cli.run(["fake", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_help_lists_the_exit_codes_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    used, _, _ = " ".join(capsys.readouterr().out.partition("Exit codes:")[2].split()).partition(". ")
    assert sorted(map(int, re.findall(r"\d+", used))) == sorted([*EXIT.values(), cli.BAD_INPUT, cli.INTERRUPTED])
    assert EXIT["incomplete"] == cli.CRASHED
    assert EXIT["regression"] == play.DIFFERS


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3), (4, 4)])
def test_a_command_returns_its_exit_code(returned: int | None, code: int, fake: Fake) -> None:
    fake(lambda: returned)
    assert cli.run(["fake"]) == code


def test_a_reader_that_leaves_is_no_verdict() -> None:
    """`closedloop list | head`: neither 0, which would be a pass, nor click's 1, which would be a regression."""
    command = [sys.executable, "-m", "agents.cli", "schema"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == cli.PIPE_CLOSED


def test_an_intruder_is_named(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    done = python("from agents.cli import run; raise SystemExit(run(['--help']))", cwd=tmp_path, path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert f"'import envs' finds {tmp_path / 'envs'}" in done.stderr
    assert done.stdout == ""


def test_packages_lie_together() -> None:
    assert intruders() == []
    assert [folder and folder.name for folder in package_folders().values()] == list(PACKAGES)
    missing: dict[str, Path | None] = {**package_folders(), "perception": None}
    assert len(intruders(missing)) == 1
    assert "'perception'" in intruders(missing)[0]


def test_doctor_is_content_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"python", "packages", "torch", "device", "threads", "compiler", "browser", "extra video"} <= {
        c["name"] for c in report["checks"]
    }


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-distribution"))
    assert cli.run(["doctor"]) == 2
    assert "FAIL  no-such-distribution" in capsys.readouterr().out


def test_doctor_survives_a_broken_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_torch", raising(OSError("libtorch.so is damaged")))
    broken = [c for c in doctor.checks() if c.status == doctor.FAIL]
    assert [c.detail for c in broken] == ["OSError: libtorch.so is damaged"]


def test_extras_that_nothing_uses_are_called_reserved(capsys: pytest.CaptureFixture[str]) -> None:
    """What `pip install closedloop[...]` offers: in use, or said to be for later, in pyproject.toml, the README and the doctor alike."""
    text = (ROOT / "pyproject.toml").read_text()
    extras = set(tomllib.loads(text)["project"]["optional-dependencies"]) - {"dev"}
    modules = {**doctor.EXTRAS, **{extra: ((module,), purpose) for extra, (module, purpose) in doctor.RESERVED.items()}}
    assert set(modules) == extras
    source = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    used = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    unused = {extra for extra, (needs, _) in modules.items() if not set(needs) <= used | {"onnx"}}
    assert unused == set(doctor.RESERVED)
    assert set(re.findall(r"^(\w+) = .*# reserved", text, re.MULTILINE)) == unused
    told = (ROOT / "README.md").read_text().partition("## Extras\n")[2].partition("\n## ")[0]
    later = next(part for part in re.split(r"(?<=\.)\n", told) if "reserved" in part)
    assert set(re.findall(r"`(\w+)`", later)) == unused
    assert set(cli.EXTRAS.values()) == extras - unused
    assert cli.run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(f"closedloop[{extra}]" not in shown for extra in unused)
