"""The port of ``station serve``, kept from other programs before anything that listens on it exists.

Every process that serves listens with a socket of its own (``SO_REUSEPORT``), and the kernel deals the
connections out. Tried with four workers and 16 connections that come at once: each worker gets 2 to 7; of one
socket that all inherit, the first that wakes was seen to take all 16. With connections that come one after
the other both are even. Besides, a worker that died gets no new connection, and a worker listens only when it
can answer. (macOS gives all connections to one of the sockets; Station is only developed there.)
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from typing import TYPE_CHECKING

from tornado.netutil import bind_sockets

from station.errors import StartError
from station.metrics.port import HOST as METRICS_HOST
from station.metrics.port import metrics_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tornado.httpserver import HTTPServer

    from station.app import Application

__all__ = ["Port", "listen", "listen_for_metrics", "reserve_metrics_port", "reserve_port"]

_ADVICE = "choose another with --host and --port, or STATION_HOST and PORT"
_METRICS_ADVICE = "choose another with METRICS_PORT"
_BACKLOG = 1024  # a burst waits in the kernel, which caps it at net.core.somaxconn


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    """The real ``number`` of the port, and the sockets that hold it without listening."""

    number: int
    sockets: Sequence[socket.socket]

    def release(self) -> None:
        """Hold it no more: a process that outlives its supervisor must not be in the way of the next one."""
        for one in self.sockets:
            one.close()


@contextlib.contextmanager
def reserve_port(host: str, port: int, advice: str = _ADVICE) -> Iterator[Port]:
    """Keep the port until the block ends; 0 takes a free one.

    Raises `StartError`, which ends with the ``advice``, if it cannot be had.
    """
    with _reported(host, port, advice), contextlib.ExitStack() as stack:
        # Nobody may listen there, not even with SO_REUSEPORT: a second Station would get half of them.
        probes = [stack.enter_context(one) for one in bind_sockets(port, host)]
        addresses = [(one.family, one.getsockname()) for one in probes]
        stack.close()
        held = Port(addresses[0][1][1], [_hold(stack, *address) for address in addresses])
        kept = stack.pop_all()
    with kept:
        yield held


@contextlib.contextmanager
def reserve_metrics_port(port: int | None) -> Iterator[Port | None]:
    """The same for the port of the metrics, if there is to be one."""
    if port is None:
        yield None
        return
    with reserve_port(METRICS_HOST, port, _METRICS_ADVICE) as held:
        yield held


def listen(app: Application, port: Port) -> HTTPServer:
    """Let the application listen on the port; raises `StartError` if it cannot."""
    host = app.config.host
    with _reported(host, port.number):
        return app.listen(port.number, host, reuse_port=True, backlog=_BACKLOG)


@contextlib.asynccontextmanager
async def listen_for_metrics(app: Application, port: Port | None) -> AsyncIterator[None]:
    """Let every worker answer for all of them on the port of the metrics, until the block ends."""
    if port is None:
        yield
        return
    server = metrics_server(app)
    with _reported(METRICS_HOST, port.number, _METRICS_ADVICE):
        server.listen(port.number, METRICS_HOST, reuse_port=True, backlog=_BACKLOG)
    try:
        yield
    finally:
        server.stop()
        await server.close_all_connections()


def _hold(
    stack: contextlib.ExitStack, family: socket.AddressFamily, address: tuple[object, ...]
) -> socket.socket:
    held = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    held.bind(address)
    # SO_REUSEADDR was for connections of the last run, and would let anybody else listen
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return held


@contextlib.contextmanager
def _reported(host: str, port: int, advice: str = _ADVICE) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(
            [f"Station cannot listen on {host} port {port}: {error.strerror}; {advice}."]
        ) from error
