"""The pipeline: what arrives when, what is lost, what is remembered; with stages that are simple enough to know the answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from perception import registry
from perception.noise import NoisyOracle, bare_labels, even_noise
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import Pipeline, PipelineConfig, PipelineState, empty_detections
from perception.prediction.kinematic import ConstantVelocity
from perception.registry import StageError, make_detector, make_pipeline, make_predictor, make_tracker
from perception.states import from_arrays, move, select, tensors, to_arrays
from perception.tracking import KalmanTracker, TrackerConfig
from perception.types import Camera, Detections, Labels, Roads, SensorFrame

DT = 0.1


class World:
    """Two cars on a straight road, the ego turning; every world its own speed."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.speed = 5.0 + torch.arange(batch)
        self.rate = 0.1 * torch.arange(batch)

    def pose(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        turn = self.rate * DT
        x = y = yaw = torch.zeros(self.batch)
        for _ in range(step):
            x, y, yaw = x + self.speed * DT * yaw.cos(), y + self.speed * DT * yaw.sin(), yaw + turn
        return x, y, yaw

    def at(self, step: int) -> tuple[SensorFrame, Labels]:
        x, y, yaw = self.pose(step)
        gone = torch.stack((self.speed * DT, torch.zeros(self.batch), self.rate * DT), 1) if step else torch.zeros(self.batch, 3)
        start, velocity = torch.tensor([[20.0, 3.0], [35.0, -4.0]]), torch.tensor([[8.0, 0.0], [3.0, 0.0]])
        place = (start + velocity * DT * step).expand(self.batch, 2, 2) - torch.stack((x, y), 1).unsqueeze(1)
        c, s = yaw.cos().unsqueeze(1), yaw.sin().unsqueeze(1)

        def turned(v: Tensor) -> Tensor:
            return torch.stack((c * v[..., 0] + s * v[..., 1], c * v[..., 1] - s * v[..., 0]), 2)

        whole = torch.zeros((self.batch, 2), dtype=torch.int64)
        labels = bare_labels(
            kind=whole,
            centre=torch.cat((turned(place), torch.full((self.batch, 2, 1), 0.7)), 2),
            size=torch.tensor([4.5, 1.8, 1.5]).expand(self.batch, 2, 3),
            yaw=-yaw.unsqueeze(1).expand(-1, 2),
            velocity=turned(velocity.expand(self.batch, 2, 2)),
            source=whole + torch.tensor([7, 8]),
            mask=whole == 0,
        )
        one = torch.ones((self.batch, 1))
        camera = Camera(one * 40, one * 80, one * 48, one * 0, one * 0, one * 1.5, one * 0)
        image = torch.full((self.batch, 1, 3, 96, 160), step, dtype=torch.uint8)
        frame = SensorFrame(image, camera, torch.full((self.batch,), step * DT), self.speed, self.rate, gone)
        return frame, labels


class Counting:
    """A detector that sees one thing, whose distance in m is the number that the image is filled with, and counts its runs."""

    classes = ("car",)

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, frame: SensorFrame) -> Detections:
        self.runs += 1
        found = empty_detections(len(frame.time), 3, frame.image.device)
        value = frame.image[:, 0, 0, 0, 0].float()
        found.centre[:, 0, 0] = value
        found.mask[:, 0] = True
        return found._replace(score=found.mask.float())


def same(a: Tensor, b: Tensor) -> bool:
    """Bitwise, NaN where the other is."""
    return torch.equal(a, b) if not a.is_floating_point() else torch.equal(a.nan_to_num(-9.0), b.nan_to_num(-9.0))


def seeds(batch: int, start: int = 0) -> Tensor:
    return torch.arange(batch, dtype=torch.int64) + start


def oracle_stack(**options: Any) -> Pipeline:
    return Pipeline(Oracle(), KalmanTracker(TrackerConfig(slots=6)), ConstantVelocity(), PipelineConfig(**options))


