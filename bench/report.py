"""What was measured: bars that are met or not, and tables; for a terminal and as Markdown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from bench.flatness import Flatness
    from bench.growth import Growth
    from bench.throughput import Throughput

__all__ = ["Bar", "Figures", "Report"]


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """A demand of the design: ``value`` must be at least, or at most, ``limit``; None was not measured."""

    name: str
    value: float | None
    limit: float
    at_least: bool
    unit: str = ""
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it was measured and holds."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> tuple[str, str, str, str, str]:
        """Its words for a table."""
        sign = "≥" if self.at_least else "≤"
        value = "—" if self.value is None else f"{self.value:,.3g}{self.unit}"
        verdict = "skipped" if self.value is None else "met" if self.is_met else "MISSED"
        return self.name, value, f"{sign} {self.limit:g}{self.unit}", verdict, self.note


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """A table: the first column names, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(slots=True)
class Report:
    """Everything that one run found; the last three are what plots are drawn from."""

    machine: str
    bars: list[Bar] = dataclasses.field(default_factory=list)
    figures: list[Figures] = dataclasses.field(default_factory=list)
    throughput: Throughput | None = None
    growth: Growth | None = None
    flatness: Flatness | None = None

    @property
    def is_met(self) -> bool:
        """Whether every bar that was asked for holds."""
        return all(bar.is_met for bar in self.bars)

    @property
    def has_plots(self) -> bool:
        """Whether there is anything to draw."""
        return any((self.throughput, self.growth, self.flatness))

    def tables(self) -> Iterator[Figures]:
        """Every table, the bars first."""
        columns = ("", "measured", "bar", "", "")
        if self.bars:
            yield Figures("The bars", columns, [bar.row() for bar in self.bars])
        yield from self.figures

    def show(self, console: Console) -> None:
        """Print it for people."""
        console.print(self.machine)
        for figures in self.tables():
            table = Table(title=figures.title, title_justify="left")
            for place, column in enumerate(figures.columns):
                table.add_column(column, justify="right" if place else "left")
            for row in figures.rows:
                table.add_row(*row, style="red" if "MISSED" in row else None)
            console.print(table)

    def markdown(self) -> str:
        """The same for a document."""
        parts = [self.machine]
        for figures in self.tables():
            header = [_line(figures.columns), "|---|" + "---:|" * (len(figures.columns) - 1)]
            parts += [f"**{figures.title}**", "\n".join([*header, *map(_line, figures.rows)])]
        return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
