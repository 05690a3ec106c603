"""Networks at rest: `<name>.safetensors` with the weights and what is needed to rebuild the network, `<name>.json` beside it, the card.

Nothing in a file is executed and nothing is ever unpickled. A sha256 over the description and every weight is stored in both; a file
that does not match it, or its card, is refused. The hash finds damage and careless edits, not forgery; a card under version control pins
its weights.

File: 8 bytes little-endian header length, JSON header, tensors (the safetensors format); metadata "closedloop" = the description as
JSON {"format", "version", "kind", "name", "spec"}, "sha256".
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

__all__ = ["FORMAT", "VERSION", "WEIGHTS", "Stored", "WeightsError", "find", "fit", "load", "read_card", "save", "shipped", "write_file"]

FORMAT, VERSION = "closedloop-network", 1
SIZE_MAX = 256 * 2**20  # bytes; shipped networks are a few MB, checkpoints three times that
HEADER_MAX = 4 * 2**20  # bytes
WEIGHTS = Path(__file__).with_name("weights")  # what ships with the package


class WeightsError(ValueError):
    """Weights cannot be used: damaged, too large, of another format, or not what they claim to be. The message says which and where."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A network at rest."""

    kind: str  # what it is: "detector", "predictor", ...
    name: str
    spec: dict[str, Any]  # JSON: all that is needed to rebuild it
    tensors: dict[str, Tensor]
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        for name, value in self.tensors.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise WeightsError(f"tensor {name}: holds values that are not finite")
        object.__setattr__(self, "sha256", _digest(self.description, self.tensors))

    @property
    def description(self) -> str:
        """Canonical JSON of everything but the weights."""
        what = {"format": FORMAT, "version": VERSION, "kind": self.kind, "name": self.name, "spec": self.spec}
        return json.dumps(what, sort_keys=True, separators=(",", ":"), allow_nan=False)


