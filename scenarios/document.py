"""Strict YAML 1.2: text -> a tree of nodes that know where they stand in the file.

Stricter than YAML: one document, text keys, no duplicate keys, no anchors, aliases, tags or directives, only finite numbers, no
control characters; sizes are capped. Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema):
`yes`, `on` and `12:30` are text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

from scenarios.errors import Problem, ScenarioError, dotted, show

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Node", "merge", "parse", "read_text"]

MAX_BYTES = 1_000_000  # a scenario is read by people; recordings live in a sidecar
MAX_DEPTH = 20
MAX_NODES = 50_000
MAX_INT = 2**53  # beyond this a float64 no longer holds every whole number

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")
# C0 and C1 controls without tab and newline, line separators that editors do not count as lines, surrogates, non-characters
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Node:
    """A value with its place (counted from 1). `value`: a scalar, a list of nodes or a dict of nodes."""

    value: Any
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)  # of a mapping: where each key stands
    broken: bool = False  # already reported: nothing below it is checked any more

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        """The node under a key or index."""
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            child = self.value[part]
            return child if isinstance(child, Node) else None
        return None


def read_text(path: Path, file: str) -> str:
    """The text of `path`; `file` is its name in messages. Raises ScenarioError for what is no readable UTF-8 file of decent size."""

    def refuse(expected: str, hint: str = "", line: int = 0, column: int = 0) -> ScenarioError:
        return ScenarioError([Problem(file=file, line=line, column=column, expected=expected, hint=hint)])

    if not path.is_file():
        raise refuse("expected a file" if path.exists() else "no such file")
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise refuse(f"expected at most {MAX_BYTES:,} bytes", "keep recordings and large maps in a sidecar .npz")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        shown = f"byte 0x{raw[error.start]:02x}"
        raise refuse(f"expected UTF-8 text, found {shown}", "save the file as UTF-8", before.count(b"\n") + 1, column) from None


def parse(text: str, file: str) -> tuple[Node, list[Problem]]:
    """The tree of a YAML text, and what is wrong with it beyond syntax (the nodes concerned are marked broken).

    Raises ScenarioError where no tree can be made: syntax errors, forbidden characters, exceeded caps, an empty file.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise ScenarioError([Problem(file=file, expected=f"expected at most {MAX_BYTES:,} bytes")])
    bad = _FORBIDDEN.search(text)
    if bad:
        before = text[: bad.start()]
        place = (before.count("\n") + 1, bad.start() - before.rfind("\n"))
        name = f"character U+{ord(bad.group()):04X}"
        raise ScenarioError([Problem(file=file, line=place[0], column=place[1], expected=f"found the invisible {name}", hint="delete it")])
    builder = _Builder(file)
    try:
        root = builder.build(text.replace("\r\n", "\n").replace("\r", "\n"))
    except MarkedYAMLError as error:
        raise ScenarioError([*builder.problems, _syntax(error, file)]) from None
    except ScenarioError:
        raise
    except (YAMLError, ValueError, OverflowError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        # the parser's own slips on nonsense (an escape beyond Unicode, for example) are the file's fault here
        raise ScenarioError([*builder.problems, Problem(file=file, expected="cannot be read as YAML", hint=str(error)[:120])]) from None
    return root, builder.problems


class _Builder:
    """Events -> nodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.count = 0

    def build(self, text: str) -> Node:
        self.events = YAML(typ="safe", pure=True).parse(text)
        next(self.events)  # stream start
        start = next(self.events)
        if not isinstance(start, DocumentStartEvent):
            raise ScenarioError([Problem(file=self.file, line=1, column=1, expected="expected a scenario, the file is empty")])
        if start.version is not None or start.tags:
            line = next(i for i, row in enumerate(text.split("\n"), start=1) if row.startswith("%"))
            expected = "expected no %YAML or %TAG line: files are always YAML 1.2"
            self.problems.append(Problem(file=self.file, line=line, column=1, expected=expected, hint="delete the line"))
        root = self._node(next(self.events), ())
        next(self.events)  # document end
        extra = next(self.events)
        if isinstance(extra, DocumentStartEvent):
            self._report(extra, (), "", "expected one document", "delete everything from the second '---' on, or split the file")
        return root

    def _report(self, event: Any, path: tuple[str | int, ...], value: str, expected: str, hint: str = "") -> None:
        mark = event.start_mark
        self.problems.append(
            Problem(
                file=self.file, line=mark.line + 1, column=mark.column + 1, path=dotted(path), value=value, expected=expected, hint=hint
            )
        )

    def _node(self, event: Any, path: tuple[str | int, ...]) -> Node:
        """The node that starts with `event`, all its events consumed."""
        self.count += 1
        if len(path) > MAX_DEPTH or self.count > MAX_NODES:
            what = f"at most {MAX_DEPTH} levels of nesting" if len(path) > MAX_DEPTH else f"at most {MAX_NODES:,} values"
            self._report(event, path[:MAX_DEPTH], "", f"expected {what}")
            raise ScenarioError(self.problems)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, AliasEvent):
            self._report(event, path, f"*{event.anchor}", "expected the value itself: aliases are not allowed", "write the value out")
            return Node(None, line, column, broken=True)
        broken = False
        if event.anchor is not None:
            self._report(
                event, path, f"&{event.anchor}", "expected no anchor", f"delete '&{event.anchor}' and write values out where needed"
            )
        if event.tag is not None:
            self._report(event, path, str(event.tag), "expected no tag", "delete it; numbers, text, true and false need none")
            broken = True
        if isinstance(event, ScalarEvent):
            value, fault = _scalar(event.value, plain=event.style is None)
            if fault and not broken:
                self._report(event, path, show(event.value), *fault)
            return Node(value, line, column, broken=broken or fault is not None)
        if isinstance(event, SequenceStartEvent):
            return Node(self._items(path), line, column, broken=broken)
        if isinstance(event, MappingStartEvent):
            return self._mapping(line, column, path, broken)
        raise YAMLError(f"unexpected {type(event).__name__}")

    def _items(self, path: tuple[str | int, ...]) -> list[Node]:
        items: list[Node] = []
        while not _ends(event := next(self.events)):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, line: int, column: int, path: tuple[str | int, ...], broken: bool) -> Node:
        children: dict[str, Node] = {}
        keys: dict[str, tuple[int, int]] = {}
        while not _ends(event := next(self.events)):
            key = event.value if isinstance(event, ScalarEvent) else None
            place = (event.start_mark.line + 1, event.start_mark.column + 1)
            if key is None or (event.style is None and not isinstance(_scalar(key, plain=True)[0], str)):
                self._report(event, path, "" if key is None else key, "expected a name as key", "put the key in quotes" if key else "")
            if key is None:
                self._node(event, (*path, "?"))
                self._node(next(self.events), (*path, "?"))
                continue
            if event.tag is not None or event.anchor is not None:
                self._report(event, (*path, key), "", "expected no tag or anchor on a key", "delete it")
            if _FORBIDDEN.search(key):
                self._report(event, path, show(key), "expected no control characters in a key", "delete the escape sequence")
                key = _FORBIDDEN.sub("?", key)
            child = self._node(next(self.events), (*path, key))
            if child.value is None and not child.broken and child.line > place[0]:
                child = replace(child, line=place[0], column=place[1])  # nothing after the colon: the parser points at what comes next
            if key in children:
                first = keys[key][0]
                expected = f"expected each key once; '{key}' already stands in line {first}"
                self.problems.append(
                    Problem(
                        file=self.file,
                        line=place[0],
                        column=place[1],
                        path=dotted((*path, key)),
                        expected=expected,
                        hint="delete one of the two",
                    )
                )
                continue
            children[key], keys[key] = child, place
        return Node(children, line, column, keys=keys, broken=broken)


def _ends(event: Any) -> bool:
    return type(event).__name__ in ("SequenceEndEvent", "MappingEndEvent")


def _scalar(text: str, *, plain: bool) -> tuple[Any, tuple[str, str] | None]:
    """The value of a scalar by the core schema, and (expected, hint) if it is refused."""
    if not plain:
        if _FORBIDDEN.search(text):
            return text, ("expected text without control characters", "delete the escape sequence")
        return text, None
    if text in _NULLS:
        return None, None
    if text in _WORDS:
        return _WORDS[text], None
    if _NOT_FINITE.fullmatch(text):
        return None, ("expected a finite number", "write a number, or leave the key out for no limit")
    if _INT.fullmatch(text):
        if len(text) > 20:
            return None, (f"expected a number up to {MAX_INT}", "")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text[2:] if base != 10 else text, base)
        return (number, None) if abs(number) <= MAX_INT else (None, (f"expected a number up to {MAX_INT}", ""))
    if _FLOAT.fullmatch(text):
        value = float(text)
        return (value, None) if math.isfinite(value) else (None, ("expected a finite number", ""))
    return text, None


_HINTS = (
    ("cannot start any token", "'\\t'", "indent with spaces, not tabs"),
    ("cannot start any token", "", "put text that starts with a special character in quotes"),
    ("mapping values are not allowed", "", "put text that contains ': ' in quotes, and check the indentation"),
    ("could not find expected ':'", "", "put ': ' between the key and its value"),
    ("but found", "<block end>", "check the indentation: keys of one mapping start in the same column"),
    ("but got", "", "close the bracket or add the comma"),
    ("expected the node content", "", "close the bracket or write the missing value"),
    ("unexpected end of stream", "", "close the quote"),
    ("unknown escape", "", "use single quotes, or double the backslash"),
    ("expected <block end>", "", "check the indentation: keys of one mapping start in the same column"),
)


def _syntax(error: MarkedYAMLError, file: str) -> Problem:
    """A syntax error with a hint at its usual cause."""
    problem = " ".join(str(error.problem or error.context or "cannot be read").split())
    mark = error.problem_mark or error.context_mark
    hint = next((h for a, b, h in _HINTS if a in problem and b in problem), "")
    start = error.context_mark
    if start is not None and mark is not None and start.line != mark.line:
        hint = f"{hint or 'check the lines before'} (it began in line {start.line + 1})"
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    return Problem(file=file, line=line, column=column, expected=f"not valid YAML: {problem[:160]}", hint=hint)


_DRAWS = frozenset({"uniform", "log_uniform", "integer", "normal", "choice", "weights"})


def merge(base: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """`over` laid on `base`: mappings key by key, everything else replaced; a key set to null is taken away.

    A distribution, and a road of another kind, replaces the old value as a whole.
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or over.broken:
        return over
    if (_DRAWS & over.value.keys()) or (_DRAWS & base.value.keys()) or (path == ("road",) and _other_kind(base, over)):
        return over
    children, keys = dict(base.value), dict(base.keys)
    for key, child in over.value.items():
        if child.value is None and not child.broken:
            children.pop(key, None)
            continue
        children[key] = merge(base.value[key], child, (*path, key)) if key in base.value else child
        keys[key] = over.keys[key]
    return Node(children, base.line, base.column, keys=keys, broken=base.broken)


def _other_kind(base: Node, over: Node) -> bool:
    return "kind" in over.value and ("kind" not in base.value or base.value["kind"].value != over.value["kind"].value)
