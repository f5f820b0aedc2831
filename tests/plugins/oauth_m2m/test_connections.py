"""WebSockets and streams end when the token that opened them would be refused, on every node."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import jwt
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

from plugins.oauth_m2m import ClientToken, client_authenticated, scopes
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of
from station import hookimpl
from station.app import Application, make_app
from station.handlers import BaseHandler, Route, route
from station.security import public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tornado.httpclient import HTTPResponse
    from tornado.ioloop import IOLoop

    from station.config import Config
    from tests.conftest import Wire

BOT = "/oauth-clients/station-bot"
SCOPES = ["bot:api", "bot:write"]
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
DEADLINE = 1.0  # seconds from the answer of a revocation: what the requirement says


class Feed:
    """What the WebSockets of a test do: a message is answered with the token's scopes."""

    client_token: ClientToken
    seen: ClassVar[list[str | bytes]] = []
    closed: ClassVar[asyncio.Queue[Any]]

    def open(self) -> None:
        self.write_message("open")  # type: ignore[attr-defined] # of a WebSocketHandler

    def on_message(self, message: str | bytes) -> None:
        self.seen.append(message)
        self.write_message(" ".join(sorted(self.client_token.scopes)))  # type: ignore[attr-defined] # the same

    def on_close(self) -> None:
        self.closed.put_nowait(self)


@client_authenticated
@scopes("bot:api")
class FeedHandler(Feed, BaseHandler, WebSocketHandler):
    """A WebSocket."""


@scopes("bot:api")
class OtherFeedHandler(Feed, WebSocketHandler, BaseHandler):
    """Its bases the other way round, whose on_connection_close does not call that of BaseHandler."""


@public
class PublicFeedHandler(Feed, WebSocketHandler, BaseHandler):
    """One for everybody."""


@scopes("bot:api")
class StreamHandler(BaseHandler):
    """Streams until somebody ends it."""

    left: ClassVar[asyncio.Queue[str]]
    begins: ClassVar[asyncio.Event]
    gone: ClassVar[asyncio.Event]
    kept: ClassVar[list[int]]

    async def get(self) -> None:
        """Stream ticks, once it may; with ?ticks=N so many, and with ?silent until the client leaves."""
        await self.begins.wait()
        remaining = int(self.get_query_argument("ticks", "1000000"))
        try:
            while remaining:
                self.write("tick\n")
                await self.flush()
                remaining -= 1
                await asyncio.sleep(0.005)
        except StreamClosedError:
            self.left.put_nowait("flush")
            raise
        if self.get_query_argument("silent", ""):
            await self.gone.wait()
        if self.get_query_argument("fail", ""):
            raise ValueError("in the middle")

    def on_connection_close(self) -> None:
        """Without super, as everybody writes it."""
        self.kept.append(len(self.application.connections))
        self.gone.set()
        self.left.put_nowait("closed")


@public
class PublicStreamHandler(StreamHandler):
    """One for everybody."""


class FeedPlugin:
    """A plugin object with all of them."""

    __name__ = "feed"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        """Their routes."""
        routes: dict[str, type[BaseHandler]] = {
            "/feed": FeedHandler,
            "/other-feed": OtherFeedHandler,
            "/public-feed": PublicFeedHandler,
            "/stream": StreamHandler,
            "/public-stream": PublicStreamHandler,
        }
        return [route(path, handler) for path, handler in routes.items()]


@pytest.fixture
def plugins() -> list[object]:
    Feed.seen, Feed.closed = [], asyncio.Queue()
    StreamHandler.left, StreamHandler.begins = asyncio.Queue(), asyncio.Event()
    StreamHandler.gone, StreamHandler.kept = asyncio.Event(), []
    StreamHandler.begins.set()
    return [FeedPlugin()]


