"""The error model: draws have the statistics that its tables state, a fit finds them again, and cards keep them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from perception import rng
from perception.noise import MEMORY, NoisyOracle, bare_labels, even_noise, kernel
from perception.noise_card import load_noise, save_noise
from perception.noise_fit import Pair, fit_noise
from perception.noise_model import HIDDEN, RANGES, NoiseModel
from perception.states import tensors
from perception.storage import WeightsError
from perception.types import Camera, Detections, Labels, SensorFrame

GROUPS, REACHES, HIDES = 3, len(RANGES) - 1, len(HIDDEN) - 1


def make_truth(batch: int, things: int, *, seed: int = 0) -> tuple[SensorFrame, Labels]:
    """Things standing everywhere before the camera, at all ranges and occlusions."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand((batch, things), generator=generator) * (high - low) + low

    reach, bearing = uniform(2, 110), uniform(-0.6, 0.6)
    kind = torch.randint(0, 7, (batch, things), generator=generator)
    height = uniform(0.5, 1.0)
    labels = bare_labels(
        kind=kind,
        centre=torch.stack((1.5 + reach * bearing.cos(), reach * bearing.sin(), height), 2),
        size=torch.stack((uniform(1, 5), uniform(0.5, 2), uniform(1, 3)), 2),
        yaw=uniform(-3, 3),
        velocity=torch.zeros(batch, things, 2),
        source=torch.arange(things).expand(batch, things) + 5,
        mask=torch.ones(batch, things, dtype=torch.bool),
        occlusion=uniform(0.0, 1.0),
        light=torch.where(kind == 6, torch.randint(0, 5, kind.shape, generator=generator), -1),
    )
    one = torch.ones((batch, 1))
    camera = Camera(one * 80, one * 80, one * 48, one * 1.5, one * 0, one * 1.5, one * 0)
    image = torch.zeros((), dtype=torch.uint8).expand(batch, 1, 3, 96, 160)
    zero = torch.zeros(batch)
    return SensorFrame(image, camera, zero, zero, zero, torch.zeros(batch, 3)), labels


def told(model: NoiseModel, steps: int, batch: int = 40, things: int = 40, **options: Any) -> Iterator[tuple[Labels, Detections]]:
    frame, labels = make_truth(batch, things)
    oracle, seed = NoisyOracle(model, **options), torch.arange(batch)
    for step in range(steps):
        yield labels, oracle.observe(frame, labels, seed=seed, step=torch.full((batch,), step))


