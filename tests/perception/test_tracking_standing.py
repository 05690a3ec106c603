"""The two models against the textbook's matrices, and what a tracker with both of them knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from perception.registry import make_tracker
from perception.states import tensors
from perception.tracking import KalmanTracker, KindModel, TrackerConfig, initial_state, track
from perception.tracking import filter as kalman
from perception.tracking.association import associate
from perception.tracking.filter import Symmetric, Target
from perception.tracking.seeing import Measured
from perception.tracking.standing import LANE, SLOW, WALKWAY, Standing, beside, blurred, combined, interacting, weighed
from perception.types import Camera, Detections, Roads, SensorFrame, Tracks

Array = NDArray[np.float64]
PARTS = ((0, 0), (0, 1), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3))
STARTS, STOPS = 8.0, 5.0


def target_of(mean: Array, cov: Array) -> Target:
    m, c = torch.tensor(mean).view(1, 1, 4), torch.tensor(cov).view(1, 1, 4, 4)
    return Target(*m.unbind(-1), *(c[..., i, j] for i, j in PARTS))


def numbers(target: Target) -> tuple[Array, Array]:
    return np.asarray(torch.stack(target[:4], -1)[0, 0]), np.asarray(kalman.covariance(target)[0, 0])


def mixture(chances: Array, means: list[Array], covs: list[Array]) -> tuple[Array, Array]:
    mean = sum(c * m for c, m in zip(chances, means, strict=True))
    cov = sum(c * (p + np.outer(m - mean, m - mean)) for c, m, p in zip(chances, means, covs, strict=True))
    return np.asarray(mean), np.asarray(cov)


def expected_slowness(mean: Array, variance: float) -> float:
    """exp(-v^2 / 2 SLOW^2) in the mean over normal velocities, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    along = [float(weights @ np.exp(-0.5 * (m + math.sqrt(variance) * nodes) ** 2 / SLOW**2)) / math.sqrt(2.0 * math.pi) for m in mean]
    return along[0] * along[1]


def test_a_cycle_is_the_textbooks() -> None:
    """Blom and Bar-Shalom 1988: mix, predict, correct, weigh, combine; models 0 moves, 1 stands; with matrices, in double precision."""
    rng = np.random.default_rng(3)
    chance = np.array([0.7, 0.3])
    root = rng.normal(size=(4, 4))
    means, covs = [rng.normal(size=4), np.array([0.3, -0.2, 0.0, 0.0])], [root @ root.T, np.diag([0.5, 0.2, 0.0, 0.0])]
    moves = target_of(means[0], covs[0])
    stands = Standing(torch.tensor([[chance[1]]], dtype=torch.float64), target_of(means[1], covs[1]), torch.zeros((1, 1)))
    noise, still = np.array([[0.4, 0.1], [0.1, 0.3]]), np.diag([1.0, 1.0, 0.0, 0.0])
    for _ in range(6):
        dt, z = rng.uniform(0.05, 0.4), rng.normal(size=2)
        # by hand
        rate = 1.0 / STARTS + 1.0 / STOPS
        fades = 1.0 - math.exp(-rate * dt)
        slow = expected_slowness(means[0][2:], 0.5 * float(np.trace(covs[0][2:, 2:])))
        go, stop = fades / STARTS / rate, fades / STOPS / rate * slow
        flow = np.array([[1.0 - stop, stop], [go, 1.0 - go]])  # from row to column
        now = chance @ flow
        share = chance[:, None] * flow / now
        halted = still @ means[0], still @ covs[0] @ still
        begins = [mixture(share[:, 0], means, covs), mixture(share[:, 1], [halted[0], means[1]], [halted[1], covs[1]])]
        f = np.eye(4)
        f[0, 2] = f[1, 3] = dt
        q = np.diag([dt**3 / 3, dt**3 / 3, dt, dt])
        q[0, 2] = q[2, 0] = q[1, 3] = q[3, 1] = dt**2 / 2
        ahead = [(f @ begins[0][0], f @ begins[0][1] @ f.T + q), begins[1]]
        likely = [multivariate_normal(m[:2], p[:2, :2] + noise).pdf(z) for m, p in ahead]
        gains = [p[:, :2] @ np.linalg.inv(p[:2, :2] + noise) for _, p in ahead]
        means = [m + k @ (z - m[:2]) for k, (m, _) in zip(gains, ahead, strict=True)]
        covs = [p - k @ p[:2] for k, (_, p) in zip(gains, ahead, strict=True)]
        chance = now * np.array(likely) / (now @ likely)
        # ours
        able, starts = torch.ones((1, 1), dtype=torch.bool), torch.full((1, 1), STARTS, dtype=torch.float64)
        moves, stands = interacting(moves, stands, torch.tensor([[dt]], dtype=torch.float64), starts, STOPS, able)
        one = torch.ones((1, 1), dtype=torch.float64)
        moves = kalman.predicted(moves, dt * one, Symmetric(one, 0.0 * one, one))
        x, y, r = z[0] * one, z[1] * one, Symmetric(*(v * one for v in (noise[0, 0], noise[0, 1], noise[1, 1])))
        stands = Standing(weighed(moves, stands, x, y, r, 1.0), kalman.updated(stands.at, x, y, r), stands.aside)
        moves = kalman.updated(moves, x, y, r)
        for ours, mean, cov in (
            (moves, means[0], covs[0]),
            (stands.at, means[1], covs[1]),
            (combined(moves, stands), *mixture(chance, means, covs)),
        ):
            np.testing.assert_allclose(numbers(ours)[0], mean, atol=1e-9)
            np.testing.assert_allclose(numbers(ours)[1], cov, atol=1e-9)
        assert float(stands.chance) == pytest.approx(chance[1], abs=1e-9)


