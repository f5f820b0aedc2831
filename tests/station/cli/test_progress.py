from __future__ import annotations

from typing import TYPE_CHECKING

from station.cli.progress import Progress

if TYPE_CHECKING:
    import pytest


def test_what_is_quick_says_nothing_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("Reading") as progress:
        progress("bots", 1)
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_is_told_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("Reading", seconds=0) as progress:
        progress("bots", 1200)
    assert capsys.readouterr() == ("", "Reading bots: 1,200\n")


def test_on_a_terminal_one_line_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress("Reading", seconds=0) as progress:
        progress("[bold]bots", 1200)
    said = capsys.readouterr().err
    assert "Reading" in said
    assert said.count("\n") <= 1
