"""Parked cars: put beside the lane where their place is not known exactly, and driven past slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.planners.base import Scene
from agents.planners.parked import BEFORE, BLURRED, JUST_MET, PACE, WALKER, WALKS, beside, careful, entering
from agents.planners.pdm import Pdm
from agents.planners.route import FIRST, OWN, STEP, to_frenet
from agents.planners.scene import SceneMaker
from agents.planners.shield import _worlds
from agents.policies.base import load_policy
from envs.driving.bank import build_bank
from envs.driving.make import load_scenarios
from envs.driving.sim import DrivingSim
from envs.driving.traffic import CALM
from envs.driving.types import DrivingConfig
from perception.registry import make_tracker
from perception.tracking import KalmanTracker
from scenarios import sample
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
    assert not seen(street(half + 1.0, 0.5, speed=3.0, jitter=9.0))[0]
    assert seen(street(half + 0.1, 0.5, jitter=9.0))[0]  # just met: nobody knows whether he drives, but beside the lane nobody does
    assert not seen(street(half - 0.1, 0.5, jitter=9.0))[0]
    assert not seen(street(half + 2.0, 0.5, kind=Kind.PEDESTRIAN))[0]


def test_planners_drive_past_who_is_parked_and_stop_for_who_is_not() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    blurred = street(half - 0.5, 0.6)
    for scene, past in ((seen(blurred)[1], True), (blurred, False)):
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


def test_who_cannot_be_where_the_ego_is_stands_beside_it() -> None:
    """Seen half inside the ego, in its lane by much more than his doubt, and within three standard deviations of its side."""
    half, width = 0.5 * float(street(0.0, 0.0).route.width[0, OWN]), float(street(0.0, 0.0).ego.width[0])
    for doubt, parked in ((0.5, True), (0.3, False)):
        scene = street(0.7, doubt)
        near = scene.tracks.mean.clone()
        near[..., 0] = 1.5
        scene = scene._replace(tracks=scene.tracks._replace(mean=near))
        assert 0.5 * width + HALF - 0.7 == pytest.approx(1.1, abs=0.15)  # to the ego's side
        found, after = seen(scene)
        assert found == parked
        assert lateral(after) == pytest.approx(-half - HALF if parked else -0.7, abs=1e-3)


def test_who_comes_out_between_parked_cars_is_on_his_way_in() -> None:
    """A Kalman filter that began with that mean says the same: without white acceleration what is left of the mean goes with P(v)."""
    half, dt, places = 0.5 * float(street(0.0, 0.0).route.width[0, OWN]), 0.1, [0.1, 0.25, 0.2, 0.5]
    prior = float(WALKER.speed_along)

    def followed(begins: float, count: int) -> tuple[float, float]:
        """Speed and its variance after `count` looks with errors of 0.3 m, by matrices."""
        mean, cov = np.array([0.0, begins]), np.diag([1e6, prior**2])
        f = np.array([[1.0, dt], [0.0, 1.0]])
        for k in range(count):
            mean, cov = (mean, cov) if k == 0 else (f @ mean, f @ cov @ f.T)
            gain = cov[:, 0] / (cov[0, 0] + 0.09)
            mean, cov = mean + gain * (places[k] - mean[0]), cov - np.outer(gain, cov[0])
        return float(mean[1]), float(cov[1, 1])

    for count in (1, 2, 4):
        guess, variance = followed(0.0, count)
        scene = street(half + 0.5, 0.4, speed=0.0, jitter=variance**0.5, kind=Kind.PEDESTRIAN)
        tracks = scene.tracks._replace(mean=scene.tracks.mean + torch.tensor([0.0, 0.0, 0.0, guess]), age=scene.tracks.age * 0 + count - 1)
        after = entering(tracks, scene.ego, scene.place)
        assert float(after.mean[0, 0, 3]) == pytest.approx(followed(WALKS, count)[0], abs=2e-3)  # to the left, into the lane
        assert float(after.mean[0, 0, 2]) == pytest.approx(0.0, abs=1e-3)
    scene = street(half + 0.5, 0.4, jitter=1.5, kind=Kind.PEDESTRIAN)
    met = scene.tracks._replace(age=scene.tracks.age * 0)
    assert not torch.equal(entering(met, scene.ego, scene.place).mean, met.mean)
    far, car = street(half + 3.0, 0.4, jitter=1.5, kind=Kind.PEDESTRIAN), street(half + 0.5, 0.4, jitter=1.5)
    for other in (
        met._replace(age=met.age + JUST_MET),  # followed for a second
        met._replace(unseen=met.unseen + 1),  # out of sight
        far.tracks._replace(age=met.age),
        car.tracks._replace(age=met.age),
    ):
        assert torch.equal(entering(other, scene.ego, scene.place).mean, other.mean)


def test_nobody_is_put_into_another_lane() -> None:
    network = ROADS["junction"](lanes=2).build()
    lane = next(lane for lane in network.lanes if lane.id == "south_in.0")
    scene = a_scene(network, ("south_in.0", 10.0, 8.0), "north", ("south_in.0", 30.0, 0.0))
    other = scene.place.maps.lane_left[0] if int(scene.place.maps.lane_left[0, scene.ego.lane[0]]) >= 0 else scene.place.maps.lane_right[0]
    assert int(other[scene.ego.lane[0]]) >= 0, lane
    side = 1.0 if int(scene.place.maps.lane_left[0, scene.ego.lane[0]]) >= 0 else -1.0
    half = 0.5 * float(scene.route.width[0, OWN])
    mean = scene.tracks.mean + torch.tensor([0.0, side * (half - 0.4), 0.0, 0.0])
    covariance = torch.diag(torch.tensor([0.36, 0.36, 0.25, 0.25])).view(1, 1, 4, 4)
    tracks = scene.tracks._replace(mean=mean, covariance=covariance)
    parked, after = beside(tracks, scene.ego, scene.place)
    assert not bool(parked)
    assert torch.equal(after.mean, mean)


def test_depth_does_not_count_as_doubt_across() -> None:
    half = 0.5 * float(street(0.0, 0.0).route.width[0, OWN])
    scene = street(half - 0.5, 0.2)
    covariance = scene.tracks.covariance.clone()
    covariance[..., 0, 0] = 4.0
    assert not seen(scene._replace(tracks=scene.tracks._replace(covariance=covariance)))[0]


@pytest.mark.parametrize(
    ("name", "standing"), [("pdm@noisy", True), ("lattice@perceived", True), ("pdm@noisy,tracker=kalman", False), ("highway@noisy", False)]
)
def test_planners_ask_for_the_tracker_that_knows_who_stands(name: str, standing: bool) -> None:
    config = load_policy(name).needs.config(agents=16)
    assert (config.tracker == "imm") == standing
    tracker = make_tracker(config.tracker)
    assert isinstance(tracker, KalmanTracker)
    assert tracker.config.standing == standing


@pytest.mark.parametrize("level", ["truth", "visible"])
def test_scenes_tell_who_is_parked_where_not_all_is_told(level: str) -> None:
    config = DrivingConfig(agents=64, observation=level)
    episodes = [sample(load_scenarios("crossing/hard")[0], seed) for seed in range(3)]
    sim = DrivingSim(build_bank(episodes, config), config, batch=3)
    for _ in range(20):
        sim.step(torch.zeros(3, 1, 2))
    scene = SceneMaker(sim)()
    if level == "truth":
        assert scene.parked is None
        return
    assert scene.parked is not None and scene.parked.any()
    speed = torch.hypot(scene.tracks.mean[..., 2], scene.tracks.mean[..., 3])
    assert float(speed[scene.parked].max()) <= 0.3
    few = _worlds(scene, torch.tensor([2, 0]))
    assert few.parked is not None
    assert torch.equal(few.parked, scene.parked[[2, 0]])


def test_one_world_does_not_see_the_parked_cars_of_another() -> None:
    """To the last bit: limits before bends, too."""
    config = DrivingConfig(agents=64, observation="visible")
    episodes = [sample(load_scenarios(name)[0], 0) for name in ("crossing/hard", "roundabout")]
    both = DrivingSim(build_bank(episodes, config), config, batch=2)
    alone = DrivingSim(build_bank(episodes[1:], config), config, batch=1)
    one, two = SceneMaker(alone)(), SceneMaker(both)()
    assert one.parked is not None and two.parked is not None
    assert two.parked[0].any() and not two.parked[1].any()
    assert torch.equal(two.route.limit[1], one.route.limit[0])
