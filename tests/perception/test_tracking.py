"""The tracker on scenes whose truth is known: names kept, places and velocities right, and no world seeing another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from perception.metrics.tracking import TrackingFigures
from perception.noise import bare_labels
from perception.oracle import Oracle
from perception.states import tensors
from perception.tracking import KindModel, TrackerConfig, TrackerState, extrapolate, initial_state, track
from perception.types import Camera, Detections, Labels, SensorFrame, Tracks

CAR, PEDESTRIAN, LIGHT = 0, 5, 6
DT = 0.1


def make_frame(motion: Tensor, time: float, *, focal: float = 80.0, width: int = 160) -> SensorFrame:
    """One forward camera, 90 degrees wide, at the origin of the ego frame."""
    batch, one = len(motion), torch.ones((len(motion), 1))
    camera = Camera(one * focal, one * width / 2, one * 48, one * 0, one * 0, one * 1.5, one * 0)
    image = torch.zeros((), dtype=torch.uint8).expand(batch, 1, 3, 96, width)
    return SensorFrame(image, camera, torch.full((batch,), time), torch.zeros(batch), torch.zeros(batch), motion)


class Scene(NamedTuple):
    """Things on straight paths over ground, all (B, D); the ego drives on an arc."""

    start: Tensor  # (B, D, 2) m
    velocity: Tensor  # (B, D, 2) m/s
    kind: Tensor  # (B, D)
    begin: Tensor  # (B, D) s
    end: Tensor  # (B, D) s
    hidden: Tensor  # (B, D, 2) s, from when to when something conceals it
    speed: float = 0.0  # m/s, of the ego
    rate: float = 0.0  # rad/s

    def at(self, step: int) -> tuple[Labels, Tensor]:
        """Labels of what can be seen, in the ego frame, and the ego's motion (B, 3) of the last step."""
        time, batch = step * DT, len(self.start)
        pose = _arc(self.speed, self.rate, time)
        old = _arc(self.speed, self.rate, time - DT) if step else pose
        rel = _turn(torch.tensor([pose[0] - old[0], pose[1] - old[1]]), -old[2])
        motion = torch.tensor([*rel.tolist(), pose[2] - old[2]]).expand(batch, 3)
        place = _turn(self.start + self.velocity * time - torch.tensor(pose[:2]), -pose[2])
        velocity = _turn(self.velocity, -pose[2])
        width = torch.where(self.kind == CAR, 1.8, 0.5)
        length = torch.where(self.kind == CAR, 4.5, 0.5)
        here = (self.begin <= time) & (time < self.end) & ~((self.hidden[..., 0] <= time) & (time < self.hidden[..., 1]))
        seen = here & (place[..., 0] > 1.0) & (place[..., 1].abs() < place[..., 0])
        labels = bare_labels(
            kind=self.kind,
            centre=torch.cat((place, torch.full_like(width, 0.8).unsqueeze(2)), 2),
            size=torch.stack((length, width, torch.full_like(width, 1.6)), 2),
            yaw=torch.atan2(velocity[..., 1], velocity[..., 0]),
            velocity=velocity,
            source=torch.arange(self.kind.shape[1]).expand_as(self.kind) + 100,
            mask=seen,
            light=torch.where(self.kind == LIGHT, 3, -1),
        )
        return labels, motion


def _arc(speed: float, rate: float, time: float) -> tuple[float, float, float]:
    if rate == 0.0:
        return speed * time, 0.0, 0.0
    return speed / rate * math.sin(rate * time), speed / rate * (1.0 - math.cos(rate * time)), rate * time


