"""The learned predictor's laws: blind to where a scene lies, to the batch it is in and to the order of rows; files; training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.prediction.base import STEPS, no_roads
from perception.prediction.datasets import mirrored, scaled
from perception.prediction.examples import LEFT, RIGHT, Examples, join, take, tracks_from
from perception.prediction.fitting import adapt, calibrate, paths_of
from perception.prediction.history import PAST, History
from perception.prediction.kinematic import ConstantVelocity, TurnRate
from perception.prediction.learned import Learned, load_network, stored_network
from perception.prediction.leave_one_out import Recording, evaluate_leave_one_out
from perception.prediction.network import Network
from perception.prediction.samples import samples_of
from perception.prediction.training import Pretraining, Progress, fit_spread, judge, pretrain, samples_to_judge
from perception.storage import WEIGHTS, WeightsError, save
from perception.types import Forecasts, Roads


def turning(batch: int, seed: int, tracks: int = 4) -> Examples:
    """Cars that keep to circles of random curvature: what constant velocity cannot know and a past of PAST instants tells."""
    g = torch.Generator().manual_seed(seed)
    shape = (batch, tracks, 1)
    rate = (torch.rand(shape, generator=g) - 0.5) * 0.8
    rate = torch.where(rate.abs() < 0.02, 0.02, rate)
    speed, yaw0 = 3.0 + 7.0 * torch.rand(shape, generator=g), (torch.rand(shape, generator=g) - 0.5) * 6.0
    x0, y0 = torch.randn(shape, generator=g) * 20.0, torch.randn(shape, generator=g) * 20.0
    past, ahead = torch.arange(1 - PAST, 1) * 0.2, torch.arange(1, STEPS + 1) * 0.5

    def at(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        yaw = yaw0 + rate * t
        return x0 + speed / rate * (yaw.sin() - yaw0.sin()), y0 - speed / rate * (yaw.cos() - yaw0.cos()), yaw

    x, y, yaw = at(past)
    yaw = torch.remainder(yaw + math.pi, 2 * math.pi) - math.pi
    vx, vy = speed * yaw.cos(), speed * yaw.sin()
    mean = torch.stack([x[..., -1], y[..., -1], vx[..., -1], vy[..., -1]], dim=-1)
    mask = torch.ones(batch, tracks, dtype=torch.bool)
    size = torch.tensor([4.6, 1.85, 1.5]).expand(batch, tracks, 3)
    now = tracks_from(torch.zeros(batch, tracks, dtype=torch.int64), mean, yaw[..., -1], size, mask)
    ego = torch.zeros(batch, PAST, 5)
    history = History(
        now.id, x, y, vx, vy, yaw, torch.ones_like(x, dtype=torch.bool), ego, ego[..., 0] == 0, (past + 3.0).expand(batch, PAST)
    )
    line = torch.linspace(-30.0, 30.0, 10)
    points = torch.stack([line, torch.full_like(line, 2.0), torch.ones_like(line), torch.zeros_like(line)], dim=-1)
    roads = Roads(
        torch.stack([points, points + torch.tensor([0.0, 4.0, 0.0, 0.0])]).expand(batch, 2, 10, 4).clone(),
        torch.full((batch, 2), 13.0),
        torch.zeros(batch, 2, dtype=torch.int64),
        torch.full((batch, 2, 3), -1),
        torch.ones(batch, 2, dtype=torch.bool),
    )
    fx, fy, _ = at(ahead)
    manoeuvre = torch.where(rate[..., 0] > 0, LEFT, RIGHT)
    return Examples(history, now, roads, torch.stack([fx, fy], dim=-1), torch.ones(batch, tracks, STEPS, dtype=torch.bool), manoeuvre)


def moved(examples: Examples, angle: float, dx: float, dy: float) -> Examples:
    """The same scenes elsewhere, turned."""
    c, s = math.cos(angle), math.sin(angle)
    h, t, r = examples.history, examples.tracks, examples.roads

    def turn(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * c - y * s, x * s + y * c

    x, y = turn(h.x, h.y)
    vx, vy = turn(h.vx, h.vy)
    ex, ey = turn(h.ego[..., 0], h.ego[..., 1])
    evx, evy = turn(h.ego[..., 2], h.ego[..., 3])
    ego = torch.stack([ex + dx, ey + dy, evx, evy, h.ego[..., 4] + angle], dim=-1)
    history = h._replace(x=x + dx, y=y + dy, vx=vx, vy=vy, yaw=h.yaw + angle, ego=ego)
    mean = torch.stack([history.x[..., -1], history.y[..., -1], vx[..., -1], vy[..., -1]], dim=-1)
    px, py = turn(r.points[..., 0], r.points[..., 1])
    pc, ps = turn(r.points[..., 2], r.points[..., 3])
    roads = r._replace(points=torch.stack([px + dx, py + dy, pc, ps], dim=-1))
    return examples._replace(history=history, tracks=t._replace(mean=mean, yaw=t.yaw + angle), roads=roads)


def network(seed: int = 0) -> Network:
    """Untrained, but with every weight large enough to matter."""
    torch.manual_seed(seed)
    made = Network()
    torch.nn.init.normal_(made.paths[-1].weight, std=0.3)  # type: ignore[arg-type]
    return made


def forecast(net: Network, e: Examples) -> Forecasts:
    return Learned(net).predict(e.history, e.tracks, e.roads)


def test_a_scene_turned_and_moved_has_its_forecasts_turned_and_moved() -> None:
    scene, net = turning(3, 1), network()
    angle, dx, dy = 1.1, 35.0, -80.0
    before, after = forecast(net, scene), forecast(net, moved(scene, angle, dx, dy))
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    torch.testing.assert_close(after.mean, before.mean @ turn.T + torch.tensor([dx, dy]), atol=5e-3, rtol=1e-4)
    torch.testing.assert_close(after.covariance, turn @ before.covariance @ turn.T, atol=5e-3, rtol=2e-3)
    torch.testing.assert_close(after.probability, before.probability, atol=1e-4, rtol=1e-3)
    straight = ConstantVelocity().predict(scene.history, scene.tracks, scene.roads).mean
    assert (before.mean - straight).norm(dim=-1).max() > 1.0  # the network says something


def test_what_is_seen_matters() -> None:
    scene, net = turning(3, 1), network()
    with_map = forecast(net, scene).mean
    assert (forecast(net, scene._replace(roads=no_roads(3))).mean - with_map).abs().max() > 1e-3
    gone = scene._replace(tracks=scene.tracks._replace(mask=torch.tensor([[True, False, False, False]]).expand(3, 4)))
    assert (forecast(net, gone).mean[:, 0] - with_map[:, 0]).abs().max() > 1e-3


def test_forecasts_do_not_depend_on_the_number_of_worlds() -> None:
    scene, net = turning(21, 2), network()
    whole = forecast(net, scene)
    for count in (1, 5, 16):
        part = forecast(net, take(scene, torch.arange(count)))
        assert torch.equal(part.mean, whole.mean[:count]) and torch.equal(part.probability, whole.probability[:count])


def test_rows_may_be_in_any_order() -> None:
    scene, net = turning(2, 3), network()
    order = torch.tensor([2, 0, 3, 1])
    h, t = scene.history, scene.tracks
    shuffled_history = h._replace(**{name: getattr(h, name)[:, order] for name in ("id", "x", "y", "vx", "vy", "yaw", "valid")})
    shuffled = scene._replace(history=shuffled_history, tracks=type(t)(*(column[:, order] for column in t)))
    torch.testing.assert_close(forecast(net, shuffled).mean, forecast(net, scene).mean[:, order], atol=1e-3, rtol=1e-4)


def test_forecasts_are_proper_distributions() -> None:
    scene = turning(2, 4)
    found = forecast(network(), scene)
    torch.testing.assert_close(found.probability.sum(-1), torch.ones(2, 4))
    torch.testing.assert_close(found.manoeuvre.sum(-1), torch.ones(2, 4))
    assert (torch.linalg.eigvalsh(found.covariance.double()) > 0).all()
    torch.testing.assert_close(found.covariance, found.covariance.transpose(-1, -2))


def test_mirrored_twice_is_the_scene_and_scaling_keeps_constant_velocity_true() -> None:
    scene = turning(2, 5)
    twice = mirrored(mirrored(scene))
    torch.testing.assert_close(twice.future, scene.future)
    torch.testing.assert_close(twice.roads.points, scene.roads.points)
    assert torch.equal(twice.manoeuvre, scene.manoeuvre) and not torch.equal(mirrored(scene).manoeuvre, scene.manoeuvre)
    large = scaled(scene, 1.5)
    error = (TurnRate().predict(large.history, large.tracks, large.roads).mean[:, :, 0] - large.future).norm(dim=-1)
    small = (TurnRate().predict(scene.history, scene.tracks, scene.roads).mean[:, :, 0] - scene.future).norm(dim=-1)
    torch.testing.assert_close(error, small * 1.5, atol=0.02, rtol=0.02)


def test_weights_survive_a_file_and_strange_ones_are_refused(tmp_path: Path) -> None:
    net, scene = network(), turning(1, 6)
    net.widen.fill_(1.3)
    file = save(tmp_path / "p.safetensors", stored_network(net, "p"), card={"what": "test"})
    assert torch.equal(forecast(load_network(file), scene).mean, forecast(net, scene).mean)
    assert torch.equal(forecast(load_network(file), scene).covariance, forecast(net, scene).covariance)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError, match="sha256"):
        load_network(file)


def test_calibration_makes_the_ellipses_hold_ninety_percent() -> None:
    net, samples = network(), samples_of(turning(300, 7))
    calibrate(net, samples)
    paths = paths_of(net, samples)
    offset = samples.target[:, None] - paths.mean
    best = offset.norm(dim=-1).sum(-1).argmin(1)
    row = torch.arange(len(best))
    z, rho = offset[row, best] / paths.deviation[row, best], paths.correlation[row, best]
    squared = (z[..., 0] ** 2 - 2 * rho * z[..., 0] * z[..., 1] + z[..., 1] ** 2) / (1 - rho**2)
    inside = (squared <= 4.60517).float().mean(0)
    within = (net.widen[0] > 0.2) & (net.widen[0] < 5.0)  # factors are bounded
    assert within.any() and ((inside[within] - 0.9).abs() < 0.01).all()


def test_adapting_to_straight_driving_takes_the_trust_away() -> None:
    scene = turning(100, 8)
    straight = ConstantVelocity().predict(scene.history, scene.tracks, scene.roads).mean[:, :, 0]
    net = network()
    adapt(net, samples_of(scene._replace(future=straight)))
    assert float(net.trust[0]) == 0.0 and float(net.trust[1]) == 1.0  # nobody walks here: left as it was
    found = forecast(net, scene)
    torch.testing.assert_close(found.mean[:, :, 0], straight, atol=1e-3, rtol=1e-4)


@pytest.mark.slow
def test_pretraining_learns_writes_a_card_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, test = [turning(200, 10), turning(200, 11)], [turning(60, 12)]
    told: list[Progress] = []
    target = tmp_path / "net.safetensors"
    pretrain(learn, test, target, config=Pretraining(updates=150), command="a test", progress=told.append, batches=2)
    card = json.loads(target.with_suffix(".json").read_text())
    ours, theirs = card["metrics"]["learned"], card["metrics"]["constant_velocity"]
    assert ours["minADE@5"] < 0.6 * theirs["minADE@5"] and ours["ADE@5"] < 0.8 * theirs["ADE@5"]
    assert card["metrics"]["manoeuvre_accuracy"] > 0.8
    assert card["licence"] == "Apache-2.0" and card["command"] == "a test" and card["seed"] == 0
    assert judge(Learned(load_network(target)), test)["minADE@5"] == pytest.approx(ours["minADE@5"], abs=1e-3)
    assert {p.stage for p in told} == {"data", "fit", "calibrate", "judge"} and not list(tmp_path.glob("*.state.*"))

    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.stage == "fit" and progress.done == 20:
            raise Stopped

    monkeypatch.setattr("perception.prediction.training.REPORT", 10)
    monkeypatch.setattr("perception.prediction.training.SAVE", 10)
    second = tmp_path / "second.safetensors"
    with pytest.raises(Stopped):
        pretrain(learn, test, second, config=Pretraining(updates=40), progress=stop)
    assert second.with_suffix(".state.safetensors").is_file()
    told.clear()
    apart = [turning(200, 13)]
    pretrain(learn, test, second, config=Pretraining(updates=40), calibration=apart, progress=told.append, resume=True)
    assert [p.done for p in told if p.stage == "fit"] == [20, 30, 40] and second.is_file()
    kept, net = load_network(second), load_network(second)
    calibrate(net, samples_to_judge(apart))
    torch.testing.assert_close(net.widen, kept.widen, rtol=0.0, atol=0.0)
    calibrate(net, samples_to_judge(learn))
    assert not torch.equal(net.widen, kept.widen)


def test_calibration_counts_who_moves_and_needs_somebody() -> None:
    scene = turning(30, 14)
    still = scene.tracks.mean[..., None, :2].expand(scene.future.shape)
    first = torch.arange(scene.future.shape[1]) == 0
    half = scene._replace(future=torch.where(first[:, None, None], still, scene.future))
    assert len(samples_to_judge([scene]).target) - len(samples_to_judge([half]).target) == int(scene.there[:, 0, 0].sum())
    with pytest.raises(ValueError, match="nothing to calibrate by"):
        samples_to_judge([])


def test_an_empty_stream_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the stream is empty"):
        pretrain([], [], tmp_path / "x.safetensors", config=Pretraining(updates=1))
    with pytest.raises(ValueError, match="updates=0"):
        Pretraining(updates=0)


def test_leaving_one_out_judges_each_on_what_it_was_not_trained_on() -> None:
    recordings = {name: Recording(learn=(turning(60, seed),), judge=turning(20, seed)) for name, seed in (("a", 20), ("b", 21))}
    result = evaluate_leave_one_out(recordings, updates=60)
    assert result["all"]["learned"]["count@5"] == 160.0
    assert result["a"]["learned"]["minADE@5"] < result["a"]["constant_velocity"]["minADE@5"]


def test_spread_fitted_to_gaussian_errors_holds_ninety_percent() -> None:
    scene = join([turning(400, 30)])
    straight = ConstantVelocity().predict(scene.history, scene.tracks, scene.roads).mean[:, :, 0]
    g = torch.Generator().manual_seed(0)
    time = torch.arange(1, STEPS + 1) * 0.5
    noise = torch.randn(straight.shape, generator=g) * (0.2 + 0.3 * time)[:, None]
    walkers = scene.tracks._replace(kind=torch.where(torch.arange(4) < 2, 5, 0).expand(400, 4).clone())
    curves = fit_spread(ConstantVelocity(), [scene._replace(future=straight + noise, tracks=walkers)])
    for along, across in curves.values():
        for a, b, c in (along, across):
            sigma = a + b * time + c * time**2
            torch.testing.assert_close(sigma, (0.2 + 0.3 * time) * 1.645 / 1.9, rtol=0.15, atol=0.02)


def test_the_shipped_network_does_what_its_card_promises() -> None:
    card = json.loads((WEIGHTS / "predictor_driving.json").read_text())
    figures = card["metrics"]
    for horizon in ("3", "5"):
        ours, theirs = figures["learned"], figures["constant_velocity"]
        assert ours[f"minADE@{horizon}"] < 0.5 * theirs[f"minADE@{horizon}"]
        assert ours[f"ADE@{horizon}"] < 0.85 * theirs[f"ADE@{horizon}"]
        assert 0.85 <= ours[f"ellipse@{horizon}"] <= 0.95
    scene = turning(20, 9)  # roads and motion unlike any it has seen
    found = judge(Learned.from_file(), [scene])
    straight = judge(ConstantVelocity(), [scene])
    assert found["minADE@3"] < 0.7 * straight["minADE@3"]
