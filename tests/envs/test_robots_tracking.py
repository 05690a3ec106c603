"""The robots' filter against worlds where the answer is known: exact sightings, planes, free fall, things held, and wrong sightings."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.robots.noise import Errors, Noise
from envs.robots.rng import Draws
from envs.robots.task import Thing
from envs.robots.tracking import GRAVITY, Eyes, Hold, Sightings, Tracker, Tracks, projected

Floats = NDArray[np.float64]
STILL, MOVING = Thing("ball", (), 0.05), Thing("ball", (), 0.05, speed=0.5, agility=1.0)


def eyes(worlds: int, *, cameras: int = 2) -> Eyes:
    """One camera 1.5 m ahead on x that looks back, one 1.5 m to the left that looks right."""
    position = np.array([[1.5, 0.0, 0.3], [0.0, 1.5, 0.3]])[:cameras]
    axes = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0]], [[-1, 0, 0], [0, 0, -1], [0, -1, 0]]], dtype=np.float64)[:cameras]
    shape = (worlds, cameras)
    return Eyes(np.broadcast_to(position, (*shape, 3)), np.broadcast_to(axes, (*shape, 3, 3)), np.full(cameras, 100.0), (96, 96))


def exact(places: Floats, at: Eyes, *, far: float = 1.0) -> Sightings:
    """Sightings without errors; far: factor on distances."""
    told = np.stack([projected(places, at, camera)[0] for camera in range(at.position.shape[1])], axis=1)
    shape = told.shape[:-1]
    return Sightings(np.ones(shape, dtype=bool), told[..., :2], far * told[..., 2], np.full(shape, 0.3), np.full(shape, 0.1))


def nothing_held(worlds: int, things: int) -> Hold:
    return Hold(np.zeros((worlds, things), dtype=bool), np.zeros((worlds, 3)), np.zeros((worlds, 3)))


def follow(thing: Thing, path: list[Floats], *, at: Eyes, dt: float = 0.04, far: float = 1.0) -> Tracks:
    tracker, tracks = Tracker((thing,), dt), Tracks.none(len(path[0]), 1)
    for places in path:
        tracks = tracker.update(tracks, at, exact(places, at, far=far), nothing_held(len(places), 1))
    return tracks


def test_a_point_is_projected_as_a_pinhole_camera_does() -> None:
    """And the lines that the filter is linearised by are the derivatives of that."""
    rng, at = np.random.default_rng(0), eyes(4)
    places = rng.uniform(-0.3, 0.3, (4, 2, 3))
    for camera in range(2):
        told, lines = projected(places, at, camera)
        local = np.einsum("nki,nij->nkj", places - at.position[:, camera, None], at.axes[:, camera])
        np.testing.assert_allclose(told[..., 0], 48 + 100 * local[..., 0] / local[..., 2])
        np.testing.assert_allclose(told[..., 1], 48 + 100 * local[..., 1] / local[..., 2])
        for axis in range(3):
            moved, _ = projected(places + 1e-6 * np.eye(3)[axis], at, camera)
            np.testing.assert_allclose((moved - told) / 1e-6, lines[..., axis], atol=2e-3)


def test_two_cameras_place_a_thing_however_wrong_its_distance_seems() -> None:
    places = np.random.default_rng(1).uniform(-0.2, 0.2, (20, 1, 3))
    tracks = follow(STILL, [places] * 3, at=eyes(20), far=1.1)
    assert tracks.known.all()
    assert np.abs(tracks.mean[..., :3] - places).max() < 0.003


def test_one_camera_and_a_known_plane_place_a_thing() -> None:
    places = np.random.default_rng(2).uniform(-0.2, 0.2, (20, 1, 3))
    places[..., 2] = 0.02
    thing = Thing("cube", (), 0.05, plane=(2, 0.02), speed=0.1, agility=1.0)
    off = np.abs(follow(thing, [places], at=eyes(20, cameras=1), far=1.1).mean[..., :3] - places)
    alone = np.abs(follow(MOVING, [places], at=eyes(20, cameras=1), far=1.1).mean[..., :3] - places)
    assert off[..., 2].max() < 1e-3
    assert off.max() < 0.5 * alone.max()


def test_velocity_is_found_and_carried_on() -> None:
    start, velocity, dt = np.array([[[-0.2, 0.1, 0.2]]]), np.array([0.3, -0.2, 0.1]), 0.04
    path = [start + k * dt * velocity for k in range(30)]
    tracks = follow(MOVING, path, at=eyes(1))
    np.testing.assert_allclose(tracks.mean[0, 0], [*path[-1][0, 0], *velocity], atol=2e-3)
    place, _ = Tracker((MOVING,), dt).ahead(tracks, 0.4)
    np.testing.assert_allclose(place[0, 0], path[-1][0, 0] + 0.4 * velocity, atol=5e-3)


def test_a_thrown_ball_falls_as_it_must() -> None:
    """Followed for half its flight, it is known where it will be at the end."""
    dt, thing = 0.02, Thing("ball", (), 0.06, speed=5.0, agility=0.5, falls=True)
    start, velocity = np.array([-0.4, 0.0, 0.2]), np.array([1.0, 0.2, 2.0])

    def at(time: float) -> Floats:
        return np.array([[start + velocity * time - [0.0, 0.0, 0.5 * GRAVITY * time**2]]])

    tracks = follow(thing, [at(k * dt) for k in range(15)], at=eyes(1), dt=dt)
    place, _ = Tracker((thing,), dt).ahead(tracks, 0.2)
    np.testing.assert_allclose(place, at(14 * dt + 0.2), atol=0.01)


def test_what_nobody_sees_goes_on_for_a_moment_and_then_rests_where_it_was_last_seen() -> None:
    path = [np.array([[[0.01 * k, 0.0, 0.2]]]) for k in range(20)]
    at, tracker, tracks = eyes(1), Tracker((MOVING,), 0.04), follow(MOVING, path, at=eyes(1))
    last = tracks.mean[0, 0, :3].copy()
    blind = exact(path[-1], at)._replace(mask=np.zeros((1, 2, 1), dtype=bool))
    after = tracker.update(tracks, at, blind, nothing_held(1, 1))
    assert after.mean[0, 0, 0] - last[0] == pytest.approx(0.01, abs=1e-3)
    for _ in range(5):
        after = tracker.update(after, at, blind, nothing_held(1, 1))
    np.testing.assert_allclose(after.mean[0, 0], [*last, 0.0, 0.0, 0.0], atol=1e-12)
    back = tracker.update(after, at, exact(np.array([[[0.0, 0.2, 0.1]]]), at), nothing_held(1, 1))
    np.testing.assert_allclose(back.mean[0, 0, :3], [0.0, 0.2, 0.1], atol=0.01)


def test_a_sighting_of_something_else_is_not_believed_at_once_but_in_the_end() -> None:
    here, there = np.array([[[0.0, 0.0, 0.2]]]), np.array([[[0.1, 0.2, 0.35]]])
    at, tracker = eyes(1), Tracker((MOVING,), 0.04)
    tracks = follow(MOVING, [here] * 10, at=at)
    once = tracker.update(tracks, at, exact(there, at), nothing_held(1, 1))
    np.testing.assert_allclose(once.mean[0, 0, :3], here[0, 0], atol=0.005)
    for _ in range(5):
        once = tracker.update(once, at, exact(there, at), nothing_held(1, 1))
    np.testing.assert_allclose(once.mean[0, 0, :3], there[0, 0], atol=0.02)


def test_what_is_held_goes_with_the_hand() -> None:
    """Though nobody sees it; but the hand must be where it is."""
    thing, here, at = Thing("cube", (), 0.04, speed=0.1, agility=1.0, fingers=("a", "b")), np.array([[[0.0, 0.0, 0.2]]]), eyes(1)
    tracker, tracks = Tracker((thing,), 0.04), follow(MOVING, [here] * 10, at=at)
    blind = exact(here, at)._replace(mask=np.zeros((1, 2, 1), dtype=bool))
    for k in range(1, 10):
        grip = Hold(np.ones((1, 1), dtype=bool), here[:, 0] + [0.0, 0.01 * k, 0.0], np.array([[0.0, 0.25, 0.0]]))
        tracks = tracker.update(tracks, at, blind, grip)
    np.testing.assert_allclose(tracks.mean[0, 0, :3], [0.0, 0.09, 0.2], atol=0.005)
    far = Hold(np.ones((1, 1), dtype=bool), here[:, 0] + 0.3, np.zeros((1, 3)))
    np.testing.assert_allclose(tracker.update(tracks, at, blind, far).mean[0, 0, 1], 0.1, atol=0.005)


FREE = np.full((400, 2, 1), 2)


def noise(**values: float) -> Noise:
    """Even errors of one thing seen by two cameras."""
    shapes = {"lost": (), "lasting": (), "wrong": (), "bias": (3,), "sigma": (3,), "memory": (3,), "said": (2,)}
    usual = {"said": 0.3}
    return Noise(**{name: np.full((2, 1, 3, *shape), values.get(name, usual.get(name, 0.0))) for name, shape in shapes.items()})


def test_noise_without_errors_is_the_truth() -> None:
    at, places = eyes(5), np.random.default_rng(3).uniform(-0.2, 0.2, (5, 1, 3))
    seen, _ = noise().sight(places, at, FREE[:5], Errors.none(5, 2, 1), Draws(np.arange(5)))
    whole = exact(places, at)
    assert seen.mask.all()
    np.testing.assert_allclose(seen.pixel, whole.pixel)
    np.testing.assert_allclose(seen.depth, whole.depth)


def test_noise_errs_and_misses_as_often_and_as_long_as_it_is_told() -> None:
    at, places, seeds = eyes(400), np.zeros((400, 1, 3)) + 0.2, np.arange(400)
    model, errors = noise(lost=0.1, lasting=0.7, sigma=0.5, memory=0.6), Errors.none(400, 2, 1)
    masks, off = [], []
    for step in range(40):
        seen, errors = model.sight(places, at, FREE, errors, Draws(seeds, step))
        masks.append(seen.mask)
        off.append(seen.pixel - exact(places, at).pixel)
    mask, error = np.stack(masks), np.stack(off)
    assert 1.0 - mask.mean() == pytest.approx(0.1 / 0.4, abs=0.02)  # the chain's long run: lost / (lost + 1 - lasting)
    assert 1.0 - mask[1:][~mask[:-1]].mean() == pytest.approx(0.7, abs=0.02)
    assert error.std() == pytest.approx(0.5, abs=0.01)
    assert (error[1:] * error[:-1]).mean() / error.var() == pytest.approx(0.6, abs=0.02)
    outside, _ = model.sight(places + np.array([0.0, 3.0, 0.0]), at, FREE, Errors.none(400, 2, 1), Draws(seeds))
    assert not outside.mask[:, 0].any(), "what is not in the picture is not seen"
