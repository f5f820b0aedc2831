"""Connections that outlive the check at their beginning: WebSockets, and answers that are streamed.

A demand is enforced once, before the method runs. What stays open afterwards must end when the demand is met
no more. So whoever enforces a demand may ask to be told of the connection, should there be one::

    async def enforce(handler, security):
        ...
        handler.when_long_lived(watch, security)

    def watch(connection, security):
        connection.on_end(forget)
        ...                                          # and some day: connection.refuse(InvalidToken())

A handler streams once it has called ``flush()`` before ``finish()``. One that thinks for long and then
answers in one piece, such as a long poll, does not: it is a request like any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.http1connection import HTTP1Connection
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from station.audit import Event, refusal_reason

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Mapping

    from tornado.iostream import IOStream

    from station.errors import ResponseError
    from station.handlers import BaseHandler

__all__ = ["REFUSED", "Connection", "Connections", "LongLivedHandler"]

REFUSED = 4401
"""The code with which a WebSocket is closed whose demand is met no more; the reason is the error's code."""

_GOING_AWAY = 1001  # RFC 6455 7.4.1
_HANDSHAKE_SECONDS = 0.5


class Connection:
    """A WebSocket, or an answer that is streamed, from its first byte to its last."""

    def __init__(self, handler: BaseHandler, stream: IOStream) -> None:
        self.handler = handler
        self._stream = stream
        self._on_end: list[Callable[[Connection], object]] = []
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet, from whichever side."""
        return not (self._ended or self._stream.closed())

    def on_end(self, callback: Callable[[Connection], object]) -> None:
        """Call this once, when it ends, however it does."""
        self._on_end.append(callback)

    def refuse(
        self,
        error: ResponseError,
        code: str | None = None,
        *,
        client_id: str = "",
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Close it because ``error`` is what a request would be answered with now, and tell the audit.

        ``code`` is told instead of the error's own; ``client_id`` and ``detail`` are the audit's.
        """
        if not self.is_open:
            return
        request = self.handler.request
        self.handler.application.audit.refuse(
            Event(
                action="connection.closed",
                actor=self.handler.actor,
                target=f"{request.method} {request.path[:200]}",
                client_id=client_id,
                outcome="refused",
                reason=refusal_reason(error),
                detail=dict(detail or {}),
            )
        )
        self.close(REFUSED, code or error.code)

    def close(self, code: int, reason: str) -> None:
        """Close it from our side, for good.

        A WebSocket is told ``code`` and ``reason`` (RFC 6455 7.4); whatever it sends after that is dropped,
        and half a second later it is cut off, whether it has answered or not. A streamed answer is cut off at
        once, without its last chunk, so that nobody takes it for whole (RFC 9112 8); its handler learns that
        as if the client had gone: ``on_connection_close`` is called, unless ``flush`` has raised
        `StreamClosedError` before.
        """
        if self._ended:
            return
        self.end()
        if isinstance(self.handler, WebSocketHandler):
            vars(self.handler)["on_message"] = _drop  # as Tornado does it with what a WebSocket lacks
            self.handler.close(code, reason)
            asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self._stream.close)
        else:
            self._stream.close()

    def cut(self) -> None:
        """Cut it off, without a word."""
        self._stream.close()

    def go_away(self) -> None:
        """Say that this process stops: to the client of a WebSocket, or to the handler that streams."""
        if isinstance(self.handler, WebSocketHandler):
            self.close(_GOING_AWAY, "going away")
        else:
            self.handler.on_going_away()

    def end(self) -> None:
        """It has ended."""
        if not self._ended:
            self._ended = True
            for callback in self._on_end:
                callback(self)
            self._on_end.clear()


class Connections:
    """All that are open in this process."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._going_away = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """One has begun."""
        self._open.add(connection)
        connection.on_end(self._open.discard)
        if self._going_away:
            connection.go_away()

    def go_away(self) -> None:
        """Say to all of them, and to those that still come, that this process stops."""
        self._going_away = True
        for connection in list(self._open):
            connection.go_away()


class LongLivedHandler(RequestHandler):
    """The part of `station.handlers.BaseHandler` that notices when a request becomes a `Connection`."""

    _watchers: tuple[tuple[Callable[..., object], tuple[object, ...]], ...] = ()
    _long_lived: Connection | None = None

    @property
    def streams(self) -> bool:
        """Whether this request has become a `Connection`."""
        return self._long_lived is not None

    def when_long_lived(self, watch: Callable[..., object], *arguments: object) -> None:
        """Call ``watch(connection, *arguments)`` if this request becomes a `Connection`."""
        self._watchers = (*self._watchers, (watch, arguments))

    def on_going_away(self) -> None:
        """Called while this handler streams and the process is about to stop.

        Override it to finish an answer that would not end by itself; it is cut off after a few seconds.
        """

    def flush(self, include_footers: bool = False) -> Future[None]:
        """Send what was written so far (called by Tornado as well, at the end of every answer)."""
        if self._long_lived is not None:
            if include_footers:
                self._long_lived.end()
        elif not include_footers and isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.set_close_callback(self._cut_off)
            self._begin(self.request.connection.stream)
        return super().flush(include_footers)

    def detach(self) -> IOStream:
        """Hand over the stream (called by Tornado, to make it a WebSocket's)."""
        stream = super().detach()
        # once `open` has been called: until then a WebSocket cannot be closed
        asyncio.get_running_loop().call_soon(self._begin_websocket, stream)
        return stream

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer an error; an answer that has begun is cut off, so that nobody takes it for whole."""
        if self._long_lived is None or self._finished:
            super().send_error(status_code, **kwargs)
        else:
            self._long_lived.cut()
            self.finish()

    def _begin(self, stream: IOStream) -> None:
        handler: BaseHandler = self  # type: ignore[assignment] # which nothing else derives from this
        self._long_lived = connection = Connection(handler, stream)
        handler.application.connections.add(connection)
        for watch, arguments in self._watchers:
            watch(connection, *arguments)

    def _begin_websocket(self, stream: IOStream) -> None:
        if not stream.closed():
            self._begin(stream)
            assert self._long_lived is not None  # noqa: S101 - it has just begun
            # not by on_connection_close: a handler that overrides it may not call ours
            stream.set_close_callback(self._long_lived.end)

    def _cut_off(self) -> None:
        if self._long_lived is not None:
            self._long_lived.end()
        self.on_connection_close()


def _drop(_message: str | bytes) -> None:
    """Do nothing with a message of a client that may not send any."""
