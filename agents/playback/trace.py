"""A trace: everything about one episode that was driven, in one file that can be viewed, and re-simulated to check it.

Shapes: S decision steps, A agent slots, N learners, GL lights. SI units, world frame.

On disk a `.trace` is a zip of .npy members with fixed time stamps (equal content, equal bytes), never a pickle:
    header.npy           (H,) uint8, UTF-8 JSON: format, version, what was recorded with what (fields of `Trace`), the episode
    numbers, flags.npy   the episode's arrays (`scenarios.serialize`)
    actions.npy          (S, N, ...) what the policy asked for
    state_*.npy          (S + 1, ...) the world before the first step and after each (`STATE_FIELDS`)
    out_*.npy            (S, ...) what each step told (`OUT_FIELDS`)
    belief_*.npy         (S + 1, ...) what the ego's eyes believed at each state (`agents.playback.beliefs`); only if it had eyes
    shield.npy           (S,) uint8 why a shield has overridden the policy at each step, 0: it has not; only if there was one
    chain.npy            (S + 2, 32) uint8, SHA-256 links: [0] header, episode, first state and belief; [k] link k - 1, action, state, out
                         belief and shield of step k; last: the link before and the metrics
Version 2 is version 1 with beliefs, version 3 either with a shield; a trace is written as the lowest version that can hold it.
A changed byte breaks the link of its step and all that follow. The chain finds damage and careless edits; it is no signature: whoever
recomputes it can write any trace, which is what `agents.playback.verify` is for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.playback.beliefs import BELIEF_FIELDS, About, Beliefs
from agents.playback.storage import Array, TraceError, canonical_json, fit, link, pack, unpack
from envs.driving.types import DrivingConfig
from scenarios.episode import Episode
from scenarios.files import write_atomic
from scenarios.serialize import DataError, episode_from_arrays, episode_to_arrays

__all__ = ["ACTIONS", "FORMAT", "OUT_FIELDS", "SHIELD", "STATE_FIELDS", "VERSION", "Trace", "TraceError", "sizes_of"]

FORMAT = "closedloop-trace"
VERSION = 3  # with a shield; 2: with beliefs; 1: with neither
SHIELD = ("", "others", "the road", "a line")  # what a shield has overridden an action for: what it left no safe way to stop from
LINK = 32  # bytes of SHA-256

# name -> (dtype, shape after the leading step axis); A, N, GL are filled in from the header
STATE_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "step": ("<i8", ()),  # ticks since the start
    "x": ("<f4", ("A",)),  # m
    "y": ("<f4", ("A",)),  # m
    "yaw": ("<f4", ("A",)),  # rad
    "speed": ("<f4", ("A",)),  # m/s
    "accel": ("<f4", ("A",)),  # m/s^2
    "steer": ("<f4", ("A",)),  # rad
    "valid": ("|b1", ("A",)),
    "lane": ("<i8", ("A",)),  # index into network.lanes, -1: none
    "lights": ("<i8", ("GL",)),  # scenarios.network.LightState
}
OUT_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(("arrived", "collision", "collision_fault", "off_road"), ("|b1", ("N",))),
    **dict.fromkeys(("wrong_way", "red_light", "stop_sign", "lost"), ("|b1", ("N",))),
    "progress": ("<f4", ("N",)),  # m gained
    "terminated": ("|b1", ("N",)),
    "truncated": ("|b1", ()),
    "touched": ("|b1", ("A",)),
}
ACTIONS: dict[str, tuple[str, tuple[int, ...]]] = {"continuous": ("<f4", (2,)), "discrete": ("<i8", ()), "trajectory": ("<f4", (20, 3))}
_TEXTS = ("closedloop", "torch", "backend", "device", "cpu", "policy", "policy_hash", "command")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One recorded episode. `chain` is made by `sealed`; a loaded trace has been checked against it."""

    episode: Episode
    config: DrivingConfig
    actions: Array  # (S, N, ...) as `config.action` says
    states: Mapping[str, Array]  # STATE_FIELDS, (S + 1, ...)
    outs: Mapping[str, Array]  # OUT_FIELDS, (S, ...)
    beliefs: Beliefs | None = None  # None: driven without eyes
    shield: Array | None = None  # (S,) uint8, why a shield has overridden the policy (`SHIELD`), 0: it has not; None: there was none
    metrics: Mapping[str, float] = field(default_factory=dict)  # final, by name
    policy: str = ""
    policy_hash: str = ""  # sha256 of the bundle, "" for a policy without a file
    command: str = ""  # a shell command that drives the same episode again, "" if unknown
    closedloop: str = ""  # version that recorded it
    torch: str = ""  # version
    backend: str = "eager"  # eager | compiled
    device: str = "cpu"
    cpu: str = ""  # vector instructions torch used: other ones may round transcendental functions differently
    chain: Array = field(default_factory=lambda: np.zeros((0, LINK), np.uint8))

    @property
    def steps(self) -> int:
        """S, the number of decision steps."""
        return len(self.actions)

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each recorded state, (S + 1,) s."""
        return np.asarray(self.states["step"], dtype=np.float64) * self.config.dt

    @property
    def digest(self) -> str:
        """The last link of the chain in hex: one name for the whole content."""
        return bytes(self.chain[-1]).hex() if len(self.chain) else ""

    def sealed(self) -> Trace:
        """This trace with arrays in their stored types and the hash chain computed. Raises TraceError if shapes do not fit."""
        plain = _shaped(self)
        return replace(plain, chain=_chain(plain))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file (temporary file, fsync, rename). Returns its path. Raises OSError, TraceError."""
        trace = self.sealed()
        header = np.frombuffer(_header(trace, metrics=True), np.uint8)
        members = {"header": header, **episode_to_arrays(trace.episode)[1], **_members(trace)}
        return write_atomic(path, pack(members))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read and check a file. Raises OSError if it cannot be read, TraceError if it is no trace, damaged, or altered."""
        try:
            return _read(Path(path).read_bytes())
        except (TraceError, DataError) as error:
            raise TraceError(f"{path}: {error}") from error


# ---------------------------------------------------------------- hash chain


def _chain(trace: Trace, header: bytes | None = None) -> Array:
    """Links of `trace`, (S + 2, 32) uint8. header: as it was stored; another version may have written it otherwise than this one would."""
    arrays = episode_to_arrays(trace.episode)[1]
    start = [header or _header(trace, metrics=False), *(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))]

    def believed(k: int) -> Iterator[bytes]:
        return trace.beliefs.step(k) if trace.beliefs else iter(())

    links = [link(b"", *start, *(trace.states[name][0].tobytes() for name in STATE_FIELDS), *believed(0))]
    for k in range(trace.steps):
        state = (trace.states[name][k + 1].tobytes() for name in STATE_FIELDS)
        out = (trace.outs[name][k].tobytes() for name in OUT_FIELDS)
        shield = () if trace.shield is None else (trace.shield[k].tobytes(),)
        links.append(link(links[-1], trace.actions[k].tobytes(), *state, *out, *believed(k + 1), *shield))
    links.append(link(links[-1], canonical_json(_metrics_out(trace.metrics))))
    return np.frombuffer(b"".join(links), np.uint8).reshape(-1, LINK)


def _check_chain(trace: Trace, header: dict[str, Any]) -> None:
    expected = _chain(trace, canonical_json({name: value for name, value in header.items() if name != "metrics"}))
    if trace.chain.shape != expected.shape:
        raise TraceError(f"the hash chain has {len(trace.chain)} links; expected {len(expected)} for {trace.steps} steps")
    wrong = np.flatnonzero((trace.chain != expected).any(axis=1))
    if len(wrong):
        k = int(wrong[0])
        where = "the header, the episode or the first state" if k == 0 else f"step {k}" if k <= trace.steps else "the metrics"
        raise TraceError(f"altered or damaged: {where} does not match the hash chain")


# ---------------------------------------------------------------- header and members


def _version(trace: Trace) -> int:
    return 3 if trace.shield is not None else 2 if trace.beliefs else 1


def _header(trace: Trace, *, metrics: bool) -> bytes:
    header = {"format": FORMAT, "version": _version(trace), "steps": trace.steps, "config": asdict(trace.config)}
    header |= {"beliefs": trace.beliefs.about.header()} if trace.beliefs else {}
    header |= {name: getattr(trace, name) for name in _TEXTS} | {"episode": episode_to_arrays(trace.episode)[0]}
    return canonical_json(header | {"metrics": _metrics_out(trace.metrics)} if metrics else header)


def _metrics_out(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Metrics as JSON, which has no infinity and no not-a-number: those become strings."""
    return {name: float(value) if math.isfinite(value) else repr(float(value)) for name, value in metrics.items()}


