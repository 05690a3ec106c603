"""Which training runs a recipe is known by: `closedloop compare runs/before runs/after --unit seed`.

A side names its runs by commas between policies, by patterns with `*`, `?` or `[...]`, or by a folder of run folders. Faults and levels of
observation come behind, for all runs of a pattern or folder: `runs/after@perceived,latency=2`.
"""

from __future__ import annotations

import glob
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from agents.policies.base import SHIELD, PolicyError, load_policy, policy_names

__all__ = ["Recipe", "TrainingRun", "paired", "recipe"]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A policy that came out of a recipe."""

    spec: str  # as load_policy takes it
    seed: int | None  # of its training; None where the policy does not say
    sha256: str  # of the bundle; "" for policies that are none


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Two runs or more, ordered by seed."""

    text: str  # as the command line has it
    runs: tuple[TrainingRun, ...]


def recipe(text: str) -> Recipe:
    """The runs that `text` names (module docstring). Raises PolicyError if there are fewer than two, or one of them twice; BundleError."""
    found = [_run(spec) for part in _parts(text) for spec in _specs(part)]
    runs = sorted(found, key=lambda run: (run.seed is None, run.seed or 0, run.spec))
    for one, other in itertools.combinations(runs, 2):
        if one.spec == other.spec or (one.sha256 and one.sha256 == other.sha256):
            raise PolicyError(f"{text!r}: {one.spec!r} and {other.spec!r} are the same policy: each training run counts once")
    if len(runs) < 2:
        raise PolicyError(f"{text!r}: {len(runs)} training run: a recipe is judged by two or more, see `docs/gate.md`")
    return Recipe(text=text, runs=tuple(runs))


def paired(baseline: Recipe, candidate: Recipe) -> bool:
    """Whether runs belong together: both recipes were trained with the same seeds, each seed once."""
    seeds = [[run.seed for run in side.runs] for side in (baseline, candidate)]
    return seeds[0] == seeds[1] and None not in seeds[0] and len(set(seeds[0])) == len(seeds[0])


def _parts(text: str) -> list[str]:
    """Between commas; `name=value` belongs to the policy before it."""
    found: list[str] = []
    for part in [text] if Path(text).exists() else text.split(","):
        if found and re.match(r"[a-z_]+=", part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def _specs(part: str) -> list[str]:
    """Policies that one part names."""
    stem, mark, rest = part, "", ""
    if not Path(part).exists():
        stem, mark, rest = re.match(r"([^~@]*)([~@]?)(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
    if not stem:
        raise PolicyError(f"{part!r}: no policy is named there")
    if stem.removeprefix(SHIELD) in policy_names():
        return [part]
    if not Path(stem).exists() and glob.has_magic(stem):
        paths = sorted(glob.glob(stem))
        if not paths:
            raise PolicyError(f"{stem!r}: no file or folder matches")
    else:
        paths = [stem]
    found = []
    for path in paths:
        inner = [] if (Path(path) / "policy.safetensors").exists() else sorted(Path(path).glob("*/policy.safetensors"))
        found += [str(file.parent) for file in inner] or ([path] if Path(path).suffix != ".json" else [])
    return [f"{path}{mark}{rest}" for path in found]


def _run(spec: str) -> TrainingRun:
    bundle = getattr(load_policy(spec, changed="ignore"), "bundle", None)
    seed = bundle.spec.training.seed if bundle is not None else None
    return TrainingRun(spec=spec, seed=seed, sha256=str(getattr(bundle, "sha256", "")))
