"""Distilling a planner into a network: DAgger (Ross, Gordon & Bagnell, "A reduction of imitation learning and structured prediction to
no-regret online learning", AISTATS 2011), as a warm start for reinforcement learning.

Round by round the worlds are driven, the planner says of every state what it would do there, and the network learns from all states so far.
The first round is driven by the planner, the others by the network (the paper's parameter-free schedule, beta_i = I(i = 1)): so it learns
what to do where its own mistakes lead. Networks and optimiser are those of Stable-Baselines3, whose algorithm can go on from there: besides
the actor the critic learns, from the returns of all rounds, and the noise of actions becomes as large as the network still errs.

Of pictures the same is learned in fewer rounds, as to look at all of them again and again is what takes the time; and the critic listens to
what the actor's convolutions say, without a say in them.

Shapes: B worlds, T steps of a round, F numbers of an observation, C of an action. Observations are kept by their parts' names, "" if
they have none.
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
Parts = dict[str, NDArray[Any]]  # (T, B, F) or, of images, (T, B, 3 C, H, W) uint8
Expert = Callable[[], Floats]  # (B, C) what it would do in each of the training worlds now

ROUNDS, LOOKING_ROUNDS = 20, 8  # of numbers, and with pictures
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
    """Teach `learner` what `expert` does in `worlds`, for `steps` decisions over all worlds.

    each: called after every round with the error of the actor on the states of that round before it learned from them (root mean square,
    in units of the action), and the loss after it has. stop: asked at every step; what was driven until then is not learned from.
    Keeps every observation as it came, 4 F bytes each for `steps` of them: 0.5 GB for 300,000 at the level truth; 21 kB for each picture.
    """
    policy, rng = learner.policy, np.random.default_rng(learner.seed)
    assert isinstance(policy, ActorCriticPolicy)
    turns = -(-steps // worlds.num_envs)
    first = _parts(worlds.reset())
    rounds = max(1, min(LOOKING_ROUNDS if "image" in first else ROUNDS, steps // worlds.num_envs))
    for group in policy.optimizer.param_groups:
        group["lr"] = RATE
    space: Any = worlds.action_space
    # (all T, B, ...), pages of which are taken only when they are filled
    states = {name: np.empty((turns, *part.shape), np.uint8 if name == "image" else np.float32) for name, part in first.items()}
    labels = np.empty((turns, worlds.num_envs, *space.shape), np.float32)
    returns = np.empty((turns, worlds.num_envs), np.float32)
    for k in range(rounds):
        begun, end = turns * k // rounds, turns * (k + 1) // rounds
        here = slice(begun, end)
        found = _drive(learner, worlds, expert, _of(states, here), labels[here], led=k == 0, stop=stop)
        if found is None:
            return
        error = _error(policy, worlds, _of(states, here), labels[here])
        returns[here] = _returns(policy, worlds, *found, learner.gamma)
        so_far = {name: _flat(part[:end]) for name, part in states.items()}
        loss = _learn(policy, worlds, so_far, _flat(labels[:end]), returns[:end].reshape(-1), rng)
        learner._n_updates += EPOCHS
        with torch.no_grad():
            policy.log_std.copy_(torch.log(torch.from_numpy(error).clamp(min=1e-6)).clamp(*NOISE))
        each(float(np.sqrt(np.mean(error**2))), loss)


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """(T, B, ...) -> (T B, ...), the same memory."""
    return values.reshape(-1, *values.shape[2:])


def _parts(observation: Any) -> Parts:
    """By names."""
    return dict(observation) if isinstance(observation, dict) else {"": np.asarray(observation)}


def _of(states: Parts, which: Any) -> Parts:
    """Some of them: an index or a slice of the first axis, or rows."""
    return {name: part[which] for name, part in states.items()}


def _drive(
    learner: OnPolicyAlgorithm, worlds: VecNormalize, expert: Expert, states: Parts, labels: Floats, *, led: bool, stop: Callable[[], bool]
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """Fill in observations as they come and labels (T, B, C) of T steps; rewards and ends (T, B) of them, None if stopped.

    Where the time was over the reward has in it what the critic expects from there on, as in Stable-Baselines3: it goes on, unseen.
    """
    rewards, dones = np.empty(labels.shape[:2], np.float32), np.empty(labels.shape[:2], np.bool_)
    policy: Any = learner.policy
    space: Any = worlds.action_space
    for t in range(len(labels)):
        if stop():
            return None
        labels[t] = expert()
        for name, part in _parts(worlds.get_original_obs()).items():
            states[name][t] = part
        action = labels[t] if led else _mean(policy, _tensors(policy, worlds, _of(states, t))).cpu().numpy()
        _, rewards[t], dones[t], infos = worlds.step(np.clip(action, space.low, space.high))
        if late := [row for row in np.flatnonzero(dones[t]) if infos[row].get("TimeLimit.truncated")]:
            ends = [_parts(infos[row]["terminal_observation"]) for row in late]  # normalised already
            last = {name: np.stack([end[name] for end in ends]) for name in states}
            rewards[t, late] += learner.gamma * _worth(policy, _on(policy, last))
        learner.num_timesteps += worlds.num_envs
    return rewards, dones


def _tensors(policy: ActorCriticPolicy, worlds: VecNormalize, raw: Parts) -> Any:
    """Observations as the network is given them."""
    seen: Any = worlds.normalize_obs(raw.get("", raw))
    return _on(policy, _parts(seen))


def _on(policy: ActorCriticPolicy, parts: Parts) -> Any:
    """As tensors where the policy is: one, or a dict of them. Images stay bytes."""
    found = {
        name: torch.as_tensor(part, dtype=torch.uint8 if name == "image" else torch.float32, device=policy.device)
        for name, part in parts.items()
    }
    return found.get("", found)


def _mean(policy: Any, seen: Any) -> Tensor:
    """The actor's action without noise, (R, C)."""
    with torch.no_grad():
        mean: Tensor = policy.get_distribution(seen).distribution.mean
    return mean


