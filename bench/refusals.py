"""How long refused secrets take, one at a time, in turns: all four kinds must look the same on a clock."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.connection import connected
from bench.peers import CLIENT_ID, SECRET
from bench.report import Figures
from bench.station import Caller, admin, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from bench.run import Run

__all__ = ["measure"]

_CALLERS = {
    "unknown client": Caller("bench-nobody"),
    "inactive client": Caller("bench-inactive"),
    "expired secret": Caller("bench-expired"),
    "wrong secret": Caller(CLIENT_ID, SECRET[::-1]),
}


async def measure(run: Run) -> None:
    """Time them at the default cost of bcrypt."""
    async with open_engines(run, "refusals") as engines, engines.station(fastest_loop()) as server:
        for client_id in (CLIENT_ID, "bench-inactive", "bench-expired"):
            await register(server, client_id)
        await admin(server, "PATCH", "/oauth-clients/bench-inactive", {"isActive": False})
        await admin(server, "POST", "/oauth-clients/bench-expired/secrets", {"endOthersIn": 0})
        times: dict[str, list[float]] = {name: [] for name in _CALLERS}
        turns = [name for _ in range(run.scale.guesses) for name in times]
        async with connected(server.url) as connection:
            for name in run.track(turns, "refused secrets, one at a time"):
                answer = await connection.ask(_CALLERS[name].token_request)
                assert answer.status == 401, f"{name}: {answer.status}"
                times[name].append(1000 * answer.seconds)
    wrong = statistics.median(times["wrong secret"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = [(name, f"{median:.1f}", f"{median / wrong:.3f}") for name, median in medians.items()]
    title = f"Refusals at bcrypt cost 12, medians of {run.scale.guesses}, in turns"
    run.report.figures.append(Figures(title, ("", "milliseconds", "ratio to a wrong secret"), rows))
