from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode

from station.tracing.sanitizing import SanitizingExporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

SECRET = "a-secret-that-must-not-leave-0123456789"


@pytest.fixture
def exported() -> tuple[Tracer, Callable[[], ReadableSpan]]:
    """A tracer, and what was exported of its only span."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SanitizingExporter(kept)))

    def only() -> ReadableSpan:
        [span] = kept.get_finished_spans()
        assert SECRET not in span.to_json()
        return span

    return provider.get_tracer("tests"), only


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("http.url", f"https://a.example/b?c={SECRET}", "https://a.example/b"),
        ("http.target", f"/b?c={SECRET}", "/b"),
        ("url.full", f"https://a.example/b#{SECRET}", "https://a.example/b"),
        ("url.path", f"/b?{SECRET}", "/b"),
        ("url.query", f"c={SECRET}", None),
        ("http.request.header.authorization", [f"Bearer {SECRET}"], None),
        ("http.request.header.x_internal_api_key", [SECRET], None),
        ("http.response.header.set_cookie", [SECRET], None),
        ("db.statement", f"SET {SECRET} {SECRET}", "SET"),
        ("db.statement", f"GET ?\nSET {SECRET}\n", "GET\nSET"),
        ("db.query.text", f"find {{'hash': '{SECRET}'}}", "find"),
        ("db.statement", f"-{SECRET}", ""),
        ("exception.message", SECRET, None),
        ("http.route", "/b/{}", "/b/{}"),
        ("fleet.bots", 3, 3),
    ],
)
def test_attributes_are_cleaned(
    exported: tuple[Tracer, Callable[[], ReadableSpan]], name: str, value: object, left: object
) -> None:
    tracer, only = exported
    tracer.start_span("x", attributes={name: value}).end()  # type: ignore[dict-item] # all kinds of values
    assert (only().attributes or {}).get(name) == left


def test_of_an_error_its_type_is_left(exported: tuple[Tracer, Callable[[], ReadableSpan]]) -> None:
    tracer, only = exported
    with pytest.raises(LookupError), tracer.start_as_current_span("x"):
        raise LookupError(SECRET)
    span = only()
    [event] = span.events
    assert event.name == "exception"
    assert dict(event.attributes or {}) == {"exception.type": "LookupError", "exception.escaped": "False"}
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)


def test_the_rest_stays_as_it_is(exported: tuple[Tracer, Callable[[], ReadableSpan]]) -> None:
    tracer, only = exported
    first = tracer.start_span("never ended")
    begun = tracer.start_span("x", kind=SpanKind.SERVER, links=[Link(first.get_span_context())], start_time=1)
    begun.add_event("arrived", {"fleet.bots": 3}, timestamp=2)
    begun.end(3)
    span = only()
    assert (span.name, span.kind, span.start_time, span.end_time) == ("x", SpanKind.SERVER, 1, 3)
    assert span.get_span_context() == begun.get_span_context()
    assert [link.context for link in span.links] == [first.get_span_context()]
    [event] = span.events
    assert (event.name, event.timestamp, dict(event.attributes or {})) == ("arrived", 2, {"fleet.bots": 3})
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "tests"
    assert "service.name" in span.resource.attributes
