"""Distilling a planner into a network: DAgger (Ross, Gordon & Bagnell, "A reduction of imitation learning and structured prediction to
no-regret online learning", AISTATS 2011), as a warm start for reinforcement learning.

Round by round the worlds are driven, the planner says of every state what it would do there, and the network learns from all states so far.
The first round is driven by the planner, the others by the network (the paper's parameter-free schedule, beta_i = I(i = 1)): so it learns
what to do where its own mistakes lead. Networks and optimiser are those of Stable-Baselines3, whose algorithm can go on from there: besides
the actor the critic learns, from the returns of all rounds, and the noise of actions becomes as large as the network still errs.

Shapes: B worlds, T steps of a round, F numbers of an observation, C of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor
from torch.nn import functional

from agents.planners.policy import PlannerPolicy
from agents.planners.scene import SceneMaker
from envs.driving.sb3_env import DrivingVecEnv

__all__ = ["ROUNDS", "Expert", "PlannerExpert", "imitate"]

Floats = NDArray[np.float32]
Expert = Callable[[], Floats]  # (B, C) what it would do in each of the training worlds now

ROUNDS = 20
EPOCHS, BATCH, RATE = 4, 512, 1e-3  # over all states, each round; RATE of Adam
NOISE = (-2.5, 0.0)  # bounds of the logarithm of the noise left to explore with


class PlannerExpert:
    """What a planner would do in each of the worlds, from what is believed on their observation level; (B, 2) in [-1, 1]."""

    def __init__(self, worlds: DrivingVecEnv, planner: str) -> None:
        """Raises PlannerError for a planner that does not exist."""
        self.policy, self.worlds = PlannerPolicy(planner), worlds
        self.scenes = SceneMaker(worlds.worlds.sim)

    def __call__(self) -> Floats:
        """Its actions now."""
        sim = self.worlds.worlds.sim
        scene = self.scenes(self.worlds.worlds.eyes)
        actions: Floats = self.policy.act(scene, seed=sim.setup.seed, step=sim.state.step)[:, 0].cpu().numpy()
        return actions


def imitate(
    learner: OnPolicyAlgorithm,
    worlds: VecNormalize,
    expert: Expert,
    *,
    steps: int,
    each: Callable[[float, float], None],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Teach `learner` what `expert` does in `worlds`, for `steps` more decisions over all worlds.

    each: called after every round with the error of the actor on the states of that round before it learned from them (root mean square,
    in units of the action), and the loss after it has. stop: asked at every step; what was driven until then is not learned from.
    Keeps every observation, 4 F bytes each.
    """
    policy, rng = learner.policy, np.random.default_rng(learner.seed)
    assert isinstance(policy, ActorCriticPolicy)
    rounds = max(1, min(ROUNDS, steps // worlds.num_envs))
    lengths = [-(-steps // worlds.num_envs) * (k + 1) // rounds - -(-steps // worlds.num_envs) * k // rounds for k in range(rounds)]
    for group in policy.optimizer.param_groups:
        group["lr"] = RATE
    seen: list[Floats] = []
    wanted: list[Floats] = []
    returns: list[Floats] = []
    worlds.reset()
    for k, length in enumerate(lengths):
        led = k == 0 and learner.num_timesteps == 0
        found = _drive(learner, worlds, expert, length, led=led, stop=stop)
        if found is None:
            return
        states, labels, rewards, dones = found
        error = _error(policy, worlds, states, labels)
        seen.append(states.reshape(-1, states.shape[-1]))
        wanted.append(labels.reshape(-1, labels.shape[-1]))
        returns.append(_returns(policy, worlds, rewards, dones, learner.gamma).reshape(-1))
        loss = _learn(policy, _tensor(policy, worlds, np.concatenate(seen)), np.concatenate(wanted), np.concatenate(returns), rng)
        learner._n_updates += EPOCHS
        with torch.no_grad():
            policy.log_std.copy_(torch.log(torch.from_numpy(error).clamp(min=1e-6)).clamp(*NOISE))
        each(float(np.sqrt(np.mean(error**2))), loss)


def _drive(
    learner: OnPolicyAlgorithm, worlds: VecNormalize, expert: Expert, length: int, *, led: bool, stop: Callable[[], bool]
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]] | None:
    """Observations (T, B, F) as they come, labels (T, B, C), rewards and ends (T, B) of `length` steps; None if stopped."""
    rows = []
    space: Any = worlds.action_space
    for _ in range(length):
        if stop():
            return None
        raw, label = np.array(worlds.get_original_obs(), dtype=np.float32), expert()
        action = label if led else _mean(learner.policy, _tensor(learner.policy, worlds, raw)).cpu().numpy()
        _, reward, done, _ = worlds.step(np.clip(action, space.low, space.high))
        learner.num_timesteps += worlds.num_envs
        rows.append((raw, label, reward.astype(np.float32), done))
    states, labels, rewards, dones = (np.stack(part) for part in zip(*rows, strict=True))
    return states, labels, rewards, dones


def _tensor(policy: ActorCriticPolicy, worlds: VecNormalize, raw: Floats) -> Tensor:
    """Observations as the network is given them."""
    seen: Any = worlds.normalize_obs(raw)
    return torch.as_tensor(seen, dtype=torch.float32, device=policy.device)


def _mean(policy: Any, seen: Tensor) -> Tensor:
    """The actor's action without noise, (R, C)."""
    with torch.no_grad():
        mean: Tensor = policy.get_distribution(seen).distribution.mean
    return mean


def _error(policy: ActorCriticPolicy, worlds: VecNormalize, states: Floats, labels: Floats) -> Floats:
    """(C,) root mean square."""
    off = _mean(policy, _tensor(policy, worlds, states.reshape(-1, states.shape[-1]))).cpu().numpy() - labels.reshape(-1, labels.shape[-1])
    error: Floats = np.sqrt(np.mean(off**2, axis=0)).astype(np.float32)
    return error


def _batches(count: int, rng: np.random.Generator) -> Iterator[Tensor]:
    for _ in range(EPOCHS):
        yield from torch.split(torch.from_numpy(rng.permutation(count)), BATCH)


def _learn(policy: Any, seen: Tensor, wanted: Floats, returns: Floats, rng: np.random.Generator) -> float:
    """Squared errors of the mean action and of the critic down; the actor's, on the average over the last pass."""
    target, worth = torch.from_numpy(wanted).to(seen.device), torch.from_numpy(returns).to(seen.device).unsqueeze(1)
    losses: list[float] = []
    for rows in _batches(len(seen), rng):
        loss = functional.mse_loss(policy.get_distribution(seen[rows]).distribution.mean, target[rows])
        _descend(policy, loss)
        _descend(policy, functional.mse_loss(policy.predict_values(seen[rows]), worth[rows]))
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-(len(losses) // EPOCHS) :]))


def _descend(policy: ActorCriticPolicy, loss: Tensor) -> None:
    """One step of the optimiser; parameters that the loss does not depend on stay."""
    policy.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for p in policy.parameters() if p.grad is not None], 1.0)
    policy.optimizer.step()


def _returns(policy: ActorCriticPolicy, worlds: VecNormalize, rewards: Floats, dones: NDArray[np.bool_], gamma: float) -> Floats:
    """(T, B) discounted: G_t = r_t + gamma G_t+1, nothing beyond an end, the critic's word beyond the round."""
    with torch.no_grad():
        after = policy.predict_values(_tensor(policy, worlds, np.array(worlds.get_original_obs(), dtype=np.float32)))[:, 0].cpu().numpy()
    out = np.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        after = rewards[t] + gamma * np.where(dones[t], 0.0, after)
        out[t] = after
    return out
