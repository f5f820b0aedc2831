"""How much the memory of a worker grows over many issuances, once its caches are full.

As many clients as the caches hold ask once and use their token, so that all caches are full. The count begins
then, and a thousand of the clients ask, at random.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.connection import Request, ask, ask_all
from bench.load import Load, find_wrk, load
from bench.report import Bar, Figures
from bench.station import ask_lately, clones, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.processes import Server
    from bench.run import Run
    from bench.station import Caller, Engines

__all__ = ["Growth", "measure"]

_CHUNK_SECONDS = 5
_MEGABYTE = 1024 * 1024
_CHEAPEST = 4
_ASKING = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Growth:
    """Resident megabytes after so many issuances."""

    samples: Sequence[tuple[int, float]]

    @property
    def issued(self) -> int:
        """How many tokens."""
        return self.samples[-1][0]

    @property
    def start(self) -> float:
        """Megabytes at the beginning: the median of the first twentieth, as of the last."""
        return statistics.median(size for _, size in self.samples[: self._twentieth])

    @property
    def end(self) -> float:
        """Megabytes in the end."""
        return statistics.median(size for _, size in self.samples[-self._twentieth :])

    @property
    def _twentieth(self) -> int:
        return max(1, len(self.samples) // 20)


async def measure(run: Run) -> None:
    """Fill the caches, then issue and weigh."""
    find_wrk()
    async with open_engines(run, "growth") as engines:
        # a cheap hash: the clients' first requests are not what is measured
        async with engines.station(fastest_loop(), bcrypt_cost=_CHEAPEST) as server:
            original = await register(server, "bench-growth", None)
        callers = clones(engines, original, run.scale.full_caches)
        async with engines.station(fastest_loop(), bcrypt_cost=_CHEAPEST) as server:
            with run.working(f"filling the caches with {len(callers):,} clients and tokens"):
                await _fill_caches(engines, server, callers)
            forms = run.write_forms("growth", callers[:_ASKING])
            with run.working(f"memory over {run.scale.issuances:,} issuances"):
                found = await _issue(run, server, forms)
    run.report.growth = found
    row = (f"{found.issued:,}", f"{found.start:.1f}", f"{found.end:.1f}", f"{found.end - found.start:+.1f}")
    title = "Resident megabytes of a worker whose caches are full"
    run.report.figures.append(Figures(title, ("tokens issued", "at first", "in the end", "growth"), [row]))
    name = f"growth over {run.scale.issuances:,} issuances"
    enough = found.issued >= run.scale.issuances
    note = "" if enough else f"stopped after {found.issued:,} in {run.scale.longest_growth} s"
    value = found.end - found.start if enough else None
    run.report.bars.append(Bar(name, value, 10, at_least=False, unit=" MB", note=note))


async def _fill_caches(engines: Engines, server: Server, callers: Sequence[Caller]) -> None:
    tokens = await ask_lately(engines, server, callers)
    calls = [Request("GET", "/bench/protected", {"Authorization": f"Bearer {token}"}) for token in tokens]
    assert {answer.status for answer in await ask_all(server.url, calls)} == {200}


async def _issue(run: Run, server: Server, forms: Path) -> Growth:
    process = import_module("psutil").Process(server.pid)  # comes with the extra "embedded", untyped
    await load(Load(f"{server.url}/auth/token", forms), _CHUNK_SECONDS)
    issued, samples = 0, [(0, _megabytes(process))]
    deadline = time.monotonic() + run.scale.longest_growth
    while issued < run.scale.issuances and time.monotonic() < deadline:
        chunk = asyncio.create_task(load(Load(f"{server.url}/auth/token", forms), _CHUNK_SECONDS))
        before = len(samples)
        while not chunk.done():
            await asyncio.sleep(0.5)
            samples.append((issued, _megabytes(process)))
        measured = await chunk
        # wrk counts in the end: the samples lie evenly between
        taken = len(samples) - before
        samples[before:] = [
            (issued + measured.answers * (place + 1) // taken, size)
            for place, (_, size) in enumerate(samples[before:])
        ]
        issued += measured.answers
    (await ask(server.url, Request("GET", "/bench/open"))).json()
    return Growth(samples)


def _megabytes(process: Any) -> float:
    return float(process.memory_info().rss) / _MEGABYTE
