from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import TokenRecord
from plugins.oauth_m2m.stores import TokenStore
from station.errors import ServiceUnavailable
from station.migrations import Migrator

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources

KEY = "client-token:station-bot:j1"


@pytest.fixture
def tokens(resources: Resources) -> TokenStore:
    return TokenStore(resources)


def record() -> TokenRecord:
    iat = int(time.time())
    return TokenRecord("j1", "station-bot", ("bot:api",), iat, iat + 60, "203.0.113.9", "curl/8")


@pytest.mark.gen_test
async def test_a_live_token_is_recorded_until_it_expires(tokens: TokenStore, resources: Resources) -> None:
    token = record()
    await tokens.record(token)
    stored = await resources.redis.get(KEY)
    assert stored is not None
    assert json.loads(stored) == {
        "scopes": ["bot:api"],
        "issued_at": token.iat,
        "expires_at": token.exp,
        "address": "203.0.113.9",
        "user_agent": "curl/8",
    }
    assert await resources.redis.expiretime(KEY) == token.exp


@pytest.mark.gen_test
async def test_a_revoked_token_is_remembered_as_long_as_it_would_have_lived(
    tokens: TokenStore, resources: Resources
) -> None:
    token = record()
    await tokens.record(token)
    assert not await tokens.is_revoked("j1")
    for _ in range(2):  # once more changes nothing
        await tokens.revoke("station-bot", "j1", token.exp)
    assert await tokens.is_revoked("j1")
    assert not await tokens.is_revoked("j2")
    assert await resources.redis.exists(KEY) == 0
    assert token.exp - time.time() <= await resources.redis.ttl("blacklist:j1") <= 61
    [stored] = [document async for document in resources.database["revoked_tokens"].find()]
    assert stored == {
        "_id": "j1",
        "client_id": "station-bot",
        "expires_at": datetime.fromtimestamp(token.exp, UTC),
    }


@pytest.mark.gen_test
async def test_a_token_that_expires_meanwhile_is_revoked_without_an_error(tokens: TokenStore) -> None:
    await tokens.revoke("station-bot", "j1", int(time.time()) - 5)
    assert await tokens.is_revoked("j1")


@pytest.mark.gen_test
async def test_revocations_are_forgotten_when_their_token_has_expired(resources: Resources) -> None:
    await Migrator(resources.database, {"oauth_m2m": MIGRATIONS}).up()
    indexes = await resources.database["revoked_tokens"].index_information()
    assert (indexes["expires_at"]["key"], indexes["expires_at"]["expireAfterSeconds"]) == (
        [("expires_at", 1)],
        0,
    )


@pytest.mark.gen_test
async def test_without_redis(tokens: TokenStore, redis_server: FakeServer) -> None:
    redis_server.connected = False
    for call in (tokens.record(record()), tokens.revoke("station-bot", "j1", int(time.time()) + 60)):
        with pytest.raises(ServiceUnavailable):
            await call
    assert await tokens.is_revoked("j1")  # MongoDB had it first, and it alone decides


@pytest.mark.gen_test
async def test_without_mongodb(without_mongodb: Resources) -> None:
    tokens = TokenStore(without_mongodb)
    await tokens.record(record())
    outcomes = await asyncio.gather(
        tokens.revoke("station-bot", "j1", int(time.time()) + 60),
        tokens.is_revoked("j1"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 2
    assert await without_mongodb.redis.keys() == [KEY.encode()]  # nothing was revoked by half
