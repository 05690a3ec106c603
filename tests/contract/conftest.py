"""What the contract tests share: every registered scenario, and a way to drive worlds that leaves fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scenarios
from envs.driving.bank import Bank
from envs.driving.observation import flatten, observe
from envs.driving.rng import integers, uniform
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig

Drive = Callable[..., list[str]]
FAMILIES = scenarios.names()
STREAM = 4010  # of the counter-based generator: actions of these tests


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`family`: every scenario of the library. `scenario`: the same with their variants."""
    if "family" in metafunc.fixturenames:
        quick = metafunc.definition.get_closest_marker("slow_except")
        metafunc.parametrize(
            "family", [pytest.param(f, marks=[pytest.mark.slow] * (quick is not None and f not in quick.args)) for f in FAMILIES]
        )
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", scenarios.names(variants=True))


def _leaves(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in (_leaves(part) if isinstance(part, tuple) else [part])]


def _actions(sim: DrivingSim) -> Tensor:
    """Random actions, a function of the episode's seed and the tick alone; gentle steering, so that worlds live on for a while."""
    seed, step = sim.setup.seed.unsqueeze(1), sim.state.step.unsqueeze(1)
    if sim.config.action == "discrete":
        return integers(seed, step, STREAM, torch.arange(1), 0, 5)
    push = uniform(seed, step, STREAM, torch.arange(2), -0.5, 0.6)
    return (push * torch.tensor([1.0, 0.1])).unsqueeze(1)


@pytest.fixture(scope="session")
def drive() -> Drive:
    """`drive(bank, config, rows, steps)` -> a hash for each world over all its states, observations and events.

    A world whose episode ends goes on with the next row of the bank, so resets are covered too.
    """

    def run(bank: Bank, config: DrivingConfig, rows: list[int], steps: int, *, check: Callable[[Tensor], None] | None = None) -> list[str]:
        sim = DrivingSim(bank, config, batch=len(rows))
        sim.reset(torch.tensor(rows))
        hashes = [hashlib.sha256() for _ in rows]
        for _ in range(steps):
            out = sim.step(_actions(sim))
            flat = flatten(observe(sim.state, sim.setup, sim.maps, config))
            if check:
                check(flat)
            leaves = [leaf.numpy() for leaf in (*_leaves(sim.state), *_leaves(out), flat)]
            for b, fingerprint in enumerate(hashes):
                for leaf in leaves:
                    fingerprint.update(np.ascontiguousarray(leaf[b]).tobytes())
            done = out.terminated[:, 0] | out.truncated
            sim.reset_where(done, (sim.rows + 1) % len(bank))
        return [fingerprint.hexdigest() for fingerprint in hashes]

    return run
