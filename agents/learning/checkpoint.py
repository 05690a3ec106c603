"""The state of a training run as one safetensors file: enough to go on, nothing that executes.

Restored: every parameter of the policy, critics and targets, the state of every optimiser, entropy coefficients, the statistics of the
normaliser, the counters (steps, updates, episodes) and so the learning-rate schedule. Not restored: the replay buffer of the off-policy
algorithms (it is filled anew by exploring, as at the start), the state of the worlds (the episodes begin again with the first) and of
the random generators (seeded from the run's seed and the step, so exploration and minibatches are not repeated). A resumed run is
therefore a continuation, not the same numbers as an uninterrupted one.

File: tensors "t0", "t1", ...; metadata "checkpoint" = JSON, in which {"tensor": "t3"} stands for a tensor, {"tuple": [...]} for a tuple
and {"map": [[key, value], ...]} for a dict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from scenarios.files import write_atomic

__all__ = ["Checkpoint", "CheckpointError", "begin_with", "decode", "encode", "load_checkpoint", "restore", "save_checkpoint", "take"]

FORMAT, VERSION = "closedloop-checkpoint", 1
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls")


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or belongs to another run. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run's state at rest."""

    algorithm: str
    parameters: dict[str, Any]  # name -> state_dict, as BaseAlgorithm.get_parameters gives them
    variables: dict[str, Tensor]  # tensors outside modules (log_ent_coef)
    normaliser: dict[str, Tensor]  # of observations and returns: mean, variance, count (float64)
    counters: dict[str, int]
    notes: dict[str, Any]  # of the trainer: best score so far and the like; JSON only


def take(model: BaseAlgorithm, *, algorithm: str, normalise: VecNormalize, notes: dict[str, Any]) -> Checkpoint:
    """The present state of a run."""
    _, names = model._get_torch_save_params()  # what the library itself would save, by name
    statistics: dict[str, Tensor] = {}
    for key, rms in _statistics(normalise).items():
        statistics |= {f"{key}.mean": torch.as_tensor(rms.mean), f"{key}.variance": torch.as_tensor(rms.var)}
        statistics[f"{key}.count"] = torch.tensor(rms.count, dtype=torch.float64)
    return Checkpoint(
        algorithm=algorithm,
        parameters=model.get_parameters(),
        variables={name: getattr(model, name).detach() for name in names if getattr(model, name, None) is not None},
        normaliser=statistics,
        counters={name: int(getattr(model, name)) for name in _COUNTERS if hasattr(model, name)},
        notes=notes,
    )


def restore(model: BaseAlgorithm, checkpoint: Checkpoint, *, algorithm: str, normalise: VecNormalize) -> None:
    """Put a run's state back into a fresh model of the same configuration. Raises CheckpointError if it does not fit."""
    if checkpoint.algorithm != algorithm:
        raise CheckpointError(f"the checkpoint is of {checkpoint.algorithm}, the run of {algorithm}")
    try:
        model.set_parameters(checkpoint.parameters, exact_match=True, device=model.device)
        for name in model._get_torch_save_params()[1]:  # names from the library, never from the file
            if getattr(model, name, None) is not None:
                getattr(model, name).data.copy_(checkpoint.variables[name])
        for key, rms in _statistics(normalise).items():
            rms.mean = checkpoint.normaliser[f"{key}.mean"].numpy().copy()
            rms.var = checkpoint.normaliser[f"{key}.variance"].numpy().copy()
            rms.count = float(checkpoint.normaliser[f"{key}.count"])
            if rms.mean.shape != np.shape(rms.var):
                raise ValueError(f"the normaliser of {key} has shapes {rms.mean.shape} and {np.shape(rms.var)}")
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"the checkpoint does not fit the run's configuration: {error}") from None
    for name in _COUNTERS:
        if hasattr(model, name):
            setattr(model, name, checkpoint.counters.get(name, 0))
    if isinstance(model, OffPolicyAlgorithm):  # the buffer is empty: explore before learning from it, as at the start
        model.learning_starts += model.num_timesteps


