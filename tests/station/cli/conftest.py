"""The command line of the tests: clean environment, a working directory of its own."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner, Result

from station.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Station(Protocol):
    """Run ``station`` with these arguments; keywords are environment variables."""

    def __call__(self, *arguments: str, input: str | None = None, **environ: str) -> Result: ...  # noqa: A002 - as in click


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to run in, without Station's variables around."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for variable in list(os.environ):
        if variable in {"PORT", "ISSUER", "FORCE_COLOR"} or variable.startswith("STATION_"):
            monkeypatch.delenv(variable)
    return directory


@pytest.fixture(autouse=True)
def _keep_logging() -> Iterator[None]:
    """Give the tests' own logging back: commands configure it for their process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def station() -> Station:
    """See `Station`; no plugins are on unless STATION_PLUGINS says so."""

    def run(*arguments: str, input: str | None = None, **environ: str) -> Result:  # noqa: A002 - as in click
        result = CliRunner().invoke(main, arguments, input, {"STATION_PLUGINS": "none", **environ})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
