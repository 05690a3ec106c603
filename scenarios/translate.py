"""pydantic's complaints -> problems with a place in the file."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from scenarios.document import Node
from scenarios.errors import Problem, did_you_mean, dotted, show

__all__ = ["locate", "problem_at", "validate"]

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], root: Node, file: str, known: Sequence[Problem] = ()) -> tuple[M | None, list[Problem]]:
    """The tree as a model, or None; and `known` plus every problem found."""
    problems = list(known)
    if not isinstance(root.value, dict):
        if not root.broken:
            problems.append(
                problem_at(root, file, (), "expected a mapping with the keys " + ", ".join(_required(model)), value=show(root.plain()))
            )
        return None, problems
    try:
        # by way of JSON: there, strict means strict, yet a list may become a tuple
        result = model.model_validate_json(to_json(root.plain()))
    except ValidationError as error:
        broken = list(_broken(root))
        for detail in error.errors(include_url=False):
            problems += _translate(model, root, file, detail, broken)
        return None, problems
    return (None if problems else result), problems


def locate(root: Node, path: Iterable[str | int]) -> tuple[Path, Node, tuple[int, int]]:
    """Follow a path as far as the tree has it. Parts that are not in the tree (pydantic's names of alternatives) are passed over.

    Returns the path followed, the node there, and the place of its key (or of itself).
    """
    node, place = root, (root.line, root.column)
    followed: Path = ()
    for part in path:
        child = node.child(part)
        if child is None:
            continue
        place = node.keys.get(part, (child.line, child.column)) if isinstance(part, str) else (child.line, child.column)
        node, followed = child, (*followed, part)
    return followed, node, place


def problem_at(
    root: Node, file: str, path: Iterable[str | int], expected: str, *, value: str | None = None, hint: str = "", key: bool = False
) -> Problem:
    """A problem at a path of the tree; `key` points at the key instead of the value. The value shown is the one in the file."""
    followed, node, place = locate(root, path)
    line, column = place if key else (node.line, node.column)
    if value is None:
        value = "" if isinstance(node.value, dict) and not followed else show(node.plain())
    return Problem(file=file, line=line, column=column, path=dotted(followed), value=value, expected=expected, hint=hint)


def _broken(node: Node, path: Path = ()) -> Iterable[Path]:
    """Paths of the nodes that were already reported."""
    if node.broken:
        yield path
    children = node.value.items() if isinstance(node.value, dict) else enumerate(node.value) if isinstance(node.value, list) else ()
    for part, child in children:
        yield from _broken(child, (*path, part))


def _translate(model: type[BaseModel], root: Node, file: str, detail: ErrorDetails, broken: Sequence[Path]) -> list[Problem]:
    loc, kind, context = tuple(detail["loc"]), detail["type"], detail.get("ctx", {})
    key = False
    if loc and loc[-1] == "[key]":
        loc, key = loc[:-1], True
    followed, node, _ = locate(root, loc)
    if any(followed[: len(b)] == b or b[: len(followed)] == followed for b in broken):
        return []
    if kind == "quantity":
        found = []
        for fault in context["faults"]:
            # a fault about a whole mapping shows no value: the reader sees the mapping
            whole = isinstance(locate(root, (*loc, *fault.at))[1].value, dict) and not isinstance(fault.value, str)
            misplaced = bool(fault.at) and fault.value == fault.at[-1]
            value = "" if whole else show(fault.value) if misplaced else None
            found.append(
                problem_at(root, file, (*loc, *fault.at), f"expected {fault.expected}", value=value, hint=fault.hint, key=misplaced)
            )
        return found
    if kind == "extra_forbidden":
        known = _fields(model, loc[:-1])
        hint = did_you_mean(loc[-1], known) or ("known: " + ", ".join(known) if known else "")
        return [problem_at(root, file, loc, f"expected no key '{loc[-1]}' here", value="", hint=hint, key=True)]
    if kind == "missing":
        wanted = f"expected the key '{loc[-1]}'"
        misspelt = (
            did_you_mean(loc[-1], [k for k in node.value if k not in _fields(model, loc[:-1])]) if isinstance(node.value, dict) else ""
        )
        return [
            problem_at(root, file, loc[:-1], wanted, value="", hint=misspelt.replace("did you mean", "it may be misspelt as").rstrip("?"))
        ]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        names = [str(tag).strip("' ") for tag in str(context.get("expected_tags", "")).split(",")] or _tags(model, loc)
        names = names if names != [""] else _tags(model, loc)
        expected = "expected the key 'kind', one of " if kind == "union_tag_not_found" else "expected one of "
        where = loc if kind == "union_tag_not_found" else (*loc, "kind")
        value = "" if kind == "union_tag_not_found" else None
        return [problem_at(root, file, where, expected + ", ".join(names), value=value, hint=did_you_mean(context.get("tag", ""), names))]
    return [problem_at(root, file, loc, *_words(kind, context, detail, node), key=key)]


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
}


def _words(kind: str, context: dict[str, Any], detail: ErrorDetails, node: Node) -> tuple[str]:
    """What was expected, for pydantic's own error types."""
    if kind in _EXPECTED:
        return (f"expected {_EXPECTED[kind]}",)
    if kind == "literal_error":
        return (f"expected {context['expected']}",)
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']:g}" if kind == "greater_than_equal" else f"at most {context['le']:g}"
        return (f"expected a number of {bound}",)
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return (f"expected {bound} items",)
    if kind in ("string_too_short", "string_too_long"):
        bound = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
        return (f"expected text of {bound} characters",)
    if kind == "string_pattern_mismatch":
        return ("expected a name: a letter, then up to 63 letters, digits, '_' or '-'",)
    if kind == "value_error":
        return (f"expected {str(context['error']).removeprefix('expected ')}",)
    return ("expected " + detail["msg"][:1].lower() + detail["msg"][1:].removeprefix("Input should be "),)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation: through Annotated, unions, tuples, lists and dicts."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is typing.Annotated:
        return _models(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, list, dict):
        return [m for part in typing.get_args(annotation) for m in _models(part)]
    return []


def _at(model: type[BaseModel], loc: Path) -> list[type[BaseModel]]:
    """The models that may stand at a location; a union's tag narrows them down."""
    here = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        tagged = [m for m in here if "kind" in m.model_fields and typing.get_args(m.model_fields["kind"].annotation) == (part,)]
        here = tagged or [m for owner in here if part in owner.model_fields for m in _models(owner.model_fields[part].annotation)]
    return here


def _fields(model: type[BaseModel], loc: Path) -> list[str]:
    return [name for m in _at(model, loc) for name in m.model_fields]


def _tags(model: type[BaseModel], loc: Path) -> list[str]:
    return [str(typing.get_args(m.model_fields["kind"].annotation)[0]) for m in _at(model, loc) if "kind" in m.model_fields]


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]
