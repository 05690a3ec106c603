"""How the value of one field is read from a file: a plain value, text with a unit, or a distribution; and everything wrong with it.

These are markers for `Annotated[...]`; scenarios.quantities makes the field types of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from scenarios import units
from scenarios.distributions import Choice, Distribution, Integer, LogUniform, Normal, Uniform, bounds
from scenarios.errors import did_you_mean

__all__ = ["Between", "Boolean", "Fault", "Label", "OneOf", "Quantity", "QuantityType", "choice_schema", "fault_error"]

DISTRIBUTIONS = ("uniform", "log_uniform", "integer", "normal", "choice")


@dataclass(frozen=True)
class Fault:
    """One thing wrong inside a quantity; `at` is the path below the field."""

    at: tuple[str | int, ...]
    value: Any
    expected: str
    hint: str = ""


class _Faults(Exception):
    """Everything wrong inside a quantity."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f.expected for f in faults))
        self.faults = faults


def fault_error(faults: list[Fault]) -> PydanticCustomError:
    """The faults as a pydantic error; the loader reads them back from its context, with positions."""
    text = "; ".join(f"expected {f.expected}" + (f" ({f.hint})" if f.hint else "") for f in faults)
    return PydanticCustomError("quantity", "{text}", {"text": text, "faults": faults})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_hint(value: Any) -> str:
    """For text that would be a number without its quotes."""
    try:
        return f"did you mean {float(value):g} (without quotes)?" if isinstance(value, str) else ""
    except ValueError:
        return ""


def choice_schema(option: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of `{choice: [...], weights: [...]}` over values of the schema `option`."""
    weights = {"type": "array", "items": {"type": "number", "minimum": 0}}
    properties = {"choice": {"type": "array", "items": option, "minItems": 1}, "weights": weights}
    return {"type": "object", "properties": properties, "required": ["choice"], "additionalProperties": False}


class QuantityType:
    """Marker for `Annotated[...]`: how values are read, and that distributions over them are allowed."""

    kind = "number"  # key of the JSON Schema definition

    def scalar(self, value: Any, at: tuple[str | int, ...]) -> Any:
        """A plain value in SI units. Raises _Faults."""
        raise NotImplementedError(f"{type(self).__name__}.scalar")

    def parse(self, value: Any) -> Any:
        """A plain value or a Distribution. Raises PydanticCustomError of type 'quantity'."""
        try:
            if isinstance(value, Distribution):
                return value
            return self._distribution(value) if isinstance(value, Mapping) else self.scalar(value, ())
        except _Faults as error:
            raise fault_error(error.faults) from None

    @property
    def allowed(self) -> tuple[str, ...]:
        """Names of the distributions this type may have."""
        return DISTRIBUTIONS

    def _distribution(self, value: Mapping[str, Any]) -> Distribution:
        names = [key for key in value if key in DISTRIBUTIONS]
        known = (*self.allowed, "weights") if "choice" in names else self.allowed
        forms = "one distribution: " + ", ".join(f"{{{name}: …}}" for name in self.allowed)
        unknown = [key for key in value if key not in known]
        if unknown:
            raise _Faults([Fault((key,), key, forms, did_you_mean(key, known)) for key in unknown])
        if len(names) != 1:
            raise _Faults([Fault((), dict(value), forms)])
        name = names[0]
        body = value[name]
        if name == "choice":
            return self._choice(body, value.get("weights"), weighted="weights" in value)
        if name == "normal":
            return self._normal(body)
        return self._range(name, body)

    def _range(self, name: str, body: Any) -> Distribution:
        if not isinstance(body, list | tuple) or len(body) != 2:
            raise _Faults([Fault((name,), body, "a list of two numbers: [lowest, highest]")])
        low, high = self._each({(name, i): part for i, part in enumerate(body)})
        if low > high:
            raise _Faults([Fault((name,), body, "the lowest first, then the highest", f"did you mean [{body[1]}, {body[0]}]?")])
        if name == "integer":
            whole = [Fault((name, i), part, "a whole number") for i, part in enumerate((low, high)) if part != int(part)]
            if whole:
                raise _Faults(whole)
            return Integer(low=int(low), high=int(high))
        if name == "log_uniform":
            if low <= 0:
                raise _Faults([Fault((name, 0), body[0], "a number above 0, for a logarithm")])
            return LogUniform(low=low, high=high)
        return Uniform(low=low, high=high)

    def _normal(self, body: Any) -> Distribution:
        if not isinstance(body, Mapping):
            raise _Faults([Fault(("normal",), body, "{mean: …, std: …, min: …, max: …}")])
        known = ("mean", "std", "min", "max")
        faults = [Fault(("normal", key), key, f"one of {', '.join(known)}") for key in body if key not in known]
        faults += [Fault(("normal",), dict(body), f"the key '{key}'") for key in ("mean", "std") if key not in body]
        if faults:
            raise _Faults(faults)
        keys = list(body)
        parts = dict(zip(keys, self._each({("normal", key): body[key] for key in keys}), strict=True))
        mean, std = parts["mean"], parts["std"]
        if std < 0:
            raise _Faults([Fault(("normal", "std"), body["std"], "a standard deviation of 0 or more")])
        low, high = parts.get("min", mean - 3 * std), parts.get("max", mean + 3 * std)
        if not low <= high:
            raise _Faults([Fault(("normal",), dict(body), "min below max")])
        return Normal(mean=mean, std=std, low=low, high=high)

    def _choice(self, body: Any, weights: Any, *, weighted: bool) -> Distribution:
        if not isinstance(body, list | tuple) or not body:
            raise _Faults([Fault(("choice",), body, "a list with at least one value")])
        values = tuple(self._each({("choice", i): part for i, part in enumerate(body)}))
        shares = (1.0,) * len(values)
        if weighted:
            fine = isinstance(weights, list | tuple) and len(weights) == len(values) and all(_is_number(w) and w >= 0 for w in weights)
            if not fine or sum(weights) <= 0:
                raise _Faults(
                    [Fault(("weights",), weights, f"a list of {len(values)} numbers of 0 or more, one for each choice, not all 0")]
                )
            shares = tuple(float(w) for w in weights)
        numbers = [float(v) for v in values if _is_number(v)]
        low, high = (min(numbers), max(numbers)) if len(numbers) == len(values) else (-math.inf, math.inf)
        return Choice(values=values, weights=shares, low=low, high=high)

    def _each(self, parts: dict[tuple[str | int, ...], Any]) -> list[Any]:
        """Every part read as a scalar; all faults at once."""
        values, faults = [], []
        for at, part in parts.items():
            try:
                values.append(self.scalar(part, at))
            except _Faults as error:
                faults += error.faults
        if faults:
            raise _Faults(faults)
        return values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validation by `parse`; dumping by `plain`."""
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda v: v.plain() if isinstance(v, Distribution) else v),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A placeholder that scenarios.schema replaces by a shared definition."""
        return {"x-quantity": self.kind}


@dataclass(frozen=True)
class Quantity(QuantityType):
    """A number with a dimension. Whole numbers only, if `whole`."""

    dimension: units.Dimension
    kind: str = "number"
    whole: bool = False

    @property
    def allowed(self) -> tuple[str, ...]:
        """Whole numbers have no densities."""
        return ("integer", "choice") if self.whole else DISTRIBUTIONS

    def scalar(self, value: Any, at: tuple[str | int, ...]) -> float | int:
        """Number or text with unit -> SI."""
        expected = "a whole number" if self.whole else self.dimension.expected
        if isinstance(value, str) and not self.whole:
            try:
                return self.dimension.parse(value)
            except units.UnitError as error:
                raise _Faults([Fault(at, value, error.expected, error.hint)]) from None
        if not _is_number(value) or not math.isfinite(value) or (self.whole and value != int(value)):
            raise _Faults([Fault(at, value, expected, _number_hint(value))])
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class OneOf(QuantityType):
    """Marker for text out of a fixed list, or `{choice: [...]}` over it."""

    options: tuple[str, ...]
    kind = "option"

    def __init__(self, *options: str) -> None:
        object.__setattr__(self, "options", options)

    @property
    def allowed(self) -> tuple[str, ...]:
        """Text can only be chosen."""
        return ("choice",)

    def scalar(self, value: Any, at: tuple[str | int, ...]) -> str:
        """One of the options."""
        if isinstance(value, str) and value in self.options:
            return value
        raise _Faults([Fault(at, value, "one of " + ", ".join(self.options), did_you_mean(value, self.options))])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The options, or a choice over them."""
        option = {"type": "string", "enum": list(self.options)}
        return {"anyOf": [option, choice_schema(option)]}


