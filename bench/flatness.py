"""Whether issuing stays as fast with many clients, and with many live tokens of one client.

Each number of clients is registered in a database of its own, with a worker of its own; at most a thousand
of them ask, at random, and each has asked within the last minute. One more worker has caches for half of
those that ask. For live tokens one worker serves one client for each number. All are measured in turns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from typing import TYPE_CHECKING

from bench.connection import ask_all
from bench.load import Load, find_wrk, load
from bench.report import Figures
from bench.station import admin, ask_lately, clones, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.processes import Server
    from bench.run import Run
    from bench.station import Caller, Engines

__all__ = ["Flatness", "measure"]

_ASKING = 1_000
_BEYOND = -1
_CHEAPEST = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Flatness:
    """Tokens a second, of every round, by the number of clients, and of live tokens before the round.

    ``beyond`` is with most clients, and caches for half of those that ask.
    """

    clients: Mapping[int, list[float]]
    beyond: list[float]
    tokens: Mapping[int, list[float]]


async def measure(run: Run) -> None:
    """Measure both."""
    find_wrk()
    async with open_engines(run, "flatness") as engines:
        clients = await _clients(run, engines)
        beyond = clients.pop(_BEYOND)
        found = Flatness(clients, beyond, await _tokens(run, engines))
    run.report.flatness = found
    most = f"{max(clients):,}, caches for half of those that ask"
    _tell(
        run, "registered clients", {**{f"{count:,}": rates for count, rates in clients.items()}, most: beyond}
    )
    _tell(run, "live tokens of the client", {f"{count:,}": rates for count, rates in found.tokens.items()})


def _tell(run: Run, name: str, rates: Mapping[str, list[float]]) -> None:
    medians = {count: statistics.median(values) for count, values in rates.items()}
    first = next(iter(medians.values()))
    rows = [(count, f"{rate:,.0f}", f"{rate / first:.2f}") for count, rate in medians.items()]
    title = f"Tokens a second by {name}: medians of {run.scale.flat_rounds} rounds, in turns"
    run.report.figures.append(Figures(title, (name, "a second", "ratio"), rows))


@dataclasses.dataclass(frozen=True, slots=True)
class _Fleet:
    """Clients that ask a worker of their own."""

    engines: Engines
    server: Server
    database: int
    asking: Sequence[Caller]
    load: Load

    async def ask(self) -> None:
        """Let each ask, so that the worker knows it from this minute."""
        await ask_lately(self.engines, self.server, self.asking, self.database)


async def _clients(run: Run, engines: Engines) -> dict[int, list[float]]:
    """The rates by the number of clients, and `_BEYOND` caches."""
    async with contextlib.AsyncExitStack() as stack:
        fleets: dict[int, _Fleet] = {}
        for database, count in enumerate(run.scale.clients, start=1):
            with run.working(f"registering {count:,} clients"):
                callers = await _registered(engines, count, database)
            asking = callers[:: math.ceil(count / _ASKING)]  # spread over all of them
            fleets[count] = await _fleet(run, stack, engines, database, asking)
        half = len(asking) // 2
        fleets[_BEYOND] = await _fleet(run, stack, engines, database, asking, cache_size=half)
        rates: dict[int, list[float]] = {count: [] for count in fleets}
        turns = [count for _ in range(run.scale.flat_rounds) for count in fleets]
        for count in run.track(turns, "issuing to few and many clients"):
            await fleets[count].ask()
            rates[count].append((await load(fleets[count].load, run.scale.seconds)).rate)
    return rates


async def _fleet(
    run: Run,
    stack: contextlib.AsyncExitStack,
    engines: Engines,
    database: int,
    asking: Sequence[Caller],
    cache_size: int = 10_000,
) -> _Fleet:
    worker = engines.station(fastest_loop(), database=database, bcrypt_cost=_CHEAPEST, cache_size=cache_size)
    server = await stack.enter_async_context(worker)
    forms = run.write_forms(f"clients-{database}", asking)
    fleet = _Fleet(engines, server, database, asking, Load(f"{server.url}/auth/token", forms))
    with run.working(f"first requests of {len(asking):,} clients"):
        await fleet.ask()
    return fleet


async def _registered(engines: Engines, count: int, database: int) -> list[Caller]:
    async with engines.station(fastest_loop(), database=database, bcrypt_cost=_CHEAPEST) as server:
        original = await register(server, "bench-flat", None)
    return list(clones(engines, original, count, database))


async def _tokens(run: Run, engines: Engines) -> dict[int, list[float]]:
    async with engines.station(fastest_loop(), bcrypt_cost=_CHEAPEST) as server:
        issuing = {count: await _with_forms(run, server, count) for count in run.scale.tokens}
        many = max(issuing)
        with run.working(f"issuing {many:,} live tokens"):
            kept = await _issue(run, server, issuing[many][1], many)
        rates: dict[int, list[float]] = {count: [] for count in issuing}
        turns = [count for _ in range(run.scale.flat_rounds) for count in issuing]
        for count in run.track(turns, "issuing to clients with few and many live tokens"):
            caller, target = issuing[count]
            if count != many:
                # what the round before has issued ends at once, so that each begins with as many
                await admin(server, "DELETE", f"/oauth-clients/{caller.client_id}/tokens")
                await ask_all(server.url, [caller.token_request] * count)
            rates[count].append((await load(target, run.scale.seconds)).rate)
    return {(kept if count == many else count): values for count, values in rates.items()}


async def _with_forms(run: Run, server: Server, count: int) -> tuple[Caller, Load]:
    caller = await register(server, f"bench-tokens-{count}", None)
    forms = run.write_forms(f"tokens-{count}", [caller])
    return caller, Load(f"{server.url}/auth/token", forms)


async def _issue(run: Run, server: Server, target: Load, count: int) -> int:
    """Issue at least so many tokens, unless that takes too long; how many there are."""
    issued, deadline = 0, time.monotonic() + run.scale.longest_fill
    while issued < count and time.monotonic() < deadline:
        issued += (await load(target, 2)).answers
    return min(count, issued)
