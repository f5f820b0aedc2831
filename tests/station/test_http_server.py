from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest
from tornado.web import Application, RequestHandler

from station.http_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

PATIENCE = 10
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


class HelloHandler(RequestHandler):
    def get(self) -> None:
        self.write("hello")


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[Server]:
    """It stops before its loop is closed."""
    del io_loop
    made = Server(Application([("/", HelloHandler)]), idle_seconds=60, transfer_seconds=30)
    yield made
    made.stop()


def listening(server: Server) -> int:
    server.listen(0, "127.0.0.1")
    [one] = server._sockets.values()
    port: int = one.getsockname()[1]
    return port


async def answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST)
        async with asyncio.timeout(PATIENCE):
            return await reader.readuntil(b"hello")
    finally:
        writer.close()
        await writer.wait_closed()


@contextlib.contextmanager
def few_files() -> Iterator[None]:
    """Let no number be left below the reserve."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptor = os.dup(0)
    os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor + 4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.gen_test
async def test_connections_wait_while_files_are_short(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    port = listening(server)
    with caplog.at_level(logging.WARNING, "station"):
        with few_files():
            waiting = asyncio.create_task(answer(port))
            done, _ = await asyncio.wait([waiting], timeout=0.6)  # two of its pauses
            assert not done
        assert await waiting
        assert await answer(port)
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # once, and no traceback
    assert "New connections wait" in caplog.text


@pytest.mark.gen_test
async def test_it_can_stop_while_files_are_short(server: Server) -> None:
    port = listening(server)
    with few_files():
        waiting = asyncio.create_task(answer(port))
        await asyncio.wait([waiting], timeout=0.1)
        server.stop()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await waiting
        await asyncio.sleep(0.4)  # the pause ends, and nothing listens again
    with pytest.raises(ConnectionRefusedError):
        await answer(port)


@pytest.mark.gen_test
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends what nobody reads")
async def test_the_kernel_ends_what_nobody_reads(server: Server) -> None:
    listening(server)
    [one] = server._sockets.values()
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.mark.gen_test
async def test_what_is_refused_unread(server: Server) -> None:
    listening(server)
    assert server.conn_params.header_timeout == 60
    assert server.conn_params.body_timeout == 30
    assert server.conn_params.max_header_size == 128 * 1024
    assert server.conn_params.max_body_size == 1024 * 1024
    assert not server.xheaders
