"""A trace: everything about one episode that was driven, in one file that can be viewed, and re-simulated to check it.

Shapes: S decision steps, A agent slots, N learners, GL lights. SI units, world frame.

On disk a `.trace` is a zip of .npy members with fixed time stamps (equal content, equal bytes), never a pickle:
    header.npy           (H,) uint8, UTF-8 JSON: format, version, what was recorded with what (fields of `Trace`), the episode
    numbers, flags.npy   the episode's arrays (`scenarios.serialize`)
    actions.npy          (S, N, ...) what the policy asked for
    state_*.npy          (S + 1, ...) the world before the first step and after each (`STATE_FIELDS`)
    out_*.npy            (S, ...) what each step told (`OUT_FIELDS`)
    chain.npy            (S + 2, 32) uint8, SHA-256 links: [0] header, episode and first state; [k] link k - 1, action, state and out of
                         step k; last: the link before and the metrics
A changed byte breaks the link of its step and all that follow. The chain finds damage and careless edits; it is no signature: whoever
recomputes it can write any trace, which is what `agents.playback.verify` is for.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.driving.types import DrivingConfig
from scenarios.episode import Episode
from scenarios.files import write_atomic
from scenarios.serialize import DataError, episode_from_arrays, episode_to_arrays

__all__ = ["FORMAT", "OUT_FIELDS", "STATE_FIELDS", "VERSION", "Trace", "TraceError"]

FORMAT = "closedloop-trace"
VERSION = 1
MAX_BYTES = 512 * 2**20  # unpacked; 64 agents over an hour at 10 Hz are 100 MB
LINK = 32  # bytes of SHA-256

Array = NDArray[Any]

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
    **{name: ("|b1", ("N",)) for name in ("arrived", "collision", "collision_fault", "off_road", "wrong_way", "red_light", "stop_sign", "lost")},
    "progress": ("<f4", ("N",)),  # m gained
    "terminated": ("|b1", ("N",)),
    "truncated": ("|b1", ()),
    "touched": ("|b1", ("A",)),
}
_ACTIONS: dict[str, tuple[str, tuple[int, ...]]] = {"continuous": ("<f4", (2,)), "discrete": ("<i8", ()), "trajectory": ("<f4", (20, 3))}
_TEXTS = ("closedloop", "torch", "backend", "device", "cpu", "policy", "policy_hash", "command")


class TraceError(ValueError):
    """A file that is no trace, is damaged, or was made by a version we cannot read. The message says which, and where."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One recorded episode. `chain` is made by `sealed`; a loaded trace has been checked against it."""

    episode: Episode
    config: DrivingConfig
    actions: Array  # (S, N, ...) as `config.action` says
    states: Mapping[str, Array]  # STATE_FIELDS, (S + 1, ...)
    outs: Mapping[str, Array]  # OUT_FIELDS, (S, ...)
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
        actions, states, outs = _shaped(self)
        plain = Trace(**{**_shallow(self), "actions": actions, "states": states, "outs": outs})
        return Trace(**{**_shallow(plain), "chain": _chain(plain)})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file (temporary file, fsync, rename). Returns its path. Raises OSError, TraceError."""
        trace = self.sealed()
        members = {"header": np.frombuffer(_header(trace, metrics=True), np.uint8), **episode_to_arrays(trace.episode)[1], **_members(trace)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in members.items():
                raw = io.BytesIO()
                np.lib.format.write_array(raw, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), raw.getvalue(), zipfile.ZIP_DEFLATED)
        return write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read and check a file. Raises OSError if it cannot be read, TraceError if it is no trace, damaged, or altered."""
        try:
            return _read(Path(path).read_bytes())
        except (TraceError, DataError) as error:
            raise TraceError(f"{path}: {error}") from error


# ---------------------------------------------------------------- hash chain


def _chain(trace: Trace) -> Array:
    """Links of `trace`, (S + 2, 32) uint8."""
    arrays = episode_to_arrays(trace.episode)[1]
    start = [_header(trace, metrics=False), *(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))]
    links = [_link(b"", *start, *(trace.states[name][0].tobytes() for name in STATE_FIELDS))]
    for k in range(trace.steps):
        state = (trace.states[name][k + 1].tobytes() for name in STATE_FIELDS)
        out = (trace.outs[name][k].tobytes() for name in OUT_FIELDS)
        links.append(_link(links[-1], trace.actions[k].tobytes(), *state, *out))
    links.append(_link(links[-1], _json(_metrics_out(trace.metrics))))
    return np.frombuffer(b"".join(links), np.uint8).reshape(-1, LINK)


def _link(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))  # so that bytes cannot move from one part to the next
        digest.update(part)
    return digest.digest()