def test_whole_stack_knows_the_truth() -> None:
    world, stack = World(3), oracle_stack()
    state = stack.initial(seeds(3))
    for step in range(15):
        frame, labels = world.at(step)
        state, found, tracks, forecasts = stack.step(frame, None, labels, state=state)
    assert found.mask.shape == (3, 32) and found.mask.sum() == 6
    assert tracks.mask.sum() == 6 and torch.equal(forecasts.mask, tracks.mask)
    torch.testing.assert_close(tracks.mean[:, :2, :2], labels.centre[..., :2], atol=0.1, rtol=0)
    torch.testing.assert_close(tracks.mean[:, :2, 2:], labels.velocity, atol=0.3, rtol=0)
    ahead = tracks.mean[..., :2] + tracks.mean[..., 2:]  # 1 s on
    torch.testing.assert_close(forecasts.mean[..., 0, 1, :], ahead)


@pytest.mark.parametrize("latency", [1, 3, 7])
def test_late_detections_are_put_where_things_are_now(latency: int) -> None:
    world, late = World(3), oracle_stack(latency=latency)
    state = late.initial(seeds(3))
    for step in range(30):
        frame, labels = world.at(step)
        state, found, tracks, _ = late.step(frame, None, labels, state=state)
        assert bool(found.mask.any()) == (step >= latency)
        assert bool(tracks.mask.any()) == (step >= latency)
    torch.testing.assert_close(tracks.mean[:, :2, :2], labels.centre[..., :2], atol=0.25, rtol=0)
    torch.testing.assert_close(tracks.mean[:, :2, 2:], labels.velocity, atol=0.3, rtol=0)
    # detections: where the things were, seen from where the ego is
    _, old = world.at(29 - latency)
    x, y, yaw = world.pose(29)
    x0, y0, yaw0 = world.pose(29 - latency)
    ground = old.centre[..., :2]
    c, s = yaw0.cos().unsqueeze(1), yaw0.sin().unsqueeze(1)
    px = x0.unsqueeze(1) + c * ground[..., 0] - s * ground[..., 1] - x.unsqueeze(1)
    py = y0.unsqueeze(1) + s * ground[..., 0] + c * ground[..., 1] - y.unsqueeze(1)
    c, s = yaw.cos().unsqueeze(1), yaw.sin().unsqueeze(1)
    expected = torch.stack((c * px + s * py, c * py - s * px), 2)
    torch.testing.assert_close(found.centre[:, :2, :2], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.yaw[:, :2], -yaw.unsqueeze(1).expand(-1, 2), atol=1e-4, rtol=0)
    # the older the news, the less is known
    prompt = oracle_stack()
    fresh = prompt.initial(seeds(3))
    for step in range(30):
        fresh, _, sharp, _ = prompt.step(*world.at(step)[:1], None, world.at(step)[1], state=fresh)
    assert bool((tracks.covariance[:, :2, 0, 0] > sharp.covariance[:, :2, 0, 0]).all())


def test_detector_runs_at_its_own_rate() -> None:
    detector = Counting()
    stack = Pipeline(detector, KalmanTracker(TrackerConfig(classes=("car",))), None, PipelineConfig(every=3, slots=4))
    state, world, arrived = stack.initial(seeds(2)), World(2), []
    for step in range(10):
        assert stack.due(state).tolist() == [step % 3 == 0] * 2
        state, found, tracks, forecasts = stack.step(world.at(step)[0], None, state=state)
        arrived.append(found.mask[:, 0].tolist())
        assert not forecasts.mask.any() and tracks.mask.any() == (step >= 0)
    assert detector.runs == 4
    assert arrived == [[step % 3 == 0] * 2 for step in range(10)]
    assert found.mask.shape == (2, 4)


