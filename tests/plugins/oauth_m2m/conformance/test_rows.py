"""Every row of the protocol has one fate, and what the command says of it is what docs/protocol.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from plugins.oauth_m2m.conformance import read_rows, select
from plugins.oauth_m2m.conformance import rules as _rules  # noqa: F401 - registers them
from plugins.oauth_m2m.conformance.rows import row, rules
from plugins.oauth_m2m.conformance.untestable import UNTESTABLE

ROOT = Path(__file__).parents[4]
RESERVED = "AX"


def test_the_table_in_the_package_is_the_documented_one() -> None:
    shipped = ROOT / "plugins" / "oauth_m2m" / "conformance" / "protocol.md"
    assert shipped.read_text() == (ROOT / "docs" / "protocol.md").read_text(), "cp docs/protocol.md there"


def test_every_row_is_either_checked_or_named_as_one_that_cannot_be() -> None:
    every = [one.id for one in read_rows()]
    assert len(set(every)) == len(every) > 130
    assert set(rules()) | set(UNTESTABLE) == set(every)
    assert set(rules()) & set(UNTESTABLE) == set()


def test_few_rows_cannot_be_checked_and_each_has_a_reason() -> None:
    built = [one for one in UNTESTABLE if one[0] not in RESERVED]
    assert len(built) <= 16
    assert all(len(reason.split()) >= 4 for reason in UNTESTABLE.values())
    # of what they hold back too much would be little honest: two rows in three pass or fail
    assert len(rules()) > 100


def test_rows_are_read_with_all_that_stands_in_them() -> None:
    [found] = [one for one in read_rows() if one.id == "C7"]
    assert (found.level, found.section, found.reference) == (
        "M",
        "Client authentication",
        "§3.2.1; 7521 §4.2",
    )
    assert found.statement.startswith("Basic + body `client_id` only: same id → OK")


def test_a_row_has_one_rule() -> None:
    with pytest.raises(ValueError, match="C7"):
        row("C7")(rules()["C7"].check)


@pytest.mark.parametrize(
    ("only", "first", "count"),
    [((), "T1", None), (("c7, t",), "T1", 18), (("C7", "C5"), "C5", 2), (("",), "T1", None)],
)
def test_rows_are_selected_by_id_and_by_table(only: tuple[str, ...], first: str, count: int | None) -> None:
    selected = select(read_rows(), only)
    assert (selected[0].id, len(selected)) == (first, count or len(read_rows()))


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(ValueError, match="C99, Z"):
        select(read_rows(), ["C99,Z,T1"])


def test_every_check_is_shown_to_fail() -> None:
    """Each row fails in one of the cases of the tests beside this one; a flood has its own tests."""
    shown: set[str] = set()
    for file in Path(__file__).parent.glob("test_spoiled_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Case":
                shown |= set(ast.literal_eval(node.args[1]).split(","))
    assert set(rules()) - shown == {"C16", "I6", "T16"}
