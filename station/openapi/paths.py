"""The pattern of a route as an OpenAPI path: ``/fleet/([a-z]+)`` is ``/fleet/{name}``."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PathTemplate", "path_template"]

_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{\d*,?\d*\})[?+]?")
_GROUP = re.compile(r"\(\?P<(?P<name>\w+)>|\(\?:|\((?!\?)")
_ANCHORS = frozenset({"^", "$"})


@dataclasses.dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path with names in braces; ``parameters`` maps each name to the pattern of its values."""

    path: str
    parameters: dict[str, str]


def path_template(pattern: str, names: Sequence[str] = ()) -> PathTemplate:
    """Write a route's regular expression as a template.

    ``names`` are those of its groups, in order; a group with a name of its own keeps it. What may be empty
    is left out, because a parameter of a path is never empty.
    """
    path, parameters = "", dict[str, str]()
    given = iter(names)
    for text, expression, group in _parts(pattern):
        if expression is None:
            path += text
            continue
        own = _GROUP.match(group)
        captured = own is not None and own[0] != "(?:"
        name = (own and own["name"]) or (captured and next(given, None)) or f"value{len(parameters) + 1}"
        if re.fullmatch(expression, "") is None:
            path += f"{{{name}}}"
            parameters[name] = f"^(?:{expression})$" if "|" in expression else f"^{expression}$"
    return PathTemplate(path, parameters)


def _parts(pattern: str) -> Iterator[tuple[str, str | None, str]]:
    """The pieces of a pattern: text that is itself, or an expression for many texts, with its group."""
    position = 0
    while position < len(pattern):
        atom = _atom(pattern, position)
        position += len(atom)
        quantifier = _QUANTIFIER.match(pattern, position)
        position += len(quantifier[0]) if quantifier else 0
        own = _GROUP.match(atom)
        if own is not None:
            inner = atom[own.end() : -1]
            yield "", f"(?:{inner}){quantifier[0]}" if quantifier else inner, atom
        elif quantifier or atom[0] == "[" or re.fullmatch(r"\.|\\[A-Za-z0-9]", atom):
            yield "", atom + (quantifier[0] if quantifier else ""), ""
        elif atom not in _ANCHORS:
            yield atom.removeprefix("\\"), None, ""


def _atom(pattern: str, start: int) -> str:
    if pattern[start] == "\\":
        return pattern[start : start + 2]
    if found := _CLASS.match(pattern, start):
        return found[0]
    if pattern[start] != "(":
        return pattern[start]
    position = start + 1
    while position < len(pattern) and pattern[position] != ")":
        position += len(_atom(pattern, position))
    return pattern[start : position + 1]
