"""Traces: what is written is what is read, damage is found and told, and re-simulation agrees."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.playback.recorder import Recorder
from agents.playback.storage import MAX_BYTES, pack
from agents.playback.trace import OUT_FIELDS, SHIELD, STATE_FIELDS, Trace, TraceError
from agents.playback.verify import verify
from envs.driving.bank import build_bank
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig
from scenarios.episode import Driver, Episode


def members(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_a_trace_comes_back_as_it_was(junction_trace: Trace, tmp_path: Path) -> None:
    loaded = Trace.load(junction_trace.save(tmp_path / "a.trace"))
    assert loaded.digest == junction_trace.digest
    assert len(loaded.digest) == 64
    assert loaded.metrics == junction_trace.metrics  # an infinity among them
    assert math.isinf(loaded.metrics["ttc_min"])
    assert loaded.config == junction_trace.config
    assert loaded.episode.agents == junction_trace.episode.agents
    assert (loaded.policy, loaded.command) == (junction_trace.policy, junction_trace.command)
    for name in STATE_FIELDS:
        np.testing.assert_array_equal(loaded.states[name], junction_trace.states[name])
        assert loaded.states[name].dtype == junction_trace.states[name].dtype
    for name in OUT_FIELDS:
        np.testing.assert_array_equal(loaded.outs[name], junction_trace.outs[name])


def test_equal_traces_are_equal_files(junction_trace: Trace, tmp_path: Path) -> None:
    first = junction_trace.save(tmp_path / "a.trace")
    second = Trace.load(first).save(tmp_path / "b.trace")
    assert first.read_bytes() == second.read_bytes()
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".trace"]  # no temporary file is left


def test_whole_numbers_given_as_integers_do_not_break_the_chain(junction_trace: Trace, tmp_path: Path) -> None:
    agents = (dataclasses.replace(junction_trace.episode.agents[0], speed=3), *junction_trace.episode.agents[1:])
    episode = dataclasses.replace(junction_trace.episode, agents=agents, duration=20)
    trace = dataclasses.replace(junction_trace, episode=episode)
    assert Trace.load(trace.save(tmp_path / "a.trace")).episode.duration == 20.0


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ("state_x", "step 9 does not match"),
        ("actions", "step 9 does not match"),
        ("out_progress", "step 9 does not match"),
        ("numbers", "first state"),
    ],
)
def test_an_altered_number_is_found_and_its_step_named(junction_trace: Trace, tmp_path: Path, member: str, where: str) -> None:
    path = junction_trace.save(tmp_path / "a.trace")
    stored = members(path)
    changed = stored[member].copy()
    row = {"state_x": 9, "actions": 8, "out_progress": 8, "numbers": 0}[member]
    changed[row] += 1e-3
    path.write_bytes(pack(stored | {member: changed}))
    with pytest.raises(TraceError, match=where):
        Trace.load(path)


def test_altered_metrics_and_header_are_found(junction_trace: Trace, tmp_path: Path) -> None:
    path = junction_trace.save(tmp_path / "a.trace")
    stored = members(path)
    for old, new, where in ((b'"success":1', b'"success":0', "the metrics"), (b'"policy":"idm"', b'"policy":"mdi"', "the header")):
        header = np.frombuffer(stored["header"].tobytes().replace(old, new), np.uint8)
        assert not np.array_equal(header, stored["header"])
        path.write_bytes(pack(stored | {"header": header}))
        with pytest.raises(TraceError, match=f"{where}.* not match the hash chain"):
            Trace.load(path)


def test_every_cut_and_every_flipped_byte_is_refused_or_harmless(junction_trace: Trace, tmp_path: Path) -> None:
    path = junction_trace.save(tmp_path / "a.trace")
    whole = path.read_bytes()
    for keep in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:keep])
        with pytest.raises(TraceError, match=r"a\.trace: "):
            Trace.load(path)
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert Trace.load(path).digest == junction_trace.digest  # a byte of the zip that carries nothing, such as a time stamp
        except TraceError:
            refused += 1
    assert refused > 120


def _header(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(stored: dict[str, Any]) -> dict[str, Any]:
        header = json.loads(stored["header"].tobytes()) | changes
        return stored | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_header(version=99), "format version 99; this closedloop reads versions 1 to 3"),
        (_header(format="other"), "another format"),
        (_header(config={"agents": 7}), "agents=7"),
        (_header(config={"colour": "red"}), "colour"),
        (_header(metrics={"success": "yes"}), "metrics must be numbers"),
        (_header(policy=3), "policy must be str, found int"),
        (_header(steps=4), "expected 4 steps"),
        (_header(episode={}), "missing"),
        (lambda s: s | {"header": np.frombuffer(b"[" * 5000, np.uint8)}, "not JSON"),
        (lambda s: {k: v for k, v in s.items() if k != "header"}, "no header"),
        (lambda s: {k: v for k, v in s.items() if k != "actions"}, "actions is missing"),
        (lambda s: {k: v for k, v in s.items() if k != "state_yaw"}, "yaw is missing"),
        (lambda s: s | {"state_x": s["state_x"][:, :3]}, "x is float32 of shape"),
        (lambda s: s | {"state_x": s["state_x"].astype("U8")}, "x is <U8"),
        (lambda s: s | {"chain": s["chain"][:-1]}, "76 links; expected 77"),
    ],
)
def test_what_is_wrong_is_told(
    junction_trace: Trace, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = junction_trace.save(tmp_path / "a.trace")
    path.write_bytes(pack(change(members(path))))
    with pytest.raises(TraceError, match=message):
        Trace.load(path)


def test_values_that_no_viewer_could_draw_are_refused(junction_trace: Trace, tmp_path: Path) -> None:
    def altered(name: str, value: float) -> Trace:
        states = {key: array.copy() for key, array in junction_trace.states.items()}
        states[name][3, 1] = value
        return dataclasses.replace(junction_trace, states=states)

    for name, value, message in (("x", math.nan, "not a finite number"), ("lane", 500, "no such lane"), ("lights", 9, "not a light state")):
        with pytest.raises(TraceError, match=message):
            Trace.load(altered(name, value).save(tmp_path / "a.trace"))


def test_the_reasons_of_a_shield_are_kept_and_checked(junction_trace: Trace, tmp_path: Path) -> None:
    reasons = np.arange(junction_trace.steps, dtype=np.uint8) % len(SHIELD)
    path = dataclasses.replace(junction_trace, shield=reasons).save(tmp_path / "a.trace")
    loaded = Trace.load(path)
    assert loaded.shield is not None and loaded.shield.tolist() == reasons.tolist() and loaded.beliefs is None
    stored = members(path)
    del stored["shield"]
    path.write_bytes(pack(stored))
    with pytest.raises(TraceError, match="shield is missing"):
        Trace.load(path)
    with pytest.raises(TraceError, match="no such reason"):
        Trace.load(dataclasses.replace(junction_trace, shield=reasons + np.uint8(len(SHIELD))).save(path))
    with pytest.raises(TraceError, match="shield is uint8"):
        dataclasses.replace(junction_trace, shield=reasons[:-1]).save(path)


def test_pickles_and_bombs_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    buffer = io.BytesIO()
    np.savez(buffer, header=np.array([{"a": 1}], dtype=object))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(TraceError, match="not an array we can read"):
        Trace.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", b"\0" * 1000)
    raw = path.read_bytes().replace((1000).to_bytes(4, "little"), (MAX_BYTES + 1).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(TraceError, match="at most 512 MB"):
        Trace.load(path)


def test_wrong_shapes_are_not_written(junction_trace: Trace, tmp_path: Path) -> None:
    short = dict(junction_trace.states) | {"x": junction_trace.states["x"][:-1]}
    with pytest.raises(TraceError, match="x is float32"):
        dataclasses.replace(junction_trace, states=short).save(tmp_path / "a.trace")
    few = dataclasses.replace(junction_trace.config, agents=len(junction_trace.episode.agents) - 1)
    with pytest.raises(TraceError, match="agents in the episode, but only"):
        dataclasses.replace(junction_trace, config=few).save(tmp_path / "a.trace")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- with the simulator


@pytest.fixture(scope="module")
def drivable(highway_trace: Trace) -> Episode:
    agents = tuple(
        dataclasses.replace(agent, lane=f"road.{i % 3}", s=40.0 + 25.0 * i, speed=18.0, driver=Driver(desired_speed=20.0 + i % 4 * 3))
        for i, agent in enumerate(highway_trace.episode.agents[:12])
    )
    return dataclasses.replace(highway_trace.episode, agents=agents)


def record(episode: Episode, *, batch: int, world: int, action: str = "continuous", steps: int = 12) -> Trace:
    config = DrivingConfig(agents=16, action=action)
    other = dataclasses.replace(episode, seed=episode.seed + 1, agents=episode.agents[:5])
    sim = DrivingSim(build_bank([other, episode], config), config, batch=batch)
    sim.reset(torch.tensor([1 if b == world else 0 for b in range(batch)]))
    recorder = Recorder(sim, world, policy="noise")
    draw = torch.Generator().manual_seed(3)
    for _ in range(steps):
        if action == "discrete":
            given = torch.randint(0, 5, (batch, 1), generator=draw)
        else:
            given = (torch.rand(batch, 1, 2, generator=draw) - 0.4) * torch.tensor([0.5, 0.02])
        reasons = torch.arange(batch) if action == "discrete" else None  # as a shield would give them, of world w: w
        recorder.add(sim, given, sim.step(given), shield=reasons)
    return recorder.finish({"success": 0.0})


@pytest.mark.parametrize("action", ["continuous", "discrete"])
def test_a_recording_from_a_batch_is_verified_alone_to_the_last_bit(drivable: Episode, tmp_path: Path, action: str) -> None:
    trace = Trace.load(record(drivable, batch=3, world=1, action=action).save(tmp_path / "a.trace"))
    found = verify(trace)
    assert found.ok, found.reason
    assert found.exact
    assert found.first_bad_step is None
    assert trace.command == "closedloop eval noise --scenario highway/hard --seed 42 --episodes 1 --traces all"
    assert np.ptp(trace.states["x"][:, 0]) > 10.0  # it did drive
    assert trace.shield is None if action == "continuous" else trace.shield is not None and set(trace.shield.tolist()) == {1}


def test_other_actions_are_found_at_the_step_they_change(drivable: Episode) -> None:
    trace = record(drivable, batch=1, world=0)
    actions = trace.actions.copy()
    actions[7] += 0.25
    found = verify(dataclasses.replace(trace, actions=actions).sealed())
    assert not found.ok
    assert found.first_bad_step == 8
    assert "differs from step 8" in found.reason


def test_other_versions_are_compared_with_a_tolerance(drivable: Episode) -> None:
    trace = dataclasses.replace(record(drivable, batch=1, world=0), torch="1.0")
    nudged = {name: array.copy() for name, array in trace.states.items()}
    nudged["x"][5] += 0.001
    near = verify(dataclasses.replace(trace, states=nudged).sealed())
    assert near.ok
    assert not near.exact
    assert "torch 1.0 then" in near.reason
    nudged["x"][5] += 0.2
    far = verify(dataclasses.replace(trace, states=nudged).sealed())
    assert not far.ok
    assert far.first_bad_step == 5


def test_a_trace_without_steps(drivable: Episode, tmp_path: Path) -> None:
    trace = Trace.load(record(drivable, batch=1, world=0, steps=0).save(tmp_path / "a.trace"))
    assert trace.steps == 0
    assert verify(trace).exact
