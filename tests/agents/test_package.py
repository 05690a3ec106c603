"""What is installed: the four packages with everything they need beside their code, and nothing else."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(path)


def test_every_tracked_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    kinds = (".py", ".yaml", ".json", ".html", ".js", ".css", ".safetensors", ".typed")
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("agents", "envs", "perception", "scenarios")
        for path in (ROOT / package).rglob("*")
        if path.suffix in kinds or path.name == "py.typed"
    }
    assert len(wanted) > 50
    assert not sorted(wanted - set(wheel.namelist()))


def test_nothing_else_is(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agents", "envs", "perception", "scenarios"}


def test_the_console_script_is_there(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "closedloop = agents.cli:main" in wheel.read(name).decode()


def test_constraints_pin_every_direct_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = {Requirement(line).name.replace("_", "-").lower(): Requirement(line).specifier for line in lines}
    for requirement in map(Requirement, needed):
        (pin,) = pinned[requirement.name.replace("_", "-").lower()]
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{requirement}: constraints.txt has {pin.version}"
