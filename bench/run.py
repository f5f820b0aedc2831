"""One run of the benchmark: how much is measured, where files go, and what was found so far."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, track

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from bench.report import Report
    from bench.scale import Scale
    from bench.station import Caller

__all__ = ["Missing", "Run", "machine"]

T = TypeVar("T")

_VERSIONS = ("tornado", "uvloop", "redis", "hiredis", "PyJWT", "cryptography", "authlib", "flask", "gunicorn")


class Missing(Exception):
    """Something cannot be measured here; the message says what is missing and how to install it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """``cache`` outlives the run, ``directory`` does not."""

    scale: Scale
    cache: Path
    directory: Path
    console: Console
    report: Report

    def write_forms(self, name: str, callers: Iterable[Caller]) -> Path:
        """Write what these clients post for a token, for `bench.load`."""
        path = self.directory / f"{name}.txt"
        path.write_text("".join(f"{caller.grant}\n" for caller in callers))
        return path

    def track(self, steps: Sequence[T], description: str) -> Iterable[T]:
        """Go through steps and show how far it is."""
        return track(steps, description=description, console=self.console)

    @contextlib.contextmanager
    def working(self, description: str) -> Iterator[None]:
        """Show that something takes its time."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=None)
            yield
            progress.update(task, total=1, completed=1)


def machine() -> str:
    """What runs here, and what else it was doing, in a sentence or two."""
    packages = ", ".join(f"{name} {found}" for name in _VERSIONS if (found := _version(name)))
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {packages}. "
        f"Load average before: {os.getloadavg()[0]:.2f}."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
