"""Which worker a process is: ``station serve --workers 4`` runs four, ``app.worker`` tells them apart."""

from __future__ import annotations

import dataclasses
import os

from station.settings import integer

__all__ = ["Worker", "parse_workers"]

_MOST = 256
_number = integer(minimum=1, maximum=_MOST)


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves.

    ``number`` is from 0 to one less than there are workers; the one that replaces a dead worker gets its
    number. ``supervisor_pid`` is the same in all workers of one ``station serve``, and None in a process that
    serves alone.
    """

    number: int = 0
    supervisor_pid: int | None = None


def parse_workers(value: object) -> int:
    """Parse the number of workers; ``auto`` is one for each core that this process may run on."""
    if isinstance(value, str) and value.strip() == "auto":
        return min(_cores(), _MOST)
    try:
        return _number(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS binds no process to cores
