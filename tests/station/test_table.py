from __future__ import annotations

import json
from typing import TYPE_CHECKING

from station.table import show

if TYPE_CHECKING:
    import pytest

ROWS: list[dict[str, object]] = [
    {"name": "a" * 300, "applied_at": None, "hooks": ("x", "y"), "enabled": True},
    {"name": "[bold]", "applied_at": "now", "hooks": [], "enabled": False},
]


def test_piped_rows_are_neither_cut_nor_decorated(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        f"{'NAME':300}  APPLIED AT  HOOKS  ENABLED",
        f"{'a' * 300}  -           x y    on",
        f"{'[bold]':300}  now         -      off",
    ]


def test_a_terminal_gets_a_rule_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: this is a terminal
    monkeypatch.setenv("COLUMNS", "60")
    show(ROWS, as_json=False)
    printed = capsys.readouterr().out
    assert "──────" in printed
    assert printed.count("a") == 300
    assert "[bold]" in printed


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == [{**ROWS[0], "hooks": ["x", "y"]}, ROWS[1]]
    show([], as_json=True)
    assert capsys.readouterr().out == "[]\n"
