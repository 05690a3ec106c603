"""The JSON Schema of scenario files and suites, generated from the models. Editors complete and check files with it:

    closedloop schema -o schema.json       and in the first line of the scenario file:
    # yaml-language-server: $schema=schema.json

It cannot say everything: bounds hold for SI values whatever the unit, lanes and destinations depend on the road; the loader checks those.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scenarios import units
from scenarios.quantities import choice_schema
from scenarios.schema import ScenarioModel
from scenarios.suites_io import SuiteModel

__all__ = ["SCHEMA_FILE", "scenario_schema", "schema_text", "suite_schema"]

SCHEMA_FILE = Path(__file__).parent / "schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DIMENSIONS = {
    "length": units.LENGTH,
    "speed": units.SPEED,
    "acceleration": units.ACCEL,
    "angle": units.ANGLE,
    "curvature": units.CURVATURE,
    "time": units.TIME,
    "rate": units.RATE,
    "density": units.DENSITY,
    "ratio": units.RATIO,
    "number": units.NUMBER,
}
_NUMBER = r"^\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?\s*"


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file."""
    schema: dict[str, Any] = _replace(ScenarioModel.model_json_schema())
    definitions = schema.setdefault("$defs", {})
    for kind, dimension in _DIMENSIONS.items():
        definitions[kind] = _quantity(kind, dimension)
    whole = {"type": "integer"}
    pair = {"type": "array", "items": whole, "minItems": 2, "maxItems": 2}
    integer = {"type": "object", "properties": {"integer": pair}, "required": ["integer"], "additionalProperties": False}
    definitions["count"] = {"title": "count", "description": "a whole number", "anyOf": [whole, choice_schema(whole), integer]}
    flag = {"type": "boolean"}
    definitions["flag"] = {"title": "flag", "anyOf": [flag, choice_schema(flag)]}
    label = {"type": "string", "minLength": 1, "maxLength": 64}
    definitions["label"] = {"title": "name", "anyOf": [label, choice_schema(label)]}
    # a variant says some of what a scenario says; parts of parts may be left out too, so editors check only its first level
    names = [name for name in schema["properties"] if name not in ("version", "name", "variants")]
    variant = {"type": "object", "properties": {name: {"description": schema["properties"][name].get("description", "")} for name in names}}
    variants = schema["properties"]["variants"]
    (pattern,) = variants["patternProperties"]  # that of names
    variants["patternProperties"] = {pattern: {**variant, "additionalProperties": False}}
    return {"$schema": DIALECT, "title": "closedloop scenario", **{key: value for key, value in schema.items() if key != "title"}}


def suite_schema() -> dict[str, Any]:
    """JSON Schema of a suite file."""
    return {"$schema": DIALECT, **SuiteModel.model_json_schema(), "title": "closedloop suite"}


def schema_text() -> str:
    """What scenarios/schema.json has to contain."""
    return json.dumps(scenario_schema(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(node: Any) -> Any:
    """The placeholders of scenarios.quantities become references to shared definitions, bounds become part of the description."""
    if isinstance(node, list):
        return [_replace(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _replace(value) for key, value in node.items() if key not in ("x-quantity", "x-bounds")}
    if "x-bounds" in node:
        result["description"] = "; ".join(part for part in (node.get("description"), node["x-bounds"]) if part)
    if "x-quantity" in node:
        result["$ref"] = f"#/$defs/{node['x-quantity']}"
    return result


def _quantity(kind: str, dimension: units.Dimension) -> dict[str, Any]:
    """A number, text with unit, or a distribution over them."""
    options: list[dict[str, Any]] = [{"type": "number"}]
    known = [unit for unit in dimension.units if unit]
    if known:
        escaped = "|".join(unit.replace("/", "\\/").replace("^", "\\^") for unit in known)
        options.append({"type": "string", "pattern": f"{_NUMBER}({escaped})\\s*$"})
    scalar: dict[str, Any] = {"anyOf": options} if len(options) > 1 else options[0]
    pair = {"type": "array", "items": scalar, "minItems": 2, "maxItems": 2}
    normal = {
        "type": "object",
        "properties": dict.fromkeys(("mean", "std", "min", "max"), scalar),
        "required": ["mean", "std"],
        "additionalProperties": False,
    }
    shapes = {"uniform": pair, "log_uniform": pair, "integer": pair, "normal": normal}
    drawn = [
        {"type": "object", "properties": {name: body}, "required": [name], "additionalProperties": False} for name, body in shapes.items()
    ]
    expected = dimension.expected
    return {"title": kind, "description": expected, "anyOf": [*options, *drawn, choice_schema(scalar)]}
