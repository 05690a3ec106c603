"""Rally's levels between truth and pixels: labels, the filter against its closed forms, and what is believed of a match."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.arcade import RallyExpert
from envs.checks import ConfigError
from envs.games.rally import RallyConfig, RallyWorlds, ScreenConfig
from envs.games.rally.looking import Looking, on_court
from envs.games.rally.observation import AHEAD, FEATURES, locate, observe, seen_from
from envs.games.rally.rules import mirrored
from envs.games.rally.stream import RallyStream, labels_of
from envs.games.rally.tracking import CourtTracker
from perception.metrics.detection import SIDE_MIN
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import empty_detections
from perception.storage import WeightsError
from perception.training.stream import open_stream
from perception.types import Camera, SensorFrame

EXACT = ScreenConfig(detector="oracle")


def frame(time: float, batch: int = 1) -> SensorFrame:
    zero = torch.zeros(batch)
    camera = Camera(*(torch.zeros(batch, 1) for _ in Camera._fields))
    return SensorFrame(torch.zeros(batch, 1, 3, 1, 1, dtype=torch.uint8), camera, zero + time, zero, zero, torch.zeros(batch, 3))


def test_labels_are_where_the_camera_projects_them() -> None:
    """u = cu - focal y / x, v = cv - focal z / x of the centres are the middles of the boxes; sizes are their sides."""
    sample = open_stream("games").sample(3, 8)
    labels, camera = sample.labels, sample.frame.camera
    x, y, z = labels.centre.unbind(-1)
    middle = torch.stack((camera.cu - camera.focal * y / x, camera.cv - camera.focal * z / x), -1)
    box = labels.box
    torch.testing.assert_close(middle, 0.5 * (box[..., :2] + box[..., 2:]), atol=1e-3, rtol=0.0)
    sides = camera.focal[..., None] * labels.size[..., 1:]
    torch.testing.assert_close(sides, box[..., 2:] - box[..., :2], atol=1e-3, rtol=0.0)
    assert bool(labels.mask.all())
    assert labels.kind.tolist() == [[0, 1, 1]] * 8


def test_a_stream_is_the_same_for_the_same_seed_and_ever_new() -> None:
    stream = RallyStream()
    first, again, other = stream.sample(5, 4), stream.sample(5, 4), stream.sample(6, 4)
    assert torch.equal(first.frame.image, again.frame.image)
    assert torch.equal(first.labels.box, again.labels.box)
    assert not (first.labels.box[:, :, None] == other.labels.box[:, None]).all(-1).flatten(1).any(1).all()
    assert len(torch.unique(first.frame.image.flatten(1), dim=0)) == 4
    with pytest.raises(ConfigError, match="size=90"):
        RallyStream(size=90)


def test_what_is_told_is_what_is_there() -> None:
    """From labels through the oracle back to the court."""
    worlds = RallyWorlds(6)
    for _ in range(20):
        worlds.step(np.full(6, 2))
    labels = labels_of(worlds.state, worlds.config, 96)
    told = Oracle(classes=("ball", "paddle"), rule=VisibilityRule(side_min=0.0)).observe(
        frame(0.0, 6), labels, seed=worlds.state.seed, step=worlds.state.step
    )
    torch.testing.assert_close(on_court(told).centre[..., :2], locate(worlds.state).position, atol=1e-6, rtol=0.0)


def test_the_filter_is_least_squares_until_something_happens() -> None:
    """A ball that flies straight, seen with errors: place and velocity are those of a line fitted to all sightings."""
    rng, tracker = np.random.default_rng(0), CourtTracker()
    state = tracker.initial(1)
    times, seen = 0.05 * np.arange(8), []
    for time in times:
        place = np.array([-0.6, 0.1]) + np.array([1.5, -0.7]) * time + rng.normal(0.0, 0.004, 2)
        seen.append(place)
        found = empty_detections(1, 2)
        found.centre[0, 0, :2] = torch.from_numpy(place)
        found.mask[0, 0] = True
        found.score[0, 0] = 0.9
        state = tracker.update(state, found, frame(float(time)), torch.ones(1, dtype=torch.bool))
    velocity, start = np.polyfit(times, np.array(seen), 1)
    np.testing.assert_allclose(state.place[0, 0].numpy(), start + velocity * times[-1], atol=2e-4)
    np.testing.assert_allclose(state.velocity[0, 0].numpy(), velocity, atol=2e-3)
    told = tracker.read(state, torch.zeros(1, 3), torch.tensor([0.1]))
    np.testing.assert_allclose(told.mean[0, 0, :2].numpy(), start + velocity * (times[-1] + 0.1), atol=5e-4)
    assert told.mask.tolist() == [[True, False, False]]


def test_without_errors_what_is_perceived_is_the_truth() -> None:
    """But for moments after a return or a serve, when velocities are not known yet."""
    worlds = RallyWorlds(8, RallyConfig(skill=0.8), observation="perceived", screen=EXACT)
    expert, off, wrong = RallyExpert(worlds), [], []
    for _ in range(120):
        believed, true = worlds.objects(), locate(worlds.state)
        off.append((believed.position - true.position)[:, 0].norm(dim=-1))
        wrong.append((believed.velocity - true.velocity)[:, 0].norm(dim=-1))
        worlds.step(expert.act(worlds))
    assert float(torch.cat(off).quantile(0.8)) < 1e-3
    assert float(torch.cat(wrong).quantile(0.8)) < 0.1
    assert float(torch.cat(wrong).max()) > 0.5  # there were such moments


def test_errors_and_lateness_cost_what_they_should() -> None:
    """Places are off by about the noise, no less; the same seeds give the same errors in any batch."""
    screen = ScreenConfig(noise=1.0, miss=0.1)

    def believed(seeds: list[int], looks: ScreenConfig) -> tuple[torch.Tensor, torch.Tensor]:
        worlds = RallyWorlds(len(seeds), observation="noisy", screen=looks)
        worlds.reset(np.array(seeds))
        for number in range(40):
            worlds.step(np.full(len(seeds), number // 7 % 3))
        return worlds.tensor(), (worlds.objects().position - locate(worlds.state).position).norm(dim=-1)

    told, off = believed(list(range(20)), screen)
    alone, _ = believed([7], screen)
    assert torch.equal(alone[0], told[7])
    assert 0.003 < float(off.median()) < 0.05
    assert torch.equal(believed([3], ScreenConfig(noise=0.0, miss=0.0))[0], believed([3], ScreenConfig(noise=0.0, miss=0.0))[0])
    late, _ = believed([3], ScreenConfig(noise=0.0, miss=0.0, latency=2))
    assert not torch.equal(late, believed([3], ScreenConfig(noise=0.0, miss=0.0))[0])


@pytest.mark.parametrize("screen", [EXACT, ScreenConfig(detector="oracle", latency=2)], ids=["now", "late"])
def test_saved_beliefs_go_on_as_they_would_have(screen: ScreenConfig) -> None:
    worlds, other = (RallyWorlds(3, RallyConfig(points=1), observation="perceived", screen=screen) for _ in range(2))
    for number in range(60):
        if number == 25:
            other.set_state(worlds.get_state())
            np.testing.assert_array_equal(worlds.observe(), other.observe())
        for each in (worlds, other) if number >= 25 else (worlds,):
            out = each.step(np.full(3, number // 9 % 3))
            each.reset_where((out.terminated | out.truncated).numpy())
    np.testing.assert_array_equal(worlds.observe(), other.observe())


def test_observations_have_one_space_and_both_players_one_view() -> None:
    worlds = RallyWorlds(5, players=2)
    for _ in range(25):
        worlds.step(np.tile([2, 0], (5, 1)))
    told = observe(locate(worlds.state), 1)
    torch.testing.assert_close(told, observe(locate(mirrored(worlds.state)), 0), atol=0.0, rtol=0.0)
    assert told.shape[1] == len(FEATURES)
    assert all(RallyWorlds(2, observation=level).observation_space == worlds.observation_space for level in ("visible", "noisy"))
    place = seen_from(locate(worlds.state), 1).position[:, 0]
    later = told[:, [FEATURES.index(f"ball_{axis}_in_{AHEAD[0]}") for axis in "xy"]]
    velocity = told[:, 6:8]
    free = (place + velocity * AHEAD[0]).abs().amax(-1) < 0.8  # no wall on the way
    torch.testing.assert_close(later[free], (place + velocity * AHEAD[0])[free], atol=1e-5, rtol=0.0)


def test_a_detector_that_is_not_there_is_told() -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        RallyWorlds(1, observation="perceived", screen=ScreenConfig(detector="nowhere.safetensors"))
    assert isinstance(RallyWorlds(1, observation="noisy").eye, Looking)


def test_what_is_to_be_detected_is_counted() -> None:
    """Figures of detectors leave out boxes of less than 4 px: none is so small."""
    box = RallyStream().sample(1, 4).labels.box
    assert float((box[..., 2:] - box[..., :2]).min()) >= SIDE_MIN