opened: list[Socket | asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
def closes_what_it_opens(io_loop: IOLoop) -> Iterator[None]:
    """Close both ends of all connections of a test, while its loop runs."""
    yield
    for each in opened:
        io_loop.add_callback(each.close)
    opened.clear()
    io_loop.run_sync(partial(asyncio.sleep, 0.01))


class Socket:
    """A WebSocket that is open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, wire: Wire, token: str, path: str = "/feed") -> Socket:
        url = wire.base_url.replace("http", "ws", 1) + path
        request = HTTPRequest(url, headers={"Authorization": f"Bearer {token}"})
        socket = cls(await websocket_connect(request))
        opened.append(socket)
        assert await socket._connection.read_message() == "open"
        return socket

    async def scopes(self) -> str:
        """Send a message, and return the answer."""
        await self._connection.write_message("scopes?")
        answer = await asyncio.wait_for(self._connection.read_message(), 10)
        assert answer is not None, "it is closed"
        return str(answer)

    async def is_open(self) -> bool:
        return bool(await self.scopes())

    async def closing(self) -> tuple[int | None, str | None]:
        """With which code and reason it is closed."""
        assert await self._connection.read_message() is None
        return self._connection.close_code, self._connection.close_reason

    def close(self) -> None:
        self._connection.close()


class Stream:
    """An answer that is streamed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.close = writer.close

    @classmethod
    async def connect(cls, wire: Wire, token: str, path: str = "/stream") -> Stream:
        to = urlsplit(wire.base_url)
        reader, writer = await asyncio.open_connection(to.hostname, to.port)
        opened.append(writer)
        head = f"GET {path} HTTP/1.1\r\nHost: {to.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        return cls(reader, writer)

    async def is_open(self) -> bool:
        return await self._reader.readuntil(b"tick\n") != b""

    async def whole(self) -> None:
        """Wait for the last chunk (RFC 9112 7.1)."""
        await asyncio.wait_for(self._reader.readuntil(b"\r\n0\r\n\r\n"), 10)

    async def rest(self) -> bytes:
        """What comes until it is over."""
        with contextlib.suppress(ConnectionResetError):
            return await self._reader.read()
        return b""


@contextlib.asynccontextmanager
async def node(wire: Wire, config: Config, **changes: Any) -> AsyncIterator[tuple[Application, Wire]]:
    """Another node on the same stores, with these settings changed."""
    other = make_app(dataclasses.replace(config, **changes), plugins=[FeedPlugin()])
    async with other.lifespan():
        server = other.listen(0, "127.0.0.1")
        [listening] = server._sockets.values()
        try:
            yield other, wire.at(f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.stop()
            other.connections.go_away()
            await server.close_all_connections()


async def settled(*apps: Application) -> None:
    """Wait until new connections have been verified a second time, shortly after they began."""
    for app in apps:
        kept = services_of(app).connections
        async with asyncio.timeout(10):
            while kept._new or kept._concerned:  # noqa: ASYNC110 - of this nobody is told
                await asyncio.sleep(0.01)


async def revoke(wire: Wire, token: str, credentials: tuple[str, str]) -> None:
    answer = await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=credentials)
    assert answer.status == 200


async def revoke_as_admin(wire: Wire, token: str, _credentials: tuple[str, str]) -> None:
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    assert (await wire.admin("DELETE", f"{BOT}/tokens/{jti}")).status in {200, 204}


def admin(method: str, path: str, document: object = None) -> Callable[..., Awaitable[None]]:
    async def call(wire: Wire, _token: str, _credentials: tuple[str, str]) -> None:
        assert (await wire.admin(method, path, document)).status in {200, 204}

    return call


CAUSES = {
    "its revocation": (revoke, "invalid_token", "revoked"),
    "its revocation by an admin": (revoke_as_admin, "invalid_token", "revoked"),
    "the revocation of all": (admin("DELETE", f"{BOT}/tokens"), "invalid_token", "generation"),
    "a disabled client": (admin("PATCH", BOT, {"isActive": False}), "invalid_token", "inactive"),
    "a deleted client": (admin("DELETE", BOT), "invalid_token", "unknown"),
    "a lost scope": (admin("PATCH", BOT, {"scopes": ["bot:write"]}), "insufficient_scope", "scope"),
}


@pytest.mark.parametrize(("cause", "error", "reason"), CAUSES.values(), ids=CAUSES)
@pytest.mark.gen_test(timeout=30)
async def test_what_ends_a_token_closes_its_connections_on_every_node(
    wire: Wire, app: Application, config: Config, cause: Any, error: str, reason: str
) -> None:
    credentials = await wire.register(scopes=SCOPES)
    token = await wire.access_token(credentials)
    others = [await wire.access_token(await wire.register("another-bot"))]
    if cause in {revoke, revoke_as_admin}:
        others.append(await wire.access_token(credentials))
    async with node(wire, config) as (other_app, elsewhere):
        sockets = [await Socket.connect(each, token) for each in (wire, elsewhere)]
        streams = [await Stream.connect(each, token) for each in (wire, elsewhere)]
        live: list[Socket | Stream] = []
        for other in others:
            for each in (wire, elsewhere):
                live += [await Socket.connect(each, other), await Stream.connect(each, other)]
        await settled(app, other_app)
        await cause(wire, token, credentials)
        async with asyncio.timeout(DEADLINE):
            closed = await asyncio.gather(*(socket.closing() for socket in sockets))
            rests = await asyncio.gather(*(stream.rest() for stream in streams))
        assert closed == [(4401, error)] * 2
        assert not any(rest.endswith(b"0\r\n\r\n") for rest in rests)  # they were not complete
        assert all([await each.is_open() for each in live])
    await app.audit.flush()
    events = app.resources.database["audit_events"].find({"action": "connection.closed"})
    recorded = [event async for event in events]
    assert {event["target"] for event in recorded} == {"GET /feed", "GET /stream"}
    for event in recorded:
        assert (event["client_id"], event["reason"]["code"]) == ("station-bot", reason)


@pytest.mark.gen_test(timeout=30)
async def test_a_scope_that_the_handler_does_not_need_may_go(wire: Wire) -> None:
    token = await wire.access_token(await wire.register(scopes=SCOPES))
    socket, stream = await Socket.connect(wire, token), await Stream.connect(wire, token)
    assert await socket.scopes() == "bot:api bot:write"
    await wire.admin("PATCH", BOT, {"scopes": ["bot:api"]})
    async with asyncio.timeout(DEADLINE):
        while await socket.scopes() != "bot:api":  # what self.client_token then says
            pass
    assert await stream.is_open()


@pytest.mark.parametrize("m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA")])
@pytest.mark.gen_test(timeout=30)
async def test_a_retired_key_closes_what_it_opened(wire: Wire, app: Application, config: Config) -> None:
    credentials = await wire.register()
    old = await wire.access_token(credentials)
    keyring = services_of(app).keyring
    await keyring.rotate(force=True)
    new = await wire.access_token(credentials)
    async with node(wire, config) as (other_app, elsewhere):
        ending = [await Socket.connect(each, old) for each in (wire, elsewhere)]
        staying = [await Socket.connect(each, new) for each in (wire, elsewhere)]
        await settled(app, other_app)
        await keyring.retire(jwt.get_unverified_header(old)["kid"])
        async with asyncio.timeout(DEADLINE):
            assert [await each.closing() for each in ending] == [(4401, "invalid_token")] * 2
        assert all([await each.is_open() for each in staying])


