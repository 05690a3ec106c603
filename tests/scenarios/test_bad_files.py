"""Bad scenario files: each is refused, at the right line, with words that help to put it right, and without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

import scenarios
from scenarios import ScenarioError

BAD = Path(__file__).parent / "bad"

# file -> (line of the problem, what its message must contain)
EXPECTED: dict[str, tuple[int, tuple[str, ...]]] = {
    "syntax_tab": (5, ("not valid YAML", "indent with spaces, not tabs")),
    "syntax_bracket": (5, ("not valid YAML", "close the bracket")),
    "syntax_quote": (7, ("not valid YAML", "close the quote", "it began in line 3")),
    "syntax_colon": (3, ("not valid YAML", "put text that contains ': ' in quotes")),
    "syntax_indent": (6, ("not valid YAML", "check the indentation")),
    "syntax_at": (3, ("not valid YAML", "in quotes")),
    "syntax_escape": (3, ("not valid YAML", "use single quotes, or double the backslash")),
    "anchor_alias": (7, ("aliases are not allowed", "write the value out")),
    "anchor": (4, ("expected no anchor", "delete '&place'")),
    "merge_key": (9, ("aliases are not allowed", "write the value out")),
    "tag": (3, ("expected no tag", "delete it")),
    "tag_python": (5, ("expected no tag", "delete it")),
    "duplicate_key": (7, ("'lanes' already stands in line 6", "delete one of the two")),
    "two_documents": (6, ("expected one document", "split the file")),
    "directive": (1, ("no %YAML", "delete the line")),
    "empty": (1, ("the file is empty",)),
    "only_comment": (1, ("the file is empty",)),
    "a_list": (1, ("expected a mapping with the keys version, name, duration, road, ego",)),
    "plain_text": (1, ("expected a mapping", "'just drive'")),
    "number_key": (6, ("expected a name as key", "in quotes")),
    "list_key": (6, ("expected a name as key",)),
    "not_a_number": (3, ("expected a finite number",)),
    "infinite": (3, ("expected a finite number", "leave the key out for no limit")),
    "overflow": (3, ("expected a finite number",)),
    "huge_integer": (4, ("expected a number up to",)),
    "too_deep": (5, ("at most 20 levels of nesting",)),
    "not_utf8": (3, ("expected UTF-8", "save the file as UTF-8")),
    "control_character": (3, ("invisible character U+0007", "delete it")),
    "null_character": (2, ("invisible character U+0000", "delete it")),
    "escaped_control": (3, ("without control characters", "delete the escape sequence")),
    "version_missing": (1, ("expected the key 'version'",)),
    "version_future": (1, ("version", "expected 1", "(got 2)")),
    "version_text": (1, ("version", "expected 1", "(got '1')")),
    "name_differs": (2, ("did you mean 'name_differs'?",)),
    "name_spaces": (2, ("expected a name: a letter, then",)),
    "road_missing": (4, ("no key 'raod'", "did you mean 'road'?")),
    "ego_missing": (1, ("expected the key 'ego'",)),
    "key_typo_road": (6, ("road.ramp_lenght", "did you mean 'ramp_length'?")),
    "key_typo_deep": (8, ("ego.goal.destinatoin", "did you mean 'destination'?")),
    "key_foreign": (6, ("no key 'weather'", "known: version, name")),
    "road_kind_typo": (4, ("road.kind", "did you mean 'highway'?")),
    "road_kind_missing": (4, ("expected the key 'kind'", "highway")),
    "road_text": (4, ("road", "expected a mapping", "'highway'")),
    "null_value": (3, ("expected a time", "got nothing")),
    "enum_typo": (4, ("road.control", "did you mean 'lights'?")),
    "kind_typo": (5, ("ego.kind", "one of car, truck, bus, motorcycle", "did you mean 'motorcycle'?")),
    "flag_yes": (4, ("expected true or false", "did you mean true?")),
    "lane_number": (5, ("expected the name of a lane", "put it in quotes")),
    "mix_empty": (6, ("mix", "at least one share above 0")),
    "mix_unknown": (6, ("no key 'lorry'", "known: car, truck")),
    "mix_negative": (6, ("mix.truck", "at least 0")),
    "traffic_mapping": (7, ("traffic", "expected a list")),
    "traffic_two_sources": (7, ("exactly one of the keys flow, fill, bays",)),
    "fill_two_amounts": (7, ("exactly one of the keys count, spacing, density",)),
    "fill_backwards": (7, ("expected an end behind begin",)),
    "flow_no_lanes": (7, ("traffic[0].flow.lanes", "at least 1")),
    "maps_zero": (4, ("maps", "at least 1")),
    "maps_half": (4, ("maps", "expected a whole number")),
    "script_two_triggers": (11, ("exactly one of the keys time, distance, ahead, ttc",)),
    "script_do_typo": (10, ("script.do", "did you mean 'change_right'?")),
    "script_brake_speed": (9, ("no 'decel' unless do is 'brake'",)),
    "script_speed_missing": (9, ("the key 'to', the new speed",)),
    "unit_wrong_kind": (3, ("expected a time", "'m' is a unit of a length")),
    "unit_typo": (4, ("expected a speed", "did you mean '100 km/h'?")),
    "unit_without": (4, ("did you mean 800 (without quotes, in m)?",)),
    "number_words": (3, ("expected a time", "units: s, ms, min, h")),
    "number_comma": (4, ("road.lane_width", "expected a length")),
    "bool_number": (3, ("expected a time", "got true")),
    "negative_rate": (7, ("traffic[0].flow.rate", "at least 0 1/s")),
    "rate_per_second": (7, ("from 0 to 2 1/s", "(got 900)")),
    "out_of_range": (4, ("road.lanes", "from 1 to 8")),
    "duration_long": (3, ("from 1 to 3600 s", "'2 h'")),
    "uniform_reversed": (7, ("the lowest first", "did you mean [600 m, 900 m]?")),
    "uniform_three": (4, ("a list of two numbers: [lowest, highest]",)),
    "uniform_beyond": (4, ("road.length", "from 100 to 3000 m")),
    "distribution_typo": (4, ("unifrom", "did you mean 'uniform'?")),
    "normal_no_std": (7, ("the key 'std'",)),
    "normal_key": (7, ("headway.normal.sd", "one of mean, std, min, max")),
    "choice_weights": (4, ("a list of 2 numbers",)),
    "choice_empty": (4, ("a list with at least one value",)),
    "integer_half": (4, ("road.lanes.integer[1]", "a whole number")),
    "log_zero": (5, ("above 0, for a logarithm",)),
    "two_distributions": (4, ("one distribution",)),
    "lane_unknown": (5, ("a lane of this road", "did you mean 'ramp.0'?")),
    "lane_choice_unknown": (5, ("choice[1]", "'main.7'", "did you mean 'main.")),
    "lane_too_short": (7, ("lane 'main.0', which is 500.0 m long",)),
    "lane_walkway": (7, ("this is a walkway", "pedestrian: 1")),
    "lane_overtaking": (5, ("only for overtaking", "start on the lane beside it")),
    "destination_unknown": (7, ("a destination of this road", "did you mean 'north'?")),
    "destination_unreachable": (7, ("can be reached from lane 'out.0'", "from there: through")),
    "destination_too_far": (7, ("reached in 10 s; it is 1500 m away", "allow at least")),
    "flow_destination": (7, ("can be reached from lane 'west_in.0'", "from there: south, east, north")),
    "fill_beyond": (7, ("lane 'main.1', which is 500.0 m long",)),
    "bay_unknown": (7, ("a bay of this road", "known: any, a0")),
    "bay_nowhere": (7, ("a road with parking bays",)),
    "goal_two": (7, ("at most one of the keys region, bay",)),
    "goal_time": (7, ("a time after time_min",)),
    "ego_nowhere": (5, ("exactly one of the keys lane, pose",)),
    "ego_twice": (5, ("exactly one of the keys lane, pose", "lane, pose")),
    "ego_heading": (5, ("ego.heading", "no 'heading' beside 'pose'")),
    "ego_too_fast": (5, ("at most 27 m/s",)),
    "actor_id_twice": (8, ("an id of its own", "'lead'")),
    "actor_nowhere": (7, ("exactly one of the keys s, ahead, pose",)),
    "actor_in_ego": (7, ("actor 'lead' stands in 'ego'", "further apart")),
    "actor_static_script": (10, ("no 'script' for a static actor", "say role: idm")),
    "actor_no_lane_left": (10, ("expected a lane on the left",)),
    "actor_off_road": (7, ("it ends 200 m before",)),
    "actors_too_many": (4, ("room for the ego and 2 actors",)),
    "road_impossible": (5, ("this road cannot be built", "a longer road, fewer bends")),
    "variant_key_typo": (9, ("road.lane", "did you mean 'lanes'?")),
    "variant_value": (8, ("expected a time", "'km' is a unit of a length")),
    "variant_renames": (8, ("no 'name' in a variant", "delete it")),
    "variant_list": (7, ("variants", "expected a mapping")),
    "file_outside": (4, ("inside the scenario's folder",)),
    "file_absolute": (4, ("inside the scenario's folder",)),
    "file_missing": (4, ("expected an existing file", "'nowhere.npz'")),
    "file_suffix": (4, ("a file ending in .npz",)),
    "file_not_npz": (4, ("no usable road network",)),
    "recorded_missing": (6, ("expected an existing file",)),
    "recorded_mode": (6, ("one of log, reactive",)),
    "custom_point": (9, ("points[1]", "at least 2")),
    "custom_successor": (5, ("next",)),
    "custom_lane_type": (9, ("did you mean 'drive'?",)),
    "custom_stop_beyond": (10, ("lanes[0].stop.s", "a place on lane 'a', which is 80.0 m long (got '95 m')", "say at most 80.0 m")),
    "custom_destination_beyond": (9, ("destinations.home[0].s", "lane 'a', which is 80.0 m long (got '120 m')", "at most 80.0 m")),
    "custom_neighbour_points": (7, ("lanes[0].left", "3 points, as many as lane 'a' has; 'b' has 2", "give neighbours equally many")),
    "custom_neighbour_apart": (8, ("3.50 m to the right of lane 'b'", "beside (100.0, 9.0), 'a' is at (100.0, 0.0)", "move its")),
    "custom_neighbour_wide": (7, ("4.75 m to the left of lane 'a', half the two widths", "1.25 m from its place")),
    "custom_neighbour_side": (7, ("lanes[0].right", "3.50 m to the right of lane 'a'", "7.00 m from its place", "or say no 'right'")),
    "custom_neighbour_oncoming": (7, ("lanes[0].left", "'b' is at (100.0, 3.5), 100.00 m from its place")),
    "custom_neighbour_shifted": (7, ("lanes[0].left", "20.00 m from its place")),
    "custom_gap": (7, ("successors[0]", "starts where lane 'a' ends; 'b' starts 1.00 m from there", "begin its points with [100, 0]")),
    "custom_kink": (7, ("successors[0]", "within 2 degrees; 'b' starts at an angle of 90.0", "bend one of the two")),
    "many_at_once": (3, ("'m' is a unit of a length",)),
}


def problems(name: str) -> tuple[scenarios.Problem, ...]:
    with pytest.raises(ScenarioError) as caught:
        scenarios.sample(scenarios.load(BAD / f"{name}.yaml"), 0)
    return caught.value.problems


@pytest.mark.parametrize("name", EXPECTED)
def test_refused_with_line_and_fix(name: str) -> None:
    line, parts = EXPECTED[name]
    found = problems(name)
    assert any(p.line == line and p.column >= 1 and all(part in str(p) for part in parts) for p in found), "\n".join(map(str, found))
    text = (BAD / f"{name}.yaml").read_bytes()
    for problem in found:
        assert problem.file.endswith(f"{name}.yaml")
        assert 1 <= problem.line <= text.count(b"\n") + 1
        assert "Traceback" not in str(problem)
        assert "pydantic" not in str(problem)


def test_every_file_is_in_the_table() -> None:
    assert {path.stem for path in BAD.glob("*.yaml")} == set(EXPECTED)
    assert len(EXPECTED) >= 60


def test_everything_is_told_at_once_in_the_order_of_the_file() -> None:
    found = problems("many_at_once")
    assert [(p.line, p.path) for p in found] == [
        (3, "duration"),
        (4, "road.lenght"),
        (5, "ego.kind"),
        (7, "traffic[0].flow"),
        (8, "wheather"),
    ]
    assert str(ScenarioError(found)).count("\n") == 4


def test_a_problem_names_file_line_column_path_value_and_expectation() -> None:
    (problem,) = problems("unit_typo")
    assert (problem.line, problem.column, problem.path, problem.value) == (4, 36, "road.speed_limit", "'100 kmh'")
    assert str(problem).startswith(str(problem.file) + ":4:36: road.speed_limit: expected a speed")
    assert problem.hint == "did you mean '100 km/h'?"
    assert problem.as_dict()["line"] == 4


def test_the_rest_of_a_file_with_an_alias_is_checked_too() -> None:
    text = "version: 1\nname: x\nduration: &d 30 s\nroad: {kind: highway}\nego: {lane: main.0, s: *d}\nmpas: 3\n"
    with pytest.raises(ScenarioError) as caught:
        scenarios.load_text(text)
    assert [(p.line, p.path) for p in caught.value.problems] == [(3, "duration"), (5, "ego.s"), (6, "mpas")]


def test_a_mistake_in_a_variant_is_told_once_and_one_in_the_base_only_once_too() -> None:
    text = (
        "version: 1\nname: x\nduration: 30 s\nroad: {kind: highway, lnes: 2}\nego: {lane: main.0}\n"
        "variants:\n  easy: {}\n  hard: {duration: 1 m}\n"
    )
    with pytest.raises(ScenarioError) as caught:
        scenarios.load_text(text)
    assert [(p.line, p.path) for p in caught.value.problems] == [(4, "road.lnes"), (8, "duration")]
