from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketHandler, websocket_connect

from station import hookimpl
from station.app import Application, make_app
from station.config import Config
from station.handlers import BaseHandler, Route, route
from station.metrics.requests import RequestCounts
from station.resources import Resources
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from tests.conftest import Wire

KEY = "an-admin-key-for-the-tests-only-0123456789"


@public
class NotesHandler(BaseHandler):
    """Answers under two routes."""

    def get(self, note: str = "") -> None:
        self.set_status(404 if note == "none" else 200)
        if note == "future":
            self.request._start_time += 3600

    def post(self) -> None:
        raise LookupError("a failure")


@public
class StreamHandler(BaseHandler):
    async def get(self) -> None:
        await self.flush()
        await asyncio.sleep(0.02)


@public
class EchoHandler(BaseHandler, WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)


class NotesPlugin:
    __name__ = "notes"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [
            route(r"/notes", NotesHandler),
            route(r"/notes/([a-z]{1,9})/parts/((?:\(|[0-9]|\d)+)", NotesHandler),
            route(r"/note\.d/([a-z]+)", NotesHandler),
            route(r"/stream", StreamHandler),
            route(r"/echo", EchoHandler),
        ]


@pytest.fixture
def app(io_loop: IOLoop) -> Iterator[Application]:
    jwt_secret = "a-signing-secret-for-the-tests-only-0123456789"
    config = Config(env="test", plugins=(), jwt_secret=jwt_secret, internal_api_key=KEY)
    resources = Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())
    application = make_app(config, resources, [NotesPlugin()])
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


def counts(app: Application) -> dict[tuple[str, str, str], int]:
    return dict(app.requests.counts())


@pytest.mark.gen_test
async def test_requests_are_counted_by_route_method_and_status(wire: Wire, app: Application) -> None:
    for path in ("/notes", "/notes", "/note.d/a", "/note.d/b", "/note.d/none"):
        await wire.fetch("GET", path)
    await wire.fetch("POST", "/notes", body="")
    await wire.fetch("PUT", "/notes", body="")
    assert counts(app) == {
        ("/notes", "GET", "200"): 2,
        ("/note.d/{}", "GET", "200"): 2,
        ("/note.d/{}", "GET", "404"): 1,
        ("/notes", "POST", "500"): 1,
        ("/notes", "PUT", "405"): 1,
    }
    durations = app.requests.durations()
    assert {key: histogram.count for key, histogram in durations.items()} == {
        ("/notes", "GET"): 2,
        ("/note.d/{}", "GET"): 3,
        ("/notes", "POST"): 1,
        ("/notes", "PUT"): 1,
    }
    assert 0 < durations["/notes", "GET"].total < 10


@pytest.mark.gen_test
async def test_whatever_clients_send_there_are_no_more_series(wire: Wire, app: Application) -> None:
    for number in range(30):
        await wire.fetch("GET", f"/nothing/{number}")
        await wire.fetch("GET", f"/note.d/{'abc'[number % 3] * number or 'x'}")
        await wire.fetch(f"METHOD{number}", "/stream", body="")
    assert counts(app) == {
        ("unmatched", "GET", "404"): 30,
        ("/note.d/{}", "GET", "200"): 30,
        ("/stream", "other", "405"): 30,
    }
    assert len(app.requests._known) == 1


@pytest.mark.gen_test
async def test_streams_are_counted_and_not_timed(wire: Wire, app: Application) -> None:
    await wire.fetch("GET", "/stream")
    assert counts(app) == {("/stream", "GET", "200"): 1}
    assert app.requests.durations()["/stream", "GET"].count == 0


@pytest.mark.gen_test
async def test_an_open_websocket_is_a_long_lived_connection(
    wire: Wire, app: Application, http_client: AsyncHTTPClient
) -> None:
    url = wire.base_url.replace("http:", "ws:") + "/echo"
    socket = await websocket_connect(HTTPRequest(url))
    await socket.write_message("hello")
    assert await socket.read_message() == "hello"
    assert counts(app) == {("/echo", "GET", "101"): 1}
    text = (await app.metrics.exposition(""))[0].decode()
    assert 'station_long_lived_connections{worker="0"} 1.0' in text
    socket.close()
    assert await socket.read_message() is None


@pytest.mark.gen_test
async def test_a_clock_that_is_set_back_takes_nothing_from_the_sum(wire: Wire, app: Application) -> None:
    await wire.fetch("GET", "/note.d/a")
    before = app.requests.durations()["/note.d/{}", "GET"].total
    await wire.fetch("GET", "/note.d/future")
    after = app.requests.durations()["/note.d/{}", "GET"]
    assert (after.total, after.count) == (before, 2)


@pytest.mark.parametrize(
    ("pattern", "path", "label"),
    [
        (r"/auth/token", "/auth/token", "/auth/token"),
        (r"/openapi\.json", "/openapi.json", "/openapi.json"),
        (r"/clients/([a-z0-9-]{1,128})/secrets/([^/()]+)", "/clients/a/secrets/b", "/clients/{}/secrets/{}"),
        (r"/\.well-known/x(/.*|)", "/.well-known/x", "/.well-known/x{}"),
        (r"/a/((?:b(c)|\(d)+)/e", "/a/bc(d/e", "/a/{}/e"),
        (r"/static/(?P<path>.*)", "/static/a/b", "/static/{}"),
        (r"/sets/([]()]+)/[^]]x", "/sets/)/ax", "/sets/{}/[^]]x"),
    ],
)
def test_a_route_is_its_pattern_without_what_varies(pattern: str, path: str, label: str) -> None:
    assert RequestCounts([route(pattern, NotesHandler)]).route(NotesHandler, path) == label
