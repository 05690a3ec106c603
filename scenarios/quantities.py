"""Field types for pydantic models of scenario files: numbers with units, or distributions over them.

A field declared `ramp_length: Length = 150.0` accepts `150`, `"150 m"`, `"0.15 km"` or `{uniform: ["100 m", 200]}` and holds SI floats or
a `Distribution`. `model.resolve(rng)` returns the same model with every distribution drawn; only then may the fields be
used as the plain floats, ints, strings and bools their annotations promise. Narrow a type with `Annotated[Length, Between(50, 500)]`;
text drawn from a list is `Annotated[str, OneOf("priority", "yield")]`. Cross-field checks before drawing use `bounds(value)`.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict

from scenarios import units
from scenarios.distributions import Distribution, bounds
from scenarios.draws import Source, called
from scenarios.readers import Between, Boolean, Fault, Label, OneOf, Quantity, QuantityType, choice_schema, fault_error

__all__ = [
    "Accel", "Angle", "Between", "Count", "Curvature", "Density", "Fault", "Flag", "Label", "Length", "Number", "Offset", "OneOf",
    "QuantityModel", "QuantityType", "Rate", "Ratio", "Seconds", "Speed", "Velocity", "bounds", "choice_schema", "fault_error", "resolve",
]  # fmt: skip

# Field types. Signed: Offset, Velocity, Angle, Curvature, Number. The others are 0 or more.
Length = Annotated[float, Quantity(units.LENGTH, "length"), Between(0.0)]
Offset = Annotated[float, Quantity(units.LENGTH, "length")]
Speed = Annotated[float, Quantity(units.SPEED, "speed"), Between(0.0)]
Velocity = Annotated[float, Quantity(units.SPEED, "speed")]
Accel = Annotated[float, Quantity(units.ACCEL, "acceleration"), Between(0.0)]
Angle = Annotated[float, Quantity(units.ANGLE, "angle")]
Curvature = Annotated[float, Quantity(units.CURVATURE, "curvature")]
Seconds = Annotated[float, Quantity(units.TIME, "time"), Between(0.0)]
Rate = Annotated[float, Quantity(units.RATE, "rate"), Between(0.0)]
Density = Annotated[float, Quantity(units.DENSITY, "density"), Between(0.0)]
Ratio = Annotated[float, Quantity(units.RATIO, "ratio"), Between(0.0, 1.0)]
Number = Annotated[float, Quantity(units.NUMBER, "number")]
Count = Annotated[int, Quantity(units.NUMBER, "count", True), Between(0)]
Flag = Annotated[bool, Boolean()]


class QuantityModel(BaseModel):
    """Base of every model in a scenario file: unknown keys refused, frozen, and `resolve` to draw the distributions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    def resolve(self, rng: Source, drawn: dict[str, bool | float | str] | None = None, path: str = "") -> Self:
        """A copy in which every distribution, also in nested models, lists and mappings, is replaced by one draw.

        Fields are drawn in the order of declaration, so the result depends on the model and the state of `rng` alone.
        `drawn` collects the values by dotted path, below `path`.
        """
        updates = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            new = resolve(value, rng, drawn, f"{path}.{name}" if path else name)
            if new is not value:
                updates[name] = new
        return self.model_copy(update=updates) if updates else self


def resolve(value: Any, rng: Source, drawn: dict[str, bool | float | str] | None, path: str) -> Any:
    """`value` with its distributions drawn; the same object where there are none."""
    if isinstance(value, Distribution):
        result = value.draw(called(rng, path))
        if drawn is not None:
            drawn[path] = result
        return result
    if isinstance(value, QuantityModel):
        return value.resolve(rng, drawn, path)
    if isinstance(value, list | tuple):
        items = [resolve(item, rng, drawn, f"{path}[{i}]") for i, item in enumerate(value)]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, dict):
        pairs = {key: resolve(item, rng, drawn, f"{path}.{key}") for key, item in value.items()}
        return value if all(pairs[key] is value[key] for key in value) else pairs
    return value
