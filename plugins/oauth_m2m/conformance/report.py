"""The results of a run, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from plugins.oauth_m2m.conformance.runner import Result

__all__ = ["SCHEMA", "as_json", "print_report", "summary"]

SCHEMA = 1
"""The version of the JSON; members may be added to it, none is removed or gets another meaning."""

_FATES = ("passed", "failed", "skipped")
_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
_PIPE_WIDTH = 160


def summary(results: Sequence[Result]) -> dict[str, int]:
    """How many rows of each fate."""
    counts = Counter[str](result.fate for result in results)
    return {fate: counts[fate] for fate in _FATES}


def as_json(url: str, results: Sequence[Result], *, seconds: float, left: Sequence[str]) -> str:
    """The document that ``docs/conformance.md`` describes."""
    document = {
        "schema": SCHEMA,
        "url": url,
        "seconds": round(seconds, 1),
        "summary": summary(results),
        "clientsLeft": list(left),
        "rows": [_row(result) for result in results],
    }
    return json.dumps(document, indent=2)


def _row(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "row": row.id,
        "level": row.level,
        "section": row.section,
        "statement": row.statement,
        "reference": row.reference,
        "fate": result.fate,
        "reason": result.reason or None,
        "unseen": result.unseen or None,
        "request": result.request or None,
        "response": result.response or None,
        "seconds": result.seconds,
    }


def print_report(url: str, results: Sequence[Result], *, seconds: float, verbose: bool) -> None:
    """Print every row by section, then each failure with its exchange, then the sums."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_report(url, results, seconds=seconds, verbose=verbose))
        return
    piped = StringIO()
    plain = Console(file=piped, highlight=False, width=_PIPE_WIDTH)
    plain.print(_report(url, results, seconds=seconds, verbose=verbose))
    for line in piped.getvalue().splitlines():
        click.echo(line.rstrip())


def _report(url: str, results: Sequence[Result], *, seconds: float, verbose: bool) -> Group:
    parts: list[RenderableType] = []
    for section, found in groupby(results, key=lambda result: result.row.section):
        parts += [Text(f"\n{section}", style="bold"), _table(list(found), verbose=verbose)]
    parts += [_failure(result) for result in results if result.fate == "failed"]
    sums = ", ".join(f"{count} {fate}" for fate, count in summary(results).items())
    return Group(*parts, Text(f"\n{url}: {sums} in {seconds:.0f} s"))


def _table(results: Sequence[Result], *, verbose: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for width in (4, 1, 7):
        table.add_column(width=width)
    table.add_column()
    for result in results:
        fate = Text(result.fate, style=_STYLES[result.fate])
        table.add_row(result.row.id, result.row.level, fate, _about(result, verbose=verbose))
    return table


def _about(result: Result, *, verbose: bool) -> Text:
    """Why it did not pass; else the statement, and with ``verbose`` what of it was not seen."""
    if result.reason and not verbose:
        return Text(result.reason)
    lines = [result.row.statement, result.reason, f"Not seen: {result.unseen}." if result.unseen else ""]
    return Text("\n".join(filter(None, lines if verbose else lines[:1])))


def _failure(result: Result) -> RenderableType:
    row = result.row
    heading = Text(f"\n{row.id} failed: {result.reason}", style="bold")
    statement = Text(f"{row.statement} ({row.reference})")
    parts: list[RenderableType] = [heading, statement]
    for title, text in (("Request", result.request), ("Response", result.response)):
        if text:
            parts += [Text(f"{title}:"), Padding(Text(text), (0, 0, 0, 2))]
    return Group(*parts)
