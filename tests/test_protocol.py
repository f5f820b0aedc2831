"""Every row of docs/protocol.md has a test, but for those whose part of Station is not built yet."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

# by table: assertions and sender constraint
NOT_BUILT_TABLES = "AX"
NOT_BUILT: set[str] = set()


def rows() -> set[str]:
    text = (ROOT / "docs" / "protocol.md").read_text()
    return set(re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE))


def claimed() -> set[str]:
    marks = re.compile(r"mark\.row\(([^)]*)\)")
    found = set()
    for file in ROOT.glob("tests/**/test_*.py"):
        for arguments in marks.findall(file.read_text()):
            found |= set(re.findall(r'"([A-Z]\d+)"', arguments))
    return found


def test_every_row_that_is_built_has_a_test() -> None:
    built = {row for row in rows() if row[0] not in NOT_BUILT_TABLES} - NOT_BUILT
    assert built - claimed() == set()


def test_no_test_claims_a_row_that_does_not_exist() -> None:
    assert claimed() - rows() == set()


def test_the_list_of_what_is_not_built_is_up_to_date() -> None:
    assert NOT_BUILT & claimed() == set()
