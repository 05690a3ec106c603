"""Saving and restoring: what follows is bitwise what followed the first time, in every shell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.driving import DrivingEnv, DrivingParallelEnv, DrivingVecEnv, DrivingVectorEnv


def same(a: Any, b: Any) -> bool:
    """Deep, exact equality."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


@pytest.mark.parametrize("scenario", ["junction", "crossing/hard", "racetrack"])
def test_gymnasium(scenario: str) -> None:
    env = DrivingEnv(scenario)
    env.reset(seed=3)
    env.action_space.seed(0)
    actions = [env.action_space.sample() * np.float32(0.2) for _ in range(14)]
    for action in actions[:4]:
        seen = env.step(action)[0]
    saved = env.get_state()

    def go_on() -> list[Any]:
        followed: list[Any] = [env.step(action) for action in actions[4:]]
        return [*followed, env.reset(), env.step(actions[0])]  # the seed drawn for the next episode is part of the state

    first = go_on()
    env.reset(seed=99)
    assert same(env.set_state(saved), seen)
    assert same(go_on(), first)
    assert same(env.set_state(saved), seen)  # nothing that happened since reached into the saved state
    assert same(go_on(), first)
    other = DrivingEnv(scenario)
    other.reset(seed=1)
    assert same(other.set_state(saved), seen)
    assert same(other.step(actions[4]), first[0])


def test_a_saved_state_shares_nothing_with_the_running_one() -> None:
    env = DrivingVecEnv("junction", num_envs=2, episodes=2)
    env.reset()
    saved = env.get_state()
    assert saved.state.x.data_ptr() != env.worlds.sim.state.x.data_ptr()
    saved.state.x.zero_()
    saved.state.stats.progress.fill_(9.0)
    saved.setup.length.zero_()
    assert env.worlds.sim.state.x.any()
    assert not env.worlds.sim.state.stats.progress.any()
    assert env.worlds.sim.setup.length[:, 0].all()


def test_vector_env_and_vec_env_over_resets() -> None:
    """40 steps of poor driving end several episodes; the draws of the next ones repeat too."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 4, 2)).astype(np.float32)
    one, two = DrivingVectorEnv(4, "lane_keep/hard", episodes=6), DrivingVecEnv("lane_keep/hard", num_envs=4, episodes=6)
    one.reset(seed=2)
    two.reset()
    for env in (one, two):
        for action in actions[:9]:
            env.step(action)
        saved = env.get_state()
        first = [env.step(action) for action in actions[9:]]
        ended = sum(int(np.asarray(step[2]).sum()) for step in first)
        assert ended > 2
        env.reset()
        env.set_state(saved)
        assert same([env.step(action) for action in actions[9:]], first)


def test_parallel_env() -> None:
    env = DrivingParallelEnv("highway", agents=4)
    env.reset(seed=6)

    def step(k: int) -> Any:
        return env.step({agent: np.array([0.3, 0.4 * (i == k % 4)], dtype=np.float32) for i, agent in enumerate(env.agents)})

    for k in range(3):
        step(k)
    saved, agents = env.get_state(), list(env.agents)
    first = [step(k) for k in range(8)]
    env.reset(seed=7)
    env.set_state(saved)
    assert env.agents == agents
    assert same([step(k) for k in range(8)], first)


def test_a_state_of_other_episodes_is_refused() -> None:
    one, two = (DrivingVecEnv("lane_keep", num_envs=2, episodes=2, seed=seed) for seed in (0, 50))
    with pytest.raises(ValueError, match="other episodes"):
        two.set_state(one.get_state())


def test_randomness_does_not_touch_the_global_generators() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    env = DrivingEnv("merge")
    env.reset(seed=1)
    env.step(np.zeros(2, dtype=np.float32))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
