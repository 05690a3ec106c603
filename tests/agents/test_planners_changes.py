"""Lane changes that the way to the goal asks for: how many there are, what it costs to put them off, and who makes them in time."""

from __future__ import annotations

import pytest

from agents.planners.base import make_planner
from agents.planners.pdm import ASTRAY, URGENT, astray
from agents.planners.route import OWN
from scenarios.roads import ROADS
from tests.agents.planner_scenes import a_scene

RIGHT = 2  # path along the lane on the right


def test_lane_changes_still_needed_are_counted_and_each_has_its_part_of_the_way() -> None:
    network = ROADS["exit"](lanes=3).build()
    needs = {}
    for lane in ("in.2", "in.1", "in.0"):
        scene = a_scene(network, (lane, 60.0, 25.0), "exit", ("out.0", 10.0, 25.0))
        needs[lane] = scene.route.need[0].tolist()  # of the lanes to the left, own, to the right
        cost = astray(scene.route)[0]
        if lane == "in.2":
            length = float(scene.route.end[0, OWN])
            assert float(scene.route.end[0, RIGHT]) == pytest.approx(length, abs=1.0)  # both lead past the exit
            assert float(cost[OWN]) == pytest.approx(2.0 * ASTRAY * max(0.0, 1.0 - length / 2.0 / URGENT), rel=1e-5)
            assert float(cost[RIGHT]) == pytest.approx(ASTRAY * max(0.0, 1.0 - length / URGENT), abs=1e-3)
            assert float(cost[OWN]) > float(cost[RIGHT]) + 1.0
            plan = make_planner("pdm").plan(scene)
            assert float(plan.trajectory.y[0, -1]) < -1.0  # moves over at once, as there are two changes to be made
    assert needs == {"in.2": [0, -2, -1], "in.1": [-2, -1, -1], "in.0": [-1, -1, 0]}  # in.0: one more, to the lane that slows down
