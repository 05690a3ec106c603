"""Scenario files -> checked scenarios.

A name is one of the library ("merge"), optionally with a variant ("merge/hard"); anything with a folder or ending in .yaml is a path,
optionally followed by a variant ("my/merge.yaml/hard").
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_core import to_json

from scenarios.document import Node, merge, parse, read_text
from scenarios.errors import Problem, ScenarioError, did_you_mean
from scenarios.schema import FileRoad, ScenarioModel
from scenarios.translate import problem_at, validate

__all__ = ["LIBRARY", "Scenario", "inside", "load", "load_text", "names"]

LIBRARY = Path(__file__).parent / "library"
SUFFIXES = (".yaml", ".yml")


_KEEP = 512  # scenarios kept in memory; suites name a few dozen


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A checked scenario, ready to be sampled."""

    name: str
    variant: str | None
    model: ScenarioModel
    variants: tuple[str, ...]  # all that the file has
    file: str  # the file's name in messages
    folder: Path | None  # where its sidecars are; None: text without a file
    digest: str  # of everything that matters to sampling: equal digests, equal episodes
    root: Node = field(repr=False, compare=False)  # for the places in messages

    @property
    def id(self) -> str:
        """Name with the variant: "merge/hard"."""
        return f"{self.name}/{self.variant}" if self.variant else self.name

    def error(self, path: tuple[str | int, ...], expected: str, *, value: str | None = None, hint: str = "") -> ScenarioError:
        """A ScenarioError at a path of the file."""
        return ScenarioError([problem_at(self.root, self.file, path, expected, value=value, hint=hint)])


_loaded: dict[tuple[Path, str, str | None], tuple[tuple[tuple[int, int], ...], Scenario]] = {}


def names(*, variants: bool = False) -> list[str]:
    """The scenarios of the library, sorted; with `variants` also "merge/easy" and so on."""
    stems = sorted(path.stem for path in LIBRARY.glob("*.yaml"))
    if not variants:
        return stems
    return [full for stem in stems for full in (stem, *(f"{stem}/{v}" for v in load(stem).variants))]


def load(name_or_path: str | os.PathLike[str], variant: str | None = None) -> Scenario:
    """Read and check a scenario.

    The whole file is checked, all variants included; the road of the chosen one is built to check lanes, places and destinations.
    Raises ScenarioError with everything that is wrong.
    """
    path, from_name = _find(name_or_path)
    if variant is not None and from_name is not None and variant != from_name:
        raise ScenarioError(
            [Problem(file=str(name_or_path), expected=f"two variants asked for: '{from_name}' and '{variant}'", hint="name one")]
        )
    real, file, chosen = path.resolve(), _shown(path), variant or from_name
    known = _loaded.get((real, file, chosen))
    if known is not None and known[0] == _stamps(real, known[1].model):
        return known[1]
    scenario = _check(read_text(real, file), chosen, file=file, folder=real.parent, stem=real.stem)
    if len(_loaded) >= _KEEP:
        _loaded.clear()
    _loaded[real, file, chosen] = (_stamps(real, scenario.model), scenario)
    return scenario


def load_text(text: str, variant: str | None = None, *, file: str = "<text>", folder: Path | None = None) -> Scenario:
    """The same for text that stands in no file; sidecars are looked for in `folder`. Raises ScenarioError."""
    return _check(text, variant, file=file, folder=folder, stem=None)


def inside(folder: Path | None, name: str, suffix: str) -> Path:
    """The file `name` in `folder`. Raises ValueError, worded as 'expected ...', unless it is a file really inside the folder.

    Links are followed before the check, so none can lead outside.
    """
    if folder is None:
        raise ValueError("expected a scenario that stands in a file: only then can it refer to another")
    if "\\" in name or ":" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("expected a path inside the scenario's folder, with '/' and without '..'")
    if not name.endswith(suffix):
        raise ValueError(f"expected a file ending in {suffix}")
    home = folder.resolve()
    try:
        real = (home / name).resolve()
    except (OSError, RuntimeError):
        raise ValueError("expected a path that leads to a file") from None
    if not real.is_relative_to(home):
        raise ValueError("expected a path inside the scenario's folder; this one is a link that leaves it")
    if not real.is_file():
        raise ValueError("expected an existing file")
    return real


