"""Tracing: a span for each request, and within it those of what it asks MongoDB and Redis.

OpenTelemetry's own instrumentations make the spans of MongoDB and Redis, each for one client. The one of
Tornado was tried: it takes every refusal for a failure (an error that is no `tornado.web.HTTPError` is a 500
to it, with its stack trace), believes anybody's ``traceparent``, writes down queries, and patches every
handler. So the spans of requests are made here.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.pymongo import CommandTracer
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from station import __version__, addresses
from station.errors import StartError
from station.logging import trace_id_context
from station.tracing.sampling import StartsWithRequests
from station.tracing.sanitizing import SanitizingExporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network, IPv6Network

    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span
    from redis.asyncio import Redis, RedisCluster
    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

    from station.metrics.requests import RequestCounts
    from station.workers import Worker

__all__ = ["Tracing", "exporter_from_environment"]

_NAME = "station"
_OTHER_METHOD = "_OTHER"  # as OpenTelemetry calls what is none of HTTP's
_CLOSE_SECONDS = 2.0


class Tracing:
    """Makes spans and gives them to ``exporter``, in batches by a thread of its own.

    ``requests`` knows the routes, ``worker`` is this process. ``listener`` is for clients of MongoDB.
    """

    def __init__(self, exporter: SpanExporter, requests: RequestCounts, worker: Worker) -> None:
        self._requests = requests
        self._provider = TracerProvider(resource=_resource(worker), shutdown_on_exit=False)
        self._provider.sampler = StartsWithRequests(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(SanitizingExporter(exporter)))
        self._tracer = self._provider.get_tracer(_NAME, __version__)
        self._spans: WeakKeyDictionary[RequestHandler, Span] = WeakKeyDictionary()
        mongodb = self._provider.get_tracer("opentelemetry.instrumentation.pymongo")
        self.listener = CommandTracer(mongodb)

    def serve_others(self) -> None:
        """Let ``opentelemetry.trace.get_tracer`` make spans of the same traces, for plugins."""
        trace.set_tracer_provider(self._provider)

    def instrument_redis(self, redis: Redis | RedisCluster) -> None:
        """Make spans of what this client asks."""
        RedisInstrumentor.instrument_client(redis, tracer_provider=self._provider)

    def follow(self, delegate: Any, trusted: tuple[IPv4Network | IPv6Network, ...]) -> Any:
        """Begin a span when Tornado runs the handler; ``trusted`` proxies say of which trace it is."""
        execute: Callable[[], Any] = delegate.execute

        def execute_in_a_span() -> Any:
            span = self._begin(delegate.request, delegate.handler_class, trusted)
            ours = span.get_span_context()
            trace_id = trace.format_trace_id(ours.trace_id) if ours.is_valid else ""
            before = context.attach(trace.set_span_in_context(span))
            before_it = trace_id_context.set(trace_id)
            try:
                prepared = execute()  # which makes a task that keeps this context
            finally:
                trace_id_context.reset(before_it)
                context.detach(before)
            self._spans[delegate.handler] = span
            return prepared

        delegate.execute = execute_in_a_span
        return delegate

    def end(self, handler: RequestHandler) -> None:
        """A request was answered."""
        span = self._spans.pop(handler, None)
        if span is None:
            return
        status = handler.get_status()
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        request_id = getattr(handler, "request_id", "")
        if request_id:
            span.set_attribute("station.request_id", request_id)
        span.end()

    def flush(self) -> None:
        """Export what has ended."""
        self._provider.force_flush()

    def close(self) -> None:
        """Export what is left; who is to get it may be away, and nobody waits for long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True, name="tracing")
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _begin(
        self,
        request: HTTPServerRequest,
        handler: type[RequestHandler],
        trusted: tuple[IPv4Network | IPv6Network, ...],
    ) -> Span:
        route = self._requests.route(handler, request.path)
        method = str(request.method) if request.method in handler.SUPPORTED_METHODS else _OTHER_METHOD
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "url.path": request.path[:200],
            "url.scheme": request.protocol,
        }
        # A stranger who names a trace would choose what is kept of it, and mix his requests among others'.
        remote = trace.get_current_span(extract(request.headers, context.Context())).get_span_context()
        believed = remote.is_valid and addresses.is_trusted(request.remote_ip or "", trusted)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(remote)) if believed else context.Context()
        return self._tracer.start_span(
            f"{method} {route}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            links=[Link(remote)] if remote.is_valid and not believed else [],
        )


def exporter_from_environment() -> SpanExporter:
    """The exporter that ``OTEL_TRACES_EXPORTER`` names; its own variables say the rest."""
    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name == "otlp":
        return OTLPSpanExporter()
    if name == "console":
        return ConsoleSpanExporter()
    raise StartError([f"OTEL_TRACES_EXPORTER must be otlp or console, and is {name}."])


def _resource(worker: Worker) -> Resource:
    """What all spans say of this process; ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME`` win."""
    ours: dict[str, str | int] = {
        "service.name": _NAME,
        "service.version": __version__,
        "station.worker": worker.number,
    }
    configured = Resource.create().attributes
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    theirs = {name: value for name, value in configured.items() if named or name != "service.name"}
    return Resource(ours).merge(Resource(theirs))