def _turn(vector: Tensor, angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack((c * vector[..., 0] - s * vector[..., 1], s * vector[..., 0] + c * vector[..., 1]), -1)


def scene(*things: dict[str, object], **ego: float) -> Scene:
    """A scene of one world."""

    def column(name: str, default: object) -> Tensor:
        return torch.tensor([thing.get(name, default) for thing in things])[None]

    real = {name: column(name, default).float() for name, default in (("begin", 0.0), ("end", 1e9), ("hidden", (1e9, 1e9)))}
    return Scene(column("start", None).float(), column("velocity", None).float(), column("kind", CAR), **real, **ego)


def run(
    what: Scene, steps: int, config: TrackerConfig | None = None, sigma: float = 0.05, error: float = 0.0
) -> Iterator[tuple[Labels, Tracks, TrackerState, SensorFrame]]:
    config = config or TrackerConfig()
    oracle, generator = Oracle(sigma=sigma), torch.Generator().manual_seed(0)
    state = initial_state(len(what.start), config)
    none = torch.zeros(len(what.start), dtype=torch.int64)
    for step in range(steps):
        labels, motion = what.at(step)
        frame = make_frame(motion, step * DT)
        found = oracle.observe(frame, labels, seed=none, step=none + step)
        found = found._replace(centre=found.centre + error * torch.randn(found.centre.shape, generator=generator))
        state, tracks = track(state, found, frame, config)
        yield labels, tracks, state, frame


def busy(worlds: int, things: int, seed: int = 0) -> Scene:
    """Traffic at random, coming and going, some of it concealed for a while; the ego turns."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *more: int) -> Tensor:
        return torch.rand(worlds, things, *more, generator=generator) * (high - low) + low

    kind = torch.where(uniform(0, 1) < 0.7, CAR, PEDESTRIAN)
    speed = torch.where(kind == CAR, uniform(0.0, 15.0), uniform(0.5, 1.8))
    angle = uniform(-math.pi, math.pi)
    lane = (torch.arange(things) * 4.0 - 2.0 * things).expand(worlds, things)  # 4 m apart, so that no two things are in one place
    start = torch.stack((uniform(10, 90), lane), 2)
    straight = torch.where(kind == CAR, torch.where(angle > 0, 0.0, math.pi), angle)
    velocity = torch.stack((speed * straight.cos(), torch.where(kind == CAR, 0.0, speed * straight.sin())), 2)
    begin = torch.where(uniform(0, 1) < 0.7, 0.0, uniform(0, 4))
    gap = uniform(1, 5)
    hidden = torch.stack((gap, gap + torch.where(uniform(0, 1) < 0.3, 0.5, 0.0)), 2)
    return Scene(start, velocity, kind, begin, begin + uniform(3, 8), hidden, speed=8.0, rate=0.1)


def test_busy_traffic_keeps_its_names() -> None:
    what = busy(6, 14)
    figures = TrackingFigures()
    for labels, tracks, _, _ in run(what, 70):
        figures.add(labels, tracks)
    told = figures.report()["ground"]
    assert told["hota"] > 0.95 and told["assa"] > 0.95 and told["idf1"] > 0.97 and told["mota"] > 0.95, told


def test_noisy_traffic_nearly_keeps_its_names() -> None:
    what = busy(6, 14, seed=1)
    figures = TrackingFigures()
    for labels, tracks, _, _ in run(what, 70, sigma=0.4, error=0.4):
        figures.add(labels, tracks)
    told = figures.report()["ground"]
    assert told["assa"] > 0.85 and told["idf1"] > 0.9, told


def test_crossing_things_do_not_swap() -> None:
    what = scene(
        {"start": (20.0, -8.0), "velocity": (0.0, 4.0)},
        {"start": (22.5, 8.0), "velocity": (0.0, -4.0)},
        {"start": (12.0, -1.5), "velocity": (0.0, 1.2), "kind": PEDESTRIAN},
        {"start": (12.7, 1.5), "velocity": (0.0, -1.2), "kind": PEDESTRIAN},
    )
    names: dict[int, set[int]] = {}
    for _, tracks, _, _ in run(what, 35, sigma=0.2, error=0.2):
        for source, name in zip(tracks.source[tracks.mask].tolist(), tracks.id[tracks.mask].tolist(), strict=True):
            names.setdefault(source, set()).add(name)
    assert {source: len(ids) for source, ids in names.items()} == {100: 1, 101: 1, 102: 1, 103: 1}


def test_velocity_is_over_ground_whatever_the_ego_does() -> None:
    what = scene({"start": (25.0, 3.0), "velocity": (6.0, 0.0)}, {"start": (30.0, -6.0), "velocity": (0.0, 0.0)}, speed=9.0, rate=0.25)
    for labels, tracks, _, _ in run(what, 25):
        last = labels, tracks
    labels, tracks = last
    assert tracks.mask.sum() == 2
    for row in tracks.mask[0].nonzero().squeeze(1).tolist():
        true = int((labels.source[0] == tracks.source[0, row]).nonzero())
        torch.testing.assert_close(tracks.mean[0, row, :2], labels.centre[0, true, :2], atol=0.05, rtol=0)
        torch.testing.assert_close(tracks.mean[0, row, 2:], labels.velocity[0, true], atol=0.25, rtol=0)


def test_hidden_things_keep_their_name_and_place() -> None:
    """A pedestrian passes behind a standing lorry for 1.8 s: longer than anything in plain view may go unseen."""
    what = scene(
        {"start": (12.0, 0.0), "velocity": (0.0, 1e-3)},  # stands across the road: 4.5 m wide
        {"start": (24.0, -6.0), "velocity": (0.0, 3.0), "kind": PEDESTRIAN, "hidden": (1.1, 2.9)},
    )
    walker = [
        (tracks.id[0][there].tolist(), tracks.unseen[0][there].tolist())
        for _, tracks, _, _ in run(what, 40)
        for there in [tracks.mask[0] & (tracks.source[0] == 101)]
    ]
    assert {tuple(ids) for ids, _ in walker} == {(1,)}
    assert max(unseen[0] for _, unseen in walker) == 18


def test_in_view_and_unseen_ends_sooner_than_hidden() -> None:
    plain = scene({"start": (30.0, 0.0), "velocity": (0.0, 0.0), "end": 1.0}, {"start": (12.0, 6.0), "velocity": (0.0, 0.0)})
    behind = scene({"start": (30.0, 0.0), "velocity": (0.0, 0.0), "end": 1.0}, {"start": (12.0, 0.0), "velocity": (0.0, 0.0)})
    lasts = [sum(int((tracks.source[tracks.mask] == 100).sum()) for _, tracks, _, _ in run(what, 60)) * DT for what in (plain, behind)]
    assert 1.2 < lasts[0] < 2.1 and 3.5 < lasts[1] < 4.3


def test_out_of_view_is_remembered() -> None:
    """The ego passes a standing car: beside and behind, where no camera looks, it is still believed to be there."""
    what = scene({"start": (12.0, 4.0), "velocity": (0.0, 0.0)}, speed=6.0)
    for _labels, tracks, _, _ in run(what, 32):
        last = tracks
    assert last.mask.sum() == 1 and last.unseen.max() > 8
    torch.testing.assert_close(last.mean[last.mask][0], torch.tensor([12.0 - 3.1 * 6.0, 4.0, 0.0, 0.0]), atol=0.4, rtol=0)
    assert last.covariance[last.mask][0, 0, 0] > 0.1


def test_births_need_hits_and_names_are_never_used_again() -> None:
    what = scene(*({"start": (15.0 + 5 * k, 2.0), "velocity": (0.0, 0.0), "begin": 0.6 * k, "end": 0.6 * k + 0.5} for k in range(6)))
    config = TrackerConfig(sure=1.0, coast_visible=0.05, slots=2)
    oracle, state, seen = Oracle(), initial_state(1, config), []
    none = torch.zeros(1, dtype=torch.int64)
    for step in range(40):
        labels, motion = what.at(step)
        found = oracle.observe(make_frame(motion, step * DT), labels, seed=none, step=none)
        found = found._replace(score=found.score * 0.9)
        state, tracks = track(state, found, make_frame(motion, step * DT), config)
        seen.append(tracks.id[0][tracks.mask[0]].tolist())
    assert seen[0] == [] and seen[1] == [0]
    assert sorted({name for names in seen for name in names}) == list(range(6))


def test_lone_false_detections_are_never_told() -> None:
    config = TrackerConfig()
    state = initial_state(1, config)
    for step in range(12):
        labels, motion = scene({"start": (10.0 + 7.0 * (step % 5), 3.0 * (step % 3) - 3.0), "velocity": (0.0, 0.0)}).at(0)
        frame = make_frame(motion, step * DT)
        found = Oracle().observe(frame, labels, seed=torch.zeros(1), step=torch.zeros(1))
        state, tracks = track(state, found._replace(score=found.score * 0.8), frame, config)
        assert not tracks.mask.any()


def test_faint_detections_continue_tracks_but_begin_none() -> None:
    what = scene({"start": (20.0, 0.0), "velocity": (3.0, 0.0)}, {"start": (25.0, 8.0), "velocity": (0.0, 0.0)})
    config, oracle, none = TrackerConfig(), Oracle(), torch.zeros(1, dtype=torch.int64)
    state = initial_state(1, config)
    for step in range(15):
        labels, motion = what.at(step)
        found = oracle.observe(make_frame(motion, step * DT), labels, seed=none, step=none)
        scores = torch.tensor([[1.0 if step < 4 else 0.2, 0.3]])
        state, tracks = track(state, found._replace(score=scores), make_frame(motion, step * DT), config)
    assert tracks.source[tracks.mask].tolist() == [100] and int(tracks.unseen[tracks.mask]) == 0


def test_flipped_headings_are_put_right_by_motion() -> None:
    what = scene({"start": (20.0, 2.0), "velocity": (8.0, 0.0)}, {"start": (60.0, -3.0), "velocity": (-8.0, 0.0)})
    config, oracle, none = TrackerConfig(), Oracle(), torch.zeros(1, dtype=torch.int64)
    state = initial_state(1, config)
    for step in range(12):
        labels, motion = what.at(step)
        found = oracle.observe(make_frame(motion, step * DT), labels, seed=none, step=none)
        flips = math.pi if step % 3 != 1 else 0.0  # most are wrong, the first too
        state, tracks = track(state, found._replace(yaw=found.yaw + flips), make_frame(motion, step * DT), config)
    yaw = {int(s): float(y) for s, y in zip(tracks.source[tracks.mask], tracks.yaw[tracks.mask], strict=True)}
    assert abs(yaw[100]) < 0.05 and abs(abs(yaw[101]) - math.pi) < 0.05


def test_light_states_are_voted_and_lights_stand_still() -> None:
    what = scene({"start": (40.0, 3.0), "velocity": (0.0, 0.0), "kind": LIGHT}, speed=5.0)
    config, oracle, none = TrackerConfig(), Oracle(), torch.zeros(1, dtype=torch.int64)
    state, told = initial_state(1, config), []
    states = [0, 0, 0, 0, 3, 0, 0, 0, 3, 3, 3, 3]  # one wrong, then a change
    for step, light in enumerate(states):
        labels, motion = what.at(step)
        found = oracle.observe(make_frame(motion, step * DT), labels, seed=none, step=none)
        state, tracks = track(state, found._replace(light=torch.tensor([[light]])), make_frame(motion, step * DT), config)
        told.append(int(tracks.light[tracks.mask]))
        assert tracks.mean[tracks.mask][0, 2:].tolist() == [0.0, 0.0]
    assert told[:9] == [0] * 9 and told[-1] == 3


def test_unknown_fields_are_understood() -> None:
    what = scene({"start": (20.0, 2.0), "velocity": (5.0, 0.0)}, {"start": (20.0, -5.0), "velocity": (5.0, 0.0)})
    config, oracle, none = TrackerConfig(), Oracle(), torch.zeros(1, dtype=torch.int64)
    state = initial_state(1, config)
    for step in range(15):
        labels, motion = what.at(step)
        found = oracle.observe(make_frame(motion, step * DT), labels, seed=none, step=none)
        centre = found.centre.clone()
        centre[0, 1] = torch.nan
        blank = {name: torch.full_like(getattr(found, name), torch.nan) for name in ("size", "yaw", "sigma")}
        state, tracks = track(state, found._replace(centre=centre, **blank), make_frame(motion, step * DT), config)
    assert tracks.mask.sum() == 1 and all(bool(value.isfinite().all()) for name, value in tensors(tracks) if name != "box")
    assert float(tracks.mean[tracks.mask][0, 2]) == pytest.approx(5.0, abs=0.5)
    assert tracks.size[tracks.mask][0].tolist() == pytest.approx([4.5, 1.8, 1.5])


def test_extrapolation_is_what_coasting_gives() -> None:
    """Read `dt` ahead in one go, or carried there in steps in which the detector did not run."""
    what = busy(4, 10, seed=5)._replace(hidden=torch.full((4, 10, 2), 1e9))
    config = TrackerConfig()
    *_, (_, _, state, _) = run(what, 20, config)
    step = torch.tensor([0.8, 0.05, 0.03]).expand(4, 3)
    carried, x, y, turn = state, torch.zeros(4), torch.zeros(4), 0.0
    for k in range(3):
        nothing = Oracle().observe(make_frame(step, 0.0), what.at(0)[0], seed=step, step=step)
        carried, there = track(carried, nothing, make_frame(step, 1.9 + 0.1 * (k + 1)), config, fresh=torch.zeros(4, dtype=torch.bool))
        move = _turn(step[:, :2], turn)
        x, y, turn = x + move[:, 0], y + move[:, 1], turn + 0.03
    ahead = extrapolate(state, torch.stack((x, y, torch.full((4,), turn)), 1), torch.full((4,), 0.3), config)
    assert torch.equal(ahead.id, there.id) and torch.equal(there.unseen, ahead.unseen)
    torch.testing.assert_close(ahead.mean, there.mean, atol=1e-4, rtol=1e-5)
    # the direction of the noise is that of the heading, which both keep; the wander adds up
    torch.testing.assert_close(ahead.covariance, there.covariance, atol=2e-3, rtol=1e-3)


def test_errors_of_tracks_are_as_large_as_claimed() -> None:
    """NEES of the whole tracker, association and births included, with honest sigmas and no slack in its model."""
    still = KindModel(along=0.0, across=0.0, speed_along=15.0, speed_across=15.0, length=4.5, width=1.8, height=1.5, wander=0.0)
    config = TrackerConfig(models={"car": still}, gate=30.0, slots=16)
    things = 12
    lane = torch.arange(things) * 7.0 - 38.0
    start = torch.stack((torch.full((things,), 60.0), lane), 1).expand(20, things, 2)
    velocity = torch.randn(20, things, 2, generator=torch.Generator().manual_seed(4)) * 0.5
    far = torch.full((20, things), 1e9)
    what = Scene(start, velocity, torch.zeros(20, things, dtype=torch.int64), far * 0, far, far.unsqueeze(2).expand(-1, -1, 2), speed=3.0)
    for labels, tracks, _, _ in run(what, 25, config, sigma=0.5, error=0.5):
        last = labels, tracks
    labels, tracks = last
    values = []
    for b, t in tracks.mask.nonzero().tolist():
        true = int((labels.source[b] == tracks.source[b, t]).nonzero())
        truth = torch.cat((labels.centre[b, true, :2], labels.velocity[b, true])).double()
        off = (tracks.mean[b, t].double() - truth).numpy()
        values.append(off @ np.linalg.inv(tracks.covariance[b, t].double().numpy()) @ off)
    count = len(values)
    assert count == 20 * things
    assert chi2.ppf(0.0005, 4 * count) < sum(values) < chi2.ppf(0.9995, 4 * count)


def _random_detections(worlds: int, slots: int, step: int) -> Detections:
    what = busy(worlds, slots, seed=9)
    labels, _ = what.at(step)
    zero = torch.zeros(worlds)
    found = Oracle(sigma=0.3).observe(make_frame(torch.zeros(worlds, 3), 0.0), labels, seed=zero, step=zero)
    generator = torch.Generator().manual_seed(step)
    score = torch.rand(found.score.shape, generator=generator)
    box = torch.rand((*score.shape, 4), generator=generator)
    return found._replace(centre=found.centre + 0.3 * torch.randn(found.centre.shape, generator=generator), score=score, box=box)


def _rows(value: Detections, rows: slice) -> Detections:
    return Detections(*(part[rows] for part in value))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
@pytest.mark.parametrize("standing", [False, True])
@pytest.mark.parametrize("how", ["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def test_no_world_sees_another(how: str, standing: bool) -> None:
    """Bitwise the same in any batch and row."""
    config, worlds = TrackerConfig(standing=standing), 13
    step_of = torch.compile(track, fullgraph=True, dynamic=False) if how == "compiled" else track
    parts = [slice(0, worlds), slice(5, 6), slice(0, 1), slice(5, 12)][: 2 if how == "compiled" else 4]  # compiling takes a while
    states = [initial_state(len(range(worlds)[part]), config) for part in parts]
    generator = torch.Generator().manual_seed(3)
    for step in range(25):
        found, motion = _random_detections(worlds, 15, step), torch.randn(worlds, 3, generator=generator) * 0.05
        fresh = torch.rand(worlds, generator=generator) < 0.8
        told = []
        for k, part in enumerate(parts):
            states[k], tracks = step_of(states[k], _rows(found, part), make_frame(motion[part], step * DT), config, fresh[part])
            told.append(tracks)
        for k, part in enumerate(parts[1:], 1):
            for pair in ((told[0], told[k]), (states[0], states[k])):
                for (name, whole), (_, own) in zip(tensors(pair[0]), tensors(pair[1]), strict=True):
                    assert torch.equal(whole[part], own), (step, name)


def test_compiles_as_one_graph() -> None:
    config = TrackerConfig(slots=8)
    compiled = torch.compile(track, fullgraph=True, backend="eager")
    a = b = initial_state(3, config)
    for step in range(6):
        found, frame = _random_detections(3, 10, step), make_frame(torch.zeros(3, 3), step * DT)
        a, _ = track(a, found, frame, config)
        b, _ = compiled(b, found, frame, config)
    assert all(torch.equal(x, y) for (_, x), (_, y) in zip(tensors(a), tensors(b), strict=True))


@pytest.mark.gpu
def test_a_gpu_tracks_the_same_things() -> None:
    config = TrackerConfig()
    a, b = initial_state(16, config), initial_state(16, config, "cuda")
    for step in range(20):
        found, frame = _random_detections(16, 15, step), make_frame(torch.zeros(16, 3), step * DT)
        a, here = track(a, found, frame, config)
        there_frame = SensorFrame(frame.image.cuda(), Camera(*(v.cuda() for v in frame.camera)), *(v.cuda() for v in frame[2:]))
        b, there = track(b, Detections(*(v.cuda() for v in found)), there_frame, config)
    assert torch.equal(here.id, there.id.cpu())
    torch.testing.assert_close(here.mean, there.mean.cpu(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"slots": 0}, {"low": 0.6}, {"hits": 4}, {"gate": -1.0}, {"seen_chance": 1.0}, {"classes": ("car", "car")}]
)
def test_bad_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrackerConfig(**wrong)  # type: ignore[arg-type]