def _metrics_in(data: Any) -> dict[str, float]:
    if not isinstance(data, dict) or not all(type(v) in (int, float) or v in ("inf", "-inf", "nan") for v in data.values()):
        raise TraceError(f"header: metrics must be numbers by name, found {str(data)[:80]}")
    return {name: float(value) for name, value in data.items()}


def _members(trace: Trace) -> dict[str, Array]:
    states = {f"state_{name}": trace.states[name] for name in STATE_FIELDS}
    outs = {f"out_{name}": trace.outs[name] for name in OUT_FIELDS}
    beliefs = {f"belief_{name}": trace.beliefs.arrays[name] for name in BELIEF_FIELDS} if trace.beliefs else {}
    shield = {} if trace.shield is None else {"shield": trace.shield}
    return {"actions": trace.actions, **states, **outs, **beliefs, **shield, "chain": trace.chain}


def sizes_of(config: DrivingConfig, episode: Episode) -> dict[str, int]:
    """What A, N and GL stand for in the tables of fields."""
    return {"A": config.agents, "N": config.learners, "GL": len(episode.network.lights)}


def _shaped(trace: Trace) -> Trace:
    """With arrays in their stored types. Raises TraceError if one has another shape than it must have."""
    sizes = sizes_of(trace.config, trace.episode)
    if len(trace.episode.agents) > sizes["A"]:
        raise TraceError(f"{len(trace.episode.agents)} agents in the episode, but only {sizes['A']} slots were simulated")

    def group(values: Mapping[str, Array], table: dict[str, tuple[str, tuple[str, ...]]], count: int) -> dict[str, Array]:
        return {name: fit(values, name, dtype, (count, *(sizes[axis] for axis in axes))) for name, (dtype, axes) in table.items()}

    dtype, rest = ACTIONS[trace.config.action]
    return replace(
        trace,
        actions=fit({"actions": trace.actions}, "actions", dtype, (trace.steps, sizes["N"], *rest)),
        states=group(trace.states, STATE_FIELDS, trace.steps + 1),
        outs=group(trace.outs, OUT_FIELDS, trace.steps),
        beliefs=trace.beliefs and trace.beliefs.shaped(trace.steps + 1),
        shield=None if trace.shield is None else fit({"shield": trace.shield}, "shield", "|u1", (trace.steps,)),
    )


