"""The random numbers of an episode, each under a name, so that chosen ones can be set and the others left to the seed.

Every draw takes one number, uniform on [0, 1), and is named after what it decides: "ego.s", "actors[0].script.when.ahead", "road" (which
variant), "traffic[0].flow.main.1.start.driver.headway#3" (the third so called: of the third vehicle on its way). Numbers of different
names are independent, so the scenario's own distribution is the uniform one on the unit cube of its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["NamedDraws", "Source", "called"]


class Source(Protocol):
    """Where uniform numbers on [0, 1) come from: a numpy Generator, or `NamedDraws`."""

    def random(self) -> float:
        """The next one."""
        ...


class NamedDraws:
    """Numbers from `source`, those named in `given` replaced; `used` collects all by name, in order.

    Replaced ones are drawn from the source too, so what is not named stays what the seed gives. A name that never comes up is not missed.
    Raises ValueError for a given number outside [0, 1).
    """

    def __init__(self, source: Source, given: Mapping[str, float] | None = None) -> None:
        for name, u in (given or {}).items():
            if not 0.0 <= u < 1.0:
                raise ValueError(f"draws[{name!r}]={u}: must be at least 0 and below 1")
        self.source, self.given = source, given or {}
        self.used: dict[str, float] = {}
        self._path, self._times = "", dict[str, int]()

    def random(self) -> float:
        """The next number, under the name of this view; from the second time on with '#2', '#3', ..."""
        times = self._times[self._path] = self._times.get(self._path, 0) + 1
        name = self._path if times == 1 else f"{self._path}#{times}"
        u = self.source.random()
        u = self.used[name] = self.given.get(name, u)
        return u

    def under(self, name: str) -> NamedDraws:
        """The same numbers, called `name`, below what this view is called."""
        view = object.__new__(NamedDraws)
        view.__dict__.update(self.__dict__)  # shares what is used and counted
        view._path = f"{self._path}.{name}" if self._path else name
        return view


def called(rng: Source, name: str) -> Source:
    """`rng` with its numbers called `name`, where it cares for names."""
    return rng.under(name) if isinstance(rng, NamedDraws) else rng
