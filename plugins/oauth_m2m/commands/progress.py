"""How far a run over many rows is: a live bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType

    from plugins.oauth_m2m.conformance.rows import Row

__all__ = ["RowProgress"]


class RowProgress:
    """A context manager that is told of rows and of waiting."""

    def __init__(self, rows: int) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("finding the server", total=rows)
        self._begun = 0
        self._section = ""

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._progress.stop()

    def begin(self, row: Row) -> None:
        """A row is checked from now on; without a terminal each section is one line."""
        self._progress.update(self._task, description=row.id, completed=self._begun)
        self._begun += 1
        if row.section != self._section and not self._console.is_terminal:
            self.say(f"{row.section} ...")
        self._section = row.section

    def wait(self, seconds: float) -> None:
        """The server throttles, and is waited for."""
        self.say(f"The server throttles this address (429): waiting {seconds:.0f} s.")

    def clean(self, clients: int) -> None:
        """All rows are done, and so many clients are deleted now."""
        self._progress.update(self._task, description=f"deleting {clients} clients")

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._console.print(sentence, markup=False)