def _find(name_or_path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file meant, and the variant if it is part of the name."""
    text = os.fspath(name_or_path)
    if "\0" in text:
        raise ScenarioError([Problem(file=repr(text), expected="expected a name or path without a null character")])
    if text.endswith(SUFFIXES):
        return Path(text), None
    head, _, tail = text.rpartition("/")
    if head.endswith(SUFFIXES):
        return Path(head), tail
    known = names()
    name, _, variant = text.partition("/")
    if name not in known or "/" in variant:
        hint = did_you_mean(name, known) or "known: " + ", ".join(known)
        raise ScenarioError([Problem(file=text, expected=f"no scenario '{name}' in the library, and no path ending in .yaml", hint=hint)])
    return LIBRARY / f"{name}.yaml", variant or None


def _shown(path: Path) -> str:
    """The file's name in messages: relative to the working folder where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _sidecars(model: ScenarioModel) -> list[str]:
    """Names of the other files that a scenario refers to."""
    files = [model.road.file] if isinstance(model.road, FileRoad) else []
    return files + ([model.recorded.file] if model.recorded is not None else [])


def _stamps(path: Path, model: ScenarioModel) -> tuple[tuple[int, int], ...]:
    """Changes when the file or a sidecar changes."""
    stamps = []
    for each in (path, *(path.parent / name for name in _sidecars(model))):
        try:
            stat = each.stat()
            stamps.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            stamps.append((0, 0))
    return tuple(stamps)


def _check(text: str, variant: str | None, *, file: str, folder: Path | None, stem: str | None) -> Scenario:
    from scenarios.checks import problems_on  # it builds roads; the JSON Schema and the listing need none

    root, problems = parse(text, file)
    _, problems = validate(ScenarioModel, root, file, problems)
    section = root.child("variants")
    variants: dict[str, Node] = section.value if section is not None and isinstance(section.value, dict) else {}
    found = list(variants)
    for name in found:
        if isinstance(variants[name].value, dict):
            problems += _forbidden(variants[name], name, file)
            _, more = validate(ScenarioModel, _merged(root, name), file)
            problems += more
    if stem is not None and isinstance(root.value, dict) and "name" in root.value and root.value["name"].value != stem:
        problems.append(problem_at(root, file, ("name",), "expected the file's name without its suffix", hint=f"did you mean '{stem}'?"))
    if problems:
        raise ScenarioError(problems)
    if variant is not None and variant not in found:
        hint = did_you_mean(variant, found) or (f"known: {', '.join(found)}" if found else "this file has none")
        raise ScenarioError([problem_at(root, file, ("variants",), f"there is no variant '{variant}'", value="", hint=hint, key=True)])
    tree = root if variant is None else _merged(root, variant)
    model, problems = validate(ScenarioModel, tree, file)
    if model is None:
        raise ScenarioError(problems)
    scenario = Scenario(
        name=model.name,
        variant=variant,
        model=model,
        variants=tuple(found),
        file=file,
        folder=folder,
        digest=_digest(model, folder),
        root=tree,
    )
    problems = problems_on(scenario, 0)
    if problems:
        raise ScenarioError(problems)
    return scenario


_FIXED = ("version", "name", "description", "variants")  # what a variant may not change


def _forbidden(variant: Node, name: str, file: str) -> list[Problem]:
    return [
        Problem(
            file=file,
            line=place[0],
            column=place[1],
            path=f"variants.{name}.{key}",
            expected=f"expected no '{key}' in a variant",
            hint="delete it",
        )
        for key, place in variant.keys.items()
        if key in _FIXED and key != "description"
    ]


def _merged(root: Node, name: str) -> Node:
    return merge(root, root.value["variants"].value[name])


def _digest(model: ScenarioModel, folder: Path | None) -> str:
    """Hash of the content, sidecars included; names, descriptions and comments do not matter."""
    content = to_json(model.model_dump(exclude={"name", "description", "variants"}))
    digest = hashlib.sha256(content)
    for name in _sidecars(model):
        try:
            digest.update(hashlib.sha256(inside(folder, name, ".npz").read_bytes()).digest())
        except (ValueError, OSError):
            digest.update(b"missing")  # checks.problems_on says so, with its place
    return digest.hexdigest()
