"""The HTTP server: what Tornado's does, and patience that ends.

A connection costs a file descriptor and some memory, and whoever opens one decides how long it lasts unless
somebody else does. So a connection that is idle, or whose next headers do not come, is closed after
``idle_seconds``; one whose body does not come, or whose client reads nothing of its answer, after
``transfer_seconds``.

When the process runs short of file descriptors, new connections wait in the kernel until others have closed.
Tornado would try to accept them in every turn of its loop, and log each failure; and the stores could not be
reached any more, because a connection to them needs a descriptor too.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import time
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import add_accept_handler

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_BODY_SIZE", "Server"]

_log = logging.getLogger(__name__)
MAX_BODY_SIZE = 1024 * 1024
_MAX_HEADER_SIZE = 128 * 1024
_RESERVED = 128  # descriptors: the stores' connections, the audit's log, the engines' files
_PAUSE_SECONDS = 0.25
_TELL_EVERY_SECONDS = 60.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server(HTTPServer):
    """Serves an application; bodies over 1 MiB are refused unread, and ``xheaders`` stays off.

    A request with more than 128 KiB of headers gets no answer: the connection is closed.
    """

    def initialize(  # type: ignore[override] # Tornado's takes what is fixed here
        self, application: Any, *, idle_seconds: float, transfer_seconds: float, **kwargs: Any
    ) -> None:
        """Set up (called by Tornado in place of ``__init__``)."""
        self._transfer_ms = int(transfer_seconds * 1000)
        self._told_at = float("-inf")
        super().initialize(
            application,
            max_body_size=MAX_BODY_SIZE,
            max_header_size=_MAX_HEADER_SIZE,
            idle_connection_timeout=idle_seconds,
            body_timeout=transfer_seconds,
            **kwargs,
        )

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets while there are descriptors for them."""
        for one in sockets:
            if one.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
                # Connections inherit it: the kernel ends one whose answer lies unread or unacknowledged.
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._transfer_ms)
            self._sockets[one.fileno()] = one
            self._accept(one)

    def _accept(self, one: socket.socket) -> None:
        gate: Any = _Gate(one, self)
        self._handlers[one.fileno()] = add_accept_handler(gate, self._handle_connection)

    def pause(self, one: socket.socket) -> None:
        """Accept nothing on this socket for a moment: there are no descriptors."""
        if time.monotonic() - self._told_at > _TELL_EVERY_SECONDS:
            self._told_at = time.monotonic()
            _log.warning(
                "New connections wait: this process may have %d files open. Raise the limit "
                "(ulimit -n, LimitNOFILE= of systemd), or serve with more workers.",
                resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
        fileno = one.fileno()
        self._handlers[fileno]()
        self._handlers[fileno] = _nothing  # `stop` calls it
        IOLoop.current().call_later(_PAUSE_SECONDS, self._resume, one)

    def _resume(self, one: socket.socket) -> None:
        if one.fileno() in self._handlers:  # -1 when all is over
            self._accept(one)


class _Gate:
    """A listening socket that lets nobody in while descriptors are short."""

    def __init__(self, listening: socket.socket, server: Server) -> None:
        self._listening = listening
        self._server = server

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        self._listening.close()

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            if _next_descriptor(self._listening) < _most_descriptors():
                return self._listening.accept()
            exhausted = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            exhausted = error
        self._server.pause(self._listening)
        raise BlockingIOError from exhausted  # for Tornado: there is nothing to accept


def _next_descriptor(one: socket.socket) -> int:
    """The number that the next file gets: the lowest that is free, so no lower one is."""
    descriptor = os.dup(one.fileno())
    os.close(descriptor)
    return descriptor


def _most_descriptors() -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    return limit - min(_RESERVED, limit // 4)


def _nothing() -> None:
    """What ends an acceptance that has ended."""
