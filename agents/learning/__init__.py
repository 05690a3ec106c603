"""Training policies with Stable-Baselines3 and sb3-contrib over the batched simulator.

    from agents.learning import TrainConfig, train
    result = train(TrainConfig(scenario="highway", algo="ppo", steps=1_000_000), out="runs/highway")
    result.policy  # a bundle: load it with agents.policies.load_policy

Importing the package is cheap; torch is imported with the first name taken from it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.learning.config import TrainConfig, TrainConfigError, config_from
    from agents.learning.trainer import RunResult, TrainingCrashed, resume, train

__all__ = ["RunResult", "TrainConfig", "TrainConfigError", "TrainingCrashed", "config_from", "resume", "train"]

_HOMES = {
    "TrainConfig": "config",
    "TrainConfigError": "config",
    "config_from": "config",
    "RunResult": "trainer",
    "TrainingCrashed": "trainer",
    "resume": "trainer",
    "train": "trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"agents.learning.{_HOMES[name]}"), name)