@pytest.mark.parametrize("m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, token_ttl=2)])
@pytest.mark.gen_test(timeout=30)
async def test_a_token_that_expires_closes_its_connections(wire: Wire) -> None:
    token = await wire.access_token(await wire.register())
    exp = jwt.decode(token, options={"verify_signature": False})["exp"]
    socket, stream = await Socket.connect(wire, token), await Stream.connect(wire, token)
    async with asyncio.timeout(exp + DEADLINE - time.time()):
        assert await socket.closing() == (4401, "invalid_token")
        assert not (await stream.rest()).endswith(b"0\r\n\r\n")
    assert time.time() >= exp


class Proxy:
    """A connection to MongoDB that can be made to hang."""

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def to(self, mongodb_uri: str) -> AsyncIterator[str]:
        """The URI to use instead of this one."""
        to = urlsplit(mongodb_uri)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(to.hostname, to.port)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            yield f"mongodb://127.0.0.1:{port}/?directConnection=true"
        finally:
            server.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while received := await reader.read(65536):
                await self.flows.wait()
                writer.write(received)
        writer.close()


@pytest.mark.gen_test(timeout=30)
async def test_who_has_not_heard_of_mongodb_for_too_long_closes_everything(
    wire: Wire, config: Config
) -> None:
    token = await wire.access_token(await wire.register())
    proxy, bound = Proxy(), 1.0
    settings = OAuthM2MConfig(bcrypt_cost=4, revocation_max_staleness_ms=int(1000 * bound))
    assert config.mongodb_uri is not None
    async with (
        proxy.to(config.mongodb_uri) as uri,
        node(wire, config, mongodb_uri=uri, sections={"oauth_m2m": settings}) as (_, cut_off),
    ):
        socket, stream = await Socket.connect(cut_off, token), await Stream.connect(cut_off, token)
        here = await Socket.connect(wire, token)
        proxy.flows.clear()
        async with asyncio.timeout(bound + DEADLINE):
            assert await socket.closing() == (4401, "temporarily_unavailable")
            assert not (await stream.rest()).endswith(b"0\r\n\r\n")
        assert (await cut_off.fetch("GET", "/stream?ticks=1", bearer=token)).status == 503
        assert await here.is_open()
        proxy.flows.set()


async def handshake(wire: Wire, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket byte by byte, after its first message."""
    to = urlsplit(wire.base_url)
    reader, writer = await asyncio.open_connection(to.hostname, to.port)
    opened.append(writer)
    lines = [
        "GET /feed HTTP/1.1",
        f"Host: {to.netloc}",
        f"Authorization: Bearer {token}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nContent-Type:" not in head
    assert await reader.readexactly(6) == b"\x81\x04open"
    return reader, writer


def masked(text: bytes) -> bytes:
    """A text message of a client."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))


@pytest.mark.gen_test(timeout=30)
async def test_who_ignores_the_close_is_not_heard_and_cut_off(wire: Wire) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    reader, writer = await handshake(wire, token)
    writer.write(masked(b"before"))
    assert await reader.readexactly(9) == b"\x81\x07bot:api"
    await revoke(wire, token, credentials)
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(4) == b"\x88\x0f\x11\x31"  # close, 4401
        assert await reader.readexactly(13) == b"invalid_token"
        for _ in range(20):
            writer.write(masked(b"after"))
            await writer.drain()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        handler = await Feed.closed.get()
    assert Feed.seen == ["before"]
    with pytest.raises(WebSocketClosedError):
        handler.write_message("too late")


@pytest.mark.parametrize(
    ("feed", "stream", "watched"),
    [("/feed", "/stream", 6), ("/other-feed", "/stream", 6), ("/public-feed", "/public-stream", 0)],
)
@pytest.mark.gen_test(timeout=30)
async def test_nothing_is_kept_of_a_connection_that_has_ended(
    wire: Wire, app: Application, feed: str, stream: str, watched: int
) -> None:
    token = await wire.access_token(await wire.register())
    kept = services_of(app).connections
    sockets = [await Socket.connect(wire, token, feed) for _ in range(3)]
    streams = [await Stream.connect(wire, token, stream) for _ in range(3)]
    for _ in range(3):
        await (await Stream.connect(wire, token, f"{stream}?ticks=3")).whole()
    assert (len(kept), len(app.connections)) == (watched, 6)
    for each in (*sockets, *streams):
        each.close()  # type: ignore[attr-defined] # both have it
    async with asyncio.timeout(10):
        for _ in sockets:
            await Feed.closed.get()
        for _ in streams:
            await StreamHandler.left.get()
        while len(kept) or len(app.connections):  # noqa: ASYNC110 - of this nobody is told
            await asyncio.sleep(0)
    assert (len(kept._by_jti), len(kept._by_document)) == (0, 0)
    assert [kept._new, kept._concerned, kept._perhaps_concerned] == [set()] * 3


@pytest.mark.gen_test(timeout=30)
async def test_a_silent_stream_is_not_kept_either(wire: Wire) -> None:
    (await Stream.connect(wire, "", "/public-stream?ticks=1&silent=yes")).close()
    assert await asyncio.wait_for(StreamHandler.left.get(), 10) == "closed"
    assert StreamHandler.kept == [0]


@pytest.mark.gen_test(timeout=30)
async def test_what_changed_before_a_stream_began_is_not_missed(wire: Wire) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    StreamHandler.begins.clear()
    connecting = asyncio.ensure_future(Stream.connect(wire, token))
    await wire.fetch("GET", "/auth/client", bearer=token)  # so that the other request has begun
    await revoke(wire, token, credentials)
    assert not connecting.done()
    StreamHandler.begins.set()
    async with asyncio.timeout(DEADLINE):
        assert not (await (await connecting).rest()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "learned"),
    [("/stream", {"flush", "closed"}), ("/stream?ticks=1&silent=yes", {"closed"})],
    ids=["one that writes", "one that waits"],
)
@pytest.mark.gen_test(timeout=30)
async def test_a_stream_learns_of_its_end(wire: Wire, path: str, learned: set[str]) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    stream = await Stream.connect(wire, token, path)
    await revoke(wire, token, credentials)
    async with asyncio.timeout(DEADLINE):
        await stream.rest()
        # one that writes meets whichever comes first, and has then ended by itself
        assert await StreamHandler.left.get() in learned


@pytest.mark.gen_test(timeout=30)
async def test_a_request_that_flushes_nothing_is_not_kept(wire: Wire, app: Application) -> None:
    token = await wire.access_token(await wire.register())
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200
    assert (len(services_of(app).connections), len(app.connections)) == (0, 0)


@pytest.mark.gen_test(timeout=30)
async def test_an_error_in_the_middle_of_a_stream_does_not_make_it_whole(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    token = await wire.access_token(await wire.register())
    stream = await Stream.connect(wire, token, "/stream?ticks=2&fail=yes")
    assert not (await asyncio.wait_for(stream.rest(), 10)).endswith(b"0\r\n\r\n")
    assert "unexpected ValueError" in caplog.text


async def refused(wire: Wire, headers: dict[str, str]) -> HTTPResponse:
    request = HTTPRequest(wire.base_url.replace("http", "ws", 1) + "/feed", headers=headers)
    with pytest.raises(HTTPClientError) as raised:
        await websocket_connect(request)
    assert raised.value.response is not None
    return raised.value.response


@pytest.mark.gen_test(timeout=30)
async def test_what_is_refused_before_the_handshake_is_refused_in_json(wire: Wire) -> None:
    token = await wire.access_token(await wire.register(scopes=SCOPES))
    poor = await wire.access_token(await wire.register("poor-bot", scopes=["bot:write"]))
    table = [({}, 401, "unauthorized"), ({"Authorization": "Bearer x"}, 401, "invalid_token")]
    table += [({"Authorization": f"Bearer {poor}"}, 403, "insufficient_scope")]
    for headers, status, code in table:
        answer = await refused(wire, headers)
        assert (answer.code, json.loads(answer.body)["error"]) == (status, code)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    foreign = await refused(wire, {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"})
    assert (foreign.code, json.loads(foreign.body)["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "bad-request"),
        ({"Upgrade": "websocket"}, 400, "bad-request"),
        (UPGRADE, 426, "upgrade-required"),
        ({**UPGRADE, "Sec-WebSocket-Version": "13"}, 400, "bad-request"),
    ],
)
@pytest.mark.gen_test(timeout=30)
async def test_what_is_no_handshake_is_refused_in_json(
    wire: Wire, headers: dict[str, str], status: int, code: str
) -> None:
    token = await wire.access_token(await wire.register())
    answer = await wire.fetch("GET", "/feed", headers=headers, bearer=token)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get("Sec-WebSocket-Version") == ("13" if status == 426 else None)


@pytest.mark.gen_test(timeout=30)
async def test_a_process_that_stops_says_so(wire: Wire, app: Application) -> None:
    token = await wire.access_token(await wire.register())
    socket, stream = await Socket.connect(wire, token), await Stream.connect(wire, token)
    app.connections.go_away()
    assert await asyncio.wait_for(socket.closing(), DEADLINE) == (1001, "going away")
    assert await stream.is_open()  # it may finish
    late = await Socket.connect(wire, token)
    assert await asyncio.wait_for(late.closing(), DEADLINE) == (1001, "going away")
