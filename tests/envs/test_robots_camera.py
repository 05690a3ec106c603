"""Pictures and labels against a pinhole camera worked out by hand, and the ways to OpenGL."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from envs.checks import ConfigError
from envs.robots import Randomisation, Robots, SightConfig, task_named
from envs.robots import gl as gl_module
from envs.robots.camera import Camera, boxes_of
from envs.robots.gl import NoRenderer, describe, offscreen
from envs.robots.rng import Draws
from envs.robots.sight import Sight

needs_renderer = pytest.mark.usefixtures("opengl")


def worlds(count: int = 5, **options: Any) -> Robots:
    robots = Robots(task_named("reach"), batch=count, **options)
    robots.reset(np.arange(count))
    return robots


@needs_renderer
def test_boxes_are_where_a_pinhole_camera_has_them() -> None:
    """The ball of Reach, a sphere: its box's middle and size, by projecting its centre and its outline; the camera's pose randomised."""
    robots = worlds(8, randomisation=Randomisation(camera_position=0.05, camera_angle=0.05))
    compared = 0
    with Camera(robots.physics, width=320, height=240, things=robots.task.things) as camera:
        for world in range(8):
            for name in robots.task.cameras:
                lens, boxes = camera.lens(world, name), camera.boxes(world, name)
                x, y, z = lens.axes.T @ (robots.objects().position[world, 0] - lens.position)
                radius = lens.focal * 0.025 / z
                if boxes.pixels[0] < 0.9 * np.pi * radius**2:
                    continue  # partly hidden
                u0, v0, u1, v1 = boxes.box[0]
                assert (u0 + u1) / 2 == pytest.approx(160 + lens.focal * x / z, abs=1.0)
                assert (v0 + v1) / 2 == pytest.approx(120 + lens.focal * y / z, abs=1.0)
                assert (u1 - u0, v1 - v0) == (pytest.approx(2 * radius, abs=2.5), pytest.approx(2 * radius, abs=2.5))
                compared += 1
    assert compared >= 12


@needs_renderer
def test_labels_lie_on_what_they_name() -> None:
    robots = worlds()
    with Camera(robots.physics, width=160, height=120, things=robots.task.things) as camera:
        picture, labels = camera.labelled(0, "front")
    ball = picture[labels == 0].astype(int)
    assert len(ball) > 20
    assert (ball[:, 0] > ball[:, 1] + 40).all()  # red
    red = (picture[..., 0].astype(int) > picture[..., 1].astype(int) + 100) & (labels < 0)
    assert red.sum() < 5  # and nothing else is


@needs_renderer
def test_one_renderer_shows_many_worlds() -> None:
    """Each picture is the one that a camera of its own would have taken, in any order, again and again."""
    robots = worlds()
    with Camera(robots.physics, width=64, height=48) as camera:
        all_ = camera.pictures(("front", "left"))
        again = camera.pictures(("left",), worlds=[3, 0])
    assert all_.shape == (5, 2, 48, 64, 3)
    assert len({all_[k].tobytes() for k in range(5)}) == 5
    np.testing.assert_array_equal(again[0, 0], all_[3, 1])
    np.testing.assert_array_equal(again[1, 0], all_[0, 1])
    single = worlds(4)
    with Camera(single.physics, width=64, height=48) as camera:
        np.testing.assert_array_equal(camera.picture(3, "left"), all_[3, 1])


@needs_renderer
def test_randomised_colours_light_and_cameras_are_seen() -> None:
    plain = worlds(1)
    with Camera(plain.physics, width=64, height=48) as camera:
        before = camera.picture(0, "front").astype(int)
    for name, size in (("colour", 0.3), ("light", 0.5), ("camera_position", 0.2), ("camera_angle", 0.2)):
        robots = worlds(1, randomisation=Randomisation(**{name: size}))
        with Camera(robots.physics, width=64, height=48) as camera:
            assert np.abs(camera.picture(0, "front").astype(int) - before).mean() > 0.5, name


@needs_renderer
def test_a_closed_camera_says_so_and_what_does_not_exist_is_named() -> None:
    robots = worlds(1)
    camera = Camera(robots.physics, width=32, height=32)
    with pytest.raises(KeyError, match="front"):
        camera.picture(0, "fron")
    camera.close()
    camera.close()
    with pytest.raises(RuntimeError, match="closed"):
        camera.picture(0, "front")
    with pytest.raises(ValueError, match="0 x 32 pixels"):
        Camera(robots.physics, width=0, height=32)


def test_boxes_of_labels() -> None:
    labels = np.full((4, 6), -1, dtype=np.int16)
    labels[1:3, 2:5] = 1
    boxes = boxes_of(labels, 2)
    assert boxes.box.tolist() == [[0, 0, 0, 0], [2, 1, 5, 3]]
    assert boxes.pixels.tolist() == [0, 6]
    assert boxes.seen.tolist() == [False, True]


class Pretended:
    """A context that takes any size."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height

    def make_current(self) -> None:
        pass


def test_osmesa_is_tried_where_egl_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def maker(way: str) -> Any:
        if way == "egl":
            raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")  # what PyOpenGL makes of a missing libEGL
        return Pretended

    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(gl_module, "_maker", maker)
    monkeypatch.setattr(gl_module, "_forget", lambda: None)
    context, way = offscreen(3, 4)
    assert (way, context.size) == ("osmesa", (3, 4))