def test_chances_after_time_in_two_parts_are_those_in_one() -> None:
    """Chances are those of a Markov chain in continuous time, where speeds are known to be zero."""
    moves, able = target_of(np.zeros(4), np.diag([1.0, 1.0, 0.0, 0.0])), torch.ones((1, 1), dtype=torch.bool)
    stands = Standing(torch.full((1, 1), 0.9, dtype=torch.float64), target_of(np.zeros(4), np.diag([1.0, 1.0, 0.0, 0.0])), able.float())
    half, whole = (torch.full((1, 1), dt, dtype=torch.float64) for dt in (0.4, 0.8))
    starts = torch.full((1, 1), STARTS, dtype=torch.float64)
    twice = interacting(moves, interacting(moves, stands, half, starts, STOPS, able)[1], half, starts, STOPS, able)[1]
    assert float(twice.chance) == pytest.approx(float(interacting(moves, stands, whole, starts, STOPS, able)[1].chance), abs=1e-12)


def road(*kinds: int) -> Roads:
    """Straight pieces along x, the first on the axis, others 3.5 m further left each."""
    x, count = torch.arange(-20.0, 21.0, 2.5), len(kinds)
    points = torch.zeros(1, count, len(x), 4)
    points[..., 0], points[..., 2] = x, 1.0
    points[..., 1] = 3.5 * torch.arange(count).view(1, count, 1)
    none = torch.full((1, count, 3), -1, dtype=torch.int64)
    return Roads(points, torch.full((1, count), 13.9), torch.tensor([kinds]), none, torch.ones((1, count), dtype=torch.bool))


def many(roads: Roads, left: float) -> Roads:
    """The same for 300 worlds, `left` m further left."""
    roads = roads._replace(points=roads.points + torch.tensor([0.0, left, 0.0, 0.0]))
    return Roads(*(part.expand(300, *part.shape[1:]) for part in roads))


