"""Single requests, timed: HTTP/1.1 on connections that stay open, for what wrk cannot do.

::

    async with connected(url) as connection:
        answer = await connection.ask(Request("GET", "/health/live"))
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

__all__ = ["FORM", "Answer", "Connection", "Request", "ask", "ask_all", "connected"]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_PATIENCE = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What is asked; a ``body`` that is no text is sent as JSON."""

    method: str
    path: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: object = ""

    def encoded(self, host: str) -> bytes:
        """The bytes of the request."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        kind = {} if isinstance(self.body, str) else {"Content-Type": "application/json"}
        headers = {"Host": host, "Content-Length": str(len(text.encode())), **kind, **self.headers}
        head = f"{self.method} {self.path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{head}\r\n{text}".encode()


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back, ``sent`` and ``arrived`` on `time.perf_counter`."""

    status: int
    body: bytes
    sent: float
    arrived: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.arrived - self.sent

    def json(self) -> Any:
        """The body, which must be a success in JSON."""
        assert 200 <= self.status < 300, (self.status, self.body)
        return json.loads(self.body)


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    async def ask(self, request: Request) -> Answer:
        """Send a request and await the whole answer."""
        sent = time.perf_counter()
        self._writer.write(request.encoded(self._host))
        async with asyncio.timeout(_PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split(" ", 2)[1]), body, sent, time.perf_counter())


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection to a server of this machine, and close it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer, parts.netloc)
    finally:
        writer.close()


async def ask(url: str, request: Request) -> Answer:
    """Ask one thing on a connection of its own."""
    async with connected(url) as connection:
        return await connection.ask(request)


async def ask_all(url: str, requests: Iterable[Request], *, connections: int = 16) -> list[Answer]:
    """Ask many things, as many at once as there are connections; the answers in the order of asking."""
    waiting = enumerate(requests)
    answers: dict[int, Answer] = {}

    async def work() -> None:
        async with connected(url) as connection:
            for place, request in waiting:
                answers[place] = await connection.ask(request)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
    return [answers[place] for place in sorted(answers)]
