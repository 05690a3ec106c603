"""Trained policies as files: one `.safetensors` whose metadata carries a JSON description, with a readable card beside it.

Nothing in the file is executed. The description is data of a fixed schema: sizes of a multilayer perceptron, an activation and an output
head chosen from tables, the action and observation it was made for, and a sha256 over the description and every weight. Loading
rebuilds the network from those and refuses whatever does not fit.

The hash finds damage and careless edits, not forgery: whoever can rewrite the file can rewrite the hash. The card `<name>.json` repeats
the description and names the hash again, so a card kept elsewhere (in version control, say) pins the weights.

File: 8 bytes little-endian header length, JSON header, tensors (the safetensors format). Tensors, for sizes (n0, n1, ..., nk):
    layers.<i>.weight (n_{i+1}, n_i) float32    layers.<i>.bias (n_{i+1},) float32
    normaliser.mean (s,) float64                normaliser.variance (s,) float64    (only with a normaliser)
    image.<i>.weight (out, in, k, k) float32    image.<i>.bias (out,) float32       (only with images)
    image.linear.weight (f, .) float32          image.linear.bias (f,) float32      (likewise)
s = n0 without images. With images, f numbers are made of each and s more come with it: n0 = f + s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError

from agents.policies.spec import BundleSpec
from scenarios.files import write_atomic

__all__ = ["FORMAT", "BundleError", "PolicyBundle", "load_bundle", "save_bundle"]

FORMAT = "closedloop-policy"
SIZE_MAX = 64 * 2**20  # bytes; a [128, 128] network of 300 inputs is 0.2 MB, so this is two orders of room
HEADER_MAX = 2**20  # bytes
Tensors = dict[str, NDArray[Any]]


class BundleError(ValueError):
    """A bundle cannot be used: damaged, too large, of another format, or not what it claims to be. The message says which and where."""


@dataclass(frozen=True, kw_only=True)
class PolicyBundle:
    """A policy at rest: description and tensors. Raises BundleError if they do not fit each other."""

    spec: BundleSpec
    tensors: Tensors  # as `spec.shapes()` says
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        wanted = self.spec.shapes()
        if missing := sorted(wanted.keys() - self.tensors.keys()):
            raise BundleError(f"tensors are missing: {', '.join(missing)}")
        if extra := sorted(self.tensors.keys() - wanted.keys()):
            raise BundleError(f"tensors that belong to nothing: {', '.join(extra)}")
        for name, (shape, dtype) in wanted.items():
            value = self.tensors[name]
            if value.shape != shape or value.dtype != dtype:
                raise BundleError(f"tensor {name}: {value.dtype} of shape {value.shape}; expected {dtype} of shape {shape}")
            if not np.isfinite(value).all():
                raise BundleError(f"tensor {name}: holds values that are not finite")
        if self.spec.normaliser is not None and (self.tensors["normaliser.variance"] < 0).any():
            raise BundleError("tensor normaliser.variance: holds negative values")
        object.__setattr__(self, "sha256", _digest(self.spec, self.tensors))


def save_bundle(path: str | Path, bundle: PolicyBundle, *, card: Mapping[str, Any] | None = None) -> Path:
    """Write `bundle` to `path` (ending .safetensors) and its card to the same name ending .json, each atomically, weights first.

    card: more to say in the card (metrics with their intervals, the command that made it, licence). Returns the path of the weights.
    Raises ValueError on another ending or a card that is not JSON, OSError if writing fails.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: a bundle's name ends in .safetensors")
    spec = bundle.spec.model_dump(mode="json")
    text = json.dumps({**spec, "sha256": bundle.sha256, **(card or {})}, indent=2, allow_nan=False) + "\n"
    metadata = {"closedloop": json.dumps(spec, allow_nan=False, sort_keys=True), "sha256": bundle.sha256}
    write_atomic(target, safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in bundle.tensors.items()}, metadata))
    write_atomic(target.with_suffix(".json"), text)
    return target


def load_bundle(path: str | Path) -> PolicyBundle:
    """Read and check a bundle: the file itself, or a run folder, whose `policy.safetensors` is meant.

    The card beside it may be absent; if it is there, its sha256 must be that of the bundle. Raises BundleError with what is wrong.
    """
    target = Path(path)
    if target.is_dir():
        target = target / "policy.safetensors"
    try:
        with target.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise BundleError(f"{target}: cannot be read: {error.strerror or error}") from None
    try:
        bundle = _parse(data)
        _check_card(target.with_suffix(".json"), bundle)
    except BundleError as error:
        raise BundleError(f"{target}: {error}") from None
    return bundle


def _parse(data: bytes) -> PolicyBundle:
    if len(data) > SIZE_MAX:
        raise BundleError(f"larger than {SIZE_MAX // 2**20} MB, which no policy needs")
    metadata = _metadata(data)
    if "closedloop" not in metadata or "sha256" not in metadata:
        raise BundleError("a safetensors file, but not a closedloop policy: its metadata lack 'closedloop' and 'sha256'")
    try:
        spec = BundleSpec.model_validate_json(json.dumps(_strict_json(metadata["closedloop"], "description")))
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'description'}: {e['msg']}" for e in error.errors()[:5])
        raise BundleError(f"the description is not valid: {where}") from None
    try:
        tensors: Tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"the tensors cannot be read: {error}") from None
    bundle = PolicyBundle(spec=spec, tensors=tensors)
    if bundle.sha256 != metadata["sha256"]:
        raise BundleError("its contents do not match its sha256: the file was damaged or changed after it was written")
    return bundle


def _metadata(data: bytes) -> dict[str, str]:
    """The `__metadata__` of a safetensors file's header."""
    if len(data) < 8:
        raise BundleError(f"{len(data)} bytes are too few to be a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_MAX:
        raise BundleError(f"not a safetensors file, or its header is larger than {HEADER_MAX // 2**20} MB")
    if len(data) < 8 + length:
        raise BundleError(f"truncated: the header should have {length} bytes, {len(data) - 8} are there")
    header = _strict_json(data[8 : 8 + length].decode("utf-8", errors="replace"), "header")
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BundleError("the header's metadata are not text")
    return metadata


def _check_card(path: Path, bundle: PolicyBundle) -> None:
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            card = _strict_json(file.read(HEADER_MAX).decode("utf-8"), f"card {path.name}")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"its card {path.name} cannot be read: {error}") from None
    named = card.get("sha256") if isinstance(card, dict) else None
    if named != bundle.sha256:
        raise BundleError(
            f"its card {path.name} names sha256 {str(named)[:16]}..., the file's is {bundle.sha256[:16]}...: they do not belong together"
        )


def _strict_json(text: str, where: str) -> Any:
    """JSON without NaN, infinity or repeated keys."""

    def refuse(token: str) -> float:
        raise BundleError(f"the {where} holds {token}, which is not JSON")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) != len(items):
            raise BundleError(f"the {where} repeats a key")
        return dict(items)

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=pairs)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"the {where} is not valid JSON: {error}") from None


def _digest(spec: BundleSpec, tensors: Tensors) -> str:
    """sha256 over the description (canonical JSON) and, by name, each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