def driven(
    speeds: list[float],
    *,
    standing: bool,
    kind: int = 0,
    news: float = 1.0,
    leaves: float = 100.0,
    lasts: float = 0.0,
    more: float = 1.0,
    roads: Roads | None = None,
) -> Tracks:
    """300 things that are met 12 m ahead and go along x at `speeds` m/s, five looks a second, errors of half a metre: the tracks then.

    lasts: correlation of an error with the next one. more: errors are so many times as large.
    """
    things, dt, sigma = 300, 0.2, 0.5
    generator = torch.Generator().manual_seed(0)
    config = TrackerConfig(slots=4, standing=standing, news=news, leaves=leaves)
    error = sigma * torch.randn((things, 2), generator=generator)
    state, place = initial_state(things, config), torch.full((things,), 12.0)
    one, none = torch.ones(things, 1), torch.full((things, 1), -1, dtype=torch.int64)
    camera = Camera(one * 80, one * 80, one * 48, one * 0, one * 0, one * 1.5, one * 0)
    image, zero = torch.zeros((), dtype=torch.uint8).expand(things, 1, 3, 96, 160), torch.zeros(things)
    for step, speed in enumerate(speeds):
        place = place + speed * dt
        error = lasts * error + math.sqrt(1.0 - lasts**2) * sigma * torch.randn((things, 2), generator=generator)
        seen = torch.stack((place, zero), -1) + more * error
        detections = Detections(
            box=torch.zeros(things, 1, 4), score=0.9 * one, kind=none * 0 + kind, light=none, source=none * 0 + 1, mask=one > 0.0,
            centre=torch.cat((seen, zero.unsqueeze(1)), -1).unsqueeze(1), size=torch.tensor([4.5, 1.8, 1.5]).expand(things, 1, 3),
            yaw=0.0 * one, sigma=torch.full((things, 1, 2), sigma), camera=none * 0,
        )  # fmt: skip
        frame = SensorFrame(image, camera, torch.full((things,), step * dt), zero, zero, torch.zeros(things, 3))
        state, tracks = track(state, detections, frame, config, roads=roads)
    alone = (tracks.mask.sum(1) == 1).float().mean()
    assert float(alone) > (0.98 if more == 1.0 else 0.9)  # an outlier may have begun a second one
    first = torch.where(tracks.mask, tracks.age, -1).argmax(1, keepdim=True)
    return Tracks(*(part.gather(1, first.view(-1, 1, *(1,) * (part.dim() - 2)).expand(-1, 1, *part.shape[2:])) for part in tracks))


def off(tracks: Tracks, speed: float) -> float:
    """Median error of the velocity, m/s."""
    return float(torch.hypot(tracks.mean[..., 2] - speed, tracks.mean[..., 3]).median())


def test_who_stands_is_known_to() -> None:
    one, two = driven([0.0] * 20, standing=False), driven([0.0] * 20, standing=True)
    assert off(one, 0.0) > 0.5
    assert off(two, 0.0) < 0.1
    spread = [float(tracks.mean[..., :2].std(0).mean()) for tracks in (one, two)]
    assert spread[1] < 0.75 * spread[0]  # and where: twenty looks tell 0.5 / sqrt(20) m at best
    squared = torch.einsum(
        "bti,btij,btj->bt",
        *(lambda e, p: (e, torch.linalg.inv(p), e))(two.mean[..., :2] - torch.tensor([12.0, 0.0]), two.covariance[..., :2, :2]),
    )
    assert 0.8 < float(squared.mean()) < 3.0  # 2 in the mean, were it as sure as it should be


def test_who_drives_is_followed_as_before() -> None:
    one, two = driven([6.0] * 20, standing=False), driven([6.0] * 20, standing=True)
    assert off(two, 6.0) == pytest.approx(off(one, 6.0), abs=0.05)


def test_who_drives_off_is_noticed() -> None:
    speeds = [0.0] * 20 + [0.4 * k for k in range(1, 9)]  # 2 m/s^2 for 1.6 s
    assert off(driven(speeds, standing=True), 3.2) < 1.2 * off(driven(speeds, standing=False), 3.2)