def _check_chain(trace: Trace) -> None:
    expected = _chain(trace)
    if trace.chain.shape != expected.shape:
        raise TraceError(f"the hash chain has {len(trace.chain)} links; expected {len(expected)} for {trace.steps} steps")
    wrong = np.flatnonzero((trace.chain != expected).any(axis=1))
    if len(wrong):
        k = int(wrong[0])
        where = "the header, the episode or the first state" if k == 0 else f"step {k}" if k <= trace.steps else "the metrics"
        raise TraceError(f"altered or damaged: {where} does not match the hash chain")


# ---------------------------------------------------------------- header and members


def _shallow(trace: Trace) -> dict[str, Any]:
    return {f.name: getattr(trace, f.name) for f in fields(trace)}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _header(trace: Trace, *, metrics: bool) -> bytes:
    header = {"format": FORMAT, "version": VERSION, "steps": trace.steps, "config": asdict(trace.config)}
    header |= {name: getattr(trace, name) for name in _TEXTS} | {"episode": episode_to_arrays(trace.episode)[0]}
    return _json(header | {"metrics": _metrics_out(trace.metrics)} if metrics else header)


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
    return {"actions": trace.actions, **states, **outs, "chain": trace.chain}


def _shaped(trace: Trace) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Actions, states and outs in the stored types. Raises TraceError if one has another shape than it must have."""
    sizes = {"A": trace.config.agents, "N": trace.config.learners, "GL": len(trace.episode.network.lights)}
    if len(trace.episode.agents) > sizes["A"]:
        raise TraceError(f"{len(trace.episode.agents)} agents in the episode, but only {sizes['A']} slots were simulated")

    def fit(group: Mapping[str, Array], name: str, dtype: str, shape: tuple[int, ...]) -> Array:
        if name not in group:
            raise TraceError(f"{name} is missing")
        value = np.asarray(group[name])
        if value.shape != shape or not np.can_cast(value.dtype, dtype, "same_kind"):
            raise TraceError(f"{name} is {value.dtype} of shape {value.shape}; expected {np.dtype(dtype)} of shape {shape}")
        return np.ascontiguousarray(value, dtype)

    def group(values: Mapping[str, Array], table: dict[str, tuple[str, tuple[str, ...]]], count: int) -> dict[str, Array]:
        return {name: fit(values, name, dtype, (count, *(sizes[axis] for axis in axes))) for name, (dtype, axes) in table.items()}

    dtype, rest = _ACTIONS[trace.config.action]
    actions = fit({"actions": trace.actions}, "actions", dtype, (trace.steps, sizes["N"], *rest))
    return actions, group(trace.states, STATE_FIELDS, trace.steps + 1), group(trace.outs, OUT_FIELDS, trace.steps)


# ---------------------------------------------------------------- reading


def _read(raw: bytes) -> Trace:
    members = _unpack(raw)
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
        metrics=_metrics_in(header["metrics"]),
        chain=members["chain"],
        **{name: header[name] for name in _TEXTS},
    )
    if trace.actions.ndim < 1 or trace.steps != header["steps"]:
        raise TraceError(f"actions of shape {trace.actions.shape}; expected {header['steps']} steps")
    actions, states, outs = _shaped(trace)
    trace = Trace(**{**_shallow(trace), "actions": actions, "states": states, "outs": outs})
    _check_chain(trace)
    _check_values(trace)
    return trace


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


def _parse_header(member: Array | None) -> dict[str, Any]:
    if member is None or member.dtype != np.uint8 or member.ndim != 1:
        raise TraceError("not a trace: no header")
    try:
        header = json.loads(member.tobytes())
    except (ValueError, RecursionError) as error:
        raise TraceError(f"header: not JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TraceError("not a trace: the header names another format")
    if header.get("version") != VERSION:
        raise TraceError(f"format version {header.get('version')!r}; this closedloop reads version {VERSION}")
    kinds = {"steps": int, "config": dict, "episode": dict, "metrics": dict, **dict.fromkeys(_TEXTS, str)}
    for name, kind in kinds.items():
        if not isinstance(header.get(name), kind):
            raise TraceError(f"header: {name} must be {kind.__name__}, found {type(header.get(name)).__name__}")
    return header


def _unpack(raw: bytes) -> dict[str, Array]:
    """Members of the zip as arrays; sizes are checked before anything is unpacked, nothing is unpickled."""
    if not raw:
        raise TraceError("the file is empty")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > MAX_BYTES:
                raise TraceError(f"unpacks to {total / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read")
            return {info.filename.removesuffix(".npy"): _array(info.filename, archive.read(info)) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise TraceError(f"not a trace, or cut short or damaged ({error})") from error


def _array(name: str, raw: bytes) -> Array:
    """One .npy member. The header must promise exactly the bytes that are there."""
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"npy version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.hasobject or fortran or math.prod(shape) * dtype.itemsize != len(raw) - stream.tell() or min(shape, default=0) < 0:
            raise ValueError(f"{dtype} of shape {shape} in {len(raw)} bytes")
    except (ValueError, SyntaxError, TypeError) as error:
        raise TraceError(f"{name}: not an array we can read ({error})") from error
    return np.frombuffer(raw, dtype, offset=stream.tell()).reshape(shape)