def test_tracks_are_carried_on_between_runs() -> None:
    world, stack = World(3), oracle_stack(every=4)
    state = stack.initial(seeds(3))
    for step in range(24):
        frame, labels = world.at(step)
        state, _, tracks, _ = stack.step(frame, None, labels, state=state)
    assert tracks.mask.sum() == 6 and not tracks.unseen.any() and int(tracks.age.max()) == 5
    torch.testing.assert_close(tracks.mean[:, :2, :2], labels.centre[..., :2], atol=0.2, rtol=0)


def test_dropped_frames_are_random_but_repeatable_and_no_misses() -> None:
    batch, steps, drop = 400, 30, 0.3
    stack = Pipeline(Counting(), KalmanTracker(TrackerConfig(classes=("car",), slots=2)), None, PipelineConfig(drop=drop, forecast=False))
    world, outcomes = World(batch), []
    for _ in range(2):
        state, arrived = stack.initial(seeds(batch)), []
        for _step in range(steps):
            frame = world.at(5)[0]
            frame = frame._replace(motion=torch.zeros_like(frame.motion))
            state, found, tracks, _ = stack.step(frame, None, state=state)
            arrived.append(found.mask[:, 0])
            assert not tracks.unseen.any()  # nothing was looked for, so nothing was missed
        outcomes.append(torch.stack(arrived))
    assert torch.equal(outcomes[0], outcomes[1])
    share, count = float((~outcomes[0]).float().mean()), batch * steps
    assert abs(share - drop) < 4.0 * math.sqrt(drop * (1 - drop) / count)
    both = (~outcomes[0][1:] & ~outcomes[0][:-1]).float().mean()
    assert abs(float(both) - drop**2) < 0.015  # one does not make the next likelier
    assert oracle_stack(drop=1.0).due(stack.initial(seeds(9))).any().item() is False


def test_reset_forgets_and_leaves_the_others_alone() -> None:
    world, stack = World(4), oracle_stack(latency=2, every=2)
    state = stack.initial(seeds(4))
    for step in range(9):
        frame, labels = world.at(step)
        state, *_ = stack.step(frame, None, labels, state=state)
    mask = torch.tensor([False, True, False, True])
    after = stack.reset_where(state, mask, seeds(4, 50))
    fresh = stack.initial(seeds(4, 50))
    for (name, now), (_, old), (_, new) in zip(tensors(after), tensors(state), tensors(fresh), strict=True):
        assert same(now[mask], new[mask]) and same(now[~mask], old[~mask]), name
    assert after.step.tolist() == [9, 0, 9, 0] and after.seed.tolist() == [0, 51, 2, 53]
    _, _, tracks, _ = stack.step(*world.at(9)[:1], None, world.at(9)[1], state=after)
    assert tracks.mask.any(1).tolist() == [True, False, True, False]


def test_state_saved_in_the_middle_goes_on_the_same() -> None:
    world, stack = World(2), oracle_stack(latency=2, drop=0.2)
    state = stack.initial(seeds(2))
    for step in range(8):
        state, *_ = stack.step(world.at(step)[0], None, world.at(step)[1], state=state)
    arrays = to_arrays(state)
    assert {"seed", "tracker.target.pxx", "late.detections.centre", "history.valid"} <= arrays.keys()
    back = move(from_arrays(stack.initial(seeds(2)), arrays), "cpu")
    for step in range(8, 14):
        frame, labels = world.at(step)
        state, _, a, _ = stack.step(frame, None, labels, state=state)
        back, _, b, _ = stack.step(frame, None, labels, state=back)
        assert all(same(x, y) for (_, x), (_, y) in zip(tensors(a), tensors(b), strict=True))
    with pytest.raises(ValueError, match=r"missing: seed"):
        from_arrays(state, {name: value for name, value in arrays.items() if name != "seed"})
    with pytest.raises(ValueError, match="belong to nothing: more"):
        from_arrays(state, arrays | {"more": arrays["seed"]})
    with pytest.raises(ValueError, match=r"seed: int64 of shape \(1,\); expected int64 of shape \(2,\)"):
        from_arrays(state, arrays | {"seed": arrays["seed"][:1]})
    with pytest.raises(TypeError, match="NamedTuples of tensors"):
        to_arrays({"a": 1})


