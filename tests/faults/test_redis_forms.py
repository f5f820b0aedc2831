"""Every form of ``REDIS_URL`` carries the whole of Station."""

from __future__ import annotations

import asyncio
import dataclasses
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

import jwt
import pytest

if TYPE_CHECKING:
    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.faults.conftest import RedisServers

TOKENS = "/oauth-clients/station-bot/tokens"
ADA = {"email": "ada@example.com", "password": "correct horse battery"}
TOKEN_LIMIT = 12


@pytest.fixture
def config(config: Config, redis_servers: RedisServers) -> Config:
    return dataclasses.replace(
        config, redis_url=redis_servers.url, token_throttle_limit=TOKEN_LIMIT, auth_registration="open"
    )


async def jtis(wire: Wire) -> set[str]:
    answer = await wire.admin("GET", TOKENS)
    assert answer.status == 200, answer.body
    return {token["jti"] for token in answer.json["tokens"]}


def jti_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


@pytest.mark.gen_test
async def test_the_story_of_a_machine(wire: Wire) -> None:
    credentials = await wire.register()
    answers = await asyncio.gather(*[wire.token(credentials) for _ in range(TOKEN_LIMIT)])
    assert [answer.status for answer in answers] == [200] * TOKEN_LIMIT
    tokens = [str(answer.json["access_token"]) for answer in answers]
    assert await jtis(wire) == {jti_of(token) for token in tokens}
    assert {(await wire.fetch("GET", "/probe", bearer=token)).status for token in tokens} == {200}

    one, *others = tokens
    assert (await wire.admin("DELETE", f"{TOKENS}/{jti_of(one)}")).status == 200
    assert (await wire.fetch("GET", "/probe", bearer=one)).status == 401
    assert await jtis(wire) == {jti_of(token) for token in others}
    another = others.pop()
    assert (
        await wire.fetch("POST", "/auth/revoke", form={"token": another}, basic=credentials)
    ).status == 200
    assert (await wire.fetch("GET", "/probe", bearer=another)).status == 401

    answer = await wire.admin("DELETE", TOKENS)
    assert (answer.status, answer.json["revoked"]) == (200, TOKEN_LIMIT - 2)
    assert {(await wire.fetch("GET", "/probe", bearer=token)).status for token in others} == {401}
    assert await jtis(wire) == set()

    refused = await wire.token(credentials)
    assert (refused.status, refused.json["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


@pytest.mark.gen_test
async def test_the_story_of_a_person(wire: Wire) -> None:
    jar: dict[str, str] = {}

    async def send(method: str, path: str, document: object = None) -> Answer:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        answer = await wire.fetch(method, path, document=document, headers=cookies)
        for header in answer.headers.get_list("Set-Cookie"):
            jar.update((name, morsel.value) for name, morsel in SimpleCookie(header).items())
        return answer

    assert (await send("POST", "/auth/register", ADA)).status == 201
    assert (await send("POST", "/auth/login", ADA)).status == 200
    assert (await send("GET", "/auth/me")).status == 200
    first = dict(jar)
    assert (await send("POST", "/auth/refresh")).status == 200
    assert jar != first
    later = dict(jar)
    jar |= first  # the other tab was late
    assert (await send("POST", "/auth/refresh")).status == 200
    assert (await send("GET", "/auth/me")).status == 200
    jar |= later
    assert (await send("POST", "/auth/logout")).status == 204
    jar |= later
    assert (await send("GET", "/auth/me")).status == 401
    assert (await send("POST", "/auth/refresh")).status == 401


@pytest.mark.gen_test
async def test_a_burst_waits_for_connections_rather_than_fail(app: Application, wire: Wire) -> None:
    session = "session:{}".format
    await asyncio.gather(*[app.resources.redis.hset(session(n), "user_id", "usr_1") for n in range(500)])
    found = await asyncio.gather(*[app.resources.redis.hget(session(n), "user_id") for n in range(500)])
    assert found == [b"usr_1"] * 500


@pytest.mark.gen_test
async def test_it_is_ready_while_redis_answers_and_503_while_it_is_away(
    wire: Wire, redis_servers: RedisServers
) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    assert (await wire.fetch("GET", "/health/ready")).status == 200
    await asyncio.to_thread(redis_servers.stop)
    ready, refused, protected = await asyncio.gather(
        wire.fetch("GET", "/health/ready"), wire.token(credentials), wire.fetch("GET", "/probe", bearer=token)
    )
    assert (ready.status, ready.json["checks"]["redis"]) == (503, "failed")
    assert (refused.status, refused.json["error"]) == (503, "temporarily_unavailable")
    assert protected.status == 200
    await asyncio.to_thread(redis_servers.start)
    assert (await wire.fetch("GET", "/health/ready")).status == 200
    assert (await wire.token(credentials)).status == 200
