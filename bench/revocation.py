"""How soon every worker refuses a revoked token, while all of them are under load.

Four workers share the engines, each on a port of its own, so that each is asked. A token is used at all of
them before it is revoked at one, by the client itself (RFC 7009). Then each worker is asked again and again
on a connection of its own until it answers 401.

The load is about half of what the workers can do: beyond that the time is that of the queue before them.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from typing import TYPE_CHECKING

from bench.connection import Request, ask, connected
from bench.load import Load, find_wrk, load
from bench.report import Bar, Figures
from bench.station import Caller, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.connection import Connection
    from bench.processes import Server
    from bench.run import Run

__all__ = ["measure"]

WORKERS = 4
_LOAD_SECONDS = 2
_REST = 3  # milliseconds between two requests of a connection
_POLL_SECONDS = 0.001


async def measure(run: Run) -> None:
    """Revoke token after token."""
    find_wrk()
    async with contextlib.AsyncExitStack() as stack:
        engines = await stack.enter_async_context(open_engines(run, "revocation"))
        workers = [await stack.enter_async_context(engines.station(fastest_loop())) for _ in range(WORKERS)]
        caller = await register(workers[0])
        for worker in workers:
            (await ask(worker.url, caller.token_request)).json()
        connections = [await stack.enter_async_context(connected(worker.url)) for worker in workers]
        revokers = [await stack.enter_async_context(connected(worker.url)) for worker in workers]
        stopped = asyncio.Event()
        pressure = asyncio.create_task(_press(run, workers, caller, stopped))
        times = []
        try:
            for number in run.track(range(run.scale.revocations), "revocations, all workers under load"):
                seconds = await _revoke(caller, connections, revokers[number % WORKERS])
                times.append(seconds)
        finally:
            stopped.set()
            rate = await pressure
    _tell(run, times, rate)


async def _revoke(
    caller: Caller, connections: Sequence[Connection], revoker: Connection
) -> tuple[float, float]:
    """Seconds until the last worker has refused: since the revocation was sent, and since it was answered."""
    token = (await revoker.ask(caller.token_request)).json()["access_token"]
    request = Request("GET", "/bench/protected", {"Authorization": f"Bearer {token}"})
    for connection in connections:
        assert (await connection.ask(request)).status == 200
    refusals = asyncio.gather(*(_refused(connection, request) for connection in connections))
    answer = await revoker.ask(caller.revocation(token))
    assert answer.status == 200, answer.body
    last = max(await refusals)
    return last - answer.sent, max(0.0, last - answer.arrived)


async def _refused(connection: Connection, request: Request) -> float:
    """When the first 401 arrived."""
    while True:
        answer = await connection.ask(request)
        if answer.status == 401:
            return answer.arrived
        assert answer.status == 200, answer.body
        await asyncio.sleep(_POLL_SECONDS)


async def _press(run: Run, workers: Sequence[Server], caller: Caller, stopped: asyncio.Event) -> float:
    """Load every worker with tokens and with calls, one connection each, until stopped; answers a second."""
    forms = run.write_forms("pressure", [caller])
    token = (await ask(workers[0].url, caller.token_request)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    loads = [Load(f"{worker.url}/auth/token", forms, pause=_REST) for worker in workers]
    loads += [Load(f"{worker.url}/bench/protected", headers=headers, pause=_REST) for worker in workers]
    rates = []
    while not stopped.is_set():
        measured = await asyncio.gather(*(load(one, _LOAD_SECONDS, connections=1) for one in loads))
        rates.append(sum(one.rate for one in measured))
    return statistics.median(rates)


def _tell(run: Run, times: Sequence[tuple[float, float]], rate: float) -> None:
    since_sent = _milliseconds([sent for sent, _ in times])
    since_answered = _milliseconds([answered for _, answered in times])
    rows = [
        ("since it was sent", *(f"{figure:.1f}" for figure in since_sent)),
        ("since it was answered", *(f"{figure:.1f}" for figure in since_answered)),
    ]
    title = (
        f"Milliseconds until all of {WORKERS} workers refuse a revoked token: {len(times)} revocations, "
        f"{rate:,.0f} other requests a second"
    )
    run.report.figures.append(Figures(title, ("", "median", "p99", "most"), rows))
    name = f"revocation seen by {WORKERS} workers, p99, since it was sent"
    run.report.bars.append(Bar(name, since_sent[1], 100, at_least=False, unit=" ms"))


def _milliseconds(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The median, the 99th percentile and the most."""
    ordered = sorted(1000 * one for one in seconds)
    return (
        statistics.median(ordered),
        statistics.quantiles(ordered, n=100, method="inclusive")[98],
        ordered[-1],
    )
