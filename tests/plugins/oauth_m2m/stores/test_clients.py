from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import Client, ClientSecret
from plugins.oauth_m2m.stores import ClientStore
from station.errors import Conflict, NotFound, ServiceUnavailable
from station.migrations import Migrator

if TYPE_CHECKING:
    from station.resources import Resources

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


@pytest.fixture
def clients(resources: Resources) -> ClientStore:
    return ClientStore(resources)


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
async def test_without_mongodb(without_mongodb: Resources) -> None:
    clients = ClientStore(without_mongodb)
    outcomes = await asyncio.gather(
        clients.find("station-bot"),
        clients.get("station-bot"),
        clients.list(),
        clients.insert(BOT),
        clients.set_active("station-bot", is_active=True, generation=None),
        clients.replace_hash(BOT, BOT.secrets[0], salt="", new_hash=""),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
