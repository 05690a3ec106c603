"""What must hold in every scenario: within the space, alive, random at the start, owned by the caller, the same every time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import scenarios
from envs.driving import DrivingConfig, DrivingEnv, build_bank, sample_episodes
from envs.driving.make import fit

Drive = Callable[..., list[str]]
ROOT = Path(__file__).resolve().parents[2]

TWO_PROCESSES = """
import json, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import scenarios
from test_worlds import fingerprint
print(json.dumps({{name: fingerprint(name) for name in scenarios.names()}}))
"""


def fingerprint(name: str) -> str:
    """Hash of the observations and rewards of a short drive through the Gymnasium shell."""
    env = DrivingEnv(name, flat=True)
    env.action_space.seed(4)
    digest = hashlib.sha256(env.reset(seed=11)[0].tobytes())
    for _ in range(12):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        digest.update(observation.tobytes())
        digest.update(np.float64(reward).tobytes())
        if terminated or truncated:
            break
    return digest.hexdigest()


@pytest.fixture(scope="session")
def other_process() -> dict[str, str]:
    """Fingerprints taken by another interpreter."""
    script = TWO_PROCESSES.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    result: dict[str, str] = json.loads(done.stdout)
    return result


def test_the_same_in_another_process(family: str, other_process: dict[str, str]) -> None:
    assert fingerprint(family) == other_process[family]


def test_an_episode(scenario: str) -> None:
    """Starts differ, observations lie in the space and change, and what is handed out belongs to the caller."""
    env = DrivingEnv(scenario)
    starts = [env.reset(seed=seed)[0] for seed in (1, 2, 3)]
    for part in ("ego", "objects"):
        if starts[0][part].any():
            assert not all(np.array_equal(starts[0][part], start[part]) for start in starts[1:]), part
    env.action_space.seed(0)
    seen = [starts[-1]]
    for _ in range(8):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert np.isfinite(reward)
        seen.append(observation)
        if terminated or truncated:
            break
    arrays = [array for each in seen for array in each.values()]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    changed = {part for part in seen[0] if not all(np.array_equal(seen[0][part], later[part]) for later in seen[1:])}
    wanted = {"ego", "objects", "route", "lanes"}
    assert changed >= {part for part in wanted if seen[0][part].any()}
    before = [tensor.clone() for tensor in env.worlds.sim.state[:-1]]
    for array in arrays:
        array[...] = 7.0
    assert all(torch.equal(a, b) for a, b in zip(before, env.worlds.sim.state[:-1], strict=True))


def bank_of(name: str, count: int, **options: str) -> tuple[object, DrivingConfig]:
    episodes = sample_episodes(name, count, 21)
    config = fit(DrivingConfig(ticks_per_step=1, **options), episodes)
    return build_bank(episodes, config), config


@pytest.mark.slow_except("crossing", "junction", "signals")
def test_a_world_is_the_same_in_any_batch_and_row(family: str, drive: Drive) -> None:
    """200 steps with resets, by hash: rows of a batch of five against each other and against a batch of one."""
    bank, config = bank_of(family, 3)
    together = drive(bank, config, [0, 1, 2, 0, 1], 200)
    assert together[3:] == together[:2]
    assert len(set(together)) == 3
    assert drive(bank, config, [2], 200) == [together[2]]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["discrete", "continuous"])
def test_a_world_is_the_same_in_any_batch_and_row_for_a_policy_that_sees_less(family: str, action: str, drive: Drive) -> None:
    bank, config = bank_of(f"{family}/hard", 3, action=action, observation="visible")
    together = drive(bank, config, [2, 1, 0, 2, 1, 0, 2], 200)
    assert together[3:6] == together[:3]
    assert drive(bank, config, [1], 200) == [together[1]]
    assert drive(bank, config, [0, 1], 200) == [together[2], together[1]]


@pytest.mark.slow
def test_a_world_is_the_same_with_any_number_of_threads(family: str, drive: Drive) -> None:
    """200 steps of a batch large enough for torch to share among threads, and of single worlds out of it."""
    bank, config = bank_of(family, 5)
    rows = [b % 5 for b in range(64)]
    one = drive(bank, config, rows, 200)
    torch.set_num_threads(2)
    try:
        assert drive(bank, config, rows, 200) == one
    finally:
        torch.set_num_threads(1)
    assert drive(bank, config, [4], 200) == [one[4]]
    assert len(set(one)) == len(set(rows))


def test_every_number_stays_finite(family: str, drive: Drive) -> None:
    bank, config = bank_of(f"{family}/hard", 4, observation="visible")

    def check(flat: torch.Tensor) -> None:
        assert torch.isfinite(flat).all()

    assert len(drive(bank, config, [0, 1, 2, 3], 60, check=check)) == 4


def test_there_is_something_to_test() -> None:
    assert len(scenarios.names()) >= 12
