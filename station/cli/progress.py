"""How far a command is that takes long: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from types import TracebackType

    from rich.status import Status

__all__ = ["Progress"]

_SECONDS = 2.0


class Progress:
    """Says on standard error what is being done, and how many are done, for as long as the block runs.

    ::

    with Progress("Reading") as progress:
        progress("oauth_clients", 1200)
    """

    def __init__(self, verb: str, *, seconds: float = _SECONDS) -> None:
        self._verb = verb
        self._seconds = seconds
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._told_at = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status(f"{self._verb} ...")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, what: str, done: int) -> None:
        """Say that so many of ``what`` are done, if it is time to."""
        now = time.monotonic()
        if self._status is not None:
            if now - self._told_at > self._seconds / 20:
                self._told_at = now
                self._status.update(escape(f"{self._verb} {what}: {done:,}"))
        elif now - self._told_at > self._seconds:
            self._told_at = now
            self._console.print(f"{self._verb} {what}: {done:,}", markup=False)