# ---------------------------------------------------------------- reading


def _read(raw: bytes) -> Trace:
    members = unpack(raw)
    header = _parse_header(members.pop("header", None))
    try:
        config = DrivingConfig(**header["config"])
    except (TypeError, ValueError) as error:
        raise TraceError(f"header: config: {error}") from error
    for name in ("chain", "actions"):
        if name not in members:
            raise TraceError(f"{name} is missing")
    trace = Trace(
        episode=episode_from_arrays(header["episode"], {name: members[name] for name in ("numbers", "flags") if name in members}),
        config=config,
        actions=members["actions"],
        states={name: members[f"state_{name}"] for name in STATE_FIELDS if f"state_{name}" in members},
        outs={name: members[f"out_{name}"] for name in OUT_FIELDS if f"out_{name}" in members},
        beliefs=_beliefs(header, members),
        shield=_shield(header, members),
        metrics=_metrics_in(header["metrics"]),
        chain=members["chain"],
        **{name: header[name] for name in _TEXTS},
    )
    if trace.actions.ndim < 1 or trace.steps != header["steps"]:
        raise TraceError(f"actions of shape {trace.actions.shape}; expected {header['steps']} steps")
    trace = _shaped(trace)
    _check_chain(trace, header)
    _check_values(trace)
    return trace


def _beliefs(header: dict[str, Any], members: Mapping[str, Array]) -> Beliefs | None:
    if header["version"] == 1 or (header["version"] == 3 and "beliefs" not in header):
        return None
    arrays = {name: members[f"belief_{name}"] for name in BELIEF_FIELDS if f"belief_{name}" in members}
    return Beliefs(about=About.read(header.get("beliefs")), arrays=arrays)


def _shield(header: dict[str, Any], members: Mapping[str, Array]) -> Array | None:
    if header["version"] < 3:
        return None
    if "shield" not in members:
        raise TraceError("shield is missing")
    return members["shield"]


def _check_values(trace: Trace) -> None:
    """What a viewer relies on: finite poses where someone is, lanes and light states that exist."""
    valid = trace.states["valid"]
    if valid[:, len(trace.episode.agents) :].any():
        raise TraceError("an agent is on the road that the episode does not have")
    for name in ("x", "y", "yaw", "speed", "accel"):
        if not np.isfinite(trace.states[name][valid]).all():
            raise TraceError(f"state {name}: not a finite number")
    if len(trace.states["lights"]) and not np.isin(trace.states["lights"], range(5)).all():
        raise TraceError("state lights: not a light state")
    lanes = trace.states["lane"]
    if lanes.min(initial=-1) < -1 or lanes.max(initial=-1) >= len(trace.episode.network.lanes):
        raise TraceError("state lane: no such lane")
    if trace.beliefs:
        trace.beliefs.check()
    if trace.shield is not None and trace.shield.max(initial=0) >= len(SHIELD):
        raise TraceError("shield: no such reason")


def _parse_header(member: Array | None) -> dict[str, Any]:
    if member is None or member.dtype != np.uint8 or member.ndim != 1:
        raise TraceError("not a trace: no header")
    try:
        header = json.loads(member.tobytes())
    except (ValueError, RecursionError) as error:
        raise TraceError(f"header: not JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TraceError("not a trace: the header names another format")
    if type(header.get("version")) is not int or not 1 <= header["version"] <= VERSION:
        raise TraceError(f"format version {header.get('version')!r}; this closedloop reads versions 1 to {VERSION}")
    kinds = {"steps": int, "config": dict, "episode": dict, "metrics": dict, **dict.fromkeys(_TEXTS, str)}
    for name, kind in kinds.items():
        if not isinstance(header.get(name), kind):
            raise TraceError(f"header: {name} must be {kind.__name__}, found {type(header.get(name)).__name__}")
    return header
