"""What all tests share: the embedded engines, one application a test, and a small HTTP client.

HTTP tests use pytest-tornado: a test that asks for ``wire`` speaks real HTTP to an application on the
embedded engines, with a MongoDB database of its own and an emptied Redis.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import pymongo
import pytest
import redis
from exchange import own_words, secrets_of
from hypothesis import settings
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from plugins.oauth_m2m import ClientHandler, client_authenticated, scopes
from plugins.oauth_m2m.config import OAuthM2MConfig
from station import hookimpl
from station.app import Application, make_app
from station.config import Config
from station.embedded import Endpoints, embedded_engines
from station.handlers import Route, route
from station.resources import Resources, open_resources

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import ModuleType

    from leaks import Leaks
    from tornado.ioloop import IOLoop

pytest_plugins = ["leaks"]  # tests/security/leaks.py

# pytest-tornado would make asyncio create a loop of its own that nobody closes
asyncio.set_event_loop(None)

settings.register_profile("station", deadline=None)
settings.load_profile("station")

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"


def load_file(file: Path) -> ModuleType:
    """The module that a file makes which no package holds, such as an example."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let ``-m 'row(id="C7")'`` find ``@pytest.mark.row("C7")``: -m compares keyword arguments only."""
    for item in items:
        for mark in list(item.iter_markers("row")):
            for row in mark.args:
                item.add_marker(pytest.mark.row(id=row))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail in CI, which has everything installed, what is skipped elsewhere."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The embedded engines, once for all tests."""
    started, stop = threading.Event(), threading.Event()
    found: list[Endpoints] = []

    async def run() -> None:
        async with embedded_engines(tmp_path_factory.mktemp("engines")) as endpoints:
            found.append(endpoints)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20), "the embedded engines did not start"
        yield found[0]
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def m2m_settings() -> OAuthM2MConfig:
    """The plugin's settings; override to test others."""
    return OAuthM2MConfig(bcrypt_cost=4)


@pytest.fixture
def config(engines: Endpoints, m2m_settings: OAuthM2MConfig, tmp_path: Path) -> Config:
    """A configuration with a database of its own and throttles that tests do not reach."""
    return Config(
        env="test",
        data_dir=tmp_path,
        mongodb_uri=engines.mongodb_uri,
        mongodb_database=f"test_{uuid.uuid4().hex}",
        redis_url=engines.redis_url,
        jwt_secret=JWT_SECRET,
        internal_api_key=ADMIN_KEY,
        auth_bcrypt_cost=4,
        token_throttle_limit=100_000,
        failure_throttle_limit=100_000,
        sections={"oauth_m2m": m2m_settings},
    )


@pytest.fixture
def engine_resources(io_loop: IOLoop, config: Config) -> Iterator[Resources]:
    """The stores of ``config`` on the embedded engines; both are emptied in the end."""
    opened = open_resources(config)
    resources = io_loop.run_sync(opened.__aenter__)
    yield resources

    async def close() -> None:
        await resources.database.client.drop_database(config.mongodb_database)
        await resources.redis.flushdb()
        await opened.__aexit__(None, None, None)

    io_loop.run_sync(close)


class ProbeHandler(ClientHandler):
    """A protected endpoint of the tests' own: GET needs bot:api, POST needs bot:write."""

    @client_authenticated
    @scopes("bot:api")
    async def get(self) -> None:
        """Say who calls."""
        self.write_json({"client_id": self.client_token.client_id})

    @scopes("bot:write")
    def post(self) -> None:
        """Say who calls."""
        self.write_json({"client_id": self.client_token.client_id})


class ProbePlugin:
    """A plugin object with the probe."""

    __name__ = "probe"

    @hookimpl
    def station_handlers(self) -> list[Route]:
        """One route."""
        return [route(r"/probe", ProbeHandler)]


@pytest.fixture
def plugins() -> list[object]:
    """Plugins of the tests' own; override to add some."""
    return [ProbePlugin()]