@dataclass(frozen=True)
class Label(QuantityType):
    """Marker for a name that is checked later, against the road (a lane, a destination), or `{choice: [...]}` over names."""

    what: str
    kind = "label"

    @property
    def allowed(self) -> tuple[str, ...]:
        """Text can only be chosen."""
        return ("choice",)

    def scalar(self, value: Any, at: tuple[str | int, ...]) -> str:
        """Text of decent length."""
        if isinstance(value, str) and 0 < len(value) <= 64:
            return value
        raise _Faults([Fault(at, value, f"the name of a {self.what}", "put it in quotes" if _is_number(value) else "")])


@dataclass(frozen=True)
class Boolean(QuantityType):
    """Marker for true or false, or a choice between them."""

    kind = "flag"

    @property
    def allowed(self) -> tuple[str, ...]:
        """Either can only be chosen."""
        return ("choice",)

    def scalar(self, value: Any, at: tuple[str | int, ...]) -> bool:
        """true or false."""
        if isinstance(value, bool):
            return value
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        word = words.get(str(value).lower())
        raise _Faults([Fault(at, value, "true or false", f"did you mean {word}?" if word else "")])


@dataclass(frozen=True)
class Between:
    """Marker for bounds: `Annotated[Length, Between(50, 500)]`, SI, both ends included. A distribution must lie inside as a whole."""

    low: float = -math.inf
    high: float = math.inf

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The inner schema, then the bounds."""
        inner = handler(source)
        dimension = _dimension(inner)

        def check(value: Any) -> Any:
            low, high = bounds(value)
            if low >= self.low and high <= self.high:
                return value
            shown = value.plain() if isinstance(value, Distribution) else value
            raise fault_error([Fault((), shown, self.text(dimension))])

        return core_schema.no_info_after_validator_function(check, inner)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The inner schema with the bounds in words (they hold for the SI value, whatever the unit in the file)."""
        return {**handler(schema), "x-bounds": self.text(_dimension(schema))}

    def text(self, dimension: units.Dimension) -> str:
        """The bounds in words."""
        if math.isinf(self.high):
            return f"at least {dimension.show(self.low)}"
        return f"at most {dimension.show(self.high)}" if math.isinf(self.low) else f"from {self.low:g} to {dimension.show(self.high)}"


def _dimension(schema: Any) -> units.Dimension:
    """The dimension of the quantity that a core schema validates; a plain number where there is none."""
    while "schema" in schema:
        schema = schema["schema"]
    marker = getattr(schema.get("function", {}).get("function"), "__self__", None)
    return marker.dimension if isinstance(marker, Quantity) else units.NUMBER
