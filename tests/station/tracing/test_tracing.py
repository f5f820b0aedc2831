from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from station.errors import StartError
from station.metrics.requests import RequestCounts
from station.tracing import open_tracing
from station.tracing.service import _resource, exporter_from_environment
from station.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from leaks import Leaks
    from tornado.httpclient import AsyncHTTPClient
    from tornado.ioloop import IOLoop

    from tests.conftest import Serve

SECRET = "a-client-secret-for-the-tests-0123456789"
PATIENCE = 20


def test_nothing_is_imported_while_it_is_off() -> None:
    script = """
import sys
import station.cli, station.app, plugins.oauth_m2m.plugin
from station.config import Config
station.app.make_app(Config(env="test", jwt_secret="x" * 32))
late = ("opentelemetry.sdk.trace", "opentelemetry.instrumentation", "station.tracing.s", "prometheus_client")
print([name for name in sys.modules if name.startswith(late)])
"""  # of OpenTelemetry's metrics redis-py imports some by itself
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.redis", None)
    with (
        pytest.raises(StartError, match=r"pip install 'station\[tracing\]'"),
        open_tracing(RequestCounts([]), Worker()),
    ):
        pytest.fail("it begins")


def test_an_exporter_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    assert isinstance(exporter_from_environment(), ConsoleSpanExporter)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    with pytest.raises(StartError, match="must be otlp or console, and is jaeger"):
        exporter_from_environment()


def test_a_variable_that_is_wrong_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    with (
        pytest.raises(StartError, match=r"OpenTelemetry refuses a variable of its own: .*max_queue_size"),
        open_tracing(RequestCounts([]), Worker()),
    ):
        pytest.fail("it begins")


def test_the_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _resource(Worker(2, 1)).attributes
    assert (ours["service.name"], ours["station.worker"]) == ("station", 2)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "station-eu")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=eu,service.version=7")
    theirs = _resource(Worker()).attributes
    assert theirs["service.name"] == "station-eu"
    assert (theirs["deployment.environment"], theirs["service.version"]) == ("eu", "7")
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=station-us")
    assert _resource(Worker()).attributes["service.name"] == "station-us"


class Collector:
    """What an OpenTelemetry collector gets."""

    def __init__(self) -> None:
        self.got = b""
        self.news = asyncio.Event()

    async def until(self, *parts: bytes) -> None:
        """Wait until all of them have come."""
        async with asyncio.timeout(PATIENCE):
            while not all(part in self.got for part in parts):
                self.news.clear()
                await self.news.wait()


class TracesHandler(RequestHandler):
    def initialize(self, collector: Collector) -> None:
        self.collector = collector

    def post(self) -> None:
        self.collector.got += self.request.body
        self.collector.news.set()


@pytest.fixture
def collector(io_loop: IOLoop) -> Iterator[tuple[Collector, int]]:
    found = Collector()
    socket, port = bind_unused_port()
    server = HTTPServer(Application([(r"/v1/traces", TracesHandler, {"collector": found})]))
    server.add_socket(socket)
    yield found, port
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.mark.gen_test
async def test_workers_export_to_a_collector_and_no_secret_leaves(
    collector: tuple[Collector, int], serve: Serve, tmp_path: Path, leaks: Leaks, http_client: AsyncHTTPClient
) -> None:
    got, port = collector
    settings = {
        "STATION_TRACING": "on",
        "STATION_WORKERS": "2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "authorization,cookie,x-internal-api-key",
    }
    context = serve(tmp_path, **settings)
    server = await asyncio.to_thread(context.__enter__)
    try:
        key = {"x-internal-api-key": server.admin_key, "Content-Type": "application/json"}
        document = f'{{"clientId": "bot", "clientSecret": "{SECRET}", "scopes": ["bot:api"]}}'
        registered = HTTPRequest(f"{server.url}/oauth-clients", "POST", key, document)
        assert (await http_client.fetch(registered)).code == 201
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"grant_type=client_credentials&client_id=bot&client_secret={SECRET}"
        for _ in range(8):
            asked = HTTPRequest(f"{server.url}/auth/token", "POST", {**form, "Connection": "close"}, body)
            answer = await http_client.fetch(asked)
            leaks.keep(answer.body.decode().split('"')[3])
        await got.until(b"POST /auth/token", b"EVALSHA", b"oauth_clients", b"service.name")
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    leaks.keep(SECRET, server.admin_key)
    leaks.write("what the collector got", got.got.decode(errors="replace"))
    assert SECRET.encode() not in got.got
    assert server.admin_key.encode() not in got.got
