"""The bicycle model against its own laws, a fine integration, and commonroad-vehicle-models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from envs.driving.dynamics import bicycle, inverse, lateral_accel, limit_accel, slip, steer_for_curvature, wrap, yaw_rate

Array = NDArray[np.float64]


def states(count: int, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random poses, controls and wheelbases, from a walker to a bus."""
    g = torch.Generator().manual_seed(seed)

    def u(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=g, dtype=dtype) * (high - low) + low

    return {
        "x": u(-500, 500),
        "y": u(-500, 500),
        "yaw": u(-math.pi, math.pi),
        "speed": u(0, 30),
        "accel": u(-8, 3),
        "steer": u(-0.6, 0.6),
        "wheelbase": u(1.0, 6.0),
    }


def test_inverse_after_forward_is_identity() -> None:
    """Law: what was done is recovered from where it led, forwards, backwards and to the limit."""
    for reverse, seed in ((False, 0), (True, 1)):
        a = states(5000, seed)
        if reverse:
            a["speed"], a["accel"] = -0.2 * a["speed"], a["accel"].abs()
        end = bicycle(**a, dt=0.1, speed_max=50.0, reverse_max=10.0)
        got = inverse(a["x"], a["y"], a["yaw"], a["speed"], end.x, end.y, end.yaw, end.speed, a["wheelbase"], 0.1)
        moved = (a["speed"] + end.speed).abs() * 0.05 > 0.01
        assert moved.float().mean() > 0.95
        assert_allclose(got.accel, end.accel, atol=2e-4)  # a speed below 1e-5 m/s is rest
        assert_allclose(got.steer[moved], a["steer"][moved], atol=1e-8)


def test_inverse_of_a_standing_vehicle_is_no_steering() -> None:
    zero = torch.zeros(3)
    got = inverse(zero, zero, zero, zero, zero, zero, zero, zero, zero + 2.8, 0.1)
    assert torch.equal(got.steer, zero)
    assert torch.equal(got.accel, zero)


def test_matches_fine_integration_of_the_equation() -> None:
    """The closed form solves x' = v cos(yaw + beta) / cos(beta), y' = ..., yaw' = v tan(steer) / L over a long tick."""
    a = states(40, 2)
    dt = 0.5
    a["accel"] = torch.maximum(a["accel"], -a["speed"] / dt)  # does not stop within the tick
    end = bicycle(**a, dt=dt)
    for i in range(40):
        x, y, yaw, v, accel, steer, wheelbase = (float(a[k][i]) for k in ("x", "y", "yaw", "speed", "accel", "steer", "wheelbase"))
        beta = math.atan(math.tan(steer) / 2)

        def rate(
            _: float, z: Array, accel: float = accel, steer: float = steer, wheelbase: float = wheelbase, beta: float = beta
        ) -> list[float]:
            fast = z[3] / math.cos(beta)
            return [fast * math.cos(z[2] + beta), fast * math.sin(z[2] + beta), z[3] * math.tan(steer) / wheelbase, accel]

        want = solve_ivp(rate, (0.0, dt), [x, y, yaw, v], rtol=1e-10, atol=1e-10).y[:, -1]
        turn = math.remainder(float(end.yaw[i]) - want[2], 2 * math.pi)
        assert_allclose([end.x[i], end.y[i], turn, end.speed[i]], [want[0], want[1], 0.0, want[3]], atol=1e-5)


def test_against_commonroad_vehicle_models() -> None:
    """Two seconds of constant controls in 0.1 s ticks: the kinematic single-track model (rear axle) within 1 mm and 1e-5 rad."""
    vehicle = pytest.importorskip("vehiclemodels.parameters_vehicle1").parameters_vehicle1()
    model = pytest.importorskip("vehiclemodels.vehicle_dynamics_ks").vehicle_dynamics_ks
    wheelbase = vehicle.a + vehicle.b
    for speed, accel, steer in ((5.0, 1.0, 0.4), (15.0, -3.0, -0.1), (25.0, 0.0, 0.03), (10.0, 0.0, -0.5), (3.0, 2.0, 0.0)):
        yaw = 0.7
        state = tuple(torch.tensor(v, dtype=torch.float64) for v in (0.0, 0.0, yaw, speed))
        controls = tuple(torch.tensor(v, dtype=torch.float64) for v in (accel, steer, wheelbase))
        for _ in range(20):
            state = bicycle(*state, *controls, dt=0.1)[:4]
        start = [-wheelbase / 2 * math.cos(yaw), -wheelbase / 2 * math.sin(yaw), steer, speed, yaw]

        def rate(_: float, z: Array, accel: float = accel) -> list[float]:
            return list(model(list(z), [0.0, accel], vehicle))

        x, y, _, v, psi = solve_ivp(rate, (0.0, 2.0), start, rtol=1e-9, atol=1e-9).y[:, -1]
        assert_allclose(state[:2], (x + wheelbase / 2 * math.cos(psi), y + wheelbase / 2 * math.sin(psi)), atol=1e-3)
        assert_allclose((state[3], math.remainder(float(state[2]) - psi, 2 * math.pi)), (v, 0.0), atol=1e-5)


