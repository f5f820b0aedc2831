"""A port for Prometheus alone: ``/metrics`` on loopback, for whoever is on this machine.

It exists so that Prometheus needs no admin key, which opens far more than metrics. Nothing but ``GET`` and
``HEAD`` of ``/metrics`` is answered there, and nothing that is answered is a secret.
"""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.iostream import StreamClosedError

from station.http_server import Server

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

    from station.app import Application

__all__ = ["HOST", "metrics_server", "metrics_url"]

HOST = "127.0.0.1"
_PATH = "/metrics"
_log = logging.getLogger(__name__)
_METHODS = ("GET", "HEAD")


def metrics_url(port: int) -> str:
    """Where Prometheus finds them."""
    return f"http://{HOST}:{port}{_PATH}"


def metrics_server(app: Application) -> Server:
    """A server for the metrics of ``app``, and for nothing else; it does not listen yet."""
    answers: set[asyncio.Task[None]] = set()

    def answer_soon(request: HTTPServerRequest) -> None:
        task = asyncio.create_task(_answer(app, request))
        answers.add(task)
        task.add_done_callback(answers.discard)

    return Server(
        answer_soon,
        idle_seconds=app.config.idle_timeout_ms / 1000,
        transfer_seconds=app.config.transfer_timeout_ms / 1000,
    )


async def _answer(app: Application, request: HTTPServerRequest) -> None:
    headers = HTTPHeaders({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
    status, body = HTTPStatus.OK, b""
    if request.path != _PATH:
        status = HTTPStatus.NOT_FOUND
    elif request.method not in _METHODS:
        status = HTTPStatus.METHOD_NOT_ALLOWED
        headers["Allow"] = ", ".join(_METHODS)
    else:
        try:
            accept = ",".join(request.headers.get_list("Accept"))
            body, headers["Content-Type"] = await app.metrics.exposition(accept)
        except Exception:
            _log.exception("the metrics could not be told")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    if status != HTTPStatus.OK:
        body, headers["Content-Type"] = _problem(status), "application/problem+json"
    headers["Content-Length"] = str(len(body))
    line = ResponseStartLine("HTTP/1.1", status.value, status.phrase)
    connection = request.connection
    assert connection is not None  # noqa: S101 - the server set it
    try:
        await connection.write_headers(line, headers, b"" if request.method == "HEAD" else body)
    except StreamClosedError:
        return
    connection.finish()


def _problem(status: HTTPStatus) -> bytes:
    """Problem details (RFC 9457)."""
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value}
    return json.dumps(problem).encode()