def test_errors_that_last_move_no_parked_car() -> None:
    """Errors twice as large as is said, with a correlation of 0.9 from look to look (two seconds): close things reach out of the picture.
    Of cars beside the road fewer seem to drive if they seldom drive off and little of a look is news; who drives does not stand."""
    aside = many(road(0), 5.0)

    def go(news: float, leaves: float) -> float:
        """Share of what stands that is believed to go faster than 0.5 m/s."""
        tracks = driven([0.0] * 60, standing=True, lasts=0.9, more=2.0, roads=aside, news=news, leaves=leaves)
        return float((torch.hypot(tracks.mean[..., 2], tracks.mean[..., 3]) > 0.5).float().mean())

    assert go(0.03, 100.0) < 0.6 * go(1.0, 100.0)
    assert go(0.03, 100.0) < 0.6 * go(0.03, 10.0)
    fast = [driven([6.0] * 20, standing=standing, lasts=0.9, more=2.0, news=0.03, roads=aside) for standing in (True, False)]
    assert off(fast[0], 6.0) == pytest.approx(off(fast[1], 6.0), abs=0.1)


def test_many_measurements_are_worth_a_share_of_as_many() -> None:
    """Information adds up: n looks with variance R of which the share s is news leave P = 1 / (1 / P0 + n s / R)."""
    one = torch.ones((1, 1), dtype=torch.float64)
    target = target_of(np.zeros(4), np.diag([4.0, 4.0, 0.0, 0.0]))
    for _ in range(20):
        target = kalman.updated(target, 0.3 * one, 0.0 * one, blurred(Symmetric(0.25 * one, 0.0 * one, 0.25 * one), 0.1))
    assert float(target.pxx) == pytest.approx(1.0 / (1.0 / 4.0 + 20 * 0.1 / 0.25), abs=1e-9)


def test_what_is_beside_all_lanes() -> None:
    x, y = torch.tensor([[3.3, 3.3, 3.3, 3.3]]), torch.tensor([[0.0, -2.75, -1.75, 3.5]])
    noise = Symmetric(torch.full((1, 4), 9.0), torch.full((1, 4), 0.2), torch.full((1, 4), 0.25))
    expected = norm.cdf((np.array([0.0, 2.75, 1.75, 0.0]) - LANE) / 0.5)
    np.testing.assert_allclose(beside(x, y, noise, road(0, 1))[0], expected, atol=1e-6)
    assert float(beside(x, y, noise, road(0, WALKWAY))[0, 3]) == pytest.approx(norm.cdf((3.5 - LANE) / 0.5), abs=1e-6)  # no lane for cars
    nowhere = road(0)._replace(mask=torch.zeros((1, 1), dtype=torch.bool))
    assert not bool(beside(x, y, noise, nowhere).any())


def test_who_is_met_beside_the_roads_is_taken_to_stand_sooner() -> None:
    away, on = many(road(0), 5.0), many(road(0), 0.0)
    three = [0.0] * 3
    assert off(driven(three, standing=True, roads=away), 0.0) < 0.5 * off(driven(three, standing=True, roads=on), 0.0)
    assert off(driven(three, standing=True, roads=on), 0.0) == pytest.approx(off(driven(three, standing=True), 0.0), abs=0.1)


@pytest.mark.parametrize(("chance", "match"), [(0.0, 0), (0.995, -1)])
def test_who_stands_is_not_the_one_parked_behind_him(chance: float, match: int) -> None:
    """A place 6 m on could be the track's if it moves, which is known to 6 m only, and is not if it surely stands."""
    config = TrackerConfig(slots=1, standing=True)
    state, one = initial_state(1, config), torch.ones(1, 1)
    target = state.target._replace(x=10.0 * one, pxx=36.0 * one, pyy=1.0 * one)
    stands = Standing(chance * one, target._replace(pxx=0.1 * one, pyy=0.1 * one, vxx=0.0 * one, vyy=0.0 * one), 0.0 * one)
    state = state._replace(id=one.long() * 0, target=target, standing=stands, confirmed=one > 0.0, size=torch.tensor([[[4.5, 1.8, 1.5]]]))
    zero = one.long() * 0
    seen = Measured(
        usable=one > 0.0, x=16.0 * one, y=0.0 * one, noise=Symmetric(0.1 * one, 0.0 * one, 0.1 * one),
        heading=torch.tensor([[[1.0, 0.0]]]), has_yaw=one > 0.0, size=state.size, has_size=one > 0.0,
        score=0.9 * one, kind=zero, camera=zero,
    )  # fmt: skip
    assert int(associate(state, zero, seen, config)) == match


