"""Right of way as planners see it: whom they wait for, where, and for how long; and whom houses may hide."""

from __future__ import annotations

import pytest
import torch
from shapely import LineString, Polygon, box
from shapely.affinity import rotate, translate

from agents.planners.base import DT, STEPS, Scene
from agents.planners.obstacles import AXLES, _headings, obstacles
from agents.planners.route import own_chain
from agents.planners.rules import Stops, stops
from agents.planners.unseen import NEAR, hidden_places, unseen_wait
from envs.driving.dynamics import bicycle
from envs.driving.lanes import lane_point
from envs.driving.routing import lane_lengths
from scenarios.kinds import Kind
from scenarios.network import LightState, RoadNetwork
from scenarios.roads import ROADS
from tests.agents.planner_scenes import a_scene

T = torch.tensor


def lengths(network: RoadNetwork) -> dict[str, float]:
    """Metres of each lane by name."""
    return dict(zip([lane.id for lane in network.lanes], lane_lengths(network), strict=True))


@pytest.mark.parametrize(("metres", "speed", "waits"), [(25.0, 12.0, True), (85.0, 8.0, False), (3.0, 9.0, True)])
def test_who_comes_from_the_minor_road_gives_way(metres: float, speed: float, waits: bool) -> None:
    network = ROADS["junction"](control="priority").build()
    long = lengths(network)
    scene = a_scene(network, ("south_in.0", long["south_in.0"] - 12.0, 6.0), "west", ("west_in.0", long["west_in.0"] - metres, speed))
    found = stops(scene)
    assert bool(torch.isfinite(found.wait)) == waits
    assert not found.trusted.any()


def test_in_a_roundabout_those_who_enter_are_trusted_to_wait_until_they_cannot() -> None:
    network = ROADS["roundabout"]().build()
    end = lengths(network)["east_in.0"]
    for speed, trusted in ((5.0, True), (14.0, False)):
        found = stops(a_scene(network, ("ring_south_east.0", 2.0, 7.0), "north", ("east_in.0", end - 4.0, speed)))
        assert torch.isinf(found.wait).all()
        assert bool(found.trusted) == trusted


def test_those_who_stand_for_ever_are_not_waited_for_for_ever() -> None:
    network = ROADS["junction"](control="priority").build()
    long = lengths(network)
    scene = a_scene(network, ("south_in.0", long["south_in.0"] - 12.0, 0.0), "west", ("west_in.0", long["west_in.0"] - 1.0, 0.0))
    assert torch.isfinite(stops(scene).wait).all()
    patient = scene._replace(ego=scene.ego._replace(waited=T([30.0])))
    assert torch.isinf(stops(patient).wait).all()


def waiting(before: float, speed: float, theirs: tuple[str, float, float], goal: str = "west", accel: float = 0.0) -> tuple[Scene, Stops]:
    """At a junction from the south, `before` m before the end of the lane; the rules of the scene."""
    network = ROADS["junction"](control="yield", buildings=False).build()
    lane, metres, pace = theirs
    scene = a_scene(network, ("south_in.0", lengths(network)["south_in.0"] - before, speed), goal, (lane, metres, pace))
    scene = scene._replace(ego=scene.ego._replace(accel=T([accel])))
    return scene, stops(scene)


@pytest.mark.slow
def test_who_drives_off_at_the_line_does_not_ask_for_longer_gaps_on_the_way() -> None:
    network = ROADS["junction"](control="yield", buildings=False).build()
    end = lengths(network)["west_in.0"]
    line = next(back / 10 for back in range(10, 200) if 0.3 < signal_at(network, back / 10) < 1.2)
    far = range(6, 90, 4)
    stands = {metres for metres in far if torch.isfinite(waiting(line, 0.0, ("west_in.0", end - metres, 12.0))[1].wait)}
    starts = {metres for metres in far if torch.isfinite(waiting(line, 0.3, ("west_in.0", end - metres, 12.0), accel=0.8)[1].wait)}
    assert starts < stands  # those waited for
    assert max(starts) < max(stands) - 5.0


def signal_at(network: RoadNetwork, back: float) -> float:
    """Metres from the front bumper to the painted line, `back` m before the end of the lane."""
    lane = next(lane for lane in network.lanes if lane.id == "south_in.0")
    assert lane.stop is not None
    return lane.stop.s - (lengths(network)["south_in.0"] - back) - 2.3


def test_who_is_about_to_leave_a_shared_stretch_is_not_waited_for_from_afar() -> None:
    """Inside it, at speed: gone when the ego is there. Standing: not."""
    for pace, waits in ((12.0, False), (0.0, True)):
        _, found = waiting(14.0, 4.0, ("west_east.0", 9.0, pace), goal="north")
        assert bool(torch.isfinite(found.wait)) == waits, pace


def test_who_stands_lets_the_ego_out_of_the_junction_and_stays_where_he_is() -> None:
    for pace, stays in ((0.0, True), (3.0, False)):
        network = ROADS["junction"](control="yield", buildings=False).build()
        scene = a_scene(network, ("south_north.0", 9.0, 1.0), "north", ("west_in.0", lengths(network)["west_in.0"] - 1.0, pace))
        found = stops(scene)
        assert bool(found.stays) == stays
        assert bool(found.trusted) == stays
        moved = scene._replace(forecasts=scene.forecasts._replace(mean=scene.forecasts.mean + 5.0))
        around = obstacles(moved, torch.zeros_like(found.trusted), found.stays)
        at = scene.tracks.mean[0, 0, 0]
        assert bool((around.x == at).all()) == stays


