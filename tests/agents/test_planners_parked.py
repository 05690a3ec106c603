"""Parked cars: put beside the lane where their place is not known exactly, and driven past slowly."""

from __future__ import annotations

import pytest
import torch

from agents.planners.base import Scene
from agents.planners.parked import BEFORE, BLURRED, PACE, beside, careful
from agents.planners.pdm import Pdm
from agents.planners.route import FIRST, OWN, STEP, to_frenet
from agents.planners.rules import stops
from envs.driving.traffic import CALM
from scenarios.kinds import Kind
from scenarios.roads import ROADS
from tests.agents.planner_scenes import a_scene

AHEAD, HALF = 15.0, 0.5 * 1.85


def street(aside: float, doubt: float, *, speed: float = 0.0, jitter: float = 0.5, kind: Kind = Kind.CAR) -> Scene:
    """A car 15 m ahead, its middle `aside` m right of that of the ego's lane, its place known to `doubt` m, its speed to `jitter` m/s."""
    scene = a_scene(ROADS["crossing"]().build(), ("in.0", 60.0, 8.0), "through", ("in.0", 60.0 + AHEAD, speed))
    tracks = scene.tracks
    covariance = torch.diag(torch.tensor([doubt**2, doubt**2, jitter**2, jitter**2])).view(1, 1, 4, 4)
    mean = tracks.mean - torch.tensor([0.0, aside, 0.0, 0.0])
    return scene._replace(tracks=tracks._replace(mean=mean, covariance=covariance, kind=tracks.kind * 0 + int(kind)))


def lateral(scene: Scene) -> float:
    x, y = (part.contiguous() for part in scene.tracks.mean[..., :2].unbind(-1))
    return float(to_frenet(scene.route, x, y)[1][0, OWN, 0])


def seen(scene: Scene) -> tuple[bool, Scene]:
    """Whether it is taken to be parked, and the scene as it is believed then."""
    parked, tracks = beside(scene.tracks, scene.ego, scene.place)
    return bool(parked), scene._replace(tracks=tracks, parked=parked)


@pytest.mark.parametrize(("inside", "doubt", "parked"), [(0.5, 0.6, True), (0.5, 0.4, False), (-0.1, 0.1, True), (0.9, 2.0, False)])
def test_who_stands_may_be_in_the_lane_by_no_more_than_his_doubt(inside: float, doubt: float, parked: bool) -> None:
    assert BLURRED < 0.9
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    scene = street(half - inside, doubt, speed=0.8)
    found, after = seen(scene)
    assert found == parked
    assert lateral(after) == pytest.approx(-half - HALF if parked else inside - half, abs=1e-3)  # all of him beside the lane, or untouched
    assert bool((after.tracks.mean[..., 2:] == 0.0).all()) == parked


def test_what_is_known_exactly_stays_where_it_is() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    for aside, parked in ((half + 0.1, True), (half - 0.1, False)):
        scene = street(aside, 0.0, jitter=0.0)
        found, after = seen(scene)
        assert found == parked
        assert torch.equal(after.tracks.mean, scene.tracks.mean)
    assert not seen(street(half + 1.0, 0.0, speed=2.0, jitter=0.0))[0]  # rolls


def test_who_drives_or_walks_is_not_parked() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    assert seen(street(half + 1.0, 0.5, speed=1.2))[0]  # two standard deviations
    assert not seen(street(half + 1.0, 0.5, speed=1.4))[0]
    assert not seen(street(half + 2.0, 0.5, speed=3.0, jitter=9.0))[0]
    assert not seen(street(half + 2.0, 0.5, kind=Kind.PEDESTRIAN))[0]


def test_planners_drive_past_who_is_parked_and_stop_for_who_is_not() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    blurred = street(half - 0.5, 0.6)
    for scene, past in ((seen(blurred)[1], True), (blurred, False)):
        assert bool(stops(scene).stays) == past
        assert (float(Pdm().plan(scene).trajectory.x[0, -1]) > AHEAD) == past


def test_one_drives_slowly_past_parked_cars() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    found, scene = seen(street(half + 1.0, 0.0, jitter=0.0))
    assert found and scene.parked is not None
    limit, before = careful(scene.route, scene.tracks, scene.parked).limit[0, OWN], scene.route.limit[0, OWN]
    ahead = FIRST + STEP * torch.arange(len(limit))
    there = (ahead >= AHEAD - 2.3 - BEFORE) & (ahead <= AHEAD + 2.3)
    assert float(before.min()) > PACE + 1.0
    torch.testing.assert_close(limit[there], torch.full_like(limit[there], PACE))
    assert torch.equal(limit[ahead > AHEAD + 2.3], before[ahead > AHEAD + 2.3])
    begins = float(ahead[there][0])
    sooner = ahead < begins
    expected = torch.minimum(before[sooner], torch.sqrt(PACE**2 + 2.0 * CALM * (begins - ahead[sooner])))
    torch.testing.assert_close(limit[sooner], expected)
    far = street(half + 5.0, 0.0, jitter=0.0)
    assert torch.equal(careful(far.route, far.tracks, seen(far)[1].parked).limit, far.route.limit)  # type: ignore[arg-type]
