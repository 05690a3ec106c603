"""The learning algorithms by name: which class of Stable-Baselines3 or sb3-contrib each is, and how one is set up from a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

__all__ = ["ALGORITHMS", "Algorithm", "HyperError", "build_model", "check_hyper", "find_algorithm", "hyper_defaults", "minibatch"]

WISH_NOISE = -1.5  # log standard deviation of wishes at the start of a run


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm."""

    name: str
    title: str  # with its source
    module: str
    class_name: str
    actions: tuple[str, ...]  # kinds of action it can learn
    heads: tuple[str, ...]  # what the actor's outputs mean (agents.policies.spec.NetworkSpec), for each kind of action
    actor: tuple[str, ...]  # modules of its policy that make the action, in the order in which they act
    on_policy: bool


_SB3, _CONTRIB = "stable_baselines3", "sb3_contrib"


def _stochastic(name: str, title: str, module: str, class_name: str) -> Algorithm:
    """On-policy, with a distribution over actions of either kind."""
    kinds, heads, actor = ("continuous", "discrete"), ("clip", "categorical"), ("mlp_extractor.policy_net", "action_net")
    return Algorithm(name=name, title=title, module=module, class_name=class_name, actions=kinds, heads=heads, actor=actor, on_policy=True)


def _off_policy(name: str, title: str, module: str, class_name: str, kind: str, head: str, *actor: str) -> Algorithm:
    """From a replay buffer, for one kind of action."""
    return Algorithm(
        name=name, title=title, module=module, class_name=class_name, actions=(kind,), heads=(head,), actor=actor, on_policy=False
    )


_ALL = (
    _stochastic("ppo", "PPO, arXiv 1707.06347", _SB3, "PPO"),
    _stochastic("a2c", "A2C, arXiv 1602.01783", _SB3, "A2C"),
    _stochastic("trpo", "TRPO, arXiv 1502.05477", _CONTRIB, "TRPO"),
    _off_policy("sac", "SAC, arXiv 1801.01290", _SB3, "SAC", "continuous", "squash", "actor.latent_pi", "actor.mu"),
    _off_policy("tqc", "TQC, arXiv 2005.04269", _CONTRIB, "TQC", "continuous", "squash", "actor.latent_pi", "actor.mu"),
    _off_policy("td3", "TD3, arXiv 1802.09477", _SB3, "TD3", "continuous", "squash", "actor.mu"),
    _off_policy("ddpg", "DDPG, arXiv 1509.02971", _SB3, "DDPG", "continuous", "squash", "actor.mu"),
    _off_policy("dqn", "DQN, arXiv 1312.5602", _SB3, "DQN", "discrete", "values", "q_net.q_net"),
    _off_policy("qrdqn", "QR-DQN, arXiv 1710.10044", _CONTRIB, "QRDQN", "discrete", "quantiles", "quantile_net.quantile_net"),
)
ALGORITHMS: dict[str, Algorithm] = {a.name: a for a in _ALL}

# parameters of the constructors that the trainer sets itself, or that would change the network beyond what a bundle can hold
_RESERVED = frozenset(
    (
        *(
            "self",
            "policy",
            "env",
            "policy_kwargs",
            "seed",
            "device",
            "_init_setup_model",
            "tensorboard_log",
            "verbose",
            "stats_window_size",
        ),
        *("replay_buffer_class", "replay_buffer_kwargs", "rollout_buffer_class", "rollout_buffer_kwargs", "optimize_memory_usage"),
        "use_sde_at_warmup",
    )
)


_COHERENT = frozenset(("use_sde", "sde_sample_freq"))  # noise that stays the same for a while (gSDE, arXiv 2005.05719): changes SAC's actor


class HyperError(ValueError):
    """An algorithm refuses a value of its parameters."""


