from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from station import hookimpl
from station.app import make_app
from station.auth.passwords import PasswordService
from station.auth.service import AuthService
from station.auth.stores import SessionStore, UserStore
from station.auth.tokens import SessionTokens
from station.config import Config
from station.migrations import Migrator
from station.passwords import PasswordHasher, Verified
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence
    from http.cookies import Morsel

    from tornado.httpclient import AsyncHTTPClient, HTTPResponse
    from tornado.ioloop import IOLoop

    from station.app import Application
    from station.audit import Event, Sink
    from station.messages import Deliver, Message


Fetch = Callable[..., "Awaitable[HTTPResponse]"]


class Browser:
    """Keeps cookies and sends them back by their paths; ``fetch`` speaks HTTP."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.jar: dict[str, str] = {}
        self.paths: dict[str, str] = {}

    async def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> HTTPResponse:
        sent = [f"{name}={value}" for name, value in self.jar.items() if path.startswith(self.paths[name])]
        cookies = {"Cookie": "; ".join(sent)} if sent else {}
        response = await self._fetch(method, path, headers=cookies | (headers or {}), **options)
        for name, morsel in self.cookies_of(response).items():
            if morsel.value:
                self.jar[name], self.paths[name] = morsel.value, morsel["path"]
            else:
                self.jar.pop(name, None)
        return response

    async def post(self, path: str, document: object = None) -> HTTPResponse:
        options: dict[str, Any] = {} if document is None else {"json": document}
        return await self.send("POST", path, **options)

    async def me(self) -> int:
        return (await self.send("GET", "/auth/me")).code

    @staticmethod
    def cookies_of(response: HTTPResponse) -> dict[str, Morsel[str]]:
        cookies: SimpleCookie = SimpleCookie()
        for header in response.headers.get_list("Set-Cookie"):
            cookies.load(header)
        return dict(cookies)


class CountingHasher(PasswordHasher):
    """Keeps what it was asked to verify: candidates, and how many hashes."""

    def __init__(self, cost: int = 4) -> None:
        super().__init__(cost, workers=1)
        self.asked: list[tuple[list[bytes], int]] = []

    async def verify(
        self, candidates: Sequence[bytes], hashes: Sequence[str], **more: Any
    ) -> Verified | None:
        self.asked.append((list(candidates), len(hashes)))
        return await super().verify(candidates, hashes, **more)


@pytest.fixture
def settings() -> dict[str, Any]:
    """The settings that differ from those below; tests parametrize it."""
    return {}


@pytest.fixture
def config(settings: dict[str, Any]) -> Config:
    defaults: dict[str, Any] = {
        "env": "test",
        "plugins": (),
        "jwt_secret": "the secret of the tests, 32 bytes and more",
        "issuer": "https://station.example",
        "auth_bcrypt_cost": 4,
        "login_throttle_limit": 0,
        "register_throttle_limit": 0,
    }
    return Config(**(defaults | settings))


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def redis(redis_server: FakeServer) -> FakeAsyncRedis:
    return FakeAsyncRedis(server=redis_server)


@pytest.fixture
def resources(redis: FakeAsyncRedis) -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], redis)


@pytest.fixture
def plugins() -> list[object]:
    """Plugins on besides the core's; modules with handlers of their own define it anew."""
    return []


@pytest.fixture
def app(
    io_loop: IOLoop, config: Config, resources: Resources, plugins: list[object]
) -> Iterator[Application]:
    app = make_app(config, resources, plugins)
    io_loop.run_sync(Migrator(resources.database, app.plugins.call("station_migrations")).up)
    lifespan = app.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield app
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


@pytest.fixture
def auth(app: Application) -> AuthService:
    service: AuthService = app.settings["auth"]
    return service


@pytest.fixture
def fetch_from(http_client: AsyncHTTPClient) -> Callable[[str], Fetch]:
    """A way to send requests to what listens at a URL."""

    def make(url: str) -> Fetch:
        async def fetch(method: str, path: str, **options: Any) -> HTTPResponse:
            headers = options.pop("headers", {})
            if "json" in options:
                headers = {"Content-Type": "application/json"} | headers
                options["body"] = json.dumps(options.pop("json"))
            if method == "POST":
                options.setdefault("body", "")
            return await http_client.fetch(
                url + path, method=method, headers=headers, raise_error=False, **options
            )

        return fetch

    return make


@pytest.fixture
def fetch(app: Application, fetch_from: Callable[[str], Fetch], base_url: str) -> Fetch:
    """Send a request and return the answer, whatever its status; ``json`` becomes the body."""
    return fetch_from(base_url)


@pytest.fixture
def browser(fetch: Fetch) -> Browser:
    return Browser(fetch)


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    hasher = CountingHasher()
    yield hasher
    hasher.close()


class MakeService(Protocol):
    """Make the services over the stores of an application, with a hasher or sessions of the test's."""

    def __call__(
        self, app: Application, hasher: PasswordHasher, sessions: SessionStore | None = None
    ) -> AuthService: ...


@pytest.fixture
def make_service(config: Config) -> MakeService:
    """See `MakeService`."""

    def make(app: Application, hasher: PasswordHasher, sessions: SessionStore | None = None) -> AuthService:
        shared: dict[str, Any] = {
            "users": UserStore(app.resources),
            "sessions": sessions or SessionStore(app.resources),
            "tokens": SessionTokens(
                jwt_secrets=[config.jwt_secret], issuer=config.issuer, audience=config.audience
            ),
            "hasher": hasher,
            "throttle": app.throttle,
            "audit": app.audit,
        }
        passwords = PasswordService(config, messages=app.messages, **shared)
        return AuthService(config, passwords=passwords, **shared)

    return make


@pytest.fixture
def service(app: Application, hasher: CountingHasher, make_service: MakeService) -> AuthService:
    return make_service(app, hasher)


class Outbox:
    """A plugin object that keeps messages instead of delivering them, and the events of the audit."""

    __name__ = "outbox"

    def __init__(self) -> None:
        self.delivers = True
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._events: list[Event] = []
        self._more = asyncio.Condition()

    @hookimpl
    def station_messages(self) -> Deliver | None:
        return self._deliver if self.delivers else None

    @hookimpl
    def station_audit_sinks(self) -> list[Sink]:
        return [self._record]

    async def message(self) -> Message:
        """The next message."""
        return await asyncio.wait_for(self._messages.get(), 10)

    def empty(self) -> bool:
        return self._messages.empty()

    async def event(self, action: str) -> Event:
        """The first event of an action that was not asked for yet."""

        async def find() -> Event:
            async with self._more:
                while not (found := [event for event in self._events if event.action == action]):
                    await self._more.wait()
            self._events.remove(found[0])
            return found[0]

        return await asyncio.wait_for(find(), 10)

    async def _deliver(self, message: Message) -> None:
        self._messages.put_nowait(message)
        await self.open.wait()
        if self.fault:
            raise self.fault

    async def _record(self, events: Sequence[Event]) -> None:
        async with self._more:
            self._events += events
            self._more.notify_all()


@pytest.fixture
def outbox() -> Outbox:
    """A plugin for ``plugins``."""
    return Outbox()
