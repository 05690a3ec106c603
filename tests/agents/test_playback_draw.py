"""Pictures of the world: the right things in the right places."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.playback import draw
from agents.playback.draw import poses_at, render_frame
from agents.playback.trace import Trace
from envs.driving.draw import draw_scene
from envs.driving.palette import BODIES, LAMPS, SCENE, rgb
from envs.driving.scenery import goals, light_states_at, scenery
from envs.driving.shapes import ROLES, shape
from scenarios.episode import Goal, Region
from scenarios.kinds import Kind
from scenarios.network import LightState, Mark, RoadNetwork

ALONE = {"length": [4.6], "width": [1.85], "kind": [0]}


def pixels(image: NDArray[np.uint8], colour: str, tolerance: int = 10) -> NDArray[np.int64]:
    """(row, column) of every pixel of about this colour."""
    return np.argwhere(np.abs(image.astype(int) - rgb(colour)).max(-1) <= tolerance)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_drawn_inside_its_box_and_fills_it(kind: Kind) -> None:
    parts = shape(kind)
    everything = np.concatenate([part.outline for part in parts])
    assert np.abs(everything).max() <= 0.5 + 1e-9
    assert np.ptp(everything[:, 0]) > 0.9
    assert np.ptp(everything[:, 1]) > 0.9
    assert {part.role for part in parts} <= set(ROLES)
    assert any(part.role == "body" for part in parts)
    for part in parts:  # left and right alike, but for the walking feet
        if kind != Kind.PEDESTRIAN and np.abs(part.outline[:, 1]).min() < 0.05:
            assert abs(part.outline[:, 1].mean()) < 0.02


def test_a_car_is_drawn_where_it_is_as_large_as_it_is_and_pointing_where_it_goes() -> None:
    empty = RoadNetwork(lanes=())
    # ego at the origin, 10 pixels to the metre; another car 20 m east and 10 m north, heading north
    cars = {"x": [0.0, 20.0], "y": [0.0, 10.0], "yaw": [0.0, 0.5 * math.pi], "length": [4.6, 4.6], "width": [1.85, 1.85], "kind": [0, 0]}
    image = draw_scene(empty, **cars, size=(800, 400), metres=80.0, oversample=1)  # type: ignore[arg-type]
    ego = pixels(image, SCENE["light"]["ego"])
    assert abs(np.ptp(ego[:, 1]) - 46) <= 2
    assert abs(np.ptp(ego[:, 0]) - 18.5) <= 3
    np.testing.assert_allclose(ego.min(0) + np.ptp(ego, axis=0) / 2, (200, 400), atol=2)
    other = pixels(image, BODIES[Kind.CAR][1])
    assert abs(np.ptp(other[:, 0]) - 46) <= 2  # stands upright
    np.testing.assert_allclose(other.min(0) + np.ptp(other, axis=0) / 2, (100, 600), atol=2)
    front = pixels(image[60:140, 570:630], SCENE["light"]["light"], 8)
    assert front[:, 0].max() < 40  # headlights on the northern half


def test_turned_with_the_ego_its_front_is_up() -> None:
    car = {"x": [5.0], "y": [-3.0], "yaw": [-2.2], **ALONE}
    image = draw_scene(RoadNetwork(lanes=()), **car, size=(400, 400), metres=20.0, heading_up=True, oversample=1)  # type: ignore[arg-type]
    lamps, tail = pixels(image, SCENE["light"]["light"], 8), pixels(image, SCENE["light"]["brake_off"], 8)
    assert lamps[:, 0].max() < 200 < tail[:, 0].min()
    assert abs(lamps[:, 1].mean() - 200) < 3


def test_brake_lights_and_collisions_show() -> None:
    car = {"x": [0.0], "y": [0.0], "yaw": [0.0], **ALONE}

    def count(colour: str, **more: object) -> int:
        return len(pixels(draw_scene(RoadNetwork(lanes=()), **car, **more, size=(400, 400), metres=20.0), SCENE["light"][colour]))  # type: ignore[arg-type]

    assert count("brake_on", accel=[-3.0]) > 50
    assert count("brake_on", accel=[-0.2]) == count("brake_on") == 0
    assert count("touch", touched=[True]) > 50
    assert count("touch") == 0
    assert count("ego", valid=[False]) == 0


def test_the_mirrored_world_gives_the_mirrored_picture(highway_trace: Trace) -> None:
    network = highway_trace.episode.network
    lanes = tuple(
        dataclasses.replace(lane, centre=lane.centre * [1.0, -1.0], left_mark=lane.right_mark, right_mark=lane.left_mark)
        for lane in network.lanes
    )
    both = [
        draw_scene(net, x=[60.0], y=[side * 30.0], yaw=[side * 0.2], **ALONE, size=(600, 300), oversample=2, metres=60.0)  # type: ignore[arg-type]
        for net, side in ((network, 1.0), (RoadNetwork(lanes=lanes), -1.0))
    ]
    differing = (np.abs(both[0].astype(int) - both[1][::-1]).max(-1) > 60).mean()
    assert differing < 0.01  # edges of the shadow, which always falls to the same side


def test_lights_show_their_state(junction_trace: Trace) -> None:
    network = junction_trace.episode.network
    for state in (LightState.RED, LightState.YELLOW, LightState.GREEN):
        image = draw_scene(
            network, x=[0.0], y=[0.0], yaw=[0.0], **ALONE, ego=-1, centre=(0.0, 0.0), light_states=[int(state)] * 4, metres=60.0
        )  # type: ignore[arg-type]
        for other in (LightState.RED, LightState.YELLOW, LightState.GREEN):
            lamp = next(lamp for lamp in LAMPS[other] if lamp)
            assert (len(pixels(image, lamp)) > 100) == (state == other)


def test_light_programmes(junction_trace: Trace) -> None:
    network = junction_trace.episode.network
    shown = [LightState(int(light_states_at(network, t)[0])) for t in (0.0, 8.9, 9.5, 11.5, 23.5, 24.5)]
    expected = [LightState.GREEN, LightState.GREEN, LightState.YELLOW, LightState.RED, LightState.RED_YELLOW, LightState.GREEN]
    assert shown == expected


def test_shared_lines_are_painted_once(highway_trace: Trace) -> None:
    view = scenery(highway_trace.episode.network)
    assert [line.mark for line in view.lines].count(Mark.DASHED) == 2
    assert [line.mark for line in view.lines].count(Mark.SOLID) == 2
    assert scenery(highway_trace.episode.network) is view  # made once


def test_stripes_run_the_way_one_drives(junction_trace: Trace) -> None:
    for bar in scenery(junction_trace.episode.network).stripes:
        x, y = np.abs(bar.mean(0))
        size = np.ptp(bar, axis=0)
        assert (size[0] > size[1]) == (x > y)  # on the arms east and west one drives along x


def test_goals(junction_trace: Trace) -> None:
    region = Region(x=3.0, y=4.0, yaw=0.3, length=6.0, width=3.0)
    assert goals(junction_trace.episode.network, Goal(region=region)).regions[0].mean(0) == pytest.approx((3.0, 4.0))
    finish = goals(junction_trace.episode.network, Goal(destination="west")).finish[0]
    assert finish.mean(0) == pytest.approx((-62.0, 1.75), abs=0.01)  # 50 m along the lane that leaves at x = -12
    assert not goals(junction_trace.episode.network, Goal()).finish


def test_bad_requests(junction_trace: Trace) -> None:
    network, car = junction_trace.episode.network, {"x": [0.0], "y": [0.0], "yaw": [0.0], **ALONE}
    for wrong in ({"size": (0, 10)}, {"metres": 0.0}, {"metres": math.nan}, {"theme": "pink"}, {"oversample": 9}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            draw_scene(network, **car, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between 0 and 75"):
        render_frame(junction_trace, 76)


def test_frames_between_states_are_smooth(highway_trace: Trace) -> None:
    x = np.array([poses_at(highway_trace, step)["x"][0] for step in np.arange(0.0, 100.0, 0.25)])
    exact = highway_trace.states["x"][:100, 0]
    np.testing.assert_allclose(x[::4], exact, atol=1e-4)
    acceleration = np.diff(x, 2) / 0.05**2
    assert np.abs(acceleration).max() < 8.0  # straight lines between states would jump: 0.8 m per 0.2 s and step gives 16 m/s^2
    gone = poses_at(highway_trace, 59.5)
    assert gone["valid"][19]
    assert gone["x"][19] == highway_trace.states["x"][59, 19]  # leaves at state 60: not drawn towards what is stored after


def test_a_frame_has_everything(junction_trace: Trace) -> None:
    image = render_frame(junction_trace, 64.5, (640, 360))
    assert image.shape == (360, 640, 3)
    assert image.dtype == np.uint8
    for role in ("ego", "road", "building", "stripe"):
        assert len(pixels(image, SCENE["light"][role])) > 50, role
    assert len(pixels(render_frame(junction_trace, 64.5, (640, 360), theme="dark"), SCENE["dark"]["ground"])) > 1000


def test_speed_is_written_in_metres_a_second(highway_trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(draw, "_label", lambda image, text, *_, **__: written.append(text))
    render_frame(highway_trace, 10, (320, 180))
    speed = float(highway_trace.states["speed"][10, 0])
    assert written[1].split() == ["2.0", "s", f"{speed:.1f}", "m/s", f"({3.6 * speed:.0f}", "km/h)"]