def save(path: str | Path, stored: Stored, *, card: Mapping[str, Any] | None = None) -> Path:
    """Write weights to `path` (ending .safetensors) and then, unless it is None, the card, each atomically. Returns the path.

    card: what a reader should know: data, command, seed, metrics, time, licence. kind, name, spec and sha256 are added.
    Raises ValueError on another ending or what is not JSON, OSError if writing fails.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: weights are kept in files that end in .safetensors")
    tensors = {name: value.detach().cpu().contiguous() for name, value in stored.tensors.items()}
    text = None
    if card is not None:
        told = {"kind": stored.kind, "name": stored.name, "sha256": stored.sha256, **card, "spec": stored.spec}
        text = json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_file(target, safetensors.torch.save(tensors, {"closedloop": stored.description, "sha256": stored.sha256}))
    if text is not None:
        write_file(target.with_suffix(".json"), text.encode())
    return target


def load(path: str | Path, *, kind: str | None = None) -> Stored:
    """Read and check weights, and their card where there is one. kind: what they must be. Raises WeightsError with what is wrong."""
    target = Path(path)
    try:
        with target.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be read: {error.strerror or error}") from None
    try:
        stored = _parse(data)
        if kind is not None and stored.kind != kind:
            raise WeightsError(f"holds a {stored.kind}, not a {kind}")
        if target.with_suffix(".json").exists():
            named = read_card(target.with_suffix(".json")).get("sha256")
            if named != stored.sha256:
                raise WeightsError(
                    f"its card names sha256 {str(named)[:16]}..., the file's is {stored.sha256[:16]}...: they do not belong together"
                )
    except WeightsError as error:
        raise WeightsError(f"{target}: {error}") from None
    return stored


def fit(network: nn.Module, stored: Stored) -> None:
    """Put stored weights into a network just built, checking names, shapes and types first. Raises WeightsError."""
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - stored.tensors.keys()):
        raise WeightsError(f"{stored.name}: tensors are missing: {', '.join(missing[:5])}")
    if extra := sorted(stored.tensors.keys() - wanted.keys()):
        raise WeightsError(f"{stored.name}: tensors that belong to nothing: {', '.join(extra[:5])}")
    for name, value in wanted.items():
        given = stored.tensors[name]
        if given.shape != value.shape or given.dtype != value.dtype:
            raise WeightsError(
                f"{stored.name}: tensor {name} is {given.dtype} of shape {tuple(given.shape)}; "
                f"expected {value.dtype} of shape {tuple(value.shape)}. Weights that another version made must be trained anew"
            )
    network.load_state_dict(stored.tensors)


def shipped(kind: str | None = None) -> list[str]:
    """Names of the networks that ship with the package, of one kind or all, by their cards."""
    cards = sorted(WEIGHTS.glob("*.json"))
    return [card.stem for card in cards if kind is None or read_card(card).get("kind") == kind]


def find(spec: str | Path, *, kind: str) -> Path:
    """The file meant by `spec`: a path, or the name of a shipped network ("predictor_driving", or "driving" alone).

    Raises WeightsError that names those there are.
    """
    path = Path(spec)
    if path.suffix == ".safetensors" or path.is_file():
        return path
    if path.is_dir() and (path / f"{kind}.safetensors").is_file():
        return path / f"{kind}.safetensors"
    known = shipped(kind)
    for name in (str(spec), f"{kind}_{spec}"):
        if name in known:
            return WEIGHTS / f"{name}.safetensors"
    raise WeightsError(f"no {kind} '{spec}': neither a .safetensors file nor one that ships ({', '.join(known) or 'none does'})")


def read_card(path: Path) -> dict[str, Any]:
    """A card. Raises WeightsError."""
    try:
        with path.open("rb") as file:
            card = _strict_json(file.read(HEADER_MAX).decode("utf-8"), f"card {path.name}")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"card {path.name} cannot be read: {error}") from None
    if not isinstance(card, dict):
        raise WeightsError(f"card {path.name} is no JSON object")
    return card


def write_file(path: Path, data: bytes) -> None:
    """Write so that a reader sees the old content or the new: temporary file beside it, fsync, rename. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _parse(data: bytes) -> Stored:
    if len(data) > SIZE_MAX:
        raise WeightsError(f"larger than {SIZE_MAX // 2**20} MB, which no network here needs")
    metadata = _metadata(data)
    if "closedloop" not in metadata or "sha256" not in metadata:
        raise WeightsError("a safetensors file, but not one of closedloop's networks: its metadata lack 'closedloop' and 'sha256'")
    told = _strict_json(metadata["closedloop"], "description")
    wanted = {"format": str, "version": int, "kind": str, "name": str, "spec": dict}
    if not isinstance(told, dict) or told.keys() != wanted.keys() or not all(isinstance(told[k], t) for k, t in wanted.items()):
        raise WeightsError(f"the description must have exactly {', '.join(wanted)}")
    if (told["format"], told["version"]) != (FORMAT, VERSION):
        raise WeightsError(f"is of format {told['format']!r} version {told['version']}; this reads {FORMAT!r} version {VERSION}")
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"the tensors cannot be read: {error}") from None
    stored = Stored(kind=told["kind"], name=told["name"], spec=told["spec"], tensors=tensors)
    if stored.sha256 != metadata["sha256"]:
        raise WeightsError("its contents do not match its sha256: the file was damaged or changed after it was written")
    return stored


def _metadata(data: bytes) -> dict[str, str]:
    """The `__metadata__` of a safetensors file's header."""
    if len(data) < 8:
        raise WeightsError(f"{len(data)} bytes are too few to be a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_MAX:
        raise WeightsError(f"not a safetensors file, or its header is larger than {HEADER_MAX // 2**20} MB")
    if len(data) < 8 + length:
        raise WeightsError(f"truncated: the header should have {length} bytes, {len(data) - 8} are there")
    header = _strict_json(data[8 : 8 + length].decode("utf-8", errors="replace"), "header")
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError("the header's metadata are not text")
    return metadata


def _strict_json(text: str, where: str) -> Any:
    """JSON without NaN, infinity or repeated keys."""

    def refuse(token: str) -> float:
        raise WeightsError(f"the {where} holds {token}, which is not JSON")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) != len(items):
            raise WeightsError(f"the {where} repeats a key")
        return dict(items)

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=pairs)
    except (json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(f"the {where} is not valid JSON: {error}") from None


def _digest(description: str, tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the description and, by name, each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
