"""The space that is searched: the numbers an episode is drawn from, each as a coordinate with a standard normal density.

Shapes: D coordinates. A coordinate z stands for the number u = Phi(z) that the scenario turns into a value by the quantile function of its
distribution; so every point is within what the scenario can draw, and the scenario's own distribution is N(0, I). The last coordinate is
the seed, for all that has no coordinate of its own.

Numbers of one name (the gaps of all vehicles of a flow) are turned into waves by a cosine transform: their sum, a trend from the first to
the last, and so on. N(0, I) does not change by turning; but what many vehicles do together is one coordinate then, and can be found.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct
from scipy.special import ndtr

from scenarios import Scenario, ScenarioError, sample

__all__ = ["REST", "Floats", "Space", "SpaceError", "space_of"]

Floats = NDArray[np.float64]
REST = "seed"  # the last coordinate
OWN = ("ego.driver", "ego.desired_speed")  # how the IDM baseline drives the ego: no circumstance, so it is left to the seed
SEEDS = 1_000_000  # seeds from here on belong to training
PROBES = 64  # episodes drawn to see which numbers there are
COMMON = 0.5  # share of the probes in which a number must occur: what is rarer is left to the seed
EDGE = 1e-12  # u stays this far from 0 and 1


class SpaceError(ValueError):
    """A scenario in which there is nothing to search."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The numbers by name, the last one `REST`, and the coordinates, as many: a number of its own, or a wave over those of one name."""

    names: tuple[str, ...]  # D

    @cached_property
    def _groups(self) -> tuple[tuple[str, list[int]], ...]:
        """Names without their '#2', and where their numbers are; those of single numbers too."""
        found: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            found.setdefault(name.partition("#")[0], []).append(i)
        return tuple(found.items())

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """What each coordinate is called (D,); a wave stands where the number of its order does."""
        told = list(self.names)
        for name, where in self._groups:
            for k, i in enumerate(where):
                told[i] = name if len(where) == 1 else f"{name}, {_wave(k, len(where))}"
        return tuple(told)

    def normals(self, y: Floats) -> Floats:
        """The numbers of points (n, D) in standard deviations, (n, D)."""
        z = np.array(y)
        for _, where in self._groups:
            if len(where) > 1:
                z[:, where] = idct(y[:, where], axis=1, norm="ortho")
        return z

    def episode(self, y: Floats) -> tuple[int, dict[str, float]]:
        """Seed and named numbers of a point (D,), as `scenarios.sample` takes them."""
        u = np.clip(ndtr(self.normals(y[None])[0]), EDGE, 1.0 - EDGE)
        return int(u[-1] * SEEDS), dict(zip(self.names[:-1], u[:-1].tolist(), strict=True))

    def waves(self, z: Floats) -> Floats:
        """The inverse of `normals`: coordinates (n, D) of numbers in standard deviations; NaN counts as their middle."""
        y = np.nan_to_num(z)
        for _, where in self._groups:
            if len(where) > 1:
                y[:, where] = dct(y[:, where], axis=1, norm="ortho")
        return y


def _wave(k: int, count: int) -> str:
    return f"all {count}" if k == 0 else f"first against last of {count}" if k == 1 else f"wave {k} of {count}"


def space_of(scenario: Scenario) -> Space:
    """The numbers of a scenario that occur in most of its episodes; the seed is the last coordinate.

    Raises SpaceError where every episode is the same, or where road users are recorded; ScenarioError where nothing can be drawn.
    """
    if scenario.model.recorded is not None:
        raise SpaceError(f"{scenario.id}: its road users are recorded, so there is nothing to search")
    counts, failed = Counter[str](), 0
    for seed in range(PROBES):
        used: dict[str, float] = {}
        try:
            episode = sample(scenario, seed, used=used)
        except ScenarioError:
            failed += 1
            if failed == PROBES:
                raise
            continue
        counts.update(name for name in used if name != "road" or "road" in _kinds(episode.drawn))
    idle = (*OWN, *_idle(scenario))
    names = [n for n, count in counts.items() if count >= COMMON * (PROBES - failed) and not n.startswith(idle)]
    if not names:
        raise SpaceError(f"{scenario.id}: nothing is drawn in it, every episode is the same")
    return Space(names=(*names, REST))


def _idle(scenario: Scenario) -> list[str]:
    """Numbers that are drawn and decide nothing: whether somebody is there who always is, and how a standing car drives."""
    actors = list(enumerate(scenario.model.actors))
    return [f"actors[{i}].present" for i, a in actors if a.chance == 1.0] + [f"actors[{i}].driver" for i, a in actors if a.role == "static"]


def _kinds(drawn: dict[str, bool | float | str]) -> set[str]:
    """First words of what was drawn: 'road' among them if there is more than one road."""
    return {name.partition(".")[0] for name in drawn}