@pytest.mark.parametrize("options", [{}, {"latency": 3, "drop": 0.3}, {"every": 2, "latency": 1}])
def test_no_world_sees_another(options: dict[str, Any]) -> None:
    world = World(7)
    stack = Pipeline(NoisyOracle(even_noise(miss=0.2, false_rate=1.0)), KalmanTracker(), ConstantVelocity(), PipelineConfig(**options))
    parts = [slice(0, 7), slice(0, 1), slice(3, 6)]
    states = [stack.initial(seeds(7)[part]) for part in parts]
    for step in range(12):
        frame, labels = world.at(step)
        told = []
        for k, part in enumerate(parts):
            some = SensorFrame(frame.image[part], Camera(*(v[part] for v in frame.camera)), *(v[part] for v in frame[2:]))
            states[k], *out = stack.step(some, None, Labels(*(v[part] for v in labels)), state=states[k])
            told.append(out)
        for k, part in enumerate(parts[1:], 1):
            for whole, own in zip(told[0], told[k], strict=True):
                for (name, a), (_, b) in zip(tensors(whole), tensors(own), strict=True):
                    a = a if name == "time" and a.dim() == 1 and len(a) != 7 else a[part]
                    assert same(a, b), (step, name)


def test_more_detections_than_slots_keeps_the_best() -> None:
    world, stack = World(1), oracle_stack(slots=1)
    frame, labels = world.at(0)

    class Unsure(Oracle):
        def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
            found = super().observe(frame, labels, seed=seed, step=step)
            return found._replace(score=torch.tensor([[0.6, 0.9]]))

    stack.detector = Unsure()
    _, found, _, _ = stack.step(frame, None, labels, state=stack.initial(seeds(1)))
    assert found.source.tolist() == [[8]]


def test_oracle_tells_only_what_is_visible() -> None:
    _, labels = World(1).at(0)
    boxes = torch.tensor([[[10.0, 10.0, 20.0, 13.0], [10.0, 10.0, 20.0, 20.0]]])
    rule = VisibilityRule(side_min=4.0, hidden_max=0.5, pixels_min=50.0)
    labels = labels._replace(box=boxes)
    assert rule(labels).tolist() == [[False, True]]
    assert rule(labels._replace(occlusion=torch.tensor([[0.0, 0.51]]))).tolist() == [[False, False]]
    assert rule(labels._replace(box=torch.full_like(boxes, torch.nan))).tolist() == [[True, True]]
    with pytest.raises(ValueError, match="hidden_max=2"):
        VisibilityRule(hidden_max=2.0)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"latency": -1}, {"drop": 1.5}, {"slots": 0}, {"every": 2.5}, {"latency": True}])
def test_bad_configurations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PipelineConfig(**wrong)


def test_labels_are_asked_for() -> None:
    stack = oracle_stack()
    assert stack.needs_labels
    with pytest.raises(ValueError, match="needs labels"):
        stack.step(World(1).at(0)[0], None, state=stack.initial(seeds(1)))