def _worth(policy: ActorCriticPolicy, seen: Any) -> Floats:
    """What the critic expects, (R,)."""
    with torch.no_grad():
        worth: Floats = policy.predict_values(seen)[:, 0].cpu().numpy()
    return worth


def _error(policy: ActorCriticPolicy, worlds: VecNormalize, states: Parts, labels: Floats) -> Floats:
    """(C,) root mean square, of T moments and (T, B, C)."""
    found = [_mean(policy, _tensors(policy, worlds, _of(states, t))).cpu().numpy() for t in range(len(labels))]
    error: Floats = np.sqrt(np.mean((np.stack(found) - labels) ** 2, axis=(0, 1))).astype(np.float32)
    return error


def _batches(count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(EPOCHS):
        rows = rng.permutation(count)
        yield from (rows[k : k + BATCH] for k in range(0, count, BATCH))


def _learn(policy: Any, worlds: VecNormalize, states: Parts, wanted: Floats, returns: Floats, rng: np.random.Generator) -> float:
    """Squared errors of the mean action and of the critic down; the actor's, on the average over the last pass."""
    losses: list[float] = []
    for rows in _batches(len(wanted), rng):
        seen = _tensors(policy, worlds, _of(states, rows))  # a minibatch at a time: normalising is done in 8 bytes a number, and anew
        target, worth = (torch.from_numpy(part[rows]).to(policy.device) for part in (wanted, returns))
        features = policy.extract_features(seen)
        loss = functional.mse_loss(policy.action_net(policy.mlp_extractor.forward_actor(features)), target)
        _descend(policy, loss)
        expected = policy.value_net(policy.mlp_extractor.forward_critic(features.detach()))[:, 0]
        _descend(policy, functional.mse_loss(expected, worth))
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
    after = _worth(policy, _tensors(policy, worlds, _parts(worlds.get_original_obs())))
    out = np.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        after = rewards[t] + gamma * np.where(dones[t], 0.0, after)
        out[t] = after
    return out
