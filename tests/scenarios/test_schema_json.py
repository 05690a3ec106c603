"""The JSON Schema for editors: current, sound, and of the same mind as the loader where it can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scenarios.document import parse
from scenarios.errors import ScenarioError
from scenarios.jsonschema import SCHEMA_FILE, scenario_schema, schema_text, suite_schema
from scenarios.loader import LIBRARY
from scenarios.suites_io import SUITES

BAD = Path(__file__).parent / "bad"
# what an editor can see: mistakes in keys, words, kinds of value and units, not those that need the road or a comparison
SEEN_BY_EDITORS = [
    "version_missing", "version_future", "version_text", "name_spaces", "road_missing", "ego_missing", "key_typo_road",
    "key_typo_deep", "key_foreign",
    "road_text", "null_value", "enum_typo", "kind_typo", "flag_yes", "lane_number", "mix_unknown", "mix_negative",
    "traffic_mapping", "flow_no_lanes",
    "maps_zero", "maps_half", "script_do_typo", "unit_wrong_kind", "unit_typo", "unit_without", "number_words",
    "number_comma", "bool_number",
    "uniform_three", "distribution_typo", "normal_no_std", "normal_key", "choice_empty", "integer_half", "variant_renames", "variant_list",
    "custom_lane_type", "a_list", "plain_text",
]  # fmt: skip


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(scenario_schema())


def plain(path: Path) -> Any:
    return parse(path.read_text(), path.name)[0].plain()


def test_the_file_is_current() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run: closedloop schema -o scenarios/schema.json"


def test_it_is_a_sound_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))
    jsonschema.Draft202012Validator.check_schema(suite_schema())
    assert "x-quantity" not in schema_text()


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_library_is_valid(path: Path) -> None:
    assert [e.message for e in validator().iter_errors(plain(path))] == []


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_suites_are_valid(path: Path) -> None:
    assert [e.message for e in jsonschema.Draft202012Validator(suite_schema()).iter_errors(plain(path))] == []


@pytest.mark.parametrize("name", SEEN_BY_EDITORS)
def test_editors_see_the_mistake_too(name: str) -> None:
    assert not validator().is_valid(plain(BAD / f"{name}.yaml"))


def test_nothing_the_loader_accepts_is_refused_by_the_schema() -> None:
    """All bad files that the schema refuses are refused by the loader (they all are); what is left over must at least be readable."""
    sound = 0
    for path in sorted(BAD.glob("*.yaml")):
        try:
            sound += validator().is_valid(plain(path))
        except (ScenarioError, UnicodeDecodeError):
            continue
    assert sound > 20  # the schema is no stricter than the loader's first pass: semantic mistakes pass it
