from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient

from station.app import make_app
from station.config import Config
from station.migrations import Migrator
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tornado.httpclient import AsyncHTTPClient, HTTPResponse
    from tornado.ioloop import IOLoop

    from station.app import Application
    from station.auth.service import AuthService


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
def fetch(
    app: Application, http_client: AsyncHTTPClient, base_url: str
) -> Callable[..., Awaitable[HTTPResponse]]:
    """Send a request and return the answer, whatever its status; ``json`` becomes the body."""

    async def fetch(method: str, path: str, **options: Any) -> HTTPResponse:
        headers = options.pop("headers", {})
        if "json" in options:
            headers = {"Content-Type": "application/json"} | headers
            options["body"] = json.dumps(options.pop("json"))
        if method == "POST":
            options.setdefault("body", "")
        return await http_client.fetch(
            base_url + path, method=method, headers=headers, raise_error=False, **options
        )

    return fetch
