"""What a command prints: rows for people as a table, for programs as JSON."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["as_json_option", "print_table", "show"]

_PIPE_WIDTH = 10_000  # nothing is wrapped or cut short for grep

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows of one shape: a heading for each key, or a JSON array of objects.

    In a table a list is written with spaces in between, None and an empty list as "-".
    """
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    headings = [heading.upper().replace("_", " ") for heading in (rows[0] if rows else ())]
    print_table(headings, [[_cell(value) for value in row.values()] for row in rows])


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as it needs where nobody looks at a terminal."""
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as it is: what looks like markup is none
    if console.is_terminal:
        console.print(table)
        return
    piped = StringIO()
    Console(width=_PIPE_WIDTH, file=piped).print(table)
    for line in piped.getvalue().splitlines():
        click.echo(line.rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
