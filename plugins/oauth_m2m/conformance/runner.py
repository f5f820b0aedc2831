"""Runs rules against a server, one after the other, and says what became of each row."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import rules as _registers_all  # noqa: F401 - the rules, by importing them
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Failed, Skipped, rules
from plugins.oauth_m2m.conformance.untestable import UNTESTABLE
from plugins.oauth_m2m.conformance.wire import Answer, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from plugins.oauth_m2m.conformance.rows import Row, Rule
    from plugins.oauth_m2m.conformance.server import Server

__all__ = ["Result", "run"]

_TIME_IS_UP = "the time was up: raise --timeout"
_SILENT_ROWS = 3  # so many in a row without any answer, and the server is taken for gone
_LAST = ("T16", "I6", "C16")  # C16 in the end: it locks this address


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The fate of a row.

    ``reason`` says why it failed or was skipped, ``request`` and ``response`` show the exchange of a failure,
    without secrets, and ``unseen`` is the part of the statement that nobody can check from outside.
    """

    row: Row
    fate: Literal["passed", "failed", "skipped"]
    reason: str = ""
    unseen: str = ""
    request: str = ""
    response: str = ""
    seconds: float = 0.0


async def run(
    server: Server, rows: Sequence[Row], *, begins: Callable[[Row], None], seconds: float
) -> list[Result]:
    """Check these rows, for ``seconds`` at most, and return the results in their order.

    Rows that make the server throttle come last. ``begins`` hears of each row before it is checked.
    """
    ends, silent = time.monotonic() + seconds, 0
    results: dict[str, Result] = {}
    for row in rows if Need.FLOOD in server.missing else sorted(rows, key=_place):
        if time.monotonic() >= ends:
            results[row.id] = Result(row, "skipped", _TIME_IS_UP)
        elif silent >= _SILENT_ROWS:
            results[row.id] = Result(row, "skipped", "the server does not answer any more")
        else:
            begins(row)
            started = time.monotonic()
            server.last = None
            try:
                async with asyncio.timeout(ends - started):
                    result = await _check(server, row)
            except TimeoutError:
                result = Result(row, "skipped", _TIME_IS_UP)
            results[row.id] = dataclasses.replace(result, seconds=round(time.monotonic() - started, 3))
            silent = _silence(server, silent)
    return [results[row.id] for row in rows]


def _silence(server: Server, rows: int) -> int:
    """How many rows in a row got no answer at last; those that did not ask do not count."""
    if server.last is None:
        return rows
    return rows + 1 if isinstance(server.last, NoAnswer) else 0


def _place(row: Row) -> int:
    return _LAST.index(row.id) + 1 if row.id in _LAST else 0


async def _check(server: Server, row: Row) -> Result:
    if row.id in UNTESTABLE:
        return Result(row, "skipped", UNTESTABLE[row.id])
    rule = rules()[row.id]
    if missing := [need for need in rule.needs if need in server.missing]:
        return Result(row, "skipped", missing[0].value)
    shown: Answer | NoAnswer | None
    try:
        await rule.check(server)
        return Result(row, "passed", unseen=rule.unseen)
    except Skipped as skipped:
        return Result(row, "skipped", str(skipped))
    except Failed as failed:
        why, shown = str(failed), failed.answer or server.last
    except NoAnswer as silence:
        why, shown = str(silence), silence
    except Exception as error:  # what a server may answer is without end: a row fails, and the run goes on
        why = f"the answer is not what the rule can read ({type(error).__name__}: {error})"
        shown = server.last
    return _failure(server, row, rule, why, shown)


def _failure(server: Server, row: Row, rule: Rule, why: str, shown: Answer | NoAnswer | None) -> Result:
    masking = server.masking
    return Result(
        row,
        "failed",
        masking.text(why),
        rule.unseen,
        masking.request(shown.request) if shown is not None else "",
        masking.answer(shown) if isinstance(shown, Answer) else "",
    )
