"""Road networks, recordings and episodes as JSON plus numpy arrays, exactly and without pickle.

In memory
---------
`network_to_arrays` and `episode_to_arrays` return `(header, arrays)`: a JSON-able dict, and always exactly the two arrays
`numbers` (N,) float64 and `flags` (K,) bool into which the header refers (scenarios.codec). `network_from_arrays` and
`episode_from_arrays` are the inverses, bit for bit.

On disk: the sidecar of an imported scenario, `NAME.npz`
--------------------------------------------------------
A zip of .npy members, as `numpy.savez_compressed` writes it, with fixed time stamps (equal content, equal bytes):
    header.npy   (H,) uint8, UTF-8 JSON: {"format": "closedloop-sidecar", "version": 1, "network": ..., "recording": ... or null}
    numbers.npy  (N,) float64      flags.npy  (K,) bool
`recording` is a `Recording`: the other road users of an imported scenario, each an `AgentSpec` of role LOG with its `Log`, or of
role STATIC. `scenarios.importers.recorded.recorded_agents` turns it into the agents of an episode, replaying or reacting.

A file is data of unknown origin: sizes, dtypes, shapes, types, ranges and references between the parts are all checked while
reading, and whatever is wrong is told in a `DataError` (a ValueError). Pickled objects are never read.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.codec import POOLS, Arrays, DataError, from_arrays, to_arrays
from scenarios.episode import AgentSpec, Episode, Role
from scenarios.files import write_atomic
from scenarios.network import Bay, Box, Lane, RoadNetwork

__all__ = [
    "FORMAT",
    "VERSION",
    "DataError",
    "Recording",
    "Sidecar",
    "check_network",
    "check_recording",
    "episode_from_arrays",
    "episode_to_arrays",
    "load_network",
    "load_recording",
    "load_sidecar",
    "network_from_arrays",
    "network_to_arrays",
    "save_network",
]

FORMAT = "closedloop-sidecar"
VERSION = 1
MAX_BYTES = 256 * 2**20  # unpacked size of one file; 63 agents over an hour at 10 Hz are 75 MB
MAX_HEADER = 32 * 2**20  # bytes of JSON; a city of 5,000 lanes needs about 3 MB
MAX_LANES = 10_000
MAX_AGENTS = 64  # slots of one world
MAX_COORDINATE = 100_000.0  # m from the origin; beyond 8 km float32 no longer resolves a millimetre, so importers recentre


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The recorded road users of one scenario, without the ego.

    `agents` hold a `Log` (role LOG) or stand still (role STATIC); all logs have one row per `dt`, starting at time 0.
    """

    source: str  # the file it came from, for reports
    dt: float  # s between rows
    offset: tuple[float, float] = (0.0, 0.0)  # m, add to our coordinates to get the source's
    agents: tuple[AgentSpec, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What one sidecar file holds."""

    format: str = FORMAT
    version: int = VERSION
    network: RoadNetwork
    recording: Recording | None = None


# ---------------------------------------------------------------- in memory


def network_to_arrays(network: RoadNetwork) -> tuple[dict[str, Any], Arrays]:
    """`network` as a JSON header and two flat arrays (module docstring)."""
    return to_arrays(network)


def network_from_arrays(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RoadNetwork:
    """The inverse of `network_to_arrays`. Raises DataError."""
    network = from_arrays(RoadNetwork, header, arrays, "network")
    check_network(network)
    return network


def episode_to_arrays(episode: Episode) -> tuple[dict[str, Any], Arrays]:
    """`episode`, its network and logs included, as a JSON header and two flat arrays (module docstring)."""
    return to_arrays(episode)


def episode_from_arrays(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Episode:
    """The inverse of `episode_to_arrays`. Raises DataError."""
    episode = from_arrays(Episode, header, arrays, "episode")
    check_network(episode.network)
    if not 1 <= len(episode.agents) <= MAX_AGENTS:
        raise DataError(f"episode: {len(episode.agents)} agents; expected 1 to {MAX_AGENTS}")
    return episode


# ---------------------------------------------------------------- on disk


def save_network(path: str | Path, network: RoadNetwork, recording: Recording | None = None) -> None:
    """Write a sidecar, atomically. Equal arguments give equal bytes. Raises DataError if the parts do not fit together."""
    check_network(network)
    if recording is not None:
        check_recording(recording)
    header, arrays = to_arrays(Sidecar(network=network, recording=recording))
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in {"header": np.frombuffer(text, np.uint8), **arrays}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    write_atomic(Path(path), buffer.getvalue())


def load_sidecar(path: str | Path) -> Sidecar:
    """Read and check a sidecar. Raises DataError naming the file; OSError if it cannot be read."""
    path = Path(path)
    try:
        return _parse(_read_members(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def load_network(path: str | Path) -> RoadNetwork:
    """The road network of a sidecar. Raises DataError, OSError."""
    return load_sidecar(path).network


def load_recording(path: str | Path) -> Recording:
    """The recorded road users of a sidecar. Raises DataError (also if it holds none), OSError."""
    recording = load_sidecar(path).recording
    if recording is None:
        raise DataError(f"{path}: holds a road network but no recording")
    return recording


def _read_members(path: Path) -> Arrays:
    dtypes: dict[str, type[np.generic]] = {"header": np.uint8, **POOLS}
    expected = {f"{name}.npy" for name in dtypes}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if set(members) != expected or len(members) != len(archive.infolist()):
                raise DataError(f"members {sorted(members)[:8]}; expected {sorted(expected)}")
            total = sum(info.file_size for info in members.values())
            if total > MAX_BYTES or members["header.npy"].file_size > MAX_HEADER:
                raise DataError(f"unpacks to {total} bytes; at most {MAX_BYTES} are read, {MAX_HEADER} of them header")
            return {name: _read_array(name, archive.read(f"{name}.npy"), dtype) for name, dtype in dtypes.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"not a readable .npz file ({error})") from None


def _read_array(name: str, data: bytes, dtype: type[np.generic]) -> NDArray[Any]:
    """One .npy member, its announced size compared with what is there before anything is allocated."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise DataError(f"{name}.npy: version {version}; expected (1, 0)")
        shape, _, found = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise DataError(f"{name}.npy: {error}") from None
    rest = data[stream.tell() :]
    if len(shape) != 1 or found != np.dtype(dtype) or shape[0] * found.itemsize != len(rest):
        raise DataError(f"{name}.npy: {found} of shape {shape} in {len(rest)} bytes; expected one dimension of {np.dtype(dtype)}")
    return np.frombuffer(rest, dtype)


def _parse(arrays: Arrays) -> Sidecar:
    try:
        header = json.loads(arrays["header"].tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"the header is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"the header does not say format {FORMAT!r}")
    if header.get("version") != VERSION:
        raise DataError(f"version {header.get('version')}; this program reads version {VERSION}")
    sidecar = from_arrays(Sidecar, header, arrays, "header")
    check_network(sidecar.network)
    if sidecar.recording is not None:
        check_recording(sidecar.recording)
    return sidecar


# ---------------------------------------------------------------- checks


def check_network(network: RoadNetwork) -> None:
    """Raise DataError unless every number is in range and every name that is referred to exists."""
    lanes = {lane.id: lane for lane in network.lanes}
    lights = {light.id for light in network.lights}
    if not 1 <= len(network.lanes) <= MAX_LANES or len(lanes) != len(network.lanes):
        raise DataError(f"network: {len(network.lanes)} lanes with {len(lanes)} names; expected 1 to {MAX_LANES}, each named once")
    for lane in network.lanes:
        _check_lane(lane, lanes.keys(), lights)
    for light in network.lights:
        _require(np.isfinite([light.x, light.y, light.heading, light.offset]).all(), f"light {light.id!r}: pose and offset must be finite")
        durations = [seconds for _, seconds in light.phases]
        good = 1 <= len(durations) <= 8 and min(durations) >= 0.0 and 0.0 < sum(durations) < math.inf
        _require(good, f"light {light.id!r}: phases of {durations} s; expected 1 to 8, none negative, one positive")
    _require(len(lights) == len(network.lights), "lights: two have the same id")
    for conflict in network.conflicts:
        _require({conflict.lane, conflict.other} <= lanes.keys(), f"conflict of {conflict.lane!r} and {conflict.other!r}: no such lanes")
        stretch = np.array([conflict.s_enter, conflict.s_exit, conflict.other_enter, conflict.other_exit])
        _require(_finite(stretch), f"conflict of {conflict.lane!r} and {conflict.other!r}: its stretch {stretch.tolist()} is not finite")
    boxes: tuple[Box | Bay, ...] = (*network.occluders, *network.bays)
    for box in boxes:
        _check_box(box)
    for polygon in (*network.areas, *network.crosswalks):
        good = polygon.ndim == 2 and polygon.shape[0] >= 3 and polygon.shape[1] == 2 and _finite(polygon)
        _require(good, f"polygon of shape {polygon.shape}: expected at least 3 finite points (V, 2)")
    for name, ends in network.destinations.items():
        good = bool(ends) and all(lane in lanes and s >= 0.0 for lane, s in ends)
        _require(good, f"destination {name!r}: {ends}; expected lanes that exist and s from 0")


def _check_box(box: Box | Bay) -> None:
    good = _finite(np.array([box.x, box.y, box.yaw, box.length, box.width])) and box.length > 0.0 and box.width > 0.0
    _require(good, f"{type(box).__name__.lower()} at ({box.x}, {box.y}): expected a finite pose, length and width above 0")


def _check_lane(lane: Lane, lanes: Iterable[str], lights: Iterable[str]) -> None:
    where = f"lane {lane.id!r}"
    good = lane.centre.ndim == 2 and lane.centre.shape[0] >= 2 and lane.centre.shape[1] == 2 and _finite(lane.centre)
    _require(good, f"{where}: centre of shape {lane.centre.shape}; expected at least 2 finite points (P, 2), within {MAX_COORDINATE:g} m")
    _require(bool((np.hypot(*np.diff(lane.centre, axis=0).T) > 0.0).all()), f"{where}: two consecutive points of the centre are equal")
    _require(0.0 < lane.width <= 100.0, f"{where}: width {lane.width} m; expected 0 to 100")
    _require(0.0 < lane.speed_limit <= 200.0, f"{where}: speed limit {lane.speed_limit} m/s; expected 0 to 200")
    named = [*lane.successors, *(n for n in (lane.left, lane.right) if n is not None)]
    _require(set(named) <= set(lanes), f"{where}: refers to {named}; not all of them exist")
    if lane.stop is not None:
        _require(lane.stop.s >= 0.0, f"{where}: stop line at {lane.stop.s} m; expected 0 or more")
        _require(lane.stop.light is None or lane.stop.light in lights, f"{where}: no light {lane.stop.light!r}")


def check_recording(recording: Recording) -> None:
    """Raise DataError unless all logs are finite, equally long and of agents that are fully described."""
    _require(0.01 <= recording.dt <= 0.5, f"recording: dt {recording.dt} s; expected 0.01 to 0.5")
    _require(len(recording.agents) < MAX_AGENTS, f"recording: {len(recording.agents)} agents; at most {MAX_AGENTS - 1} beside the ego")
    _require(len({a.id for a in recording.agents}) == len(recording.agents), "recording: two agents have the same id")
    ticks = {len(agent.log.x) for agent in recording.agents if agent.log is not None}
    _require(len(ticks) <= 1, f"recording: logs of different lengths {sorted(ticks)}")
    for agent in recording.agents:
        where = f"recording, agent {agent.id!r}"
        sizes = (agent.length, agent.width, agent.wheelbase)
        _require(all(0.0 < size <= 100.0 for size in sizes), f"{where}: length, width, wheelbase {sizes}; expected 0 to 100 m")
        _require(_finite(np.array([agent.x, agent.y, agent.yaw, agent.speed])), f"{where}: its start is not finite")
        _require(agent.role in (Role.LOG, Role.STATIC), f"{where}: role {agent.role.name}; expected LOG or STATIC")
        _require((agent.role == Role.LOG) == (agent.log is not None), f"{where}: role {agent.role.name}, log {agent.log is not None}")
        if agent.log is not None:
            columns = (agent.log.x, agent.log.y, agent.log.yaw, agent.log.speed)
            good = all(c.shape == agent.log.valid.shape == (len(agent.log.x),) and len(c) and _finite(c) for c in columns)
            _require(good and bool(agent.log.valid.any()), f"{where}: expected finite columns of equal length and at least one valid row")


def _finite(values: NDArray[np.float64]) -> bool:
    return bool((np.abs(values) <= MAX_COORDINATE).all())  # False for nan as well


def _require(good: bool | np.bool_, message: str) -> None:
    if not good:
        raise DataError(message)
