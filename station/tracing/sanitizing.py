"""What leaves this process in a span, and what does not.

The instrumentations were looked at, and none of those that Station uses writes down a header, a value or a
key. But an error's text may hold whatever a driver says, its stack trace the same, and a URL a query. Others
instrument more, and variables such as ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST`` ask for
headers. So all spans are cleaned once more on their way out, whoever made them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.util.types import AttributeValue

__all__ = ["SanitizingExporter"]

_HEADER = re.compile(r"http\.(?:request|response)\.header\.")
_URLS = frozenset({"http.url", "http.target", "url.full", "url.path"})
_LEFT_OUT = frozenset({"url.query", "exception.message", "exception.stacktrace"})
_STATEMENTS = frozenset({"db.statement", "db.query.text"})
_COMMAND = re.compile(r"[A-Za-z_.]{1,40}")


class SanitizingExporter(SpanExporter):
    """Hands spans to ``exporter`` without queries, headers, values, and the words of errors."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export clean copies."""
        return self._exporter.export([_clean(span) for span in spans])

    def shutdown(self) -> None:
        """Export nothing more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return self._exporter.force_flush(timeout_millis)


def _clean(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes or {}),
        events=[Event(one.name, _attributes(one.attributes or {}), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {
        name: _value(name, value)
        for name, value in attributes.items()
        if name not in _LEFT_OUT and not _HEADER.match(name)
    }


def _value(name: str, value: AttributeValue) -> AttributeValue:
    if name in _URLS:
        return re.split(r"[?#]", str(value), maxsplit=1)[0]
    if name in _STATEMENTS:
        # of a pipeline each line
        return "\n".join(found[0] for line in str(value).splitlines() if (found := _COMMAND.match(line)))
    return value
