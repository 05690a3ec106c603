"""The room of `diff_drive_nav`: distances, people, the lidar, and what is made of its scan."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from envs.checks import ConfigError
from envs.robots import Robots, task_named
from envs.robots.lidar import clusters, middle
from envs.robots.room import BASE, BEAMS, PERSON, RANGE, clearance, distance, walk
from envs.robots.tasks.diff_drive_nav import FORWARD, NEAR, TURN, DiffDriveNav

AWAY = np.full((1, 5, 2), 50.0)  # no obstacles


def nav(batch: int, **options: float) -> Robots:
    robots = Robots(task_named("diff_drive_nav", **options), batch=batch, threads=1)
    robots.reset(np.arange(batch))
    return robots


def test_distances_are_those_of_mujoco() -> None:
    """A small ball's, to every wall and obstacle of a model with it; and the way out leads away."""
    robots = nav(3)
    task, points = robots.task, np.random.default_rng(0).uniform(-3.8, 3.8, (3, 12, 2))
    assert isinstance(task, DiffDriveNav)
    told, out = clearance(points, task.places(robots.physics))
    spec = mujoco.MjSpec.from_string(task.mjcf())
    spec.worldbody.add_body(name="probe", mocap=True).add_geom(name="probe", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.01, 0, 0])
    model = spec.compile()
    data, probe = mujoco.MjData(model), model.body("probe").mocapid[0]
    fixed = [k for k in range(model.ngeom) if model.geom(k).name.startswith(("wall", "obstacle"))]
    for world in range(3):
        data.mocap_pos[: robots.physics.mocap_pos.shape[1]] = robots.physics.mocap_pos[world]
        for point, mine in zip(points[world], told[world], strict=True):
            data.mocap_pos[probe] = [*point, 0.3]
            mujoco.mj_kinematics(model, data)
            theirs = [mujoco.mj_geomDistance(model, data, model.geom("probe").id, k, 10.0, None) + 0.01 for k in fixed]
            if mine > 0.02:
                assert mine == pytest.approx(min(theirs), abs=1e-4)
            else:
                assert min(theirs) < 0.03
    np.testing.assert_array_equal(distance(points, task.places(robots.physics)), told)
    further, _ = clearance(points + 1e-4 * out, task.places(robots.physics))
    assert (further > told).mean() > 0.97


def test_the_lidar_tells_how_far_things_are() -> None:
    """Points of the scan are on walls, obstacles and people, but for its errors, whose size is what it is said to be."""
    robots = nav(8)
    task, physics = robots.task, robots.physics
    assert isinstance(task, DiffDriveNav)
    rows = np.arange(8)
    far = task.scan(physics, rows)
    assert far.shape == (8, BEAMS)
    np.testing.assert_array_equal(task.scan(physics, rows[3:5]), far[3:5])
    base, axes = physics.site("base")[:, :2], physics.frame("base")[:, :2, :2]
    angle = 2.0 * np.pi * np.arange(BEAMS) / BEAMS
    local = far[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    points = base[:, None] + np.einsum("nij,nrj->nri", axes, local)
    fixed = clearance(points, task.places(physics))[0]
    people = np.sqrt(((points[:, :, None] - physics.mocap_pos[:, None, 5:-1, :2]) ** 2).sum(-1)).min(-1) - PERSON
    nearest = np.where(np.abs(fixed) < np.abs(people), fixed, people)[far < RANGE]
    assert np.percentile(np.abs(nearest), 99) < 0.04
    assert (np.abs(people) < 0.03).mean() > 0.02
    robots.step(np.zeros((8, 2)))
    assert 0.003 < np.median(np.abs(task.scan(physics, rows) - far)) < 0.03


def test_people_are_found_in_scans() -> None:
    angle = 2.0 * np.pi * np.arange(BEAMS) / BEAMS
    ray = np.stack([np.cos(angle), np.sin(angle)], -1)
    rng = np.random.default_rng(1)
    for centre in (np.array([1.5, 0.0]), np.array([-1.0, 2.0]), np.array([3.0, -0.1])):  # the first and the last across the first ray
        along = ray @ centre
        inside = PERSON**2 - (centre @ centre - along**2)
        use = (inside > 0.0) & (along > 0.0)
        far = along - np.sqrt(np.maximum(inside, 0.0)) + 0.01 * rng.standard_normal(BEAMS)
        (found,) = clusters(far[:, None] * ray, use)
        assert len(found) == use.sum()
        np.testing.assert_allclose(middle(found, np.zeros(2), PERSON), centre, atol=0.03)
    assert clusters(ray, np.zeros(BEAMS, dtype=bool)) == []


def test_people_walk_and_touch_nothing() -> None:
    robots = nav(16)
    task, physics = robots.task, robots.physics
    assert isinstance(task, DiffDriveNav)
    before, closest, gone = physics.mocap_pos[:, 5:-1, :2].copy(), 10.0, 0.0
    for _ in range(150):
        robots.step(np.zeros((16, 2)))
        people = physics.mocap_pos[:, 5:-1, :2]
        speed = np.sqrt(((people - before) ** 2).sum(-1)) / robots.dt
        np.testing.assert_allclose(np.sqrt((task.locate(physics).velocity ** 2).sum(-1)), speed, atol=1e-9)
        closest, gone = min(closest, float(clearance(people, task.places(physics))[0].min())), max(gone, float(speed.max()))
        before = people.copy()
    assert closest > PERSON - 0.06
    assert 0.8 < gone < 2.0


def test_people_keep_clear_of_the_base_as_far_as_they_care() -> None:
    """Somebody whose way leads through the base, which stands."""
    closest = {}
    for care in (0.0, 1.0):
        people, velocity = np.array([[[2.0, 0.05]]]), np.zeros((1, 1, 2))
        far = []
        for _ in range(80):
            people, velocity = walk(people, velocity, np.array([[[-3.0, 0.0]]]), np.array([[0.8]]), AWAY, np.zeros((1, 2)), care, 0.1)
            far.append(float(np.sqrt((people**2).sum())))
        closest[care] = min(far)
        assert people[0, 0, 0] < -2.0
    assert closest[0.0] < 0.1
    assert closest[1.0] > PERSON + BASE


def test_the_base_drives_as_it_is_told() -> None:
    robots = nav(3)
    physics = robots.physics
    for _ in range(10):
        robots.task.act(physics, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        physics.step(robots.task.substeps)
    forward = (physics.sensor("base_velocity") * physics.frame("base")[:, :, 0]).sum(-1)
    np.testing.assert_allclose(forward, [FORWARD, 0.0, -0.5 * FORWARD], atol=0.06)
    assert physics.sensor("base_turning")[1, 2] == pytest.approx(TURN, rel=0.1)


def test_an_episode_is_over_at_the_goal_and_when_something_is_touched() -> None:
    robots = nav(3)
    physics = robots.physics
    physics.qpos[0, :2] = physics.mocap_pos[0, -1, :2] + [NEAR - 0.05, 0.0]
    physics.qpos[1, :2] = physics.mocap_pos[1, 6, :2] + [0.3, 0.0]
    physics.forward()
    step = robots.step(np.zeros((3, 2)))
    assert step.terminated.tolist() == [True, True, False]
    assert step.success.tolist() == [True, False, False]
    assert step.terms["arrived"].tolist() == [1.0, 0.0, 0.0]
    assert step.terms["touched"].tolist() == [0.0, 1.0, 0.0]
    assert not step.truncated.any()


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="people=2"):
        task_named("diff_drive_nav", people=2)
    with pytest.raises(ConfigError, match=r"care=1\.5"):
        task_named("diff_drive_nav", care=1.5)