def rich() -> NoiseModel:
    """A model in which every table has its own numbers."""
    base = even_noise(miss_memory=0.7, place_memory=0.5, false_rate=0.8, false_life=4)
    generator = torch.Generator().manual_seed(3)
    reach, hidden = torch.arange(REACHES).view(REACHES, 1), torch.arange(HIDES).view(1, HIDES)
    miss = (0.05 + 0.05 * reach + 0.08 * hidden).clamp(max=0.9).expand(GROUPS, REACHES, HIDES) * torch.tensor([1.0, 1.3, 0.7]).view(
        GROUPS, 1, 1
    )
    slope = torch.arange(REACHES).float()
    kind = 0.9 * torch.eye(7) + 0.1 / 7
    return replace(
        base,
        miss=miss.clamp(max=0.95),
        along=torch.stack((0.01 * slope / REACHES, 0.02 + 0.005 * slope), 1).expand(GROUPS, REACHES, 2).clone(),
        across=torch.stack((0.0 * slope, 0.003 + 0.001 * slope), 1).expand(GROUPS, REACHES, 2).clone(),
        yaw=torch.stack((0.05 + 0.02 * slope, 0.02 * slope / REACHES + 0.02), 1).expand(GROUPS, REACHES, 2).clone(),
        size=torch.rand((GROUPS, 3, 2), generator=generator) * 0.1,
        kind=kind,
        light=0.8 * torch.eye(5) + 0.04,
        false_kind=torch.tensor([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        false_range=torch.tensor([0.0, 0.3, 0.3, 0.2, 0.1, 0.05, 0.05]),
    )


def test_random_numbers_are_those_of_the_paper() -> None:
    """Known answers of Threefry-2x32-20, from the Random123 distribution (kat_vectors)."""

    def word(text: str) -> tuple[Tensor, Tensor]:
        first, second = text.split()
        return torch.tensor(int(first, 16)), torch.tensor(int(second, 16))

    for key, counter, expected in (
        ("00000000 00000000", "00000000 00000000", "6b200159 99ba4efe"),
        ("ffffffff ffffffff", "ffffffff ffffffff", "1cb996fc bb002be7"),
        ("13198a2e 03707344", "243f6a88 85a308d3", "c4923a9c 483df7a0"),
    ):
        assert rng.threefry2x32(word(key), word(counter)) == word(expected)
    seed, index = torch.arange(500).unsqueeze(1), torch.arange(200)
    values = rng.uniform(seed, torch.zeros_like(seed), 7, index)
    assert kstest(values.flatten().numpy(), "uniform").pvalue > 1e-3
    for part in rng.normal(seed, torch.zeros_like(seed), 8, index):
        assert kstest(part.flatten().numpy(), "norm").pvalue > 1e-3
    with pytest.raises(ValueError, match="stream=4096"):
        rng.uniform(seed, seed, 4096, index)


def test_perfect_model_tells_the_truth() -> None:
    model = even_noise(along=0.0, across=0.0, size=0.0, yaw=0.0)
    for labels, found in told(model, 2):
        torch.testing.assert_close(found.centre, labels.centre)
        torch.testing.assert_close(found.size, labels.size)
        torch.testing.assert_close(found.yaw, labels.yaw, atol=1e-5, rtol=0)
        assert torch.equal(found.kind, labels.kind) and torch.equal(found.light, labels.light) and torch.equal(found.mask, labels.mask)


def test_misses_are_as_many_as_stated_and_last() -> None:
    memory, miss = 0.8, 0.3
    seen = torch.stack([found.mask for _, found in told(even_noise(miss=miss, miss_memory=memory), 60)]).float()
    assert float(1.0 - seen.mean()) == pytest.approx(miss, abs=0.01)
    missed = 1.0 - seen
    joint = float((missed[1:] * missed[:-1]).mean())
    weights = np.array(kernel(memory))
    rho = float((weights[1:] * weights[:-1]).sum())
    draws = np.random.default_rng(0).multivariate_normal([0, 0], [[1, rho], [rho, 1]], 400_000)
    assert joint == pytest.approx(float((draws < norm.ppf(miss)).all(1).mean()), abs=0.01)
    assert float((missed[MEMORY + 2 :] * missed[: -MEMORY - 2]).mean()) == pytest.approx(miss**2, abs=0.01)


def test_errors_lie_along_the_line_of_sight() -> None:
    model = even_noise(along=0.05, across=0.01, yaw=0.2, flip=0.1)
    errors, turns = [], []
    for labels, found in told(model, 4):
        sight = labels.centre[..., :2] - torch.tensor([1.5, 0.0])
        reach = sight.norm(dim=2, keepdim=True)
        unit, off = sight / reach, (found.centre - labels.centre)[..., :2]
        errors.append(torch.stack(((off * unit).sum(2), off[..., 1] * unit[..., 0] - off[..., 0] * unit[..., 1]), 2) / reach)
        torch.testing.assert_close(found.sigma, (reach * torch.tensor([0.05, 0.01])).clamp(min=0.05))
        turns.append(torch.remainder(found.yaw - labels.yaw + math.pi, 2 * math.pi) - math.pi)
    error, turn = torch.cat(errors).flatten(0, 1), torch.cat(turns).flatten()
    for column, sigma in ((0, 0.05), (1, 0.01)):
        assert kstest(error[:, column].numpy() / sigma, "norm").pvalue > 1e-3
    assert float((turn.abs() > 0.5 * math.pi).float().mean()) == pytest.approx(0.1, abs=0.015)
    assert float(turn[turn.abs() < 0.5 * math.pi].std()) == pytest.approx(0.2, rel=0.05)


def test_recall_is_the_share_kept_of_what_would_be_detected() -> None:
    """Also where nothing would be missed; what is kept would have been detected, and the best of it is kept."""
    for miss, recall in ((0.0, 0.7), (0.3, 0.5)):
        model = even_noise(miss=miss)
        every, some = (list(told(model, 20, recall=share)) for share in (1.0, recall))
        shares = [float(torch.stack([found.mask for _, found in side]).float().mean()) for side in (every, some)]
        assert shares[0] == pytest.approx(1.0 - miss, abs=0.01)
        assert shares[1] == pytest.approx(recall * (1.0 - miss), abs=0.01)
        for (_, a), (_, b) in zip(every, some, strict=True):
            assert not (b.mask & ~a.mask).any()
            assert float(a.score[b.mask].mean()) > float(a.score[a.mask & ~b.mask].mean())
    assert not any(found.mask.any() for _, found in told(even_noise(), 5, recall=0.0))
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="recall="):
            NoisyOracle(even_noise(), recall=share)


def test_position_is_a_factor_on_errors_of_place_and_what_is_said_of_them() -> None:
    model = even_noise(along=0.05, across=0.01)
    for (labels, one), (_, three), (_, none) in zip(
        told(model, 2), told(model, 2, position=3.0), told(model, 2, position=0.0), strict=True
    ):
        torch.testing.assert_close(three.centre - labels.centre, 3.0 * (one.centre - labels.centre), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(none.centre, labels.centre)
        clear = one.sigma > 0.051  # above the least that is ever said
        torch.testing.assert_close(three.sigma[clear], 3.0 * one.sigma[clear])
        assert torch.equal(one.mask, three.mask)
        torch.testing.assert_close(one.size, three.size)
    for factor in (-1.0, math.inf):
        with pytest.raises(ValueError, match="position="):
            NoisyOracle(model, position=factor)


def test_false_detections_come_stay_and_go() -> None:
    model = even_noise(false_rate=1.5, false_life=5)
    found = [found for _, found in told(model, 50, batch=60, things=2)]
    there = torch.stack([f.mask[:, 2:] for f in found]).float()
    assert float(there.sum(2).mean()) == pytest.approx(1.5, abs=0.1)
    stays = float((there[1:] * there[:-1]).sum() / there[:-1].sum())
    slots = there.shape[2]
    assert stays == pytest.approx(0.8 + 0.2 * 1.5 / slots, abs=0.03)  # each step one spell in five ends, and may be followed by another
    assert all(bool((f.source[:, 2:] == -1).all()) and bool(f.box[:, 2:].isnan().all()) for f in found)


def test_weather_and_time_step_matter() -> None:
    fog = {"weathers": ("clear", "fog"), "weather": torch.tensor([0.0, 1.0]), "weather_share": torch.tensor([0.7, 0.3])}
    model = replace(even_noise(miss=0.2, miss_memory=0.64), **fog)
    shares = {w: np.mean([float((~f.mask).float().mean()) for _, f in told(model, 20, weather=w)]) for w in model.weathers}
    assert shares["clear"] == pytest.approx(0.2, abs=0.015)
    assert shares["fog"] == pytest.approx(norm.cdf(norm.ppf(0.2) + 1.0), abs=0.015)
    # not told which: each world has its own for good, as often as the model says
    drawn = torch.stack([(~f.mask).float().mean(1) for _, f in told(model, 40, batch=400, things=40)]).mean(0)
    foggy = drawn > 0.5 * (shares["clear"] + shares["fog"])
    assert float(foggy.float().mean()) == pytest.approx(0.3, abs=0.07)
    finer = NoisyOracle(model, interval=0.05).model
    assert finer.miss_memory == pytest.approx(0.8) and finer.interval == 0.05
    with pytest.raises(ValueError, match="no weather 'hail'"):
        NoisyOracle(model, weather="hail")


def test_a_fit_finds_what_was_drawn() -> None:
    model, steps, batch = rich(), 40, 50
    labels_of, detections_of = zip(*told(model, steps, batch=batch, things=60), strict=True)
    lens = torch.tensor([1.5, 0.0]).expand(batch, 2)

    def named(found: Detections, labels: Labels) -> tuple[Labels, Detections]:
        """With boxes that only the same thing shares, so that matching is not what is tested here."""
        count = labels.mask.shape[1]
        at = torch.arange(found.mask.shape[1]).float() * 20.0
        box = torch.stack((at, at, at + 10.0, at + 10.0), 1).expand(batch, -1, 4)
        return labels._replace(box=box[:, :count]), found._replace(box=box)

    pairs = []
    for true, found in zip(labels_of, detections_of, strict=True):
        true, found = named(found, true)
        pairs.append(Pair(true, found, lens=lens, motion=torch.zeros(batch, 3)))
    fit = fit_noise(pairs, interval=0.1)
    got = fit.model
    assert fit.frames == steps * batch and fit.things == steps * batch * 60
    often = torch.tensor(fit.tried) > 500
    assert int(often.sum()) > 0.6 * often.numel()
    # neighbouring frames are not independent: about (1 + rho) / (1 - rho) frames are worth one
    wide = torch.tensor(fit.tried).clamp(min=1).float() / 6.0
    assert bool(((got.miss - model.miss).abs()[often] < (5.0 * (model.miss * (1 - model.miss) / wide).sqrt() + 0.005)[often]).all())
    assert got.miss_memory == pytest.approx(model.miss_memory, abs=0.06)
    assert got.place_memory == pytest.approx(model.place_memory, abs=0.04)
    torch.testing.assert_close(got.along[..., 1], model.along[..., 1], rtol=0.12, atol=5e-4)
    torch.testing.assert_close(got.across[..., 1], model.across[..., 1], rtol=0.12, atol=2e-4)
    torch.testing.assert_close(got.along[..., 0], model.along[..., 0], rtol=0, atol=5e-3)
    torch.testing.assert_close(got.yaw, model.yaw, rtol=0.1, atol=0.01)
    torch.testing.assert_close(got.size, model.size, rtol=0.05, atol=3e-3)
    torch.testing.assert_close(got.kind, model.kind, rtol=0, atol=0.02)
    torch.testing.assert_close(got.light, model.light, rtol=0, atol=0.03)
    assert got.false_rate == pytest.approx(model.false_rate, rel=0.12)
    assert abs(got.false_life - model.false_life) <= 2
    torch.testing.assert_close(got.score[..., [0, 4, 8]], model.score[..., [0, 4, 8]], rtol=0, atol=0.12)
    inside = (fit.interval()[..., 0] <= got.miss.numpy() + 1e-3) & (got.miss.numpy() - 1e-3 <= fit.interval()[..., 1])
    assert inside[often.numpy()].all()
    json.dumps(fit.evidence, allow_nan=False)


def test_a_fit_without_boxes_matches_by_place() -> None:
    """Sparse scenes, small errors: the nearest detection is the right one."""
    model, batch = even_noise(miss=0.25, along=0.01, across=0.002, false_rate=0.5), 200
    pairs = []
    for labels, found in told(model, 6, batch=batch, things=3):
        far = labels.mask.clone()
        far[:, 1:] = False  # one thing a frame
        keep = torch.cat((far, torch.ones_like(found.mask[:, 3:])), 1)
        pairs.append(
            Pair(labels._replace(mask=far), found._replace(mask=found.mask & keep), lens=torch.tensor([1.5, 0.0]).expand(batch, 2))
        )
    fit = fit_noise(pairs)
    assert 1.0 - fit.found / fit.things == pytest.approx(0.25, abs=0.05)
    assert fit.model.false_rate == pytest.approx(0.5, abs=0.06)
    assert float(fit.model.along[..., 1].median()) == pytest.approx(0.01, rel=0.3)


def test_a_fit_tells_weathers_apart() -> None:
    shares = torch.tensor([0.5, 0.5])
    model = replace(even_noise(miss=0.2), weathers=("clear", "fog"), weather=torch.tensor([-0.2, 0.6]), weather_share=shares)
    frame, labels = make_truth(50, 30)
    pairs = []
    for step in range(20):
        for number, name in enumerate(model.weathers):
            found = NoisyOracle(model, weather=name).observe(
                frame, labels, seed=torch.arange(50), step=torch.full((50,), step + 100 * number)
            )
            at = torch.arange(30).float() * 20.0
            box = torch.stack((at, at, at + 10.0, at + 10.0), 1).expand(50, -1, 4)
            pairs.append(Pair(labels._replace(box=box), found._replace(box=box), weather=torch.full((50,), number)))
    got = fit_noise(pairs, weathers=model.weathers).model
    assert got.weather_share.tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    rates = [norm.cdf(norm.ppf(got.miss.mean()) + float(shift)) for shift in got.weather]
    assert rates == pytest.approx([norm.cdf(norm.ppf(0.2) - 0.2), norm.cdf(norm.ppf(0.2) + 0.6)], abs=0.02)


def test_nothing_to_fit() -> None:
    _, labels = make_truth(1, 2)
    found = NoisyOracle(even_noise()).observe(*make_truth(1, 2), seed=torch.zeros(1).long(), step=torch.zeros(1).long())
    with pytest.raises(ValueError, match="no labels"):
        fit_noise([Pair(labels._replace(mask=torch.zeros_like(labels.mask)), found)])


def test_a_world_errs_alone() -> None:
    """Bitwise the same in any batch and row, and whatever the other things are."""
    frame, labels = make_truth(9, 20)
    oracle, seed, step = NoisyOracle(rich()), torch.arange(9) * 77, torch.arange(9) + 3
    whole = oracle.observe(frame, labels, seed=seed, step=step)
    for rows in (slice(0, 1), slice(4, 5), slice(2, 8)):
        some = SensorFrame(frame.image[rows], Camera(*(v[rows] for v in frame.camera)), *(v[rows] for v in frame[2:]))
        own = oracle.observe(some, Labels(*(v[rows] for v in labels)), seed=seed[rows], step=step[rows])
        for (name, a), (_, b) in zip(tensors(whole), tensors(own), strict=True):
            assert torch.equal(
                a[rows].nan_to_num(-1) if a.is_floating_point() else a[rows], b.nan_to_num(-1) if b.is_floating_point() else b
            ), name
    fewer = Labels(*(v[:, 5:8] if v.dim() >= 2 and v.shape[1] == 20 else v for v in labels))
    part = oracle.observe(frame, fewer, seed=seed, step=step)
    assert torch.equal(part.centre[:, :3], whole.centre[:, 5:8]) and torch.equal(part.mask[:, :3], whole.mask[:, 5:8])


def test_cards_keep_models(tmp_path: Path) -> None:
    model = rich()
    path = save_noise(tmp_path / "errors.json", model, card={"detector": "driving", "licence": "Apache-2.0"})
    back = load_noise(path)
    for part in fields(NoiseModel):
        a, b = getattr(model, part.name), getattr(back, part.name)
        if isinstance(a, Tensor):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
        else:
            assert a == b, part.name
    assert json.loads(path.read_text())["detector"] == "driving"
    assert NoisyOracle.load(path, interval=0.2).model.interval == 0.2
    with pytest.raises(ValueError, match=r"end in \.json"):
        save_noise(tmp_path / "errors.txt", model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card["model"]["miss"].pop(), "do not match its sha256"),
        (lambda card: card.update(version=9), "version 9"),
        (lambda card: card.pop("model"), "no tables"),
        (lambda card: card.update(kind="detector"), "is a detector"),
    ],
)
def test_damaged_cards_are_refused(tmp_path: Path, change: Any, says: str) -> None:
    path = save_noise(tmp_path / "errors.json", rich())
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=says):
        load_noise(path)


