"""Stored networks, recordings and episodes come back exactly; damaged files are refused with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scenarios
from scenarios import serialize
from scenarios.episode import Action, AgentSpec, Driver, Episode, Goal, Log, Region, Role, Script, Trigger
from scenarios.kinds import Kind
from scenarios.network import Bay, Box, Conflict, Lane, LaneEnd, LaneType, Light, LightState, Mark, RoadNetwork, StopLine
from scenarios.serialize import DataError, Recording

NETWORK = RoadNetwork(
    lanes=(
        Lane(
            id="a.0",
            centre=np.array([[0.0, 0.0], [1 / 3, 1e-9], [50.0, 0.1]]),
            speed_limit=13.9,
            successors=("b.0",),
            stop=StopLine(s=45.0, light="l", must_stop=True),
            left_mark=Mark.SOLID,
            priority=-2,
            name="Straße",
        ),
        Lane(id="b.0", centre=np.array([[50.0, 0.1], [90.0, 0.0]]), speed_limit=8.0, type=LaneType.JUNCTION, end=LaneEnd.EXIT, left="a.0"),
    ),
    lights=(Light(id="l", x=45.0, y=3.0, heading=0.1, phases=((LightState.RED, 12.5), (LightState.GREEN, 7.0)), offset=-3.0),),
    conflicts=(Conflict(lane="a.0", other="b.0", s_enter=1.0, s_exit=2.0, other_enter=3.0, other_exit=4.0, yields=True, mutual=True),),
    areas=(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),),
    crosswalks=(np.array([[5.0, 0.0], [6.0, 0.0], [6.0, 1.0], [5.0, 1.0]]),),
    occluders=(Box(x=1.0, y=2.0, yaw=0.3, length=4.0, width=5.0, kind="hedge"),),
    bays=(Bay(id="p", x=1.0, y=2.0, yaw=0.3, length=4.0, width=5.0),),
    destinations={"end": (("b.0", np.inf), ("a.0", 12.5))},
)
LOG = Log(
    x=np.array([0.1, 0.2, 0.3]),
    y=np.array([1.0, -0.0, 5e-324]),
    yaw=np.array([0.0, 0.1, 0.2]),
    speed=np.array([1.0, 2.0, 3.0]),
    valid=np.array([True, True, False]),
)
LOGGED = AgentSpec(id="7", kind=Kind.TRUCK, role=Role.LOG, length=10.0, width=2.5, wheelbase=5.8, log=LOG)
PARKED = AgentSpec(id="8", role=Role.STATIC, length=4.0, width=2.0, wheelbase=2.5, x=3.0, y=4.0, yaw=1.0)
RECORDING = Recording(source="X.xml", dt=0.1, offset=(1e6, -2e6), agents=(LOGGED, PARKED))
EPISODE = Episode(
    scenario="merge/hard",
    seed=2**40 + 1,
    duration=40.0,
    network=NETWORK,
    network_key="merge/3",
    agents=(
        AgentSpec(
            role=Role.LEARNER,
            length=4.6,
            width=1.85,
            wheelbase=2.8,
            lane="a.0",
            s=1 / 7,
            destination="end",
            driver=Driver(desired_speed=30.0, changes_lanes=False),
            script=Script(trigger=Trigger.TTC, value=2.0, action=Action.BRAKE, reckless=True),
        ),
        LOGGED,
        PARKED,
    ),
    goal=Goal(destination="end", region=Region(x=1.0, y=2.0, length=3.0, width=4.0, speed_max=5.0), time_min=1.0),
    drawn={"road.lanes": 3.0, "ego.kind": "inf", "weird": float("inf"), "road.right_first": False},
)


def assert_same(a: Any, b: Any) -> None:
    """Equal in type, value and bit pattern, all the way down."""
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert_same(tuple(a.values()), tuple(b.values()))
    else:
        assert a == b or (a != a and b != b)


def test_network_and_episode_come_back_exactly_through_json() -> None:
    header, arrays = serialize.network_to_arrays(NETWORK)
    assert {name: array.dtype for name, array in arrays.items()} == {"numbers": np.float64, "flags": np.bool_}
    assert_same(serialize.network_from_arrays(json.loads(json.dumps(header, allow_nan=False)), arrays), NETWORK)
    header, arrays = serialize.episode_to_arrays(EPISODE)
    assert_same(serialize.episode_from_arrays(json.loads(json.dumps(header, allow_nan=False)), arrays), EPISODE)


@pytest.mark.parametrize("name", scenarios.names())
def test_whatever_a_scenario_draws_comes_back(name: str) -> None:
    scenario = scenarios.load(name)
    for seed in range(4):
        episode = scenarios.sample(scenario, seed)
        header, arrays = serialize.episode_to_arrays(episode)
        back = serialize.episode_from_arrays(json.loads(json.dumps(header, allow_nan=False)), arrays)
        assert back.drawn == episode.drawn  # whole numbers come back as 4.0
        assert [type(v) is bool for v in back.drawn.values()] == [type(v) is bool for v in episode.drawn.values()]
        assert_same(dataclasses.replace(back, drawn={}), dataclasses.replace(episode, drawn={}))


@given(st.lists(st.floats(), min_size=4, max_size=4), st.floats())
def test_any_float_comes_back_bit_for_bit(values: list[float], duration: float) -> None:
    log = dataclasses.replace(
        LOG, x=np.array(values), y=np.array(values), yaw=np.array(values), speed=np.array(values), valid=np.ones(4, bool)
    )
    episode = dataclasses.replace(EPISODE, duration=duration, agents=(dataclasses.replace(LOGGED, log=log),))
    header, arrays = serialize.episode_to_arrays(episode)
    assert_same(serialize.episode_from_arrays(json.loads(json.dumps(header)), arrays), episode)


def test_sidecar_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    serialize.save_network(first, NETWORK, RECORDING)
    serialize.save_network(second, NETWORK, RECORDING)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]  # no temporary file left
    assert_same(serialize.load_network(first), NETWORK)
    assert_same(serialize.load_recording(first), RECORDING)
    with np.load(first, allow_pickle=False) as opened:  # numpy's own reader agrees about the format
        assert json.loads(opened["header"].tobytes())["format"] == serialize.FORMAT
        assert opened["numbers"].dtype == np.float64


def test_network_without_recording(tmp_path: Path) -> None:
    serialize.save_network(tmp_path / "a.npz", NETWORK)
    with pytest.raises(DataError, match="no recording"):
        serialize.load_recording(tmp_path / "a.npz")


def _lane(**changes: Any) -> RoadNetwork:
    return dataclasses.replace(NETWORK, lanes=(NETWORK.lanes[0], dataclasses.replace(NETWORK.lanes[1], **changes)))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (dataclasses.replace(NETWORK, lanes=()), "0 lanes"),
        (_lane(id="a.0"), "each named once"),
        (_lane(centre=np.zeros((1, 2))), "at least 2 finite points"),
        (_lane(centre=np.array([[0.0, 0.0], [np.nan, 1.0]])), "finite"),
        (_lane(centre=np.array([[0.0, 0.0], [2e5, 1.0]])), "within 100000 m"),
        (_lane(centre=np.zeros((2, 2))), "consecutive points"),
        (_lane(width=0.0), "width 0.0 m"),
        (_lane(speed_limit=float("nan")), "speed limit nan"),
        (_lane(successors=("nowhere",)), "nowhere"),
        (_lane(stop=StopLine(s=-1.0)), "stop line at -1.0"),
        (_lane(stop=StopLine(s=1.0, light="x")), "no light 'x'"),
        (dataclasses.replace(NETWORK, lights=(dataclasses.replace(NETWORK.lights[0], phases=()),)), "phases"),
        (dataclasses.replace(NETWORK, destinations={"end": (("c", 1.0),)}), "destination 'end'"),
        (dataclasses.replace(NETWORK, areas=(np.zeros((2, 2)),)), "polygon"),
        (dataclasses.replace(NETWORK, conflicts=(dataclasses.replace(NETWORK.conflicts[0], other="c"),)), "no such lanes"),
        (dataclasses.replace(NETWORK, conflicts=(dataclasses.replace(NETWORK.conflicts[0], s_exit=float("nan")),)), "not finite"),
        (dataclasses.replace(NETWORK, occluders=(Box(x=0.0, y=0.0, yaw=0.0, length=3.0, width=float("nan")),)), "box at"),
        (dataclasses.replace(NETWORK, bays=(Bay(id="p", x=0.0, y=0.0, yaw=0.0, length=0.0, width=2.0),)), "bay at"),
    ],
)
def test_networks_that_make_no_sense_are_refused(network: RoadNetwork, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        serialize.save_network(tmp_path / "a.npz", network)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("agents", "dt", "words"),
    [
        ((LOGGED, LOGGED), 0.1, "same id"),
        ((LOGGED,), 0.0, "dt 0.0"),
        ((dataclasses.replace(LOGGED, role=Role.IDM),), 0.1, "role IDM"),
        ((dataclasses.replace(LOGGED, log=None),), 0.1, "log False"),
        ((dataclasses.replace(LOGGED, width=-1.0),), 0.1, "width"),
        ((dataclasses.replace(LOGGED, log=dataclasses.replace(LOG, x=np.array([np.nan, 0, 0]))),), 0.1, "finite columns"),
        ((dataclasses.replace(LOGGED, log=dataclasses.replace(LOG, valid=np.zeros(3, bool))),), 0.1, "valid row"),
        (tuple(dataclasses.replace(PARKED, id=str(i)) for i in range(64)), 0.1, "at most 63"),
    ],
)
def test_recordings_that_make_no_sense_are_refused(agents: tuple[AgentSpec, ...], dt: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        serialize.check_recording(dataclasses.replace(RECORDING, agents=agents, dt=dt))


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array))
    return stream.getvalue()


def _edit(members: dict[str, bytes], edit: Any) -> None:
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    edit(header)
    members["header.npy"] = _npy(np.frombuffer(json.dumps(header).encode(), np.uint8))


def _set(*path: Any) -> Any:
    *way, last, value = path

    def edit(members: dict[str, bytes]) -> None:
        def change(header: Any) -> None:
            for step in way:
                header = header[step]
            header[last] = value

        _edit(members, change)

    return edit


def _put(name: str, data: bytes) -> Any:
    return lambda members: members.__setitem__(name, data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda members: members.pop("flags.npy"), "members"),
        (_put("more.npy", _npy([1.0])), "members"),
        (_put("numbers.npy", _npy(np.array([1.0], np.float32))), "expected one dimension of float64"),
        (_put("numbers.npy", _npy(np.zeros((2, 2)))), "shape"),
        (_put("numbers.npy", b"not numpy"), "numbers.npy"),
        (_put("numbers.npy", _npy(np.zeros(3))), "does not fit"),
        (_put("header.npy", _npy(np.frombuffer(b"{", np.uint8))), "not JSON"),
        (_put("header.npy", _npy(np.frombuffer(b"[" * 100_000, np.uint8))), "not JSON"),
        (_put("header.npy", _npy(np.frombuffer(b"[]", np.uint8))), "format"),
        (_set("format", "other"), "format"),
        (_set("version", 99), "version 99; this program reads version 1"),
        (_set("network", "lanes", 0, "type", 77), "77 is no LaneType"),
        (_set("network", "lanes", 0, "width", "wide"), "width: expected a number, found str"),
        (_set("network", "lanes", 0, "width", True), "expected a number"),
        (_set("network", "lanes", 0, "width", 10**400), "too large"),
        (_set("network", "lanes", 0, "wdith", 3.0), "wdith"),
        (_set("network", "lanes", 0, "id", 5), "expected str"),
        (_set("network", "lanes", 0, "centre", "start", -1), "does not fit"),
        (_set("network", "lanes", 0, "centre", "shape", [10**12, 2]), "does not fit"),
        (_set("network", "lanes", 0, "centre", [[0, 0], [1, 1]]), "expected a reference"),
        (_set("network", "lights", 0, "phases", 0, [1]), "expected 2"),
        (_set("recording", "agents", 0, "log", "valid", "array", "numbers"), "expected a reference into 'flags'"),
        (_set("recording", "agents", 0, "kind", 1.5), "expected int"),
    ],
)
def test_damaged_sidecars_are_refused(damage: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    serialize.save_network(path, NETWORK, RECORDING)
    members = _members(path)
    damage(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match=words) as caught:
        serialize.load_sidecar(path)
    assert "a.npz" in str(caught.value)


def test_pickled_members_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, header=np.zeros(1, np.uint8), numbers=np.array([object()], dtype=object), flags=np.zeros(0, bool))
    with pytest.raises(DataError, match="object"):
        serialize.load_sidecar(path)


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_truncated_files_are_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    serialize.save_network(path, NETWORK, RECORDING)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError):
        serialize.load_sidecar(path)


def test_a_huge_unpacked_size_is_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    serialize.save_network(path, NETWORK, RECORDING)
    monkeypatch.setattr(serialize, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="at most 1000"):
        serialize.load_sidecar(path)


@given(st.binary(max_size=300), st.integers(0, 5000))
def test_random_damage_never_escapes_as_another_error(noise: bytes, at: int) -> None:
    header, arrays = serialize.network_to_arrays(NETWORK)
    text = json.dumps(header).encode()
    at %= len(text)
    try:
        damaged = json.loads(text[:at] + noise + text[at + len(noise) :])
    except (ValueError, RecursionError):
        return
    if isinstance(damaged, dict):
        with contextlib.suppress(DataError):
            serialize.network_from_arrays(damaged, arrays)
