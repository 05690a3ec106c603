"""Finding, reading, merging and checking scenario files."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scenarios
from scenarios import ScenarioError
from scenarios.distributions import Uniform
from scenarios.document import MAX_BYTES, Node, merge, parse

FAMILIES = [
    "crossing",
    "cut_in",
    "exit",
    "highway",
    "junction",
    "lane_keep",
    "merge",
    "oncoming",
    "parking",
    "racetrack",
    "roundabout",
    "signals",
]
MINIMAL = "version: 1\nname: NAME\nduration: 30 s\nroad: {kind: highway}\nego: {lane: main.0}\n"


def write(folder: Path, name: str = "mine", text: str = MINIMAL) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text.replace("NAME", name))
    return path


def refused(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        scenarios.load_text(text)
    return str(caught.value)


def test_the_library_has_the_twelve_families_each_easy_and_hard() -> None:
    assert scenarios.names() == FAMILIES
    assert set(scenarios.names(variants=True)) == {f"{f}{v}" for f in FAMILIES for v in ("", "/easy", "/hard")}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_passes_every_check_on_all_its_roads(name: str) -> None:
    scenario = scenarios.load(name)
    assert scenario.model.description
    assert scenarios.check(scenario, seeds=2) == []


def test_names_variants_and_paths(tmp_path: Path) -> None:
    assert scenarios.load("merge/hard").id == "merge/hard"
    assert scenarios.load("merge", "hard") == scenarios.load("merge/hard")
    assert scenarios.load("merge").variant is None
    assert scenarios.load("merge").digest != scenarios.load("merge/hard").digest
    path = write(tmp_path, text=MINIMAL + "variants:\n  wet: {duration: 40 s}\n")
    assert scenarios.load(path).model.duration == 30.0
    assert scenarios.load(f"{path}/wet").model.duration == 40.0
    assert scenarios.load(path, "wet").id == "mine/wet"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mergee", "did you mean 'merge'"),
        ("merge/hrad", "did you mean 'hard'"),
        ("merge/hard/er", "no scenario"),
        ("", "no scenario"),
        ("nowhere.yaml", "no such file"),
        ("a\0b", "null character"),
        ("../merge", "no scenario"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenarios.load(name)


def test_two_different_variants_at_once_are_refused() -> None:
    with pytest.raises(ScenarioError, match="two variants"):
        scenarios.load("merge/hard", "easy")


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert scenarios.load(path).model.duration == 30.0
    path.write_text(path.read_text().replace("30 s", "31.5 s"))
    assert scenarios.load(path).model.duration == 31.5


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(ScenarioError, match="expected a file"):
        scenarios.load(tmp_path / "x.yaml")


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, text=MINIMAL + "#" * MAX_BYTES)
    with pytest.raises(ScenarioError, match="at most 1,000,000 bytes"):
        scenarios.load(path)


def test_too_many_values_are_refused() -> None:
    assert "at most 50,000 values" in refused(MINIMAL + "actors: [" + "1," * 60_000 + "]\n")


def test_nesting_is_refused_before_it_can_hurt() -> None:
    assert "20 levels" in refused("a: " + "[" * 200_000)
    assert "20 levels" in refused("\n".join(" " * i + "a:" for i in range(500)))


def test_links_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.npz").write_bytes(b"secret")
    (home / "link.npz").symlink_to(tmp_path / "secret.npz")
    (home / "out").symlink_to(tmp_path)
    (home / "loop.npz").symlink_to(home / "loop.npz")
    for target, message in (("link.npz", "link that leaves"), ("out/secret.npz", "link that leaves"), ("loop.npz", "expected")):
        path = write(home, text=MINIMAL.replace("{kind: highway}", f"{{kind: file, file: {target}}}"))
        with pytest.raises(ScenarioError, match=message) as caught:
            scenarios.load(path)
        assert caught.value.problems[0].line == 4


def test_text_without_a_file_has_no_sidecars() -> None:
    assert "stands in a file" in refused(MINIMAL.replace("{kind: highway}", "{kind: file, file: a.npz}"))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_editors_do(newline: str) -> None:
    text = newline.join(["version: 1", "name: x", "duration: 30 s", "road: {kind: highway}", "ego: {lane: mian.0}", ""])
    assert "<text>:5:13: ego.lane" in refused(text)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("NAME", "mine").encode())
    assert scenarios.load(path).name == "mine"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("true", True), ("False", False), ("~", None), ("12:30", "12:30"), ("1_000", "1_000"), ("010", 10),
        ("0o17", 15), ("0x1F", 31), ("-7", -7), ("1e3", 1000.0), (".5", 0.5), ("+1.", 1.0), ("'5'", "5"),
        ("2001-01-01", "2001-01-01"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    root, problems = parse(f"a: {text}\n", "x")
    assert problems == []
    found = root.plain()["a"]
    assert found == value
    assert type(found) is type(value)


Tree = st.recursive(
    st.integers(-5, 5) | st.sampled_from(["a", "b", True]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["lanes", "x", "y", "z"]), part, max_size=4),
    max_leaves=12,
)


def as_node(value: object) -> Node:
    if isinstance(value, dict):
        return Node({k: as_node(v) for k, v in value.items()}, 1, 1, keys=dict.fromkeys(value, (1, 1)))
    return Node([as_node(v) for v in value] if isinstance(value, list) else value, 1, 1)


@given(Tree, Tree)
def test_merging_laws(base: object, over: object) -> None:
    """Merging twice is merging once; nothing laid on something changes nothing; what the upper one says, holds."""
    a, b = as_node(base), as_node(over)
    once = merge(a, b)
    assert merge(once, b).plain() == once.plain()
    assert merge(a, a).plain() == a.plain()
    if isinstance(base, dict) and isinstance(over, dict):
        assert merge(a, as_node({})).plain() == base
        assert once.plain().keys() == base.keys() | over.keys()
        for key, value in over.items():
            if not isinstance(value, dict) or not isinstance(base.get(key), dict):
                assert once.plain()[key] == value


def test_a_variant_replaces_lists_distributions_and_roads_of_another_kind() -> None:
    text = MINIMAL.replace("NAME", "x") + (
        "traffic:\n  - flow: {lanes: [main.0], rate: 500 veh/h}\n"
        "drivers: {headway: {normal: {mean: 1.5, std: 0.2}}, min_gap: 3 m}\n"
        "variants:\n"
        "  calm: {traffic: [], drivers: {headway: {uniform: [2 s, 3 s]}}}\n"
        "  town: {road: {kind: junction}, ego: {lane: south_in.0}, traffic: null, drivers: null}\n"
    )
    calm, town = scenarios.load_text(text, "calm").model, scenarios.load_text(text, "town").model
    assert calm.traffic == ()
    assert calm.drivers.headway == Uniform(low=2.0, high=3.0)
    assert calm.drivers.min_gap == 3.0
    assert (town.road.kind, town.traffic, town.drivers.min_gap) == ("junction", (), None)


def test_comments_and_names_do_not_change_what_is_drawn() -> None:
    one = scenarios.load_text(MINIMAL.replace("NAME", "one"))
    two = scenarios.load_text("# a remark\n" + MINIMAL.replace("NAME", "two") + "description: the same\n")
    assert one.digest == two.digest
    assert one.digest != scenarios.load_text(MINIMAL.replace("NAME", "one").replace("30 s", "31 s")).digest


def test_a_scenario_can_be_sent_to_another_process() -> None:
    scenario = scenarios.load("junction/hard")
    copy = pickle.loads(pickle.dumps(scenario))  # noqa: S301
    assert copy == scenario
    assert scenarios.sample(copy, 3).drawn == scenarios.sample(scenario, 3).drawn


def test_importing_scenarios_is_light() -> None:
    code = (
        "import sys; before = set(sys.modules); import scenarios\n"
        "heavy = {'torch', 'gymnasium', 'pydantic', 'ruamel', 'scipy', 'shapely', 'matplotlib'} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy\n"
        "scenarios.sample(scenarios.load('highway'), 0)\n"
        "heavy = {'torch', 'gymnasium', 'stable_baselines3', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(hasattr(scenarios, name) for name in scenarios.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        scenarios.smaple  # noqa: B018