def test_unknown_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no error model 'nowhere'"):
        load_noise("nowhere")
    path = tmp_path / "errors.json"
    path.write_text("{")
    with pytest.raises(WeightsError):
        load_noise(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"miss": torch.zeros(1, 2, 3)}, "miss: shape"),
        ({"miss": torch.full((GROUPS, REACHES, HIDES), 1.5)}, "miss: has values"),
        ({"kind": torch.zeros(7, 7)}, "kind: probabilities"),
        ({"miss_memory": 1.0}, "miss_memory=1.0"),
        ({"groups": (("car",),)}, "groups="),
        ({"ranges": torch.zeros(REACHES + 1)}, "ranges="),
        ({"false_life": 0}, "false_life=0"),
        ({"along": torch.full((GROUPS, REACHES, 2), torch.nan)}, "along: shape"),
    ],
)
def test_bad_tables_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(even_noise(), **change)


def test_json_is_strict() -> None:
    told = even_noise().to_json()
    with pytest.raises(ValueError, match="is missing miss"):
        NoiseModel.from_json({name: value for name, value in told.items() if name != "miss"})
    with pytest.raises(ValueError, match="does not know more"):
        NoiseModel.from_json(told | {"more": 1})
    with pytest.raises(ValueError, match="false_life"):
        NoiseModel.from_json(told | {"false_life": 1.5})
