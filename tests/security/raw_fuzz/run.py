"""Sends malformed requests over TCP, several connections at once and pipelined, and judges every answer.

A request is made from the seed and its number alone, so ``numbers=[n]`` sends one of them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from raw_fuzz.answers import Malformed, take_answer, what_is_wrong
from raw_fuzz.mutations import malformed_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raw_fuzz.answers import Answer
    from raw_fuzz.world import Request, World

CONNECTIONS = 8
PIPELINED = 40
BOUND = 30.0
"""Seconds in which a connection has to answer all, or close."""

_PATIENCE = 0.15  # for what may leave the server waiting
_LAST = b"GET /health/live HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\n\r\n"
_MAX_FAILURES = 20


@dataclasses.dataclass
class Report:
    """What came of it: answers by status, requests and statuses by route, and what went wrong."""

    sent: int = 0
    connections: int = 0
    statuses: Counter[int] = dataclasses.field(default_factory=Counter)
    routes: Counter[str] = dataclasses.field(default_factory=Counter)
    let_in: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Sent:
    number: int
    request: Request
    data: bytes


class Fuzzer:
    """Sends the requests with these ``numbers`` to a ``world``."""

    def __init__(self, world: World, *, seed: str, numbers: Iterable[int]) -> None:
        self._world = world
        self._seed = seed
        self._numbers = iter(numbers)
        self.report = Report()

    async def run(self) -> Report:
        """Send all of them, and stop early when much is wrong."""
        await asyncio.gather(*(self._work() for _ in range(CONNECTIONS)))
        return self.report

    async def _work(self) -> None:
        while len(self.report.failures) < _MAX_FAILURES:
            batch = list(self._batch())
            if not batch:
                return
            self.report.sent += len(batch)
            self.report.connections += 1
            answered = _Progress(batch)
            try:
                async with asyncio.timeout(BOUND):
                    await self._play(answered)
            except TimeoutError:
                self._fail(answered.current, f"no answer within {BOUND:.0f} s")
            except Malformed as error:
                self._fail(answered.current, str(error))
            except OSError as error:
                # a reset while bytes of ours were unread: allowed only where the server may hang up
                if not answered.current.request.ends:
                    self._fail(answered.current, f"the connection broke: {error}")

    def _batch(self) -> Iterator[_Sent]:
        """Requests for one connection: the first that may end it is the last."""
        for number in self._numbers:
            rng = Random(f"{self._seed}/{number}")
            request = malformed_request(rng, self._world)
            yield _Sent(number, request, request.encode())
            if request.ends or number % PIPELINED == PIPELINED - 1:
                return

    async def _play(self, answered: _Progress) -> None:
        reader, writer = await asyncio.open_connection(self._world.host, self._world.port)
        buffer, *before = bytearray(), *answered.batch
        last = before.pop() if before[-1].request.ends else None
        try:
            writer.write(b"".join(sent.data for sent in before))
            await self._read(reader, buffer, answered, len(before))
            if last is not None:
                # by itself: a server that hangs up with bytes unread takes answers back that are under way
                writer.write(last.data)
                if not last.request.cut:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_PATIENCE):
                            await self._read(reader, buffer, answered, len(before) + 1)
                    writer.write(_LAST)
                writer.write_eof()
                await self._read(reader, buffer, answered, None)
        finally:
            writer.close()

    async def _read(
        self, reader: asyncio.StreamReader, buffer: bytearray, answered: _Progress, until: int | None
    ) -> None:
        """Read ``until`` so many have their answers, or else the server hangs up."""
        while until is None or answered.number < until:
            data = await reader.read(65536)
            buffer += data
            while (answer := take_answer(buffer, to_head=answered.to_head, closed=not data)) is not None:
                self._judge(answered, answer)
                answered.advance()
            if not data:
                break
        else:
            return
        if buffer:
            raise Malformed(f"more than answers: {bytes(buffer)[:300]!r}")
        if not answered.complete:
            raise Malformed(f"closed without an answer, after request {answered.before}")

    def _judge(self, answered: _Progress, answer: Answer) -> None:
        sent, report, status = answered.current, self.report, answer.status
        wrong = what_is_wrong(answer, to_head=answered.to_head, path=sent.request.path)
        report.statuses[status] += 1
        target = sent.request.target
        if answered.beyond:
            if wrong is not None:
                self._fail(sent, wrong)
            return
        report.routes[target.name] += 1
        if 200 <= status < 300 and not sent.request.moved:
            report.let_in[target.name] += 1
            if not self._world.holds_credentials(target.demand, sent.data):
                wrong = f"let in with {status}, without credentials"
        if wrong is not None:
            self._fail(sent, wrong)

    def _fail(self, sent: _Sent, wrong: str) -> None:
        shown = sent.data if len(sent.data) < 1500 else sent.data[:1000] + b" ... " + sent.data[-200:]
        self.report.failures.append(
            f"request {sent.number} ({sent.request.target.name}): {wrong}\n  {shown!r}"
        )


class _Progress:
    """Which request of a batch the next answer is for."""

    def __init__(self, batch: list[_Sent]) -> None:
        self.batch = batch
        self.number = 0

    @property
    def current(self) -> _Sent:
        return self.batch[min(self.number, len(self.batch) - 1)]

    @property
    def before(self) -> int | None:
        """The request that was answered last: the one that a silence is about."""
        return self.batch[self.number - 1].number if self.number else None

    @property
    def to_head(self) -> bool:
        return not self.beyond and self.current.data.startswith(b"HEAD ")

    @property
    def beyond(self) -> bool:
        """Whether all have their answers: this one is for what was sent after them."""
        return self.number >= len(self.batch)

    @property
    def complete(self) -> bool:
        """Whether every request has what it must have; the last, if it ends the connection, need not."""
        return self.number >= len(self.batch) - self.batch[-1].request.ends

    def advance(self) -> None:
        self.number += 1
