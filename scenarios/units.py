"""Units in which a scenario file may state a number. Everything is converted to SI when the file is read."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field

__all__ = [
    "ACCEL", "ANGLE", "CURVATURE", "DENSITY", "DIMENSIONS", "LENGTH", "NUMBER", "RATE", "RATIO", "SPEED", "TIME", "Dimension", "UnitError",
]  # fmt: skip


class UnitError(ValueError):
    """A number or unit that cannot be read. `expected` says what would be right, `hint` is a suggestion or ''."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(f"expected {expected}" + (f"; {hint}" if hint else ""))
        self.expected = expected
        self.hint = hint


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimension:
    """A physical dimension and its units as factors to SI; the first unit is the SI one ('' = none)."""

    name: str  # with its article, for messages: "a length"
    units: dict[str, float] = field(default_factory=dict)

    @property
    def si(self) -> str:
        """The unit of plain numbers."""
        return next(iter(self.units), "")

    @property
    def expected(self) -> str:
        """What a file may say, for messages."""
        others = [unit for unit in self.units if unit != self.si]
        if not others:
            return f"{self.name} (a plain number)"
        plain = f"a number in {self.si}" if self.si else "a plain number"
        return f"{self.name}: {plain} or text such as '5 {others[0]}' (units: {', '.join(u for u in self.units if u)})"

    def show(self, value: float) -> str:
        """`value` (SI) with its unit."""
        text = "infinity" if math.isinf(value) else f"{value:g}"
        return f"{text} {self.si}".rstrip()

    def parse(self, text: str) -> float:
        """'50 km/h' -> 13.888...; raises UnitError."""
        match = _QUANTITY.fullmatch(text.strip())
        if match is None:
            raise UnitError(self.expected)
        number, unit = float(match["number"]), (match["unit"] or "").strip()
        if not math.isfinite(number):
            raise UnitError(f"{self.expected}, finite")
        if not unit:
            raise UnitError(self.expected, f"did you mean {number:g} (without quotes, in {self.si or 'no unit'})?")
        if unit not in self.units:
            raise UnitError(self.expected, self._hint(number, unit))
        return number * self.units[unit]

    def _hint(self, number: float, unit: str) -> str:
        owner = next((d for d in DIMENSIONS if unit in d.units), None)
        if owner is not None:
            return f"'{unit}' is a unit of {owner.name}"
        close = difflib.get_close_matches(_plain(unit), {_plain(u): u for u in self.units}, n=1, cutoff=0.5)
        if close:
            return f"did you mean '{number:g} {next(u for u in self.units if _plain(u) == close[0])}'?"
        return f"unknown unit '{unit}'"


# a number, then a unit; one that starts with a digit, such as 1/m, needs a space before it
_QUANTITY = re.compile(
    r"(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?)(?P<unit>\s*[^\s\d.].*|\s+\d.*)?", re.DOTALL | re.ASCII
)


def _plain(unit: str) -> str:
    """A unit without case and punctuation, so that 'kmh', 'KM/H' and 'km/h' are alike."""
    return re.sub(r"[^a-z0-9%]", "", unit.lower())


LENGTH = Dimension(name="a length", units={"m": 1.0, "km": 1000.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "mi": 1609.344})
SPEED = Dimension(name="a speed", units={"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704})
ACCEL = Dimension(name="an acceleration", units={"m/s^2": 1.0, "m/s2": 1.0, "g": 9.80665})
ANGLE = Dimension(name="an angle", units={"rad": 1.0, "deg": math.pi / 180.0})
CURVATURE = Dimension(name="a curvature", units={"1/m": 1.0, "1/km": 0.001})
TIME = Dimension(name="a time", units={"s": 1.0, "ms": 0.001, "min": 60.0, "h": 3600.0})
RATE = Dimension(
    name="a rate",
    units={f"{who}/{per}": 1.0 / seconds for who in ("1", "veh", "ped") for per, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0))},
)
DENSITY = Dimension(name="a density", units={"veh/m": 1.0, "veh/km": 0.001})
RATIO = Dimension(name="a ratio", units={"": 1.0, "%": 0.01})
NUMBER = Dimension(name="a number")
DIMENSIONS = (LENGTH, SPEED, ACCEL, ANGLE, CURVATURE, TIME, RATE, DENSITY, RATIO)
