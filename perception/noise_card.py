"""Error models at rest: one JSON card with the tables, what they were fitted to, and a sha256 over the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perception.noise import CARD, NoiseModel
from perception.storage import WEIGHTS, WeightsError, read_card, write_file

__all__ = ["KIND", "load_noise", "noise_sha256", "save_noise"]

KIND, VERSION = "noise", 1


def save_noise(path: str | Path, model: NoiseModel, *, card: Mapping[str, Any] | None = None) -> Path:
    """Write a card to `path` (ending .json), atomically. card: data, command, seed, detector, counts, time, licence. Returns the path."""
    target = Path(path)
    if target.suffix != ".json":
        raise ValueError(f"{target}: error models are kept in files that end in .json")
    tables = model.to_json()
    told = {"kind": KIND, "version": VERSION, "name": target.stem, "sha256": _digest(tables), **(card or {}), "model": tables}
    write_file(target, (json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())
    return target


def load_noise(spec: str | Path = CARD) -> NoiseModel:
    """From a card's file or the name of one that ships. Raises WeightsError with what is wrong."""
    path, tables = _tables(spec)
    try:
        return NoiseModel.from_json(tables)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def noise_sha256(spec: str | Path = CARD) -> str:
    """The sha256 of an error model's tables. Raises WeightsError as `load_noise` does."""
    return _digest(_tables(spec)[1])


def _tables(spec: str | Path) -> tuple[Path, dict[str, Any]]:
    """The card's path and its tables, checked against their sha256."""
    path = Path(spec) if str(spec).endswith(".json") else WEIGHTS / f"{spec}.json"
    if not path.is_file():
        known = [card.stem for card in sorted(WEIGHTS.glob("*.json")) if read_card(card).get("kind") == KIND]
        raise WeightsError(f"no error model '{spec}': neither a .json file nor one that ships ({', '.join(known) or 'none does'})")
    told = read_card(path)
    if (told.get("kind"), told.get("version")) != (KIND, VERSION):
        raise WeightsError(f"{path}: is a {told.get('kind')} of version {told.get('version')}, not an error model of version {VERSION}")
    tables = told.get("model")
    if not isinstance(tables, dict):
        raise WeightsError(f"{path}: has no tables ('model')")
    if told.get("sha256") != _digest(tables):
        raise WeightsError(f"{path}: its tables do not match its sha256: the file was damaged or changed after it was written")
    return path, tables


def _digest(tables: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()
