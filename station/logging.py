"""Structured logs: one JSON object a line in production, readable lines elsewhere.

Every record carries the id of the request it was made for, and that of its trace if it is traced. The access
log holds method, path (never the query), status, duration, address and request id.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from tornado.web import RequestHandler

__all__ = ["configure_logging", "log_request", "request_id_context", "trace_id_context"]

trace_id_context: ContextVar[str] = ContextVar("trace_id", default="")
"""The trace that this code runs for; empty where nothing is traced."""

request_id_context: ContextVar[str] = ContextVar("request_id", default="-")

_access_log = logging.getLogger("station.access")


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id_context.get()
        if trace_id := trace_id_context.get():
            record.trace_id = trace_id
        return True


class _TextFormatter(logging.Formatter):
    """Lines for people: with the trace id where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        trace_id = getattr(record, "trace_id", "")
        record.of_trace = f" trace {trace_id}" if trace_id else ""
        return super().formatMessage(record)


def configure_logging(env: str, level: int = logging.INFO) -> None:
    """Send all logs to standard error, in the form that suits ``env``."""
    handler = logging.StreamHandler()
    handler.addFilter(_RequestIdFilter())
    if env == "production":
        names = {"levelname": "level", "name": "logger"}
        fields = "%(levelname)s %(name)s %(message)s %(request_id)s"
        handler.setFormatter(JsonFormatter(fields, rename_fields=names, timestamp="time"))
    else:
        form = "%(asctime)s %(levelname)-7s %(name)s [%(request_id).8s%(of_trace)s] %(message)s"
        handler.setFormatter(_TextFormatter(form, "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Below, pymongo logs whole commands, and Tornado whole headers that it cannot parse: secrets are in both.
    for name in ("pymongo", "tornado.general"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_request(handler: RequestHandler) -> None:
    """Write the access log's line for an answered request (Tornado's ``log_function``)."""
    status = handler.get_status()
    level = logging.INFO if status < 500 else logging.WARNING
    if not _access_log.isEnabledFor(level):
        return
    request = handler.request
    milliseconds = round(1000 * request.request_time(), 1)
    fields = {
        "method": request.method,
        "path": request.path,
        "status": status,
        "milliseconds": milliseconds,
        "address": getattr(handler, "client_address", request.remote_ip),
    }
    _access_log.log(
        level, "%s %s %d %.1f ms", request.method, request.path, status, milliseconds, extra=fields
    )
