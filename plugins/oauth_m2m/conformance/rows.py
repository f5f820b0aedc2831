"""The rows of the protocol, and which function checks each.

``protocol.md`` beside this module is a copy of ``docs/protocol.md``, which no wheel contains; a test holds
that both are the same. A rule is a function over the `Server` under test, registered under one row::

    @row("C2")
    async def scheme_without_case(server: Server) -> None:
        expect.token(await server.ask(authorization=...))

It returns if the row holds, raises `Failed` with the answer that shows that it does not, and `Skipped` where
the server cannot be asked.
"""

from __future__ import annotations

import dataclasses
import re
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from plugins.oauth_m2m.conformance.needs import Need
    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

__all__ = ["Failed", "Row", "Rule", "Skipped", "read_rows", "row", "rules", "select"]

_SECTION = re.compile(r"\*\*(.+)\*\*")
_ROW = re.compile(r"\| ([A-Z]\d+) \| ([MSB]) \| (.*) \|([^|]*)\|")


class Failed(Exception):
    """The row does not hold; ``answer`` shows it."""

    def __init__(self, why: str, answer: Answer | None = None) -> None:
        super().__init__(why)
        self.answer = answer


class Skipped(Exception):
    """The row cannot be checked at this server; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One testable statement; ``level`` is M (must), S (should) or B (best practice)."""

    id: str
    level: str
    section: str
    statement: str
    reference: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """How a row is checked, what that ``needs``, and which part of the statement stays ``unseen``."""

    check: Callable[[Server], Awaitable[None]]
    needs: tuple[Need, ...]
    unseen: str


_RULES: dict[str, Rule] = {}


def row(
    row_id: str, *needs: Need, unseen: str = ""
) -> Callable[[Callable[[Server], Awaitable[None]]], Callable[[Server], Awaitable[None]]]:
    """Register a function as the rule of a row; see the module."""

    def register(check: Callable[[Server], Awaitable[None]]) -> Callable[[Server], Awaitable[None]]:
        if row_id in _RULES:
            raise ValueError(f"{row_id} has a rule already")
        _RULES[row_id] = Rule(check, needs, unseen)
        return check

    return register


def rules() -> Mapping[str, Rule]:
    """All rules by row; complete once `plugins.oauth_m2m.conformance.rules` is imported."""
    return _RULES


def read_rows(text: str | None = None) -> list[Row]:
    """The rows of the protocol in its order, or of another text of that form."""
    if text is None:
        text = (resources.files(__package__) / "protocol.md").read_text(encoding="utf-8")
    found, section = [], ""
    for line in text.splitlines():
        if heading := _SECTION.fullmatch(line):
            section = heading[1]
        elif match := _ROW.fullmatch(line):
            found.append(Row(match[1], match[2], section, match[3], match[4].strip()))
    return found


def select(rows: Collection[Row], only: Collection[str]) -> list[Row]:
    """The rows that are named, by their id or by the letter of their table; all if none is named.

    Raises `ValueError` for a name that stands for no row.
    """
    wanted = {name.strip().upper() for part in only for name in part.split(",") if name.strip()}
    known = {name for one in rows for name in (one.id, one.id[0])}
    if unknown := sorted(wanted - known):
        raise ValueError(f"there is no row {', '.join(unknown)}")
    return [one for one in rows if not wanted or wanted & {one.id, one.id[0]}]
