"""What a fleet costs after a restart: the bcrypts of the first requests of clients that were known before.

Each client has a secret that Station generated. All ask once, Station is started again, and all ask once
more; the worker counts the bcrypts that it makes, of whatever cost.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.connection import Request, ask, ask_all
from bench.report import Bar, Figures
from bench.station import clones, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.processes import Server
    from bench.run import Run
    from bench.station import Caller

__all__ = ["measure"]

_COST = 8  # 16 times cheaper than the default, so that the bench has not to wait for the first requests


async def measure(run: Run) -> None:
    """Ask, start again, ask."""
    loop, count = fastest_loop(), run.scale.known_clients
    async with open_engines(run, "restart") as engines:
        async with engines.station(loop, bcrypt_cost=_COST) as server:
            original = await register(server, "bench-fleet", None)
        callers = clones(engines, original, count)
        rows, bcrypts = [], 0
        for when in ("before", "after the restart"):
            async with engines.station(loop, bcrypt_cost=_COST) as server:
                with run.working(f"first requests of {count:,} clients, {when}"):
                    row, bcrypts = await _ask(server, callers)
            rows.append((when, *row))
    title = f"First requests of {count:,} clients with generated secrets, bcrypt cost {_COST}, 16 at a time"
    run.report.figures.append(Figures(title, ("", "bcrypts", "seconds", "p50 ms", "p99 ms"), rows))
    name = f"bcrypts after a restart, {count:,} known clients"
    run.report.bars.append(Bar(name, bcrypts, 0, at_least=False))


async def _ask(server: Server, callers: Sequence[Caller]) -> tuple[tuple[str, str, str, str], int]:
    before, started = await _bcrypts(server), time.perf_counter()
    answers = await ask_all(server.url, [caller.token_request for caller in callers])
    elapsed, made = time.perf_counter() - started, await _bcrypts(server) - before
    assert {answer.status for answer in answers} == {200}
    milliseconds = sorted(1000 * answer.seconds for answer in answers)
    p99 = statistics.quantiles(milliseconds, n=100, method="inclusive")[98]
    return (str(made), f"{elapsed:.1f}", f"{statistics.median(milliseconds):.1f}", f"{p99:.1f}"), made


async def _bcrypts(server: Server) -> int:
    return int((await ask(server.url, Request("GET", "/bench/bcrypts"))).json()["bcrypts"])
