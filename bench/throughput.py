"""Tokens and protected calls a second, against an empty handler and against the peers, in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from typing import TYPE_CHECKING

import jwt

from bench.connection import ask
from bench.load import CONNECTIONS, PERCENTILES, Load, find_wrk, load
from bench.peers import NODE, PEERS
from bench.processes import own, running
from bench.report import Bar, Figures
from bench.run import Missing
from bench.station import LOOPS, Caller, fastest_loop, open_engines, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bench.load import Measured
    from bench.peers import Peer
    from bench.processes import Server
    from bench.run import Run

__all__ = ["Throughput", "measure"]

_EMPTY = "an empty POST handler, {}"
_TOKEN = "POST /auth/token, {}, {}"
_OPEN = "GET of an open handler, {}"
_PROTECTED = "GET of the same protected, {}"


@dataclasses.dataclass(frozen=True, slots=True)
class Throughput:
    """Every measurement of every target, and why a peer is missing."""

    measured: Mapping[str, list[Measured]]
    missing: Mapping[str, str]

    def rate(self, name: str) -> float:
        """The median of the answers a second."""
        return statistics.median(one.rate for one in self.measured[name])

    def latency(self, name: str, percentile: str) -> float:
        """The median of a percentile of the latencies, in milliseconds."""
        return statistics.median(one.latency[percentile] for one in self.measured[name])

    def ratio(self, name: str, to: str) -> float | None:
        """The median of the ratios of each round; None if one was not measured.

        What is measured within one round had the same machine, which is busier at other times.
        """
        if name not in self.measured or to not in self.measured:
            return None
        pairs = zip(self.measured[name], self.measured[to], strict=True)
        return statistics.median(one.rate / other.rate for one, other in pairs)


async def measure(run: Run) -> None:
    """Start everything, and load one after the other, again and again."""
    find_wrk()
    missing: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        targets = await _station_targets(run, stack)
        forms = targets[_EMPTY.format("asyncio")].forms
        assert forms is not None
        for name, install in PEERS.items():
            try:
                with run.working(f"installing {name}"):
                    peer = install(run.cache)
            except Missing as error:
                missing[name] = str(error)
                continue
            server = await stack.enter_async_context(_peer(run, peer))
            targets[name] = Load(f"{server.url}/token", forms)
        for target in run.track(list(targets.values()), "warming up"):
            await load(target, 1)
        measured: dict[str, list[Measured]] = {name: [] for name in targets}
        turns = [name for _ in range(run.scale.rounds) for name in targets]
        for name in run.track(turns, f"throughput, {run.scale.rounds} rounds of {run.scale.seconds} s"):
            one = await load(targets[name], run.scale.seconds)
            measured[name].append(one)
    run.report.throughput = found = Throughput(measured, missing)
    _tell(run, found)


async def _station_targets(run: Run, stack: contextlib.AsyncExitStack) -> dict[str, Load]:
    """Station and the empty handler, on every loop that is installed."""
    engines = await stack.enter_async_context(open_engines(run, "throughput"))
    forms = run.write_forms("grant", [Caller()])
    targets: dict[str, Load] = {}
    loops = [loop for loop in LOOPS if loop in {fastest_loop(), "asyncio"}]
    for loop in loops:
        log = run.directory / "empty.log"
        empty = await stack.enter_async_context(running(own("empty", loop), log=log, environment={}))
        targets[_EMPTY.format(loop)] = Load(empty.url, forms)
        station = await stack.enter_async_context(engines.station(loop))
        if loop == loops[0]:
            await register(station)
        targets[_TOKEN.format("HS256", loop)] = Load(f"{station.url}/auth/token", forms)
        if loop == loops[0]:
            signing = await stack.enter_async_context(engines.station(loop, signing_alg="ES256"))
            targets[_TOKEN.format("ES256", loop)] = Load(f"{signing.url}/auth/token", forms)
        token = (await ask(station.url, Caller().token_request)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        # the header travels both ways, so that only the demand differs
        targets[_OPEN.format(loop)] = Load(f"{station.url}/bench/open", headers=headers)
        targets[_PROTECTED.format(loop)] = Load(f"{station.url}/bench/protected", headers=headers)
    return targets


@contextlib.asynccontextmanager
async def _peer(run: Run, peer: Peer) -> AsyncIterator[Server]:
    log = run.directory / "peer.log"
    async with running(
        peer.command, log=log, environment=peer.environment, directory=peer.directory
    ) as server:
        token = Caller().token_request
        answer = await ask(server.url, dataclasses.replace(token, path="/token"))
        assert jwt.get_unverified_header(answer.json()["access_token"])["alg"] == "ES256"
        yield server


def _tell(run: Run, found: Throughput) -> None:
    loop = fastest_loop()
    empty, tokens = _EMPTY.format(loop), [_TOKEN.format(alg, loop) for alg in ("HS256", "ES256")]
    why = found.missing.get(NODE, "")
    bars = [
        Bar(
            "tokens (HS256) / empty POST handler",
            found.ratio(tokens[0], empty),
            0.6,
            at_least=True,
            note=loop,
        ),
        Bar("tokens (HS256) / node-oidc-provider", found.ratio(tokens[0], NODE), 1, at_least=True, note=why),
        Bar("tokens (ES256) / node-oidc-provider", found.ratio(tokens[1], NODE), 1, at_least=True, note=why),
        Bar(
            "protected GET / the same open",
            found.ratio(_PROTECTED.format(loop), _OPEN.format(loop)),
            0.9,
            at_least=True,
            note=loop,
        ),
    ]
    run.report.bars += bars
    rows = [_row(found, name) for name in found.measured]
    rows += [(f"{name}: skipped, {why}", "", "", "", "", "") for name, why in found.missing.items()]
    title = (
        f"Answers a second, {CONNECTIONS} connections: medians of {run.scale.rounds} rounds of "
        f"{run.scale.seconds} s, in turns"
    )
    run.report.figures.append(Figures(title, ("", "a second", "lowest", "highest", "ratio", "refused"), rows))
    latencies = [
        (name, *(f"{found.latency(name, percentile):.1f}" for percentile in PERCENTILES))
        for name in found.measured
    ]
    columns = ("", "p50", "p90", "p99", "p99.9")
    run.report.figures.append(Figures("Milliseconds to the answer, the same runs", columns, latencies))


def _row(found: Throughput, name: str) -> tuple[str, ...]:
    """Beside the rates: their ratio to a handler that does nothing, and how many more were refused."""
    rates = [one.rate for one in found.measured[name]]
    loop = "asyncio" if name.endswith("asyncio") else fastest_loop()
    baseline = _OPEN.format(loop) if name.startswith("GET") else _EMPTY.format(loop)
    refused = sum(one.refused for one in found.measured[name])
    figures = (f"{rate:,.0f}" for rate in (found.rate(name), min(rates), max(rates)))
    return name, *figures, f"{found.ratio(name, baseline):.2f}", f"{refused:,}" if refused else ""