def test_who_lets_the_ego_go_may_be_a_little_inside_the_shared_stretch_if_he_is_not_surely_there() -> None:
    network = ROADS["junction"](control="yield", buildings=False).build()
    for s, sigma, trusted in ((11.0, 0.0, True), (11.5, 0.0, False), (11.5, 0.5, True), (12.0, 2.0, True), (13.0, 2.0, False)):
        scene = a_scene(network, ("south_north.0", 9.0, 1.0), "north", ("west_east.0", s, 0.0))
        covariance = sigma**2 * torch.eye(4).view(1, 1, 4, 4)
        found = stops(scene._replace(tracks=scene.tracks._replace(covariance=covariance)))
        assert bool(found.trusted) == trusted, (s, sigma)


def test_nobody_trusts_a_walker_who_goes_towards_the_road_to_stop() -> None:
    """He has to give way where there is no zebra; but so did the child that ran."""
    network = ROADS["crossing"]().build()
    for speed, trusted in ((1.5, False), (0.2, True)):
        scene = a_scene(network, ("in.0", 60.0, 8.0), "through", ("stray.0", 0.6, speed))
        walker = {"kind": torch.full_like(scene.tracks.kind, int(Kind.PEDESTRIAN)), "size": T([[[0.5, 0.5, 1.7]]])}
        assert bool(stops(scene._replace(tracks=scene.tracks._replace(**walker))).trusted) == trusted, speed


# whom houses hide


def at_a_corner(before: float, speed: float, buildings: bool = True, blind: bool = True) -> Scene:
    network = ROADS["junction"](control="yield", setback=4.0, buildings=buildings).build()
    scene = a_scene(network, ("south_in.0", lengths(network)["south_in.0"] - before, speed), "north", ("north_in.0", 5.0, 0.0))
    return scene._replace(blind=T([True]) if blind else None)


def test_hidden_places_are_those_that_a_house_hides() -> None:
    """Lines of sight against shapely's."""
    scene = at_a_corner(20.0, 8.0)
    lane, s = hidden_places(scene.ego, scene.place)
    assert int((lane >= 0).sum()) > 5
    points = lane_point(scene.place.maps, T([0]), lane.clamp(min=0), s)[0]
    houses: list[Polygon] = [
        translate(rotate(box(-length / 2, -width / 2, length / 2, width / 2), yaw, origin=(0, 0), use_radians=True), x, y)
        for x, y, yaw, length, width in scene.place.maps.occluders[0].tolist()
        if length > 0.0
    ]
    eye = (float(scene.ego.x), float(scene.ego.y))
    for there, point in zip((lane[0] >= 0).tolist(), points.tolist(), strict=True):
        assert not there or any(LineString([eye, point[:2]]).intersects(house) for house in houses)


def test_one_slows_down_for_whom_a_house_may_hide_and_looks_at_the_corner() -> None:
    scene = at_a_corner(25.0, 8.0)
    room = unseen_wait(scene, own_chain(scene.ego, scene.place))
    assert torch.isfinite(room).all()
    assert torch.isfinite(stops(scene).wait).all()
    assert torch.isinf(stops(scene._replace(blind=None)).wait).all()  # everybody is seen
    open_field = at_a_corner(25.0, 8.0, buildings=False)
    assert torch.isinf(unseen_wait(open_field, own_chain(open_field.ego, open_field.place))).all()
    nearer = at_a_corner(25.0 - float(room) - 1.0 + 0.9 * NEAR, 1.0)
    assert torch.isinf(unseen_wait(nearer, own_chain(nearer.ego, nearer.place))).all()  # there it sees what there is to see


@pytest.mark.parametrize(("length", "steer"), [(4.6, 0.2), (10.0, 0.25), (10.0, -0.3)])
def test_boxes_point_where_vehicles_do_in_bends(length: float, steer: float) -> None:
    """Against the simulator's bicycle model, driven round a circle."""
    wheelbase = T([AXLES * length])
    x = y = yaw = T([0.0])
    places, headings = [], []
    for _ in range(STEPS + 1):
        end = bicycle(x, y, yaw, T([5.0]), T([0.0]), T([steer]), wheelbase, DT, speed_max=T([50.0]))
        x, y, yaw = end.x, end.y, end.yaw
        places.append(torch.stack([x, y], dim=-1)[0])
        headings.append(float(yaw))
    dx, dy = (torch.stack(places)[1:] - torch.stack(places)[:-1]).T.reshape(2, 1, 1, STEPS).unbind(0)
    step = torch.hypot(dx, dy)
    cos, sin = _headings(dx / step, dy / step, step, T([[[0.5 * length]]]))
    found = torch.atan2(sin, cos)[0, 0]
    halfway = 0.5 * (T(headings)[1:] + T(headings)[:-1])  # chords point as arcs do in their middle
    assert float((found - halfway).abs().max()) < 0.01
    assert float((torch.atan2(dy, dx)[0, 0] - halfway).abs().min()) > 0.08  # the motion points elsewhere


@pytest.mark.parametrize("across", [LightState.RED, LightState.GREEN])
def test_nobody_hidden_comes_who_has_to_stop_at_a_light(across: LightState) -> None:
    """Turning left on green, with houses at the corners: who comes from the west and the east matters only if their lights let them."""
    network = ROADS["junction"](control="lights", setback=4.0).build()
    scene = a_scene(network, ("south_in.0", lengths(network)["south_in.0"] - 25.0, 8.0), "west", ("north_in.0", 5.0, 0.0))
    state = [int(LightState.GREEN if light.id in ("south", "north") else across) for light in network.lights]
    scene = scene._replace(blind=T([True]), place=scene.place._replace(lights=T([state])))
    assert bool(torch.isfinite(unseen_wait(scene, own_chain(scene.ego, scene.place)))) == (across == LightState.GREEN)
