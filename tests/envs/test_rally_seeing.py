"""Rally's levels between truth and pixels: labels, the filter against its closed forms, and what is believed of a match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.arcade import RallyExpert
from envs.checks import ConfigError
from envs.games.rally import RallyConfig, RallyWorlds, ScreenConfig
from envs.games.rally.looking import Looking
from envs.games.rally.noise import FAR, FITTING, GroundStream, ScreenNoise
from envs.games.rally.observation import AHEAD, FEATURES, locate, observe, seen_from
from envs.games.rally.raster import scale
from envs.games.rally.rules import mirrored
from envs.games.rally.seeing import on_court
from envs.games.rally.stream import CLASSES, RallyStream, labels_of
from envs.games.rally.tracking import CourtTracker
from perception.metrics.detection import SIDE_MIN
from perception.noise import even_noise
from perception.noise_card import save_noise
from perception.noise_fit import Pair, fit_noise
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import empty_detections
from perception.storage import WEIGHTS, WeightsError, read_card
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


def card(path: Path, **errors: float) -> str:
    """An error model that is the same everywhere, px and share: `along` to the right, `across` up."""
    px = {name: value / FAR for name, value in errors.items() if name in ("along", "across")}
    return str(save_noise(path / "noise_mine.json", even_noise(CLASSES, **{"interval": 0.05, **errors, **px})))


def test_errors_and_lateness_cost_what_they_should(tmp_path: Path) -> None:
    """Places are off by about the noise, no less; the same seeds give the same errors in any batch."""
    mine = card(tmp_path, along=1.0, across=1.0, miss=0.1)

    def believed(seeds: list[int], looks: ScreenConfig) -> tuple[torch.Tensor, torch.Tensor]:
        worlds = RallyWorlds(len(seeds), observation="noisy", screen=looks)
        worlds.reset(np.array(seeds))
        for number in range(40):
            worlds.step(np.full(len(seeds), number // 7 % 3))
        return worlds.tensor(), (worlds.objects().position - locate(worlds.state).position).norm(dim=-1)

    told, off = believed(list(range(20)), ScreenConfig(noise=mine))
    alone, _ = believed([7], ScreenConfig(noise=mine))
    assert torch.equal(alone[0], told[7])
    assert 0.003 < float(off.median()) < 0.05
    late, _ = believed([7], ScreenConfig(noise=mine, latency=2))
    assert not torch.equal(late, alone)


def test_an_error_model_says_what_it_was_fitted_to(tmp_path: Path) -> None:
    """Misses that last, errors that last and differ in u and v, and things that are not there: fitted, drawn, and fitted again."""
    chance = torch.Generator().manual_seed(0)
    stream, held = GroundStream(), None
    pairs, truths = [], []
    for number, samples in zip(range(2), stream.sequences(20, 30, 0), strict=False):
        for step, (frame_, labels, _) in enumerate(samples):
            fresh = torch.randn(20, 3, 2, generator=chance)
            held = fresh if held is None or not step else 0.6 * held + 0.8 * fresh
            off = torch.cat((held * torch.tensor([0.9, 0.4]), torch.zeros(20, 3, 1)), -1)
            lost = torch.rand(20, 3, generator=chance) < 0.1
            found = empty_detections(20, 4)
            ghost = torch.tensor([975.0, -30.0, 0.0]) + torch.rand(20, 3, generator=chance) * torch.tensor([50.0, 60.0, 0.0])
            centre = torch.cat((labels.centre + off, ghost[:, None]), 1)
            mask = torch.cat((~lost, torch.rand(20, 1, generator=chance) < 0.05), 1)
            kind = torch.cat((labels.kind, torch.zeros(20, 1, dtype=torch.int64)), 1)
            found = found._replace(centre=centre, mask=mask, kind=kind, box=torch.full_like(found.box, torch.nan), score=mask * 0.8)
            pairs.append(Pair(labels, found, torch.zeros(20, 2), frame_.motion, torch.full((20,), step == 0)))
            truths.append((number, step, labels, frame_))
    fit = fit_noise(pairs, classes=CLASSES, interval=0.05, **FITTING)
    assert fit.found / fit.things == pytest.approx(0.9, abs=0.02)
    noise = ScreenNoise(save_noise(tmp_path / "noise_mine.json", fit.model), size=96, interval=0.05)
    errors, missed, extra = [], 0.0, 0.0
    for number, step, labels, frame_ in truths:
        court = labels._replace(
            centre=torch.stack((torch.ones(20, 3), (FAR - labels.centre[..., 0]) / scale(96), labels.centre[..., 1] / scale(96)), -1),
            box=torch.zeros(20, 3, 4) + 100.0 * torch.arange(3)[:, None],
        )
        told = noise.observe(frame_, court, seed=1000 * number + torch.arange(20), step=torch.full((20,), step))
        true = torch.stack((-court.centre[..., 1], court.centre[..., 2]), -1)
        errors.append(torch.where(told.mask[:, :3, None], (told.centre[:, :3, :2] - true) * scale(96), torch.nan))
        missed += float((~told.mask[:, :3]).float().mean()) / len(truths)
        extra += float(told.mask[:, 3:].sum()) / 20 / len(truths)
        where = told.centre[:, 3:][told.mask[:, 3:]]
        assert bool((where[..., :2].abs() < 1.2).all())
    drawn = torch.stack(errors).reshape(2, 30, 20, 3, 2)
    assert missed == pytest.approx(0.1, abs=0.02)
    assert extra == pytest.approx(0.05, abs=0.02)
    spread = drawn.flatten(0, 3)
    assert spread[~spread.isnan().any(1)].std(0).tolist() == pytest.approx([0.9, 0.4], rel=0.1)
    before, after = (drawn[:, part].flatten(0, 3) / torch.tensor([0.9, 0.4]) for part in (slice(29), slice(1, 30)))
    both = ~(before.isnan() | after.isnan()).any(1)
    assert float((before[both] * after[both]).mean()) == pytest.approx(0.6, abs=0.1)


def test_what_ships_is_of_one_another_and_sees(tmp_path: Path) -> None:
    """The error model is of the detector, by which the ball is believed to be where it is; and so it is by the error model."""
    told = read_card(WEIGHTS / "noise_games.json")
    assert told["detector_sha256"] == read_card(WEIGHTS / "detector_games.json")["sha256"]
    for level in ("perceived", "noisy"):
        worlds = RallyWorlds(8, observation=level)
        expert, off = RallyExpert(worlds), []
        for _ in range(40):
            worlds.step(expert.act(worlds))
            off.append((worlds.objects().position - locate(worlds.state).position)[:, 0].norm(dim=-1))
        assert 0.0 < float(torch.cat(off[5:]).median()) < 0.015
    with pytest.raises(WeightsError, match="is of car"):
        RallyWorlds(1, observation="noisy", screen=ScreenConfig(noise="driving"))
    with pytest.raises(WeightsError, match="no error model 'noise_nowhere'"):
        RallyWorlds(1, observation="noisy", screen=ScreenConfig(noise="nowhere"))


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
