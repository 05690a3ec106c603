"""Forecast metrics against plain numpy, and coverage against distributions of which it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from perception.metrics.forecast import ELLIPSE_90, figures, mixture_level, score, table
from perception.prediction.datasets import UCY
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.leave_one_out import judged, people
from perception.types import Forecasts

TIME = torch.arange(1, 11) * 0.5


def random_forecasts(batch: int = 3, tracks: int = 4) -> tuple[Forecasts, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn((batch, tracks, 6, 10, 2), generator=generator) * 2.0
    root = torch.randn((batch, tracks, 6, 10, 2, 2), generator=generator)
    covariance = root @ root.transpose(-1, -2) + 0.3 * torch.eye(2)
    probability = torch.softmax(torch.randn((batch, tracks, 6), generator=generator), dim=-1)
    mask = torch.ones(batch, tracks, dtype=torch.bool)
    mask[0, 1] = False
    truth = torch.randn((batch, tracks, 10, 2), generator=generator) * 2.0
    there = torch.ones(batch, tracks, 10, dtype=torch.bool)
    there[1, 2, 8:] = False  # counts at 3 s, not at 5 s
    there[2, 0, 3:] = False  # counts at neither
    return Forecasts(TIME, mean, covariance, probability, torch.full((batch, tracks, 6), torch.nan), mask), truth, there


def test_scores_are_those_of_plain_numpy() -> None:
    forecasts, truth, there = random_forecasts()
    found = figures(score(forecasts, truth, there))
    for horizon, n in ((3.0, 6), (5.0, 10)):
        names = ("minADE", "minFDE", "ADE", "FDE", "miss", "brier", "nll", "ellipse", "likely")
        rows: dict[str, list[float]] = {name: [] for name in names}
        for b in range(3):
            for t in range(4):
                if not forecasts.mask[b, t] or not there[b, t, :n].all():
                    continue
                mean, p = forecasts.mean[b, t].numpy().astype(float), forecasts.probability[b, t].numpy().astype(float)
                cov, real = forecasts.covariance[b, t].numpy().astype(float), truth[b, t].numpy().astype(float)
                d = np.sqrt(((mean - real) ** 2).sum(-1))[:, :n]
                ade, fde = d.mean(1), d[:, -1]
                k, top = int(fde.argmin()), int(p.argmax())
                nll, inside = [], np.zeros((6, n))
                for s in range(n):
                    nll.append(-math.log(sum(p[m] * multivariate_normal.pdf(real[s], mean[m, s], cov[m, s]) for m in range(6))))
                    for m in range(6):
                        e = real[s] - mean[m, s]
                        inside[m, s] = e @ np.linalg.inv(cov[m, s]) @ e <= -2.0 * math.log(0.1)
                values = (ade.min(), fde.min(), ade[top], fde[top], float(fde.min() > 2.0), fde.min() + (1 - p[k]) ** 2, np.mean(nll))
                values = (*values, inside[int(ade.argmin())].mean(), inside[top].mean())
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(float(value))
        assert found[f"count@{horizon:g}"] == len(rows["ADE"]) == {3.0: 10, 5.0: 9}[horizon]
        for name, values in rows.items():
            assert found[f"{name}@{horizon:g}"] == pytest.approx(np.mean(values), rel=1e-5), name


def test_level_of_a_mixture_is_that_of_sampling() -> None:
    rng = np.random.default_rng(0)
    mean = torch.tensor([[[[0.0, 0.0]], [[4.0, 1.0]]]], dtype=torch.float64)
    covariance = torch.tensor([[[[[1.0, 0.3], [0.3, 0.5]]], [[[0.2, 0.0], [0.0, 2.0]]]]], dtype=torch.float64)
    p = np.array([0.7, 0.3])
    parts = [multivariate_normal(mean[0, k, 0].numpy(), covariance[0, k, 0].numpy()) for k in range(2)]
    drawn = np.concatenate([parts[k].rvs(int(40000 * p[k]), random_state=rng) for k in range(2)])
    density = p[0] * parts[0].pdf(drawn) + p[1] * parts[1].pdf(drawn)
    for point in ([0.5, 0.2], [2.0, 0.5], [4.0, 3.0], [-1.5, -1.0]):
        expected = (density > p[0] * parts[0].pdf(point) + p[1] * parts[1].pdf(point)).mean()
        level = mixture_level(mean, covariance, torch.tensor(p)[None], torch.tensor(point, dtype=torch.float64)[None, None])
        assert float(level) == pytest.approx(expected, abs=0.03)


def test_ninety_percent_ellipses_of_the_true_distribution_hold_ninety_percent() -> None:
    generator = torch.Generator().manual_seed(2)
    n = 4000
    root = torch.tensor([[1.5, 0.0], [0.7, 0.4]])
    truth = torch.randn((1, n, 10, 2), generator=generator) @ root.T
    covariance = (root @ root.T).expand(1, n, 6, 10, 2, 2)
    probability = torch.tensor([1.0, 0, 0, 0, 0, 0]).expand(1, n, 6)
    there = torch.ones(1, n, 10, dtype=torch.bool)
    mean = torch.zeros(1, n, 6, 10, 2)
    mean[:, :, 1:] = 100.0
    forecasts = Forecasts(TIME, mean, covariance, probability, torch.full((1, n, 6), torch.nan), there[..., 0])
    found = figures(score(forecasts, truth, there))
    for name in ("ellipse@5", "likely@5", "region@5"):
        assert found[name] == pytest.approx(0.9, abs=0.02), name
    assert pytest.approx(-2.0 * math.log(0.1), rel=1e-6) == ELLIPSE_90
    assert "minADE" in table({"it": found}, horizon=5.0)


def test_a_horizon_between_steps_is_refused() -> None:
    forecasts, truth, there = random_forecasts()
    with pytest.raises(ValueError, match=r"horizon 3\.2 s is no step"):
        score(forecasts, truth, there, horizons=(3.2,))


def test_nobody_to_judge_gives_no_number() -> None:
    forecasts, truth, there = random_forecasts()
    found = figures(score(forecasts, truth, there & False))
    assert found["count@3"] == 0.0 and math.isnan(found["minADE@3"])


@pytest.mark.parametrize(("name", "ade", "fde"), [("zara01", 0.427, 0.952), pytest.param("zara02", 0.324, 0.724, marks=pytest.mark.slow)])
def test_constant_velocity_on_pedestrians_is_what_is_published(shared_data: object, name: str, ade: float, fde: float) -> None:
    recording = people(f"{shared_data}/trajectories")[name]
    found = judged(ConstantVelocity(), recording)
    assert found["ADE@4.8"] == pytest.approx(ade, abs=0.0005) and found["FDE@4.8"] == pytest.approx(fde, abs=0.0005)
    assert name in UCY
