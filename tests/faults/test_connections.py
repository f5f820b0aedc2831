"""Very many connections, slow ones, and clients that never read: the others are served meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import json
import resource
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator
    from pathlib import Path

    from tests.conftest import Serve, Server

psutil = importlib.import_module("psutil")  # comes with the extra embedded

SECRET = "a-client-secret-for-the-tests-0123456789"
HOST = "127.0.0.1"
PATIENCE = 30.0
IDLE = 10_000
SOURCES = ["127.0.0.2", "127.0.0.3"]  # one address has not enough ports
AT_ONCE = 250
SLOW = 500
BYTES_OF_A_CONNECTION = 32 * 1024
FORM = b"grant_type=client_credentials"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Probe:
    """Somebody who behaves, on one connection that is kept."""

    def __init__(self, server: Server) -> None:
        self.port = urlsplit(server.url).port or 0
        self._key = server.admin_key
        self._stream: Stream | None = None

    async def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> tuple[int, Any]:
        if self._stream is None:
            self._stream = await asyncio.open_connection(HOST, self.port)
        reader, writer = self._stream
        writer.write(request(method, path, headers, body))
        async with asyncio.timeout(PATIENCE):
            status, answered = await read_answer(reader)
        return status, json.loads(answered)

    async def prepare(self) -> None:
        """Register and remember the secret, so that no bcrypt is needed from now on."""
        document = {"clientId": "probe", "clientSecret": SECRET, "scopes": ["demo:read"]}
        headers = f"x-internal-api-key: {self._key}\r\nContent-Type: application/json\r\n"
        status, _ = await self.ask("POST", "/oauth-clients", headers, json.dumps(document).encode())
        assert status == 201

    async def check(self) -> None:
        """Get a token and call with it."""
        basic = base64.b64encode(f"probe:{SECRET}".encode()).decode()
        headers = f"Authorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        status, document = await self.ask("POST", "/auth/token", headers, FORM)
        assert status == 200
        bearer = f"Authorization: Bearer {document['access_token']}\r\n"
        status, document = await self.ask("GET", "/demo/greeting", bearer)
        assert (status, document) == (200, {"greeting": "Hello, probe!"})

    def close(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


def request(method: str, path: str, headers: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: station\r\n{headers}{length}\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def until(done: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"no {what} within {PATIENCE:.0f} s"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def connected(port: int, count: int, begin: bytes = b"") -> AsyncIterator[list[Stream]]:
    """That many connections, from several addresses, each of which has sent the beginning of something."""
    streams: list[Stream] = []

    async def one(number: int) -> None:
        source = SOURCES[number % len(SOURCES)]
        reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0), limit=1024)
        writer.write(begin)
        streams.append((reader, writer))

    try:
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(*map(one, range(start, min(count, start + AT_ONCE))))
        yield streams
    finally:
        for _, writer in streams:
            writer.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and what it starts, open more files than there are idle connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + 1000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs a hard limit of {needed} open files: raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def settings() -> dict[str, str]:
    return {"AUTH_TOKEN_THROTTLE_LIMIT": "0"}


@pytest.fixture
def server(serve: Serve, tmp_path: Path, settings: dict[str, str]) -> Iterator[Server]:
    with serve(tmp_path, **settings) as running:
        yield running
    log = running.log.read_text()
    assert "Traceback" not in log
    assert " 500 " not in log


def run(scenario: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(3 * PATIENCE):
            await scenario

    asyncio.run(within())


def memory(server: Server) -> int:
    found: int = psutil.Process(server.pid).memory_info().rss
    return found


def files(server: Server) -> int:
    found: int = psutil.Process(server.pid).num_fds()
    return found


def cpu_seconds(server: Server) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        probe = Probe(server)
        await probe.prepare()
        await probe.check()
        before = memory(server)
        async with connected(probe.port, IDLE):
            await until(lambda: files(server) > IDLE, "acceptance of all")
            each = (memory(server) - before) / IDLE
            with capsys.disabled():
                print(f"\nan idle connection takes {each / 1024:.1f} KB")
            assert each < BYTES_OF_A_CONNECTION
            await probe.check()
            probe.close()
            await probe.check()  # a new connection is accepted too
        await until(lambda: files(server) < IDLE / 10, "end of all")
        await probe.check()
        probe.close()

    run(scenario())


def test_more_connections_than_files(server: Server) -> None:
    limit = 300

    async def scenario() -> None:
        probe = Probe(server)
        await probe.prepare()
        await probe.check()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        async with connected(probe.port, limit):
            await until(lambda: "New connections wait" in server.log.read_text(), "word of it")
            # the stores, to which connections are made now and then, still get theirs
            assert files(server) < limit - 20
            spent, start = cpu_seconds(server), time.monotonic()
            for _ in range(10):
                await probe.check()
            await asyncio.sleep(1)  # a loop that is busy with nothing would be seen
            assert cpu_seconds(server) - spent < 0.6 * (time.monotonic() - start)
            assert server.log.read_text().count("New connections wait") == 1
            late = Probe(server)
            waiting = asyncio.create_task(late.check())
            await asyncio.sleep(0.5)
            assert not waiting.done()
        await waiting  # served when the others have gone
        late.close()
        probe.close()

    run(scenario())


class TestImpatience:
    """With short patience; see docs/operating.md for the defaults."""

    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return {**settings, "STATION_IDLE_TIMEOUT_MS": "3000", "STATION_TRANSFER_TIMEOUT_MS": "3000"}

    @pytest.mark.parametrize(
        ("begin", "drip"),
        [
            (b"", b""),
            (b"GET /demo/greeting HTTP/1.1\r\nHost: station\r\nX-Slow: ", b"x"),
            (b"POST /auth/token HTTP/1.1\r\nHost: station\r\nContent-Length: 1000\r\n\r\n", b"x"),
            (
                b"POST /auth/token HTTP/1.1\r\nHost: station\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1\r\nx\r\n",
            ),
        ],
        ids=["idle", "headers", "body", "chunked body"],
    )
    def test_slow_connections_are_closed(self, server: Server, begin: bytes, drip: bytes) -> None:
        async def scenario() -> None:
            probe = Probe(server)
            await probe.prepare()
            before = memory(server)
            async with connected(probe.port, SLOW, begin) as streams:
                closing = asyncio.gather(*(ended(reader) for reader, _ in streams))
                start = time.monotonic()
                while not closing.done():
                    await probe.check()
                    for _, writer in streams:
                        if drip and not writer.is_closing():
                            writer.write(drip)
                    await asyncio.wait([closing], timeout=1)
                    assert time.monotonic() - start < PATIENCE, "they are not closed"
                assert memory(server) - before < SLOW * BYTES_OF_A_CONNECTION
            await probe.check()
            probe.close()

        run(scenario())

    def test_clients_that_never_read(self, server: Server) -> None:
        """Each asks for one large answer after the other: none is made before the last was read."""
        count, asked = 20, 200

        async def scenario() -> None:
            probe = Probe(server)
            await probe.prepare()
            headers = f"x-internal-api-key: {server.admin_key}\r\n"
            status, document = await probe.ask("GET", "/openapi.json")
            assert status == 200
            size = len(json.dumps(document))
            before = files(server), memory(server)
            begin = request("GET", "/openapi.json", headers) * asked
            async with connected(probe.port, count, begin) as streams:
                for _, writer in streams:
                    writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
                await until(lambda: files(server) >= before[0] + count, "acceptance of all")
                start = time.monotonic()
                while files(server) >= before[0] + count / 2:
                    await probe.check()
                    await asyncio.sleep(0.2)
                    assert memory(server) - before[1] < count * asked * size / 4
                    assert time.monotonic() - start < PATIENCE, "they are not closed"
            await probe.check()
            probe.close()

        run(scenario())


def test_many_requests_at_once_on_one_connection(server: Server) -> None:
    """They are answered in order, and in turns with everybody else's."""
    count, quick = 3000, 20

    async def scenario() -> None:
        probe = Probe(server)
        await probe.prepare()
        await probe.check()
        reader, writer = await asyncio.open_connection(HOST, probe.port)
        answered = 0

        async def read_all() -> None:
            nonlocal answered
            while answered < count:
                status, _ = await read_answer(reader)
                assert status == 200
                answered += 1

        reading = asyncio.create_task(read_all())
        writer.write(request("GET", "/health/live") * count)
        for _ in range(quick):
            await probe.check()
        assert answered < count, "the others had to wait until all was answered"
        await reading
        writer.close()
        probe.close()

    run(scenario())