def test_mirrored_controls_mirror_the_path() -> None:
    a = states(2000, 3, torch.float32)
    b = {**a, "y": -a["y"], "yaw": -a["yaw"], "steer": -a["steer"]}
    left, right = bicycle(**a, dt=0.1), bicycle(**b, dt=0.1)
    assert torch.equal(left.x, right.x)
    assert torch.equal(left.y, -right.y)
    assert torch.equal(left.speed, right.speed)


def test_braking_ends_at_rest_and_reversing_is_bounded() -> None:
    speed = torch.tensor([0.5, 0.0, 0.0, -2.0, -0.3, 60.0, 49.9])
    accel = torch.tensor([-8.0, -8.0, -8.0, -8.0, 8.0, 1.0, 3.5])
    reverse = torch.tensor([4.0, 0.0, 4.0, 2.2, 4.0, 0.0, 0.0])
    applied = limit_accel(speed, accel, 0.1, speed_max=50.0, reverse_max=reverse)
    assert_allclose(speed + applied * 0.1, [0.0, 0.0, -0.8, -2.2, 0.0, 60.0, 50.0], atol=1e-5)
    zero = torch.zeros(7)
    end = bicycle(zero, zero, zero, speed, accel, zero, zero + 2.8, 0.1, speed_max=50.0, reverse_max=reverse)
    assert end.speed[0] == 0.0
    assert end.speed[1] == 0.0
    assert end.speed[4] == 0.0


def test_standing_vehicle_does_not_move() -> None:
    a = states(100, 4, torch.float32)
    a["speed"] = torch.zeros(100)
    a["accel"] = -a["accel"].abs()
    end = bicycle(**a, dt=0.1)
    assert torch.equal(end.x, a["x"])
    assert torch.equal(end.y, a["y"])
    assert torch.equal(end.speed, a["speed"])


def test_curvature_and_slip_agree_with_the_circle() -> None:
    """Driving a full circle with the steering for 1 / R keeps the centre on a circle of radius R, at the course yaw + beta."""
    wheelbase = torch.tensor(2.8, dtype=torch.float64)
    for radius in (6.0, 20.0, 300.0):
        steer = steer_for_curvature(torch.tensor(1.0 / radius, dtype=torch.float64), wheelbase)
        beta = float(slip(steer))
        x, y, yaw, speed = (torch.tensor(v, dtype=torch.float64) for v in (radius, 0.0, math.pi / 2 - beta, 5.0))
        for _ in range(50):
            x, y, yaw, speed, _ = bicycle(x, y, yaw, speed, torch.zeros_like(x), steer, wheelbase, 0.1)
            assert math.isclose(math.hypot(float(x), float(y)), radius, abs_tol=1e-6)
        assert math.isclose(float(yaw_rate(speed, steer, wheelbase)), 5.0 / math.cos(beta) / radius, rel_tol=1e-9)
        assert math.isclose(float(lateral_accel(speed, steer, wheelbase)), 25.0 / math.cos(beta) / radius, rel_tol=1e-9)


def test_wrap() -> None:
    angle = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    wrapped = wrap(angle)
    assert bool(((wrapped > -math.pi - 1e-9) & (wrapped <= math.pi + 1e-9)).all())
    assert_allclose(torch.cos(wrapped - angle), np.ones(4001), atol=1e-12)
    assert wrap(torch.tensor(math.pi, dtype=torch.float64)) == math.pi
