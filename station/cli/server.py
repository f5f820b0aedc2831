"""One process that serves: listen when the application can answer, then stop without cutting anybody off."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from station.cli.port import listen, listen_for_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpserver import HTTPServer

    from station.app import Application
    from station.cli.port import Port

__all__ = ["collect_garbage_rarely", "event_loop", "serve_until_stopped"]

_log = logging.getLogger(__name__)
_GRACE_SECONDS = 5.0
_LAST_REQUESTS_SECONDS = 0.5
_POLL_SECONDS = 0.02


def event_loop() -> tuple[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """The name and the factory of the event loop to serve on: uvloop's with the extra ``fast``."""
    if find_spec("uvloop") is None:
        return "asyncio", None
    return "uvloop", importlib.import_module("uvloop").new_event_loop


def collect_garbage_rarely() -> None:
    """Leave what was made at the start alone, and look through the rest less often.

    A full collection of everything stopped the process for 50 ms every second under load, and found next to
    nothing: requests leave hardly any cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def serve_until_stopped(
    app: Application, port: Port, ready: Callable[[], None], *, metrics_port: Port | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; ``ready`` is called when the application listens."""
    with asyncio.Runner(loop_factory=event_loop()[1]) as runner:
        runner.run(_serve(app, port, ready, metrics_port))


async def _serve(app: Application, port: Port, ready: Callable[[], None], metrics_port: Port | None) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - the runner made one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, task)
    with contextlib.suppress(asyncio.CancelledError):
        async with app.lifespan(), listen_for_metrics(app, metrics_port):
            server = listen(app, port)
            collect_garbage_rarely()
            ready()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await _drain(app, server)


def _stop(task: asyncio.Task[object]) -> None:
    """Stop once: a second signal must not interrupt the clean-up."""
    if not task.cancelling():
        task.cancel()


async def _drain(app: Application, server: HTTPServer) -> None:
    """Stop listening, answer what was asked, and close every connection.

    A client that keeps its connection may send the next request at the very moment at which it is closed, and
    could not know whether it was handled (RFC 9112 9.3.1). So all are read for a moment more, and each answer
    says ``Connection: close``; what is idle then is closed. On a busy machine this process may be late, so
    what it has not read yet counts as asked. WebSockets are closed at once; answers that are streamed may be
    finished like all others.
    """
    loop = asyncio.get_running_loop()
    deadline, quiet = loop.time() + _GRACE_SECONDS, loop.time() + _LAST_REQUESTS_SECONDS
    _stop_listening(server)
    server.conn_params.no_keep_alive = True
    app.connections.go_away()
    if running := _running():
        _log.info("waiting for %d requests to finish", len(running))
    idle_polls = 0  # twice in a row: in between, what was read becomes a request
    while idle_polls < 2 and loop.time() < deadline:
        if running := _running():
            idle_polls = 0
            await asyncio.wait(running, timeout=deadline - loop.time())
            continue
        if not server._connections:  # noqa: SLF001 - nobody else lists them
            break
        busy = loop.time() < quiet or _writing(server) or _unread(server)
        idle_polls = 0 if busy else idle_polls + 1
        await asyncio.sleep(_POLL_SECONDS)
    if running := _running():
        _log.warning("%d requests did not finish within %.0f s", len(running), _GRACE_SECONDS)
    await server.close_all_connections()


def _stop_listening(server: HTTPServer) -> None:
    """Take the connections that the kernel has accepted already: closing the socket would reset them."""
    for one in server._sockets.values():  # noqa: SLF001 - as in Tornado's own accept handler
        with contextlib.suppress(OSError):  # BlockingIOError when there are no more
            while True:
                server._handle_connection(*one.accept())  # noqa: SLF001
    server.stop()


def _running() -> set[asyncio.Task[object]]:
    # Tornado runs each request as one task, so nothing needs to be counted while requests are served.
    return {task for task in asyncio.all_tasks() if _is_request(task)}


def _is_request(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == "RequestHandler._execute"


def _unread(server: HTTPServer) -> bool:
    """Whether something came on a connection that nobody has read."""
    return any(_has_unread(connection.stream.socket) for connection in server._connections)  # noqa: SLF001


def _has_unread(connection: socket.socket | None) -> bool:
    try:
        return bool(connection and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:  # BlockingIOError where there is nothing
        return False


def _writing(server: HTTPServer) -> bool:
    """Whether somebody reads an answer slowly."""
    return any(connection.stream.writing() for connection in server._connections)  # noqa: SLF001
