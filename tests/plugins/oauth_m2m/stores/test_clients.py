from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import ClientPage, ClientQuery, ClientSecret
from plugins.oauth_m2m.stores import ClientStore
from station.errors import Conflict, NotFound, PreconditionFailed, ServiceUnavailable
from station.migrations import Migrator
from tests.plugins.oauth_m2m.conftest import BOT as STATION_BOT

if TYPE_CHECKING:
    from station.resources import Resources

NOON = datetime(2025, 1, 2, 12, 0, 0, 678_000, UTC)
BOT = dataclasses.replace(
    STATION_BOT,
    name="The bot",
    salt="a-salt",
    secrets=(
        ClientSecret(id="s1", hash="$one", created_at=NOON),
        ClientSecret(id="s2", hash="$two", created_at=NOON, expires_at=NOON, last_used_at=NOON),
    ),
    scopes=("bot:api", "bot:write"),
    token_ttl=60,
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
        await clients.update("station-bot", {"name": "x"}, None)
    with pytest.raises(NotFound, match="station-bot"):
        await clients.update("station-bot", {"name": "x"}, {1})
    with pytest.raises(NotFound, match="station-bot"):
        await clients.delete("station-bot", None)


@pytest.mark.gen_test
async def test_an_id_has_one_client_and_the_index_says_so(clients: ClientStore, resources: Resources) -> None:
    migrator = Migrator(resources.database, {"oauth_m2m": MIGRATIONS})
    await migrator.up()
    await clients.insert(BOT)
    with pytest.raises(Conflict, match="station-bot"):
        await clients.insert(BOT)
    await migrator.down(len(MIGRATIONS))
    await clients.insert(BOT)


@pytest.mark.gen_test
async def test_clients_are_listed_by_id_in_pages(clients: ClientStore) -> None:
    assert await clients.list(ClientQuery()) == ClientPage((), None)
    for client_id in ("b", "a-2", "a"):
        await clients.insert(dataclasses.replace(BOT, client_id=client_id))
    for limit, after, ids, last in (
        (3, "", ["a", "a-2", "b"], None),
        (2, "", ["a", "a-2"], "a-2"),
        (2, "a-2", ["b"], None),
        (1, "a-1", ["a-2"], "a-2"),
        (1, "b", [], None),
    ):
        page = await clients.list(ClientQuery(limit=limit, after=after))
        assert ([client.client_id for client in page.clients], page.last) == (ids, last)


@pytest.mark.gen_test
async def test_filters_must_all_match(clients: ClientStore) -> None:
    await clients.insert(dataclasses.replace(BOT, client_id="one", name="A.B", scopes=("x",)))
    await clients.insert(dataclasses.replace(BOT, client_id="two", name="AxB", is_active=False))
    for query, ids in (
        (ClientQuery(search="a.b"), ["one"]),
        (ClientQuery(search="AXB"), ["two"]),
        (ClientQuery(search="o"), ["one", "two"]),
        (ClientQuery(search="o", scope="x"), ["one"]),
        (ClientQuery(scope="bot:write"), ["two"]),
        (ClientQuery(is_active=True), ["one"]),
        (ClientQuery(is_active=False, scope="x"), []),
        (ClientQuery(search="o", after="one"), ["two"]),
    ):
        assert [client.client_id for client in (await clients.list(query)).clients] == ids


@pytest.mark.gen_test
async def test_an_update_counts_versions_and_changes_nothing_else(clients: ClientStore) -> None:
    stored = await clients.insert(BOT)
    before, after = await clients.update("station-bot", {"is_active": False, "generation": "g2"}, None)
    assert before == stored
    assert after == dataclasses.replace(stored, is_active=False, generation="g2", version=2)
    assert await clients.get("station-bot") == after
    secrets = (ClientSecret(id="s3", hash="$three", created_at=NOON, last_used_from="192.0.2.1"),)
    _, after = await clients.update("station-bot", {"secrets": secrets, "scopes": ("a", "b")}, {2})
    assert (after.secrets, after.scopes, after.version) == (secrets, ("a", "b"), 3)
    assert await clients.get("station-bot") == after


@pytest.mark.gen_test
async def test_another_version_is_left_alone(clients: ClientStore) -> None:
    stored = await clients.insert(BOT)
    for versions in ({2}, set[int](), {2**62}):
        with pytest.raises(PreconditionFailed, match="station-bot"):
            await clients.update("station-bot", {"name": "x"}, versions)
        with pytest.raises(PreconditionFailed, match="station-bot"):
            await clients.delete("station-bot", versions)
    assert await clients.get("station-bot") == stored
    assert await clients.delete("station-bot", {1, 2}) == stored
    assert await clients.find("station-bot") is None


@pytest.mark.gen_test
async def test_a_hash_is_replaced_unless_the_client_has_changed(clients: ClientStore) -> None:
    stored = await clients.insert(dataclasses.replace(BOT, secrets=BOT.secrets[:1]))
    [secret] = stored.secrets
    await clients.replace_hash(stored, secret, salt="another", new_hash="$new")
    replaced = await clients.get("station-bot")
    assert replaced == dataclasses.replace(
        stored, salt="another", secrets=(dataclasses.replace(secret, hash="$new"),)
    )
    _, switched = await clients.update("station-bot", {"generation": "g2"}, None)
    await clients.replace_hash(stored, secret, salt="late", new_hash="$late")
    assert await clients.get("station-bot") == switched


@pytest.mark.gen_test
async def test_without_mongodb(without_mongodb: Resources) -> None:
    clients = ClientStore(without_mongodb)
    outcomes = await asyncio.gather(
        clients.find("station-bot"),
        clients.get("station-bot"),
        clients.list(ClientQuery()),
        clients.insert(BOT),
        clients.update("station-bot", {"name": "x"}, None),
        clients.delete("station-bot", None),
        clients.replace_hash(BOT, BOT.secrets[0], salt="", new_hash=""),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
