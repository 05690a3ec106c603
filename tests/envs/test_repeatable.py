"""One world, one history: whatever the batch, the row and the number of threads.

`tests/contract` has it for every scenario: small batches, and (slow) large ones with two threads. Here: large batches, and compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from envs.driving import DrivingConfig, DrivingSim, build_bank, sample_episodes
from envs.driving.make import fit
from envs.driving.rng import uniform

STREAM = 4013  # of the counter-based generator: actions of this test
TICKS = 200


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def command(sim: DrivingSim) -> torch.Tensor:
    """An action for every world from (seed, step) alone: (B, 1, 2), or a plan (B, 1, 20, 3) that wanders about the present course."""
    seed, step = sim.setup.seed.view(-1, 1, 1), sim.state.step.view(-1, 1, 1)
    if sim.config.action == "continuous":
        return uniform(seed, step, STREAM, torch.arange(2), -0.5, 0.5) * torch.tensor([1.0, 0.1])
    noise = uniform(seed, step, STREAM, torch.arange(60), -0.5, 0.5).view(-1, 1, 20, 3)
    speed, ahead = sim.state.speed[:, :1, None], 0.1 * torch.arange(1.0, 21.0)  # s
    straight = torch.stack([speed * ahead, torch.zeros_like(speed * ahead), speed.expand(-1, -1, 20)], dim=-1)
    return straight + noise * torch.tensor([1.0, 0.5, 4.0])


def fingerprints(
    family: str, batch: int, shift: int, threads: int, *, ticks: int = TICKS, compile: bool = False, action: str = "continuous"
) -> dict[int, set[str]]:
    """SHA-256 over every number of every state: episode -> the hashes of all rows that ran it. Row b runs episode (b + shift) % 7."""
    torch.set_num_threads(threads)
    episodes = sample_episodes(family, 7, 61)
    config = fit(DrivingConfig(ticks_per_step=1, action=action), episodes)
    sim = DrivingSim(build_bank(episodes, config), config, batch=batch, compile=compile)
    rows = (torch.arange(batch) + shift) % 7
    sim.reset(rows)
    hashes = [hashlib.sha256() for _ in range(batch)]
    for _ in range(ticks):
        out = sim.step(command(sim))
        arrays = [tensor.numpy() for tensor in (*sim.state[:-1], *sim.state.stats, *out)]
        for b, fingerprint in enumerate(hashes):
            for array in arrays:
                fingerprint.update(np.ascontiguousarray(array[b]).tobytes())
    found: dict[int, set[str]] = {}
    for row, fingerprint in zip(rows.tolist(), hashes, strict=True):
        found.setdefault(row, set()).add(fingerprint.hexdigest())
    return found


@pytest.mark.parametrize(("family", "action"), [("merge", "continuous"), ("signals", "continuous"), ("highway", "trajectory")])
def test_batch_row_and_threads_do_not_matter(family: str, action: str) -> None:
    seven = fingerprints(family, 7, 0, 1, ticks=40, action=action)
    many = fingerprints(family, 64, 3, 2, ticks=40, action=action)
    assert all(len(hashes) == 1 for hashes in many.values())
    assert many == seven
    assert len({*map(frozenset, seven.values())}) == 7
    assert fingerprints(family, 1, 5, 1, ticks=40, action=action) == {5: seven[5]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
def test_nor_do_they_nor_threads_when_compiled() -> None:
    one = fingerprints("merge", 1, 4, 1, compile=True)
    seven = fingerprints("merge", 7, 0, 1, compile=True)
    many = fingerprints("merge", 64, 2, 2, compile=True)
    assert all(len(hashes) == 1 for hashes in many.values())
    assert many == seven
    assert one == {4: seven[4]}