def test_who_pulls_out_of_a_row_is_noticed_later() -> None:
    """As it ships: a car that stood beside the road for 8 s and drives off with 2 m/s^2. What is known of its speed lags at first."""
    aside, usual = many(road(0), 5.0), TrackerConfig()

    def believed(seconds: float, roads: Roads) -> float:
        speeds = [0.0] * 40 + [0.4 * k for k in range(1, round(5.0 * seconds) + 1)]
        tracks = driven(speeds, standing=True, news=usual.news, leaves=usual.leaves, roads=roads)
        return float(torch.hypot(tracks.mean[..., 2], tracks.mean[..., 3]).median())

    assert believed(1.4, many(road(0), 0.0)) > 0.4 * 2.8  # in the lane
    assert believed(2.0, aside) > 0.6 * 4.0
    assert believed(3.0, aside) > 0.8 * 6.0


def test_imm_believes_in_walkers_at_first_sight() -> None:
    tracker = make_tracker("imm", slots=4)
    assert isinstance(tracker, KalmanTracker)
    highs, sures = tracker.config.highs, tracker.config.sures
    walker, car = (tracker.config.classes.index(name) for name in ("pedestrian", "car"))
    assert (highs[walker], sures[walker], highs[car], sures[car]) == (0.4, 0.4, 0.5, 0.95)
    one, none = torch.ones(1, 2), torch.full((1, 2), -1, dtype=torch.int64)
    camera = Camera(*(value[:, :1] for value in (one * 80, one * 80, one * 48, one * 0, one * 0, one * 1.5, one * 0)))
    frame = SensorFrame(torch.zeros((1, 1, 3, 96, 160), dtype=torch.uint8), camera, *torch.zeros(3, 1), torch.zeros(1, 3))
    seen = Detections(
        box=torch.zeros(1, 2, 4), score=0.45 * one, kind=torch.tensor([[walker, car]]), light=none, source=none, mask=one > 0.0,
        centre=torch.tensor([[[6.0, -2.0, 0.8], [12.0, 3.0, 0.8]]]), size=torch.full((1, 2, 3), torch.nan), yaw=torch.nan * one,
        sigma=torch.full((1, 2, 2), 0.3), camera=none * 0,
    )  # fmt: skip
    state = tracker.update(tracker.initial(1), seen, frame, torch.ones(1, dtype=torch.bool))
    tracks = tracker.read(state, torch.zeros(1, 3), torch.zeros(1))
    assert tracks.kind[tracks.mask].tolist() == [walker]
    usual = KalmanTracker(TrackerConfig(slots=4))
    assert not bool(
        usual.read(
            usual.update(usual.initial(1), seen, frame, torch.ones(1, dtype=torch.bool)), torch.zeros(1, 3), torch.zeros(1)
        ).mask.any()
    )


def test_walkers_are_never_taken_to_stand() -> None:
    one, two = driven([0.0] * 20, standing=False, kind=5), driven([0.0] * 20, standing=True, kind=5)
    torch.testing.assert_close(two.mean, one.mean, atol=1e-5, rtol=1e-5)


def test_without_the_second_model_there_is_none() -> None:
    assert not any("standing" in name for name, _ in tensors(initial_state(2, TrackerConfig())))
    assert {"standing.chance", "standing.at.pxy"} <= {name for name, _ in tensors(initial_state(2, TrackerConfig(standing=True)))}


def test_nonsense_is_refused() -> None:
    car = KindModel(along=4.0, across=1.5, speed_along=15.0, speed_across=1.5, length=4.5, width=1.8, height=1.5, stands=1.0)
    with pytest.raises(ValueError, match="stands=1.0 must be below 1"):
        TrackerConfig(models={"car": car})
    with pytest.raises(ValueError, match="starts=0.0: must be positive"):
        TrackerConfig(starts=0.0)
    with pytest.raises(ValueError, match=r"news=0.0: must be in \(0, 1\]"):
        TrackerConfig(news=0.0)
    with pytest.raises(ValueError, match=r"walkers=\(0.6, 0.4\): must be"):
        TrackerConfig(walkers=(0.6, 0.4))