def test_stages_are_checked() -> None:
    with pytest.raises(TypeError, match="detector"):
        Pipeline(object(), KalmanTracker(), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tracker"):
        Pipeline(Oracle(), object(), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="predictor"):
        Pipeline(Oracle(), KalmanTracker(), object())  # type: ignore[arg-type]


def test_stages_by_name() -> None:
    stack = make_pipeline("oracle", "kalman", "ctrv", PipelineConfig(every=2))
    assert isinstance(stack.detector, Oracle) and stack.predictor is not None and stack.predictor.name == "ctrv"
    assert make_tracker("kalman", slots=5).initial(2).id.shape == (2, 5)
    assert make_tracker("kalman").initial(2).standing is None and make_tracker("imm").initial(2).standing is not None
    for name in ("constant_velocity", "ctrv", "idm_along_lane"):
        assert make_predictor(name).name == name
    assert {"oracle", "noisy"} <= set(registry.detector_names()) and registry.tracker_names() == ["kalman", "imm"]
    assert isinstance(make_detector("perception.oracle:Oracle", sigma=0.2), Oracle)
    few = make_pipeline(Oracle(classes=("car", "light")), predictor=None)
    assert few.predictor is None and isinstance(few.tracker, KalmanTracker) and few.tracker.config.light == 1


@pytest.mark.parametrize(
    ("make", "spec", "says"),
    [
        (make_detector, "orcale", "did you mean 'oracle'"),
        (make_tracker, "kalmann", "did you mean 'kalman'"),
        (make_predictor, "nothing", "Known: constant_velocity"),
        (make_detector, "no_such_package.at_all:Thing", "cannot be imported"),
        (make_detector, "perception.oracle:Thing", "has no 'Thing'"),
        (make_tracker, "perception.oracle:Oracle", "needs `name`, `initial`"),
        (make_predictor, "perception.oracle:Oracle", "needs `predict"),
        (make_detector, "perception.pipeline:PipelineConfig", "needs `classes`"),
    ],
)
def test_unknown_names_are_told_helpfully(make: Any, spec: str, says: str) -> None:
    with pytest.raises(StageError, match=says):
        make(spec)


def test_unknown_options_are_told() -> None:
    with pytest.raises(StageError, match="slotz"):
        make_tracker("kalman", slotz=3)


def test_select_takes_whole_worlds() -> None:
    stack = oracle_stack()
    a, b = stack.initial(seeds(3)), stack.initial(seeds(3, 10))
    chosen: PipelineState = select(torch.tensor([True, False, True]), a, b)
    assert chosen.seed.tolist() == [0, 11, 2]


def test_roads_reach_a_tracker_that_asks_for_them_in_the_frame_of_its_detections() -> None:
    """Late detections: the map of now, turned back by the way that the ego has gone since."""

    class Asks(KalmanTracker):
        def __init__(self) -> None:
            super().__init__()
            self.needs_roads, self.given = True, list[Roads | None]()

        def update(self, state: Any, detections: Any, frame: Any, fresh: Any, roads: Roads | None = None) -> Any:
            self.given.append(roads)
            return super().update(state, detections, frame, fresh)

    x, y, turn = 2.0, -0.5, 0.3
    there = torch.tensor([3.0, 1.0])  # of a point of the road, in the frame of then
    cos, sin = math.cos(turn), math.sin(turn)
    now = torch.tensor([[cos, sin], [-sin, cos]]) @ (there - torch.tensor([x, y]))
    points = torch.tensor([*now, math.cos(-turn), math.sin(-turn)]).view(1, 1, 1, 4)
    none = torch.full((1, 1, 3), -1, dtype=torch.int64)
    roads = Roads(points, torch.ones(1, 1), torch.zeros((1, 1), dtype=torch.int64), none, torch.ones((1, 1), dtype=torch.bool))
    world = World(1)
    for latency, expected in ((0, points), (1, torch.tensor([*there, 1.0, 0.0]).view(1, 1, 1, 4))):
        tracker = Asks()
        pipeline = Pipeline(Oracle(), tracker, None, PipelineConfig(latency=latency, forecast=False))
        state = pipeline.initial(torch.zeros(1, dtype=torch.int64))
        for k in range(2):
            frame, labels = world.at(k)
            frame = frame._replace(motion=torch.tensor([[x, y, turn]]))
            state = pipeline.step(frame, roads, labels, state=state)[0]
        assert pipeline.needs_roads
        last = tracker.given[-1]
        assert last is not None
        torch.testing.assert_close(last.points, expected)
    assert not Pipeline(Oracle(), KalmanTracker(), None).needs_roads
