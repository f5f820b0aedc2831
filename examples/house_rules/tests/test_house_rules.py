"""Each rule at work in a whole Station on real stores, with the plugin installed."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from house_rules.config import HouseRulesConfig

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.app import Application, make_app
from station.config import Config
from station.embedded import Endpoints, embedded_engines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.httpclient import AsyncHTTPClient, HTTPResponse
    from tornado.ioloop import IOLoop

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
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def app(io_loop: IOLoop, engines: Endpoints, audit_file: Path, tmp_path: Path) -> Iterator[Application]:
    """The application, which pytest-tornado serves."""
    rules = HouseRulesConfig(office="berlin", frozen_scopes=("bot:write",), audit_file=audit_file)
    config = Config(
        env="test",
        data_dir=tmp_path,
        mongodb_uri=engines.mongodb_uri,
        mongodb_database=f"test_{uuid.uuid4().hex}",
        redis_url=engines.redis_url,
        plugins=("oauth_m2m", "house_rules"),
        jwt_secret="a-signing-secret-for-the-tests-only-0123456789",
        internal_api_key=ADMIN_KEY,
        sections={"oauth_m2m": OAuthM2MConfig(bcrypt_cost=4), "house_rules": rules},
    )
    application = make_app(config)
    lifespan = application.lifespan()
    io_loop.run_sync(lifespan.__aenter__)
    yield application
    io_loop.run_sync(application.resources.redis.flushdb)
    io_loop.run_sync(lambda: lifespan.__aexit__(None, None, None))


class Bot:
    """Registers, and asks for tokens."""

    def __init__(self, http: AsyncHTTPClient, base_url: str) -> None:
        self._http = http
        self._base_url = base_url

    async def register(self) -> None:
        client = {"clientId": "bot", "clientSecret": SECRET, "scopes": ["bot:api", "bot:write"]}
        headers = {"Content-Type": "application/json", "x-internal-api-key": ADMIN_KEY}
        answer = await self._post("/oauth-clients", json.dumps(client), headers)
        assert answer.code == 201

    async def token(self, scope: str) -> HTTPResponse:
        form = {"grant_type": "client_credentials", "client_id": "bot", "client_secret": SECRET}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._post("/auth/token", urlencode({**form, "scope": scope}), headers)

    async def _post(self, path: str, body: str, headers: dict[str, str]) -> HTTPResponse:
        return await self._http.fetch(
            self._base_url + path, method="POST", body=body, headers=headers, raise_error=False
        )


@pytest.fixture
def bot(app: Application, http_client: AsyncHTTPClient, base_url: str, http_server: object) -> Bot:
    return Bot(http_client, base_url)


def events_in(file: Path) -> dict[str, dict[str, Any]]:
    """The events that were written, by action."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {event["action"]: event for event in map(json.loads, lines)}


@pytest.mark.gen_test
async def test_a_token_says_where_it_was_issued(bot: Bot) -> None:
    await bot.register()
    answer = await bot.token("bot:api")
    assert answer.code == 200
    payload = json.loads(answer.body)["access_token"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["office"] == "berlin"
    assert claims["client_id"] == "bot"


@pytest.mark.gen_test
async def test_a_frozen_scope_is_refused_and_no_token_is_recorded(bot: Bot, app: Application) -> None:
    await bot.register()
    answer = await bot.token("bot:api bot:write")
    assert answer.code == 400
    assert json.loads(answer.body) == {
        "error": "unauthorized_client",
        "error_description": "There is a freeze: no token for bot:write is issued now.",
    }
    assert [key async for key in app.resources.redis.scan_iter("client-token:*")] == []


@pytest.mark.gen_test
async def test_the_audit_is_copied_to_the_file(bot: Bot, audit_file: Path) -> None:
    await bot.register()
    await bot.token("bot:write")
    await bot.token("bot:api")
    while "token.issued" not in (found := events_in(audit_file)):  # noqa: ASYNC110 - a file says nothing by itself
        await asyncio.sleep(0.05)
    assert found["client.registered"]["client_id"] == "bot"
    assert found["token.refused"]["reason"] == "vetoed"
    assert found["token.issued"]["count"] == 1
    assert SECRET not in str(found)
