"""What the tests of tracing share: an application whose spans stay in memory (extra ``tracing``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from station.app import Application, make_app
from station.tracing.service import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leaks import Leaks
    from opentelemetry.sdk.trace import ReadableSpan
    from tornado.ioloop import IOLoop

    from station.config import Config


@pytest.fixture
def app(io_loop: IOLoop, config: Config, plugins: list[object], leaks: Leaks) -> Iterator[Application]:
    """A running application that traces; what its spans hold is searched for secrets in the end."""
    leaks.keep(config.jwt_secret, config.internal_api_key)
    application = make_app(config, plugins=plugins)
    exporter = InMemorySpanExporter()
    application.tracing = Tracing(exporter, application.requests, application.worker)
    application.settings["exporter"] = exporter
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))
    application.tracing.close()
    for span in exporter.get_finished_spans():
        leaks.write("a span", span.to_json())


@pytest.fixture
def spans(app: Application) -> Callable[[], list[ReadableSpan]]:
    """Returns the spans that have ended, and forgets them."""

    def finished() -> list[ReadableSpan]:
        assert app.tracing is not None
        app.tracing.flush()
        exporter: InMemorySpanExporter = app.settings["exporter"]
        found = list(exporter.get_finished_spans())
        exporter.clear()
        return found

    return finished
