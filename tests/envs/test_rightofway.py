"""Who goes first: roundabouts, junctions under each rule, zebra crossings. Arrival times are swept: every order occurs."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pytest
import torch

from envs.driving.rightofway import PATIENCE
from envs.driving.sim import DrivingSim
from scenarios.episode import Role
from scenarios.kinds import Kind
from scenarios.roads import ROADS

SPEED = 10.0  # m/s, everybody's
CAR = 4.6  # m
ROUNDABOUT = ROADS["roundabout"](approach_length=80.0).build()
JUNCTIONS = {control: ROADS["junction"](control=control, approach_length=80.0).build() for control in ("yield", "all_way", "uncontrolled")}
ZEBRA = ROADS["crossing"]().build()


class Run:
    """A run of all worlds, states stacked over ticks: x, y, speed, s (T, B, A) and lane as ids."""

    def __init__(self, sim: DrivingSim, ticks: int) -> None:
        self.ids = np.array([lane.id for lane in sim.bank.networks[0].lanes])
        rows: dict[str, list[np.ndarray]] = {name: [] for name in ("x", "y", "speed", "lane", "s", "valid")}
        self.touched = torch.zeros(sim.batch, dtype=torch.bool)
        for _ in range(ticks):
            for name, values in rows.items():
                values.append(getattr(sim.state, name).numpy())
            self.touched |= sim.step(torch.zeros(sim.batch, 1, 2)).touched.any(1)
        self.x, self.y, self.speed, self.s, self.valid = (np.stack(rows[name]) for name in ("x", "y", "speed", "s", "valid"))
        self.lane = self.ids[np.stack(rows["lane"])]
        self.left = ~self.valid[-1]

    def first(self, worlds: int) -> Run:
        """The same without the other worlds."""
        part = copy(self)
        for name in ("x", "y", "speed", "s", "valid", "lane"):
            setattr(part, name, getattr(self, name)[:, :worlds])
        return part

    def reaches(self, slot: int, lane: str) -> np.ndarray:
        """(B,) first tick at which `slot` is on `lane`; the number of ticks if never."""
        on = self.lane[..., slot] == lane
        return np.where(on.any(0), on.argmax(0), len(on))


@pytest.fixture
def others(agent: Any) -> Any:
    """Worlds whose slot 0 is a parked car far away (a slot 0 would be bound for the episode's goal)."""
    ego = agent(None, x=500.0, y=500.0, role=Role.STATIC)
    return lambda worlds: [[ego, *world] for world in worlds]


def car(agent: Any, lane: str, s: float, to: str, speed: float = SPEED, **driver: Any) -> Any:
    return agent(lane, s, speed, destination=to, driver={"desired_speed": SPEED, **driver})


STARTS = np.arange(25.0, 79.0, 4.0)  # m along the approach of the one with priority: from late to early


def versus(
    stage: Any, others: Any, network: Any, one: Any, rivals: list[Any], ends: tuple[str, str], ticks: int = 230
) -> tuple[Run, np.ndarray, np.ndarray]:
    """`one` against each rival in turn: the run, and by how many ticks each world's two are later on the lanes `ends` than alone."""
    meetings = [[one, rival] for rival in rivals]
    run = Run(stage(network, others([*meetings, [one], *([rival] for rival in rivals)])), ticks)
    n = len(rivals)
    one_there, rival_there, alone = run.reaches(1, ends[0])[:n], run.reaches(2, ends[1])[:n], run.reaches(1, ends[0])[n]
    rival_alone = run.reaches(1, ends[1])[n + 1 :]
    assert not run.touched.any()
    assert max(one_there.max(), rival_there.max(), alone, rival_alone.max()) < ticks  # everybody gets through
    return run.first(n), one_there - alone, rival_there - rival_alone


def test_who_enters_a_roundabout_gives_way_to_those_in_it(agent: Any, stage: Any, others: Any) -> None:
    """A car comes from the south, another circulates past it."""
    entering = car(agent, "south_in.0", 45.0, "north")
    circling = [car(agent, "west_in.0", s, "north") for s in STARTS]
    ring = "ring_south_east.0"
    both, own, rival = versus(stage, others, ROUNDABOUT, entering, circling, (ring, ring), 280)
    first = both.reaches(1, ring) < both.reaches(2, ring)  # the one that enters is there first
    assert first[0]
    assert not first[-1]
    assert (np.diff(first.astype(int)) <= 0).all()
    assert (own[first] <= 5).all()  # it need not wait for those who are far
    assert (own[~first] > 10).any()
    assert (rival[~first] == 0).all()  # who circulates is never held up by who waits
    waits = both.lane[:, ~first, 1] == "south_entry.0"
    line = next(lane.stop.s for lane in ROUNDABOUT.lanes if lane.id == "south_entry.0" and lane.stop)
    before = np.arange(len(waits))[:, None] < both.reaches(2, ring)[~first]
    assert (both.s[:, ~first, 1] + CAR / 2.0 < line + 0.3)[waits & before].all()  # until the other has passed, it stays before the line


def test_the_minor_street_gives_way(agent: Any, stage: Any, others: Any) -> None:
    minor = car(agent, "south_in.0", 45.0, "north")
    major = [car(agent, "west_in.0", s, "east") for s in STARTS]
    both, own, rival = versus(stage, others, JUNCTIONS["yield"], minor, major, ("north_out.0", "east_out.0"))
    first = both.reaches(1, "south_north.0") < both.reaches(2, "west_east.0")
    assert first[0]
    assert not first[-1]
    assert (own[first] <= 5).all()
    assert (own[~first] > 10).any()
    assert (rival[~first] == 0).all()
    assert (both.speed[:, ~first, 2] > SPEED - 0.1).all()


def test_a_reckless_driver_takes_the_right_of_way(agent: Any, stage: Any, others: Any) -> None:
    """The same meeting, with a driver who does not yield: it does not wait, whatever comes of it."""
    major = car(agent, "west_in.0", 30.0, "east")
    worlds = [[car(agent, "south_in.0", 20.0, "north", yields=yields), major] for yields in (True, False)]
    run = Run(stage(JUNCTIONS["yield"], others(worlds)), 120)
    assert run.speed[:, 0, 1].min() < 5.0
    assert run.speed[: int(run.reaches(1, "south_north.0")[1]), 1, 1].min() > SPEED - 0.1


def test_first_come_first_served(agent: Any, stage: Any, others: Any) -> None:
    """Equal streets: who would be there at least a second earlier goes first and is not held up; the other one waits."""
    south = car(agent, "south_in.0", 50.0, "north")
    west = [car(agent, "west_in.0", s, "east") for s in STARTS]
    both, own, rival = versus(stage, others, JUNCTIONS["uncontrolled"], south, west, ("north_out.0", "east_out.0"))
    first = both.reaches(1, "south_north.0") < both.reaches(2, "west_east.0")
    lead = STARTS - 50.0  # m, by which the car from the west is nearer
    np.testing.assert_array_equal(first[np.abs(lead) >= SPEED], (lead < 0.0)[np.abs(lead) >= SPEED])
    assert (np.where(first, own, rival) <= 1).all()
    assert (np.where(first, rival, own)[np.abs(lead) < 6.0] > 5).all()


def test_four_at_once_at_stop_signs(agent: Any, stage: Any, others: Any) -> None:
    """Each comes to rest before its line, and one after another they all get through."""
    to = dict(zip(("south", "east", "north", "west"), ("north", "west", "south", "east"), strict=True))
    worlds = [[car(agent, f"{arm}_in.0", 20.0 + step * i, to[arm]) for i, arm in enumerate(to)] for step in (0.0, 3.0, 8.0, -5.0)]
    run = Run(stage(JUNCTIONS["all_way"], others(worlds)), 420)
    assert not run.touched.any()
    assert run.left[:, 1:5].all()
    line = 79.0
    for i, arm in enumerate(to, start=1):
        before = (run.lane[..., i] == f"{arm}_in.0") & (run.s[..., i] + CAR / 2.0 < line)
        assert (np.where(before, run.speed[..., i], np.inf).min(0) < 0.1).all()


def test_cars_stop_for_people_on_the_zebra_and_stray_people_for_cars(agent: Any, stage: Any, others: Any) -> None:
    cars = [car(agent, "in.0", s, "through") for s in STARTS]
    walker = agent("walk.0", 0.0, 1.3, kind=Kind.PEDESTRIAN, driver={"desired_speed": 1.3}, destination="across")
    both = Run(stage(ZEBRA, others([[walker, one] for one in cars])), 200)
    assert not both.touched.any()
    assert both.left[:, 1:3].all()
    walking = both.valid[:, :, 1]
    assert (both.speed[..., 1][walking] > 1.29).all()  # nobody on the zebra has to wait
    assert (both.speed[..., 2].min(0) < 9.0).all()
    stray = agent("stray.0", 0.0, 1.3, kind=Kind.PEDESTRIAN, driver={"desired_speed": 1.3}, destination="across")
    both = Run(stage(ZEBRA, others([[stray, one] for one in cars])), 220)
    assert not both.touched.any()
    assert both.left[:, 1:3].all()
    waits = np.where(both.valid[:, :, 1], both.speed[..., 1], np.inf).min(0) < 1.2
    assert 5 < waits.sum() < len(cars)  # those who are there long before the car walk on
    assert (both.speed[:, waits, 2] > SPEED - 0.1).all()


@pytest.mark.parametrize(("waited", "goes"), [(PATIENCE, True), (PATIENCE - 1, False), (0, False)])
def test_who_does_not_use_its_right_of_way_loses_it(waited: int, goes: bool, agent: Any, stage: Any, others: Any) -> None:
    """At the yield line, with one at rest on the major street just before the junction for so many ticks by now."""
    world = [car(agent, "south_in.0", 76.0, "north", 0.0), car(agent, "west_in.0", 77.0, "east", 0.0)]
    sim = stage(JUNCTIONS["yield"], others([world]))
    sim.state.waited[0, 2] = waited + 1
    sim.step(torch.zeros(1, 1, 2))
    assert (float(sim.state.accel[0, 1]) > 0.5) == goes
    assert float(sim.state.accel[0, 2]) > 0.5


def test_what_never_moves_has_no_right_of_way_for_ever(agent: Any, stage: Any, others: Any) -> None:
    """A car parked on the major street just before the crossing: the minor street waits its time and goes."""
    world = [car(agent, "south_in.0", 76.0, "north", 0.0), agent("west_east.0", 8.0, role=Role.STATIC)]
    run = Run(stage(JUNCTIONS["yield"], others([world])), PATIENCE + 60)
    there = run.reaches(1, "south_north.0")[0]
    assert not run.touched.any()
    assert PATIENCE < there < PATIENCE + 50