def begin_with(model: BaseAlgorithm, checkpoint: Checkpoint, *, algorithm: str, normalise: VecNormalize) -> None:
    """Let a fresh run begin with another's networks and normaliser, its own counters and optimiser. Raises CheckpointError."""
    counters = dict.fromkeys(checkpoint.counters, 0)
    try:
        fresh = model.get_parameters()
        parameters = {**fresh, "policy": checkpoint.parameters["policy"]}
    except KeyError:
        raise CheckpointError("the checkpoint has no policy") from None
    restore(model, replace(checkpoint, parameters=parameters, counters=counters), algorithm=algorithm, normalise=normalise)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically."""
    tensors: dict[str, Tensor] = {}
    tree = {"format": FORMAT, "version": VERSION, **{name: encode(value, tensors) for name, value in vars(checkpoint).items()}}
    write_atomic(path, safetensors.torch.save(tensors, {"checkpoint": json.dumps(tree)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read. Raises CheckpointError."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            metadata = file.metadata() or {}
        tree = json.loads(metadata.get("checkpoint", "null"))
        if not isinstance(tree, dict) or (tree.pop("format", None), tree.pop("version", None)) != (FORMAT, VERSION):
            raise CheckpointError(f"{path}: no checkpoint of this version of closedloop")
        checkpoint = Checkpoint(**{name: decode(value, tensors) for name, value in tree.items()})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    if problem := _problem(checkpoint):
        raise CheckpointError(f"{path}: damaged: {problem}")
    return checkpoint


def _problem(checkpoint: Checkpoint) -> str:
    """What in a checkpoint cannot be what it claims to be, or ''. Whether its tensors fit the run is for `restore` to find out."""
    tables = {"parameters": dict, "variables": Tensor, "normaliser": Tensor, "counters": int}
    for name, expected in tables.items():
        table = getattr(checkpoint, name)
        if not isinstance(table, dict) or not all(isinstance(value, expected) for value in table.values()):
            return f"{name} is no table of {expected.__name__}"
    if checkpoint.counters.get("num_timesteps", -1) < 0:
        return "it does not say how many steps were done"
    best = checkpoint.notes.get("best", "missing") if isinstance(checkpoint.notes, dict) else "missing"
    if best is not None and not (isinstance(best, dict) and best.keys() == {"score", "steps", "figures"}):
        return "its notes lack the best validation"
    if not isinstance(checkpoint.notes.get("perception", {}), dict):
        return "its notes on perception weights are no table"
    return "" if isinstance(checkpoint.notes.get("seconds"), float) else "its notes lack the time spent"


def _statistics(normalise: VecNormalize) -> dict[str, RunningMeanStd]:
    found = {"returns": normalise.ret_rms}
    if normalise.norm_obs:
        statistics = normalise.obs_rms["state"] if isinstance(normalise.obs_rms, dict) else normalise.obs_rms  # images are not normalised
        assert isinstance(statistics, RunningMeanStd)
        found["observations"] = statistics
    return found


def encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors put into `tensors`. Raises TypeError for what a checkpoint cannot hold."""
    match value:
        case Tensor():
            name = f"t{len(tensors)}"
            tensors[name] = value.detach().cpu().clone().contiguous()
            return {"tensor": name}
        case dict():
            return {"map": [[key, encode(item, tensors)] for key, item in value.items()]}
        case tuple():
            return {"tuple": [encode(item, tensors) for item in value]}
        case list():
            return [encode(item, tensors) for item in value]
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `encode` made JSON of. Raises KeyError for a tensor that is missing."""
    match value:
        case {"tensor": str(name)}:
            return tensors[name]
        case {"map": list(items)}:
            return {key: decode(item, tensors) for key, item in items}
        case {"tuple": list(items)}:
            return tuple(decode(item, tensors) for item in items)
        case list():
            return [decode(item, tensors) for item in value]
    return value