def test_without_any_renderer_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def maker(way: str) -> Any:
        raise ImportError(f"no {way} here")

    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(gl_module, "_maker", maker)
    monkeypatch.setattr(gl_module, "_forget", lambda: None)
    with pytest.raises(NoRenderer, match=r"egl: ImportError: no egl here; osmesa: .*apt install libegl1"):
        offscreen(3, 4)
    monkeypatch.setenv("MUJOCO_GL", "elg")
    with pytest.raises(ValueError, match="no MUJOCO_GL 'elg'; did you mean 'egl'"):
        offscreen(3, 4)


@needs_renderer
def test_the_renderer_has_a_name() -> None:
    found = describe()
    assert found.name
    assert found.way in ("egl", "osmesa", "glfw")
    assert "mujoco" in sys.modules


@needs_renderer
def test_what_is_hidden_or_out_of_view_stays_where_it_was_last_seen() -> None:
    robots = worlds(2, observation="visible")
    sight = robots.sight
    assert isinstance(sight, Sight)
    before = robots.objects()
    assert sight.belief.seen.all()
    np.testing.assert_array_equal(before.position[:, 0], robots.physics.mocap_pos[:, 0])
    robots.physics.mocap_pos[0, 0] = 0.35, 0.0, -0.3  # inside the table's stand
    robots.physics.mocap_pos[1, 0] = 0.4, 0.0, 30.0  # above the picture
    sight.look(np.arange(2), Draws(robots.seeds))
    after = robots.objects()
    assert not sight.belief.seen.any()
    np.testing.assert_array_equal(after.position, before.position)
    assert not after.velocity.any()
    robots.reset(np.array([3, 4]))
    assert sight.belief.seen.all()
    robots.close()


@needs_renderer
def test_pictures_as_observations_are_those_of_the_cameras() -> None:
    robots = Robots(task_named("reach"), batch=2, observation="pixels", sight=SightConfig(width=48, height=40))
    robots.reset(np.arange(2))
    seen = robots.observe()
    assert isinstance(seen, dict)
    assert (seen["image"].shape, seen["image"].dtype) == ((2, 6, 40, 48), np.uint8)
    with Camera(robots.physics, width=48, height=40) as camera:
        np.testing.assert_array_equal(seen["image"][1, 3:].transpose(1, 2, 0), camera.picture(1, "left"))
    truth = Robots(task_named("reach"), batch=2)
    truth.reset(np.arange(2))
    told = truth.observe()
    assert isinstance(told, dict)
    np.testing.assert_array_equal(seen["state"], told["observation"])
    assert set(Robots(task_named("cart_pole_vision"), batch=1, observation="pixels").observe()) == {"image"}


@needs_renderer
def test_pictures_of_some_moments_stand_in_a_row_the_latest_last() -> None:
    sight = SightConfig(width=32, height=32, frames=3)
    robots, single = (Robots(task_named("push_cube"), batch=2, observation="pixels", sight=s) for s in (sight, replace(sight, frames=1)))
    taken = []
    for worlds in (robots, single):
        worlds.reset(np.array([5, 6]))
        taken.append([worlds.observe()["image"]])
        for k in range(3):
            worlds.step(np.full((2, robots.task.action_size), 0.4 * (-1) ** k))
            taken[-1].append(worlds.observe()["image"])
    many, one = taken
    for k in range(4):
        wanted = [one[max(k - back, 0)] for back in (2, 1, 0)]
        np.testing.assert_array_equal(many[k], np.concatenate(wanted, axis=1))
    assert (one[3] != one[2]).any()
    saved, after = robots.get_state(), many[3]
    robots.reset_where(np.array([True, False]))
    begun = robots.observe()["image"]
    np.testing.assert_array_equal(begun[0, :6], begun[0, 12:])  # all of its first moment
    np.testing.assert_array_equal(begun[1], after[1])
    robots.set_state(saved)
    np.testing.assert_array_equal(robots.observe()["image"], after)
    with pytest.raises(ConfigError, match="here pictures are by"):
        single.set_state(saved)
    with pytest.raises(ConfigError, match="frames=9: must be 1 to 8"):
        SightConfig(frames=9)


@needs_renderer
def test_the_wrist_camera_sees_the_ball_where_the_observation_says() -> None:
    """VisualServo's observation is in the camera's axes; the lens is MuJoCo's own."""
    robots = Robots(task_named("visual_servo"), batch=4)
    robots.reset(np.arange(4))
    with Camera(robots.physics, width=64, height=64) as camera:
        for world in range(4):
            lens = camera.lens(world, "wrist")
            place = lens.axes.T @ (robots.objects().position[world, 0] - lens.position)
            np.testing.assert_allclose(robots.observe()[world, :3], place - [0.0, 0.0, 0.2], atol=1e-6)


def test_levels_and_sizes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no observation 'visable'; did you mean 'visible'"):
        Robots(task_named("reach"), batch=1, observation="visable")
    with pytest.raises(ValueError, match="8 x 84 pixels: each must be 16 to 1024"):
        SightConfig(width=8)
    with pytest.raises(ValueError, match="least=0"):
        SightConfig(least=0)