@pytest.fixture
def app(
    io_loop: IOLoop, config: Config, plugins: list[object], engines: Endpoints, leaks: Leaks
) -> Iterator[Application]:
    """A running application (pytest-tornado serves it); its database is dropped in the end."""
    leaks.keep(config.jwt_secret, config.jwt_secret_previous)
    leaks.keep(config.internal_api_key, config.internal_api_key_previous)
    application = make_app(config, plugins=plugins)
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))
    assert config.mongodb_uri is not None
    with pymongo.MongoClient[dict[str, Any]](config.mongodb_uri) as mongodb:
        for event in mongodb[config.mongodb_database]["audit_events"].find():
            leaks.write("the audit", str(event))
        mongodb.drop_database(config.mongodb_database)
    with redis.Redis.from_url(engines.redis_url) as client:
        client.flushdb()


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """Speaks HTTP to the application under test."""

    def __init__(self, http_client: AsyncHTTPClient, base_url: str, leaks: Leaks) -> None:
        self.base_url = base_url
        self._http = http_client
        self._leaks = leaks

    def at(self, base_url: str) -> Wire:
        """The same for another application."""
        return Wire(self._http, base_url, self._leaks)

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | HTTPHeaders | None = None,
        body: bytes | str | None = None,
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        document: object = None,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
    ) -> Answer:
        """Send one request; ``form`` and ``document`` (JSON) set body and content type."""
        sent = HTTPHeaders(headers or {})
        if form is not None:
            body = urlencode(form)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if document is not None:
            body = json.dumps(document)
            sent.setdefault("Content-Type", "application/json")
        if basic is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        request = HTTPRequest(
            self.base_url + path,
            method,
            sent,
            body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            request_timeout=30,
        )
        response: HTTPResponse = await self._http.fetch(request, raise_error=False)
        assert response.code != 599, f"no answer: {response.error}"
        self._leaks.keep(*secrets_of(request, response))
        if response.code >= 400:
            self._leaks.answer(f"{method} {path.partition('?')[0]}", response.body, own_words(request))
        return Answer(response.code, response.headers, response.body)

    async def admin(self, method: str, path: str, document: object = None, **more: Any) -> Answer:
        """Send a request with the admin key."""
        headers = {"x-internal-api-key": ADMIN_KEY, **more.pop("headers", {})}
        return await self.fetch(method, path, document=document, headers=headers, **more)

    async def register(self, client_id: str = "station-bot", **fields: object) -> tuple[str, str]:
        """Register a client with `SECRET` and the scope bot:api unless told; returns id and secret."""
        document = {"clientId": client_id, "clientSecret": SECRET, "scopes": ["bot:api"], **fields}
        answer = await self.admin("POST", "/oauth-clients", document)
        assert answer.status == 201, answer.body
        return client_id, str(document["clientSecret"])

    async def token(self, basic: tuple[str, str], **parameters: str) -> Answer:
        """Ask for a token with HTTP Basic."""
        form = {"grant_type": "client_credentials", **parameters}
        return await self.fetch("POST", "/auth/token", form=form, basic=basic)

    async def access_token(self, basic: tuple[str, str] | None = None, **parameters: str) -> str:
        """An access token, of a client that is registered first unless its credentials are given."""
        answer = await self.token(basic or await self.register(), **parameters)
        assert answer.status == 200, answer.body
        return str(answer.json["access_token"])


@pytest.fixture
def wire(
    app: Application, http_client: AsyncHTTPClient, base_url: str, http_server: object, leaks: Leaks
) -> Wire:
    """Real HTTP to the application on the embedded engines."""
    return Wire(http_client, base_url, leaks)


@dataclasses.dataclass(frozen=True)
class Server:
    """A ``station serve`` that runs as a process of its own; ``log`` is what it writes to standard error."""

    url: str
    admin_key: str
    data_dir: Path
    log: Path
    pid: int


class Serve(Protocol):
    """Run ``station serve`` in a directory, with the plugins oauth_m2m and demo and these settings."""

    def __call__(self, data_dir: Path, **settings: str) -> contextlib.AbstractContextManager[Server]: ...


@pytest.fixture(scope="session")
def serve(leaks: Leaks) -> Serve:
    """See `Serve`."""

    @contextlib.contextmanager
    def serving(data_dir: Path, **settings: str) -> Iterator[Server]:
        log = data_dir / "stderr.log"
        environ = {
            "PATH": os.environ["PATH"],
            "STATION_DATA_DIR": str(data_dir),
            "STATION_PLUGINS": "oauth_m2m,demo",
            "PORT": "0",
            "INTERNAL_API_KEY": ADMIN_KEY,
            "AUTH_BCRYPT_COST": "4",
            "OAUTH_M2M_BCRYPT_COST": "4",
            **settings,
        }
        command = [sys.executable, "-m", "station", "serve"]
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                command, env=environ, cwd=data_dir, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            assert process.stdout is not None
            too_late = threading.Timer(30, process.kill)
            too_late.start()
            try:
                found = (re.search(r"Station listens on (\S+)", line) for line in process.stdout)
                url = next((match[1] for match in found if match), None)
                too_late.cancel()
                assert url, log.read_text()
                yield Server(url, ADMIN_KEY, data_dir, log, process.pid)
            finally:
                process.terminate()
                process.wait()
                leaks.keep(ADMIN_KEY, *(file.read_text().strip() for file in data_dir.glob("*.secret")))
                leaks.write(f"the log of the server in {data_dir.name}", log.read_text(errors="replace"))

    return serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> Iterator[Server]:
    """A whole Station on embedded engines, with the plugins oauth_m2m and demo and without throttles."""
    no_throttles = {"AUTH_TOKEN_THROTTLE_LIMIT": "0", "AUTH_FAILURE_THROTTLE_LIMIT": "0"}
    with serve(tmp_path_factory.mktemp("server"), **no_throttles) as running:
        yield running


@pytest.fixture(scope="session")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Node.js scripts of examples/clients and what npm fetches for them."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is missing: apt-get install nodejs npm")
    directory = tmp_path_factory.mktemp("node")
    for file in (Path(__file__).parents[1] / "examples" / "clients").iterdir():
        if file.suffix in {".json", ".mjs"}:
            shutil.copy(file, directory)
    environ = os.environ | {"npm_config_cache": str(directory / "cache")}
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return directory
