"""A Station with the fleet switched on, on real stores, and machines that call it over HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from fleet.config import FleetConfig
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.app import Application, make_app
from station.config import Config
from station.embedded import Endpoints, embedded_engines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.httpclient import AsyncHTTPClient, HTTPResponse
    from tornado.ioloop import IOLoop
    from tornado.websocket import WebSocketClientConnection

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The stores that `station serve` starts in development, once for all tests."""
    with asyncio.Runner() as runner:
        running = embedded_engines(tmp_path_factory.mktemp("engines"))
        yield runner.run(running.__aenter__())
        runner.run(running.__aexit__(None, None, None))


@pytest.fixture
def enabled() -> tuple[str, ...]:
    """The plugins that are on."""
    return ("oauth_m2m", "fleet")


@pytest.fixture
def app(
    io_loop: IOLoop, enabled: tuple[str, ...], engines: Endpoints, tmp_path: Path
) -> Iterator[Application]:
    """The application, which pytest-tornado serves; its fleet has two places."""
    config = Config(
        env="test",
        data_dir=tmp_path,
        mongodb_uri=engines.mongodb_uri,
        mongodb_database=f"test_{uuid.uuid4().hex}",
        redis_url=engines.redis_url,
        plugins=enabled,
        jwt_secret="a-signing-secret-for-the-tests-only-0123456789",
        internal_api_key=ADMIN_KEY,
        sections={"oauth_m2m": OAuthM2MConfig(bcrypt_cost=4), "fleet": FleetConfig(size=2)},
    )
    application = make_app(config)
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(application.resources.redis.flushdb)
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


class Machine:
    """A program that calls Station."""

    def __init__(self, http: AsyncHTTPClient, base_url: str) -> None:
        self._http = http
        self._base_url = base_url
        self._headers: dict[str, str] = {}

    async def login(self, *scopes: str) -> Machine:
        """Be registered for ``scopes`` and take a token."""
        client = {"clientId": "captain", "clientSecret": SECRET, "scopes": scopes}
        answer = await self.call("POST", "/oauth-clients", client, {"x-internal-api-key": ADMIN_KEY})
        assert answer.code == 201, answer.body
        grant = {"grant_type": "client_credentials", "client_id": "captain", "client_secret": SECRET}
        answer = await self.call("POST", "/auth/token", grant)
        assert answer.code == 200, answer.body
        self._headers = {"Authorization": "Bearer " + json.loads(answer.body)["access_token"]}
        return self

    async def open(self, path: str) -> WebSocketClientConnection:
        """Open a WebSocket, with the token."""
        url = self._base_url.replace("http", "ws", 1) + path
        return await websocket_connect(HTTPRequest(url, headers=self._headers))

    async def revoke(self) -> None:
        """Give the token back (RFC 7009)."""
        token = self._headers.pop("Authorization").removeprefix("Bearer ")
        document = {"token": token, "client_id": "captain", "client_secret": SECRET}
        assert (await self.call("POST", "/auth/revoke", document)).code == 200

    async def call(
        self, method: str, path: str, document: object = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        """Call a handler, with the token if there is one."""
        body: dict[str, Any] = {}
        sent = self._headers | (headers or {})
        if document is not None:
            body = {"body": json.dumps(document)}
            sent |= {"Content-Type": "application/json"}
        return await self._http.fetch(
            self._base_url + path, method=method, headers=sent, raise_error=False, **body
        )


@pytest.fixture
def machine(app: Application, http_client: AsyncHTTPClient, base_url: str, http_server: object) -> Machine:
    """A machine that is not logged in yet."""
    return Machine(http_client, base_url)
