"""Traces of requests by OpenTelemetry, where ``STATION_TRACING`` is on and the extra ``tracing`` there.

`station.tracing.service` makes the spans, `station.tracing.sanitizing` sees to it that no secret is in one.
Nothing of this is imported while it is off.
"""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.metrics.requests import RequestCounts
    from station.tracing.service import Tracing
    from station.workers import Worker

__all__ = ["open_tracing"]

_NEEDED = (
    "opentelemetry.sdk",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.instrumentation.pymongo",
    "opentelemetry.instrumentation.redis",
)


@contextlib.contextmanager
def open_tracing(requests: RequestCounts, worker: Worker) -> Iterator[Tracing]:
    """Trace as the variables ``OTEL_*`` say, in this process, which must not fork any more.

    Raises `StartError` where the extra is not installed, or a variable is wrong.
    """
    if not all(map(_is_installed, _NEEDED)):
        raise StartError(["STATION_TRACING is on, which needs more: pip install 'station[tracing]'."])
    try:  # OpenTelemetry reads its variables when it is imported, and later on
        from station.tracing.service import Tracing, exporter_from_environment  # noqa: PLC0415

        tracing = Tracing(exporter_from_environment(), requests, worker)
    except ValueError as error:
        raise StartError([f"OpenTelemetry refuses a variable of its own: {error}."]) from error
    tracing.serve_others()
    try:
        yield tracing
    finally:
        tracing.close()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it would be in
        return False