def find_algorithm(name: str) -> Algorithm:
    """The algorithm called `name`. Raises ValueError naming the nearest one."""
    if name not in ALGORITHMS:
        hint = did_you_mean(name, ALGORITHMS)
        raise ValueError(f"no algorithm {name!r}; {hint + ' ' if hint else ''}known: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """The class behind a name (imports torch)."""
    found = find_algorithm(name)
    cls: type[BaseAlgorithm] = getattr(import_module(found.module), found.class_name)
    return cls


@cache
def hyper_defaults(name: str) -> Mapping[str, Any]:
    """Every hyper-parameter of an algorithm with its library's default (imports torch)."""
    parameters = inspect.signature(algorithm_class(name).__init__).parameters
    reserved = _RESERVED if find_algorithm(name).on_policy else _RESERVED | _COHERENT
    defaults = {key: p.default for key, p in parameters.items() if key not in reserved}
    return {key: float(value) if key == "max_grad_norm" and value is not None else value for key, value in defaults.items()}


def check_hyper(name: str, hyper: Mapping[str, Any]) -> list[str]:
    """What is wrong with the hyper-parameters, a sentence each: unknown names, and values of another type than the default's."""
    known = hyper_defaults(name)
    problems = []
    for key, value in hyper.items():
        if key not in known:
            hint = did_you_mean(key, known)
            problems.append(f"hyper.{key}: {name} has no such parameter; {hint or 'known: ' + ', '.join(known)}")
        elif not _fits(value, known[key]):
            problems.append(f"hyper.{key}: {value!r} is of another type than the default {known[key]!r}")
    return problems


def _fits(value: Any, default: Any) -> bool:
    """Whether `value` may stand where the library's default is `default`; a default of None or text may stand for anything."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) == isinstance(default, bool) or default is None
    if isinstance(default, int) and isinstance(value, list | tuple):  # train_freq: [4, step]
        return len(value) == 2 and isinstance(value[0], int) and value[1] in ("step", "episode")
    if isinstance(default, int):
        return isinstance(value, int)
    return isinstance(value, int | float) if isinstance(default, float) else True


def minibatch(wanted: int, rollout: int) -> int:
    """The largest size up to `wanted` that divides the `rollout` samples evenly, so that no minibatch is a small, noisy rest."""
    size = min(wanted, rollout)
    return next(n for n in range(size, 0, -1) if rollout % n == 0)


def build_model(
    name: str,
    env: VecEnv,
    *,
    hyper: Mapping[str, Any],
    network: tuple[int, ...],
    activation: str,
    schedule: str,
    seed: int,
    device: str,
    hindsight: int = 0,
    wishes: bool = False,
) -> BaseAlgorithm:
    """A fresh model. `schedule`: the learning rate stays (`constant`) or falls to zero over the run (`linear`).

    hindsight: of worlds with goals, how many goals are made up for each decision that is learned from (hindsight experience replay,
    arXiv 1707.01495). wishes: actions tell a planner what to aim at, and it drives well by itself: an algorithm that explores by noise of a
    learned size begins with a little of it (log standard deviation WISH_NOISE; 0 is the library's). With `use_sde` in `hyper` that is
    about its size too, as a sum over the last layer's features, squares of which are taken to be a third on the average.

    Raises HyperError, in the library's words, for a value of `hyper` that the algorithm refuses.
    """
    arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in hyper.items()}
    rate = float(arguments.get("learning_rate", hyper_defaults(name)["learning_rate"]))
    arguments["learning_rate"] = _linear(rate) if schedule == "linear" else rate
    if find_algorithm(name).on_policy and "batch_size" in arguments:
        steps = int(arguments.get("n_steps", hyper_defaults(name)["n_steps"]))
        arguments["batch_size"] = minibatch(int(arguments["batch_size"]), steps * env.num_envs)
    if arguments.get("action_noise") is not None:
        arguments["action_noise"] = _noise(float(arguments["action_noise"]), env)
    kwargs: dict[str, Any] = {"net_arch": list(network), "activation_fn": _activation(activation)}
    if wishes and find_algorithm(name).on_policy:
        kwargs["log_std_init"] = WISH_NOISE - (0.5 * np.log((network or (3,))[-1] / 3.0) if arguments.get("use_sde") else 0.0)
    if hindsight:
        from stable_baselines3 import HerReplayBuffer

        from agents.learning.goals import GoalExtractor

        arguments |= {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": hindsight}}
        kwargs["features_extractor_class"] = GoalExtractor
    from gymnasium import spaces

    try:
        make = algorithm_class(name)
        policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"  # images: NatureCNN before it
        model: BaseAlgorithm = make(policy, env, policy_kwargs=kwargs, seed=seed, device=device, verbose=0, **arguments)
    except (ValueError, AssertionError) as error:
        raise HyperError(f"{name} refuses its parameters {dict(hyper)}: {error}") from error
    return model


def _linear(rate: float) -> Callable[[float], float]:
    """progress_remaining (1 at the start, 0 at the end) -> learning rate; never quite zero, so that the last update still counts."""
    return lambda remaining: rate * max(remaining, 0.02)


def _activation(name: str) -> type:
    from torch import nn

    modules: dict[str, type] = {
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "leaky_relu": nn.LeakyReLU,
    }
    return modules[name]


def _noise(sigma: float, env: VecEnv) -> Any:
    """Gaussian noise of standard deviation `sigma` (of actions scaled to [-1, 1]) added while exploring (TD3, DDPG)."""
    from stable_baselines3.common.noise import NormalActionNoise

    shape = env.action_space.shape or (1,)
    return NormalActionNoise(mean=np.zeros(shape), sigma=np.full(shape, sigma))
