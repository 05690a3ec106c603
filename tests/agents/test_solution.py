"""Driven episodes as CommonRoad solutions: read by commonroad-io, judged by commonroad-drivability-checker where it is installed."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import cli
from agents.commands import export
from agents.playback.solution import COSTS, VEHICLE, driven, solution
from agents.playback.storage import TraceError
from agents.playback.trace import Trace
from scenarios.importers import import_file
from scenarios.importers.commonroad_problem import read_problem

pytest.importorskip("commonroad", reason="commonroad-io is not installed")

NAME = "USA_US101-3_3_T-1"


@pytest.fixture(scope="module")
def file(shared_data: Path) -> Path:
    return shared_data / "commonroad" / f"{NAME}.xml"


@pytest.fixture(scope="module")
def trace(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file driven by pdm."""
    folder = tmp_path_factory.mktemp("us101")
    scenario = import_file(file, folder / "imported").scenario
    words = ["--episodes", "1", "--traces", "all", "--workers", "1", "--out", str(folder / "out")]
    assert cli.run(["eval", "pdm", "--scenario", f"{scenario}/log", *words]) == 0
    (found,) = (folder / "out").rglob("*.trace")
    return found


def test_the_command_offers_every_cost_function() -> None:
    """It names them itself, as it must not wait for torch."""
    assert export.COSTS == COSTS


def test_ticks_between_decisions_are_the_simulators_own(trace: Path) -> None:
    read = Trace.load(trace)
    path, every = driven(read), read.config.ticks_per_step
    assert every == 2  # else there is nothing between
    assert len(path.x) == every * read.steps + 1
    assert np.array_equal(path.x[::every], read.states["x"][:, 0].astype(np.float64))
    ahead = np.hypot(np.diff(path.x), np.diff(path.y))
    assert ahead == pytest.approx(0.5 * (path.speed[1:] + path.speed[:-1]) * read.config.dt, abs=0.01)
    moved = replace(read, states={**read.states, "x": read.states["x"] + 1.0})
    with pytest.raises(TraceError, match="driven again, x differs by 1"):
        driven(moved)


def test_commonroads_own_reader_finds_what_was_driven(trace: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from commonroad.common.solution import CommonRoadSolutionReader  # type: ignore[import-untyped]

    out = tmp_path / "solution.xml"
    assert cli.run(["export", str(trace), str(file), "-o", str(out), "--cost", "SM1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    read, problem = CommonRoadSolutionReader.open(str(out)), read_problem(file)
    assert read.benchmark_id == f"{VEHICLE}:SM1:{NAME}:2018b"
    assert read.planning_problem_ids == [problem.id] == [told["problem"]]
    assert told["success"]
    states, path = read.planning_problem_solutions[0].trajectory.state_list, driven(Trace.load(trace))
    assert [state.time_step for state in states] == list(range(len(path.x)))
    places = np.stack([state.position for state in states])
    assert places[:, 0] - problem.shift[0] == pytest.approx(path.x, abs=1e-9)
    assert places[:, 1] - problem.shift[1] == pytest.approx(path.y, abs=1e-9)
    assert [state.velocity for state in states] == pytest.approx(path.speed)
    assert cli.run(["export", str(trace), str(file), "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err


def test_the_rear_axle_of_commonroads_vehicle_rolls_and_turns_as_its_wheels_say(trace: Path, file: Path) -> None:
    """The equations of its KS model, integrated from each state to the next: no more than 2 cm and 0.03 rad apart, as the checker asks."""
    pytest.importorskip("vehiclemodels", reason="commonroad-vehicle-models is not installed")
    from commonroad.common.solution import CommonRoadSolutionReader
    from scipy.integrate import solve_ivp
    from vehiclemodels.parameters_vehicle3 import parameters_vehicle3  # type: ignore[import-untyped]
    from vehiclemodels.vehicle_dynamics_ks import vehicle_dynamics_ks  # type: ignore[import-untyped]

    read, problem = Trace.load(trace), read_problem(file)
    states = CommonRoadSolutionReader.fromstring(solution(read, problem)).planning_problem_solutions[0].trajectory.state_list
    vehicle, dt = parameters_vehicle3(), problem.dt

    def axle(state: Any) -> np.ndarray[Any, Any]:
        back = vehicle.b * np.array([np.cos(state.orientation), np.sin(state.orientation)])
        return np.array([*(state.position - back), state.steering_angle, state.velocity, state.orientation])

    for now, after in pairwise(states):
        x0, x1 = axle(now), axle(after)
        given = [(x1[2] - x0[2]) / dt, (x1[3] - x0[3]) / dt]
        assert abs(given[0]) <= vehicle.steering.v_max
        found = solve_ivp(lambda _, x, u=given: vehicle_dynamics_ks(x, u, vehicle), (0.0, dt), x0, rtol=1e-8).y[:, -1]
        assert np.abs(found[:2] - x1[:2]).max() < 0.02
        assert abs(found[4] - x1[4]) < 0.03


def test_traces_of_other_files_are_turned_away(trace: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read, problem = Trace.load(trace), read_problem(file)
    with pytest.raises(ValueError, match="cost function 'XX1': must be one of JB1"):
        solution(read, problem, "XX1")
    with pytest.raises(ValueError, match=r"steps of 0\.2 s: it is not of this file"):
        solution(read, replace(problem, dt=0.2))
    for other, said in (("USA_US101-4_1_T-1", "the trace is not of this file"), ("DEU_Starnberg-1_1_T-1", "no planning problem")):
        assert cli.run(["export", str(trace), str(file.with_name(f"{other}.xml"))]) == 2
        assert said in capsys.readouterr().err


def test_the_drivability_checker_accepts_it(trace: Path, file: Path) -> None:
    """An oracle that nobody here wrote: goal, start, vehicle model, obstacles, edges of the road."""
    pytest.importorskip("triangle", reason="the checker's boundaries need the package triangle")
    checker = pytest.importorskip("commonroad_dc.feasibility.solution_checker", reason="commonroad-drivability-checker is not installed")
    from commonroad.common.file_reader import CommonRoadFileReader  # type: ignore[import-untyped]
    from commonroad.common.solution import CommonRoadSolutionReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CommonRoadSolutionReader.fromstring(solution(Trace.load(trace), read_problem(file)))
        valid, _ = checker.valid_solution(*CommonRoadFileReader(str(file)).open(), found)
    assert valid
