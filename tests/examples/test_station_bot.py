from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from authlib.integrations.base_client import OAuthError

from tests.conftest import load_file

if TYPE_CHECKING:
    from types import ModuleType

    from tests.conftest import Server

FILE = Path(__file__).parents[2] / "examples" / "station_bot.py"


@pytest.fixture(scope="module")
def station_bot() -> ModuleType:
    return load_file(FILE)


def admin(server: Server, method: str, path: str, document: object) -> Any:
    headers = {"x-internal-api-key": server.admin_key}
    answer = httpx2.request(method, server.url + path, headers=headers, json=document)
    return answer.raise_for_status().json()


@pytest.fixture
def credentials(server: Server) -> tuple[str, str]:
    """The id and secret of a client that is new in each test."""
    registration = {"clientId": f"bot-{uuid.uuid4().hex}", "scopes": ["demo:read"]}
    client = admin(server, "POST", "/oauth-clients", registration)
    return client["clientId"], client["clientSecret"]


class Exchanges(list[tuple[str, int]]):
    """What the bot asked and what it was answered: ``("GET /auth/client", 200)``."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the bot's client that fill this list."""
        return {"event_hooks": {"response": [self._record]}}

    async def _record(self, response: httpx2.Response) -> None:
        request = response.request
        self.append((f"{request.method} {request.url.path}", response.status_code))


REPLACED = [("GET /auth/client", 401), ("POST /auth/token", 200), ("GET /auth/client", 200)]


@pytest.mark.gen_test
async def test_the_bot_logs_in_once_and_calls(
    station_bot: ModuleType, server: Server, credentials: tuple[str, str]
) -> None:
    exchanges = Exchanges()
    async with station_bot.StationBot(server.url, *credentials, **exchanges.options) as bot:
        for _ in range(2):
            answer = await bot.call("GET", "/auth/client")
            assert (answer.json()["client_id"], answer.json()["scopes"]) == (credentials[0], ["demo:read"])
    assert exchanges == [("POST /auth/token", 200), ("GET /auth/client", 200), ("GET /auth/client", 200)]


def test_the_bot_is_a_program(server: Server, credentials: tuple[str, str]) -> None:
    client_id, client_secret = credentials
    environ = {"STATION_CLIENT_ID": client_id, "STATION_CLIENT_SECRET": client_secret}
    command = [sys.executable, str(FILE), server.url]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["client_id"] == client_id


@pytest.mark.gen_test
async def test_a_revoked_token_is_replaced_by_one_new_token(
    station_bot: ModuleType, server: Server, credentials: tuple[str, str]
) -> None:
    exchanges = Exchanges()
    async with station_bot.StationBot(server.url, *credentials, **exchanges.options) as bot:
        token = {"token": bot.http.token["access_token"]}
        revocation = await bot.http.post("/auth/revoke", data=token, auth=credentials)
        assert revocation.status_code == 200
        exchanges.clear()
        answer = await bot.call("GET", "/auth/client")
        assert answer.json()["client_id"] == credentials[0]
        assert exchanges == REPLACED
        await bot.call("GET", "/auth/client")
        assert exchanges == [*REPLACED, ("GET /auth/client", 200)]


@pytest.mark.gen_test
async def test_a_bot_that_was_disabled_is_back_once_it_is_enabled(
    station_bot: ModuleType, server: Server, credentials: tuple[str, str]
) -> None:
    exchanges = Exchanges()
    path = f"/oauth-clients/{credentials[0]}"
    async with station_bot.StationBot(server.url, *credentials, **exchanges.options) as bot:
        admin(server, "PATCH", path, {"isActive": False})
        with pytest.raises(OAuthError, match="invalid_client"):
            await bot.call("GET", "/auth/client")
        admin(server, "PATCH", path, {"isActive": True})
        exchanges.clear()
        await bot.call("GET", "/auth/client")
    assert exchanges == REPLACED


def answer_token(expires_in: int) -> httpx2.Response:
    return httpx2.Response(200, json={"access_token": "t", "token_type": "Bearer", "expires_in": expires_in})


@pytest.mark.gen_test
async def test_a_token_is_renewed_before_it_ends(station_bot: ModuleType) -> None:
    exchanges = Exchanges()
    lifetimes = iter([30, 3600])

    def station(request: httpx2.Request) -> httpx2.Response:
        return answer_token(next(lifetimes)) if request.url.path == "/auth/token" else httpx2.Response(200)

    options = {"transport": httpx2.MockTransport(station), **exchanges.options}
    async with station_bot.StationBot("http://station", "bot", "secret", **options) as bot:
        for _ in range(2):
            assert (await bot.call("GET", "/auth/client")).status_code == 200
    assert exchanges == [*2 * [("POST /auth/token", 200)], *2 * [("GET /auth/client", 200)]]


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_station_is_asked_again_when_it_says(station_bot: ModuleType, status: int) -> None:
    asked_at = []

    def busy_once(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/auth/token":
            return answer_token(3600)
        asked_at.append(time.monotonic())
        return httpx2.Response(200 if asked_at[1:] else status, headers={"Retry-After": "1"})

    options = {"transport": httpx2.MockTransport(busy_once)}
    async with station_bot.StationBot("http://station", "bot", "secret", **options) as bot:
        answer = await bot.call("GET", "/auth/client")
    first, second = asked_at
    assert answer.status_code == 200
    assert second - first >= 1
