from __future__ import annotations

import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import Client, ClientSecret, TokenRecord
from plugins.oauth_m2m.stores import ClientStore, TokenStore
from station.errors import Conflict, NotFound, ServiceUnavailable
from station.migrations import Migrator
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2025, 1, 2, 12, 0, 0, 678_000, UTC)
BOT = Client(
    id="",
    client_id="station-bot",
    name="The bot",
    salt="a-salt",
    secrets=(
        ClientSecret(id="s1", hash="$one", created_at=NOON),
        ClientSecret(id="s2", hash="$two", created_at=NOON, expires_at=NOON, last_used_at=NOON),
    ),
    scopes=("bot:api", "bot:write"),
    is_active=True,
    token_ttl=60,
    generation="g1",
    version=1,
    created_at=NOON,
    updated_at=NOON,
)
KEY = "client-token:station-bot:j1"


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def resources(redis_server: FakeServer) -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis(server=redis_server))


@pytest.fixture
def without_mongodb(resources: Resources) -> Iterator[Resources]:
    """The same Redis beside a MongoDB that does not answer."""
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    yield dataclasses.replace(resources, database=nowhere["station"])
    nowhere.close()


@pytest.fixture
def clients(resources: Resources) -> ClientStore:
    return ClientStore(resources)


@pytest.fixture
def tokens(resources: Resources) -> TokenStore:
    return TokenStore(resources)


def record(jti: str = "j1", *, lifetime: int = 60) -> TokenRecord:
    iat = int(time.time())
    return TokenRecord(jti, "station-bot", ("bot:api",), iat, iat + lifetime, "203.0.113.9", "curl/8")


@pytest.mark.gen_test
async def test_a_client_is_read_back_as_it_was_stored(clients: ClientStore) -> None:
    stored = await clients.insert(BOT)
    assert stored.id
    assert stored == dataclasses.replace(BOT, id=stored.id)
    assert await clients.find("station-bot") == await clients.get("station-bot") == stored


@pytest.mark.gen_test
async def test_an_unknown_client(clients: ClientStore) -> None:
    assert await clients.find("station-bot") is None
    with pytest.raises(NotFound, match="station-bot"):
        await clients.get("station-bot")
    with pytest.raises(NotFound, match="station-bot"):
        await clients.set_active("station-bot", is_active=False, generation="g2")


@pytest.mark.gen_test
async def test_an_id_has_one_client_and_the_index_says_so(clients: ClientStore, resources: Resources) -> None:
    migrator = Migrator(resources.database, {"oauth_m2m": MIGRATIONS})
    await migrator.up()
    await clients.insert(BOT)
    with pytest.raises(Conflict, match="station-bot"):
        await clients.insert(BOT)
    await migrator.down()
    await clients.insert(BOT)


@pytest.mark.gen_test
async def test_revocations_are_forgotten_when_their_token_has_expired(resources: Resources) -> None:
    await Migrator(resources.database, {"oauth_m2m": MIGRATIONS}).up()
    indexes = await resources.database["revoked_tokens"].index_information()
    assert (indexes["expires_at"]["key"], indexes["expires_at"]["expireAfterSeconds"]) == (
        [("expires_at", 1)],
        0,
    )


@pytest.mark.gen_test
async def test_clients_are_listed_by_id(clients: ClientStore) -> None:
    assert await clients.list() == []
    for client_id in ("b", "a-2", "a"):
        await clients.insert(dataclasses.replace(BOT, client_id=client_id))
    assert [client.client_id for client in await clients.list()] == ["a", "a-2", "b"]


@pytest.mark.gen_test
async def test_switching_counts_versions_and_changes_nothing_else(clients: ClientStore) -> None:
    stored = await clients.insert(BOT)
    disabled = await clients.set_active("station-bot", is_active=False, generation="g2")
    assert disabled == dataclasses.replace(
        stored, is_active=False, generation="g2", version=2, updated_at=disabled.updated_at
    )
    assert disabled.updated_at > stored.updated_at
    enabled = await clients.set_active("station-bot", is_active=True, generation=None)
    assert (enabled.is_active, enabled.generation, enabled.version) == (True, "g2", 3)
    assert await clients.get("station-bot") == enabled


@pytest.mark.gen_test
async def test_a_hash_is_replaced_unless_the_client_has_changed(clients: ClientStore) -> None:
    stored = await clients.insert(dataclasses.replace(BOT, secrets=BOT.secrets[:1]))
    [secret] = stored.secrets
    await clients.replace_hash(stored, secret, salt="another", new_hash="$new")
    replaced = await clients.get("station-bot")
    assert replaced == dataclasses.replace(
        stored, salt="another", secrets=(dataclasses.replace(secret, hash="$new"),)
    )
    switched = await clients.set_active("station-bot", is_active=False, generation="g2")
    await clients.replace_hash(stored, secret, salt="late", new_hash="$late")
    assert await clients.get("station-bot") == switched


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
async def test_without_redis(tokens: TokenStore, redis_server: FakeServer) -> None:
    redis_server.connected = False
    for call in (tokens.record(record()), tokens.revoke("station-bot", "j1", int(time.time()) + 60)):
        with pytest.raises(ServiceUnavailable):
            await call
    assert await tokens.is_revoked("j1")  # MongoDB had it first, and it alone decides


@pytest.mark.gen_test
async def test_without_mongodb(without_mongodb: Resources) -> None:
    clients, tokens = ClientStore(without_mongodb), TokenStore(without_mongodb)
    await tokens.record(record())
    for call in (
        clients.find("station-bot"),
        clients.get("station-bot"),
        clients.list(),
        clients.insert(BOT),
        clients.set_active("station-bot", is_active=True, generation=None),
        clients.replace_hash(BOT, BOT.secrets[0], salt="", new_hash=""),
        tokens.revoke("station-bot", "j1", int(time.time()) + 60),
        tokens.is_revoked("j1"),
    ):
        with pytest.raises(ServiceUnavailable):
            await call
    assert await without_mongodb.redis.keys() == [KEY.encode()]  # nothing was revoked by half


