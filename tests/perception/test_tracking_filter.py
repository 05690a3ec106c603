"""The filter in 2 x 2 blocks against matrices written by hand in float64, filterpy where it is there, and its own consistency."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from perception.tracking import filter as kalman
from perception.tracking.filter import Motion, Symmetric, Target

Array = NDArray[np.float64]


def target_of(mean: Array, cov: Array) -> Target:
    """(N, 4), (N, 4, 4) -> float64 tensors."""
    m, c = torch.tensor(mean), torch.tensor(cov)
    return Target(
        *m.unbind(-1),
        *(c[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3))),
    )


def mean_of(target: Target) -> Array:
    return np.asarray(torch.stack(target[:4], -1))


def symmetric(values: Array) -> Symmetric:
    v = torch.tensor(values)
    return Symmetric(v[..., 0, 0], v[..., 0, 1], v[..., 1, 1])


def random_covariance(rng: np.random.Generator, *shape: int) -> Array:
    root = rng.normal(size=(*shape, shape[-1]))
    return np.asarray(root @ root.swapaxes(-1, -2) + 0.1 * np.eye(shape[-1]))


def discretised(dt: float, intensity: Array) -> tuple[Array, Array]:
    """F and Q of the white-noise acceleration model."""
    one = np.eye(2)
    f = np.block([[one, dt * one], [0 * one, one]])
    q = np.block([[intensity * dt**3 / 3, intensity * dt**2 / 2], [intensity * dt**2 / 2, intensity * dt]])
    return f, q


def test_random_sequences_as_matrices_say() -> None:
    rng = np.random.default_rng(0)
    count = 40
    mean, cov = rng.normal(size=(count, 4)) * 10, random_covariance(rng, count, 4)
    target = target_of(mean, cov)
    for _ in range(12):
        dt, turn, shift = rng.uniform(0.02, 0.5), rng.uniform(-0.5, 0.5), rng.normal(size=2)
        intensity, noise, z = random_covariance(rng, count, 2), random_covariance(rng, count, 2), rng.normal(size=(count, 2)) * 10
        # by hand
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        both = np.kron(np.eye(2), rotation)
        h = np.eye(2, 4)
        for i in range(count):
            f, q = discretised(dt, intensity[i])
            mean[i], cov[i] = f @ mean[i], f @ cov[i] @ f.T + q
            mean[i, :2] -= shift
            mean[i], cov[i] = both @ mean[i], both @ cov[i] @ both.T
            gain = cov[i] @ h.T @ np.linalg.inv(h @ cov[i] @ h.T + noise[i])
            mean[i] += gain @ (z[i] - h @ mean[i])
            left = np.eye(4) - gain @ h
            cov[i] = left @ cov[i] @ left.T + gain @ noise[i] @ gain.T  # Joseph's form
        # in blocks
        step = torch.tensor(dt, dtype=torch.float64)
        target = kalman.predicted(target, step, symmetric(intensity))
        move = Motion(*(torch.tensor(v, dtype=torch.float64) for v in (*shift, math.cos(turn), math.sin(turn))))
        target = kalman.moved(target, move)
        target = kalman.updated(target, torch.tensor(z[:, 0]), torch.tensor(z[:, 1]), symmetric(noise))
        np.testing.assert_allclose(mean_of(target), mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.asarray(kalman.covariance(target)), cov, rtol=1e-8, atol=1e-9)


def test_filterpy_says_the_same() -> None:
    pytest.importorskip("filterpy", reason="filterpy is not installed")
    from filterpy.kalman import KalmanFilter

    rng = np.random.default_rng(1)
    reference = KalmanFilter(dim_x=4, dim_z=2)
    reference.x, reference.P, reference.H = np.zeros((4, 1)), np.diag([1.0, 2.0, 9.0, 4.0]), np.eye(2, 4)
    target = target_of(np.zeros((1, 4)), np.diag([1.0, 2.0, 9.0, 4.0])[None])
    for _ in range(20):
        intensity, noise, z = np.diag([2.0, 0.5]), random_covariance(rng, 2), rng.normal(size=2)
        reference.F, reference.Q = discretised(0.1, intensity)
        reference.predict()
        reference.update(z[:, None], R=noise)
        target = kalman.predicted(target, torch.tensor(0.1, dtype=torch.float64), symmetric(intensity[None]))
        target = kalman.updated(target, torch.tensor(z[:1]), torch.tensor(z[1:]), symmetric(noise[None]))
        np.testing.assert_allclose(mean_of(target)[0], np.asarray(reference.x)[:, 0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.asarray(kalman.covariance(target))[0], np.asarray(reference.P), rtol=1e-9, atol=1e-12)


def test_many_short_predictions_are_one_long_one() -> None:
    rng = np.random.default_rng(2)
    start, noise = target_of(rng.normal(size=(5, 4)), random_covariance(rng, 5, 4)), symmetric(random_covariance(rng, 5, 2))
    tenth, whole = torch.tensor(0.1, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    steps = start
    for _ in range(10):
        steps = kalman.predicted(steps, tenth, noise)
    for a, b in zip(steps, kalman.predicted(start, whole, noise), strict=True):
        torch.testing.assert_close(a, b)


def test_covariance_stays_positive_in_single_precision() -> None:
    """A precise measurement of something hardly known: the classic way to lose positive definiteness."""
    wide = [torch.tensor([v]) for v in (0.0, 0.0, 0.0, 0.0, 1e4, 0.0, 1e4, 0.0, 0.0, 0.0, 0.0, 225.0, 0.0, 225.0)]
    target, sharp = Target(*wide), Symmetric(torch.tensor([1e-3]), torch.tensor([0.0]), torch.tensor([1e-3]))
    none = Symmetric(*(torch.zeros(1) for _ in range(3)))
    for step in range(200):
        target = kalman.updated(target, torch.tensor([0.3 * step]), torch.tensor([0.1]), sharp)
        assert float(np.linalg.eigvalsh(np.asarray(kalman.covariance(target), np.float64)).min()) > -1e-7
        target = kalman.predicted(target, torch.tensor(0.1), none)
    assert float(target.vx) == pytest.approx(3.0, abs=1e-3)


def test_errors_are_as_large_as_claimed() -> None:
    """Normalised estimation error squared within its chi-squared bounds, targets of constant velocity + white acceleration, ego moving."""
    rng = np.random.default_rng(3)
    runs, dt, q_along, q_across = 400, 0.1, 2.0, 0.5
    angle = rng.uniform(-math.pi, math.pi, runs)
    cos, sin = np.cos(angle), np.sin(angle)
    axes = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # columns: along, across
    truth = np.concatenate([rng.normal(size=(runs, 2)) * 20, rng.normal(size=(runs, 2)) * 8], 1)
    p0 = np.diag([1.0, 1.0, 25.0, 25.0])
    target = target_of(truth + rng.multivariate_normal(np.zeros(4), p0, runs), np.tile(p0, (runs, 1, 1)))
    intensity = axes @ np.diag([q_along, q_across]) @ axes.swapaxes(-1, -2)
    nees = []
    for _ in range(40):
        root = np.linalg.cholesky(discretised(dt, np.diag([q_along, q_across]))[1])
        drawn = rng.normal(size=(runs, 4)) @ root.T
        truth[:, :2] += dt * truth[:, 2:] + np.einsum("nij,nj->ni", axes, drawn[:, :2])
        truth[:, 2:] += np.einsum("nij,nj->ni", axes, drawn[:, 2:])
        target = kalman.predicted(target, torch.tensor(dt, dtype=torch.float64), symmetric(intensity))
        turn, shift = rng.uniform(-0.1, 0.1), rng.normal(size=2)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        truth[:, :2], truth[:, 2:], axes = (truth[:, :2] - shift) @ rotation.T, truth[:, 2:] @ rotation.T, rotation @ axes
        intensity = rotation @ intensity @ rotation.T
        target = kalman.moved(target, Motion(*(torch.tensor(v, dtype=torch.float64) for v in (*shift, math.cos(turn), math.sin(turn)))))
        sight = truth[:, :2] / np.linalg.norm(truth[:, :2], axis=1, keepdims=True)
        noise = kalman.from_axes(_full(4.0, runs), _full(0.04, runs), torch.tensor(sight[:, 0]), torch.tensor(sight[:, 1]))
        error = 2.0 * rng.normal(size=(runs, 1)) * sight + 0.2 * rng.normal(size=(runs, 1)) * np.stack([-sight[:, 1], sight[:, 0]], 1)
        z = truth[:, :2] + error
        target = kalman.updated(target, torch.tensor(z[:, 0]), torch.tensor(z[:, 1]), noise)
        off = truth - mean_of(target)
        nees.append(np.einsum("ni,nij,nj->n", off, np.linalg.inv(np.asarray(kalman.covariance(target))), off))
    for values in nees[::8]:  # sums over runs at one instant are chi-squared with 4 x runs degrees of freedom
        assert chi2.ppf(0.0005, 4 * runs) < values.sum() < chi2.ppf(0.9995, 4 * runs)


def _full(value: float, count: int) -> Tensor:
    return torch.full((count,), value, dtype=torch.float64)
