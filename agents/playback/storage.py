"""How a trace lies on disk: a zip of .npy members, and the hash chain over them. Knows nothing of driving.

Nothing here unpickles, and sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "TraceError", "canonical_json", "fit", "link", "pack", "unpack"]

Array = NDArray[Any]
MAX_BYTES = 512 * 2**20  # unpacked; 64 agents over an hour at 10 Hz are 100 MB


class TraceError(ValueError):
    """A file that is no trace, is damaged, or was made by a version we cannot read. The message says which, and where."""


def canonical_json(value: Any) -> bytes:
    """JSON that is the same for equal values: sorted, without spaces, strict (no NaN), 2.0 written as 2."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    """`value` with whole floats as integers: what was given as 20 and read back as 20.0 is the same."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53 else value


def link(*parts: bytes) -> bytes:
    """SHA-256 over the parts, each with its length, so that bytes cannot move from one part to the next."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def fit(group: Mapping[str, Array], name: str, dtype: str, shape: tuple[int, ...]) -> Array:
    """The array called `name` in its stored type. Raises TraceError if it is missing or has another shape or kind."""
    if name not in group:
        raise TraceError(f"{name} is missing")
    value = np.asarray(group[name])
    if value.shape != shape or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise TraceError(f"{name} is {value.dtype} of shape {value.shape}; expected {np.dtype(dtype)} of shape {shape}")
    return np.ascontiguousarray(value, dtype)


def pack(members: Mapping[str, Array]) -> bytes:
    """A zip of arrays with fixed time stamps: equal content, equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in members.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), raw.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(raw: bytes) -> dict[str, Array]:
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
