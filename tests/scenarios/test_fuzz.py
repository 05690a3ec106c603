"""Whatever stands in a file: the loader returns a scenario or raises ScenarioError, nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

import scenarios
from scenarios import ScenarioError
from scenarios.document import parse
from scenarios.loader import LIBRARY

TEXTS = [path.read_text() for path in sorted(LIBRARY.glob("*.yaml"))]
SNIPPETS = [
    ":", "- ", "{", "}", "[", "]", "&a", "*a", "!!int", "!", "|", ">", "'", '"', "#", "%YAML 1.1", "---", "...", "?",
    "<<", "\t", "\n", "\n\n", "  ",
    "null", "~", "true", "yes", ".nan", "-.inf", "1e999", "0x", "0o8", "-1", "0", "1e-320", "50 km/h", "{uniform: [1, 0]}", "{choice: []}",
    "{normal: {mean: 0, std: -1}}", "[[]]", "{}", "\x00", "\x85", "\u2028", "\ufeff", "\U0001f697", "main.0", "version", "\\", '"\\uD800"',
]  # fmt: skip
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def survives(text: str, variant: str | None = None) -> None:
    try:
        scenario = scenarios.load_text(text, variant)
        scenarios.sample(scenario, 1)
    except ScenarioError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.line <= text.count("\n") + text.count("\r") + 1
            assert str(problem)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A text of the library with pieces deleted, doubled, moved, replaced or put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        a = draw(st.integers(0, len(text)))
        b = min(len(text), a + draw(st.integers(0, 40)))
        how = draw(st.integers(0, 4))
        if how == 0:
            text = text[:a] + text[b:]
        elif how == 1:
            text = text[:b] + text[a:b] + text[b:]
        elif how == 2:
            text = text[:a] + draw(st.sampled_from(SNIPPETS)) + text[a:]
        elif how == 3:
            text = text[:a] + draw(st.sampled_from(SNIPPETS)) + text[b:]
        else:
            c = draw(st.integers(0, len(text)))
            text = text[:c] + text[a:b] + text[c:]
    return text


@given(mutated(), st.sampled_from([None, "easy", "hard"]))
@QUICK
def test_mutations_of_the_library(text: str, variant: str | None) -> None:
    survives(text, variant)


@given(
    st.binary(max_size=200)
    | st.builds(lambda a, b, c: a[:b] + c + a[b:], st.sampled_from([t.encode() for t in TEXTS]), st.integers(0, 800), st.binary(max_size=4))
)
@QUICK
def test_bytes(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(raw)
        try:
            scenarios.load(path)
        except ScenarioError as error:
            assert error.problems


KEYS = st.sampled_from(
    (
        "version name duration road ego traffic actors drivers mix variants kind lanes lane s d speed goal destination flow fill bays "
        "rate count id ahead script when do time uniform normal choice weights integer mean std pose x y region bay file recorded mode "
        "points speed_limit"
    ).split()
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
WORDS = st.sampled_from(
    ["highway", "main.0", "through", "car", "custom", "file", "50 km/h", "10 s", "3 m", "any", "log", "static", "brake", "500 veh/h"]
)
TREES = st.recursive(SCALARS | WORDS, lambda part: st.lists(part, max_size=4) | st.dictionaries(KEYS, part, max_size=6), max_leaves=25)


@given(TREES)
@QUICK
@example({"version": 1, "name": "x", "duration": 5, "road": {"kind": "custom", "lanes": []}, "ego": {}})
def test_structures(tree: object) -> None:
    """JSON is YAML, so any tree can be written down."""
    survives(to_json(tree).decode())


@given(st.dictionaries(KEYS, TREES, max_size=4))
@QUICK
def test_structures_within_a_sound_file(parts: dict[str, object]) -> None:
    """Parts of a sound scenario replaced by anything."""
    root, _ = parse(TEXTS[3], "x")
    survives(to_json({**root.plain(), **parts}).decode())


@given(st.sampled_from(["road", "ego", "traffic", "actors", "drivers", "mix", "variants"]), st.data())
@QUICK
def test_structures_deep_within_a_sound_file(section: str, data: st.DataObject) -> None:
    root, _ = parse(data.draw(st.sampled_from(TEXTS)), "x")
    tree = root.plain()
    node, depth = tree, 0
    key: object = section
    while isinstance(node.get(key) if isinstance(node, dict) else node[key], dict | list) and depth < data.draw(st.integers(1, 5)):
        below = node[key]
        if not below:
            break
        node, key, depth = below, data.draw(st.sampled_from(list(below) if isinstance(below, dict) else list(range(len(below))))), depth + 1
        if not isinstance(node, dict | list):
            break
    if isinstance(node, dict) and key not in node:
        key = section
        node = tree
    node[key] = data.draw(TREES)
    survives(to_json(tree).decode())
