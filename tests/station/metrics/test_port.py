from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tornado.testing import bind_unused_port

from station.metrics.port import metrics_server, metrics_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from station.app import Application
    from tests.conftest import Serve, Wire


def test_one_process_serves_the_port_too(serve: Serve, tmp_path: Path) -> None:
    socket, number = bind_unused_port()
    socket.close()
    with (
        serve(tmp_path, METRICS_PORT=str(number)) as server,
        urllib.request.urlopen(metrics_url(number), timeout=30) as answer,
    ):
        text = answer.read()
        assert f"metrics are on {metrics_url(number)}" in server.log.read_text()
    assert b'process_open_fds{worker="0"}' in text


@pytest.fixture
def port(io_loop: IOLoop, app: Application) -> Iterator[int]:
    """A port with the metrics of the application."""
    socket, number = bind_unused_port()
    server = metrics_server(app)
    server.add_socket(socket)
    yield number
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.mark.gen_test
async def test_the_port_tells_the_metrics_without_a_key(wire: Wire, port: int) -> None:
    here = wire.at(metrics_url(port).removesuffix("/metrics"))
    answer = await here.fetch("GET", "/metrics?name[]=up")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nstation_build_info" in answer.body
    head = await here.fetch("HEAD", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"].startswith("application/openmetrics-text")
    assert int(head.headers["Content-Length"]) > 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/health/live", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/auth/token", 404),
        ("POST", "/metrics", 405),
        ("HEAD", "/nothing", 404),
    ],
)
@pytest.mark.gen_test
async def test_the_port_tells_nothing_else(
    wire: Wire, port: int, method: str, path: str, status: int
) -> None:
    here = wire.at(metrics_url(port).removesuffix("/metrics"))
    answer = await here.fetch(method, path, body="x=y" if method == "POST" else None)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    if method != "HEAD":
        assert json.loads(answer.body)["status"] == status
    if status == 405:
        assert answer.headers["Allow"] == "GET, HEAD"
