from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from bson import Timestamp

from plugins.oauth_m2m.models import (
    Change,
    ClientChanged,
    ClientSecret,
    KeysChanged,
    SecretUse,
    SigningKey,
    SigningKeys,
    TokenRevoked,
)
from plugins.oauth_m2m.stores import (
    ChangeStore,
    ClientStore,
    KeyStore,
    SecretStore,
    StreamLost,
    TokenStore,
)
from plugins.oauth_m2m.stores.changes import _change
from station.errors import ServiceUnavailable
from tests.plugins.oauth_m2m.conftest import BOT as STATION_BOT

if TYPE_CHECKING:
    from plugins.oauth_m2m.stores import ChangeStream
    from station.resources import Resources

MADE = datetime(2025, 1, 2, tzinfo=UTC)
SECRET = ClientSecret("s1", "$bcrypt-sha256$v=2,t=2b,r=12$salt$digest", MADE)
BOT = dataclasses.replace(STATION_BOT, salt="salt", secrets=(SECRET,))


@pytest.fixture
def changes(engine_resources: Resources) -> ChangeStore:
    """Change streams do not exist in mongomock."""
    return ChangeStore(engine_resources)


@pytest.fixture
def clients(engine_resources: Resources) -> ClientStore:
    return ClientStore(engine_resources)


@pytest.fixture
def tokens(engine_resources: Resources) -> TokenStore:
    return TokenStore(engine_resources)


async def heard(stream: ChangeStream, count: int) -> list[Change]:
    """The next changes, of which there are no more than these."""
    found: list[Change] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            if (change := await stream.next()) is not None:
                found.append(change)
    assert await stream.next() is None
    return found


async def first_of(changes: ChangeStore, after: dict[str, Any]) -> Change | None:
    async with changes.watch(after) as stream:
        return await stream.next()


# What is told


@pytest.mark.gen_test
async def test_the_life_of_a_client(changes: ChangeStore, clients: ClientStore) -> None:
    async with changes.watch() as stream:
        made = await clients.insert(BOT)
        [registered] = await heard(stream, 1)
        _, disabled = await clients.update("station-bot", {"is_active": False}, None)
        [changed] = await heard(stream, 1)
        await clients.delete("station-bot", None)
        [deleted] = await heard(stream, 1)
    found = [registered, changed, deleted]
    assert found == [
        ClientChanged(registered.position, made.id, made, 1),
        ClientChanged(changed.position, made.id, disabled, 2),
        ClientChanged(deleted.position, made.id, None, None),
    ]
    assert registered.position < changed.position < deleted.position
    assert abs(registered.position[0] - time.time()) < 60


@pytest.mark.gen_test
async def test_each_change_has_its_version_and_the_client_may_be_newer(
    changes: ChangeStore, clients: ClientStore
) -> None:
    async with changes.watch() as stream:
        made = await clients.insert(BOT)
        for name in ("two", "three"):
            await clients.update("station-bot", {"name": name}, None)
        found = await heard(stream, 3)
        assert [change.version for change in found if isinstance(change, ClientChanged)] == [1, 2, 3]
        newest = found[-1]
        assert isinstance(newest, ClientChanged)
        assert newest.client is not None
        assert (newest.client.name, newest.client.version) == ("three", 3)
        await clients.update("station-bot", {"name": "four"}, None)
        await clients.delete("station-bot", None)
        last, gone = await heard(stream, 2)
        # gone already when its last change is told: whichever way, it is not kept
        assert isinstance(last, ClientChanged)
        assert (last.id, last.version) == (made.id, 4)
        assert gone == ClientChanged(gone.position, made.id, None, None)


@pytest.mark.gen_test
async def test_a_hash_of_another_cost_is_a_change_that_makes_no_version(
    changes: ChangeStore, clients: ClientStore
) -> None:
    made = await clients.insert(BOT)
    async with changes.watch() as stream:
        await clients.replace_hash(made, SECRET, salt="other", new_hash="$other$")
        [change] = await heard(stream, 1)
    assert isinstance(change, ClientChanged)
    assert change.version == 0
    assert change.client is not None
    assert (change.client.version, change.client.salt) == (1, "other")


@pytest.mark.gen_test
async def test_a_document_that_is_no_client_stops_nothing(
    changes: ChangeStore,
    clients: ClientStore,
    engine_resources: Resources,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = await clients.insert(BOT)
    async with changes.watch() as stream:
        await engine_resources.database["oauth_clients"].update_one(
            {"client_id": "station-bot"}, {"$unset": {"secrets": 1}}
        )
        [change] = await heard(stream, 1)
    assert isinstance(change, ClientChanged)
    assert (change.id, change.client) == (made.id, None)
    assert "a document of oauth_clients is no client: KeyError" in caplog.text


@pytest.mark.gen_test
async def test_that_a_secret_was_used_is_not_told(
    changes: ChangeStore, clients: ClientStore, engine_resources: Resources
) -> None:
    made = await clients.insert(BOT)
    async with changes.watch() as stream:
        use = SecretUse("station-bot", "s1", datetime.now(UTC), "203.0.113.9")
        await SecretStore(engine_resources).note_uses([use])
        _, changed = await clients.update("station-bot", {"name": "after"}, None)
        [change] = await heard(stream, 1)
    assert isinstance(change, ClientChanged)
    assert (change.id, change.version) == (made.id, changed.version)
    assert change.client is not None
    assert change.client.secrets[0].last_used_from == "203.0.113.9"


@pytest.mark.gen_test
async def test_revocations_and_their_end(
    changes: ChangeStore, tokens: TokenStore, engine_resources: Resources
) -> None:
    exp = int(time.time()) + 600
    async with changes.watch() as stream:
        await tokens.revoke(BOT, "j1", exp)
        await tokens.revoke(BOT, "j2", exp)
        await engine_resources.database["revoked_tokens"].delete_one({"_id": "j1"})  # as the TTL index does
        found = await heard(stream, 3)
    assert found == [
        TokenRevoked(found[0].position, "j1", forgotten=False),
        TokenRevoked(found[1].position, "j2", forgotten=False),
        TokenRevoked(found[2].position, "j1", forgotten=True),
    ]


@pytest.mark.gen_test
async def test_keys(changes: ChangeStore, engine_resources: Resources) -> None:
    store = KeyStore(engine_resources)
    key = SigningKey("HS256", "HS256", "active", published_at=MADE)
    async with changes.watch() as stream:
        first = SigningKeys(1, (key,))
        second = first.followed_by(())
        assert await store.replace(first)
        [made] = await heard(stream, 1)
        assert await store.replace(second)
        [changed] = await heard(stream, 1)
    assert made == KeysChanged(made.position, first, 1)
    assert changed == KeysChanged(changed.position, second, 2)


@pytest.mark.gen_test
async def test_other_collections_are_not_told_of(changes: ChangeStore, engine_resources: Resources) -> None:
    async with changes.watch() as stream:
        for collection in ("users", "audit_events", "oauth_clients_of_others"):
            await engine_resources.database[collection].insert_one({"_id": "x"})
        await heard(stream, 0)


@pytest.mark.gen_test
async def test_what_happened_before_is_not_told(changes: ChangeStore, tokens: TokenStore) -> None:
    await tokens.revoke(BOT, "j1", int(time.time()) + 600)
    async with changes.watch() as stream:
        await heard(stream, 0)


# Since when it is known


@pytest.mark.gen_test
async def test_silence_counts_from_when_it_was_asked_for(changes: ChangeStore) -> None:
    async with changes.watch() as stream:
        assert stream.heard_at == float("-inf")
        for _ in range(2):
            before = time.monotonic()
            assert await stream.next() is None
            after = time.monotonic()
            assert after - before > 0.2  # MongoDB waits for a change
            assert before <= stream.heard_at < before + 0.2


@pytest.mark.gen_test
async def test_a_change_counts_once_it_is_applied(changes: ChangeStore, tokens: TokenStore) -> None:
    """That is, when the next one is asked for: until then what came with it is not done."""
    async with changes.watch() as stream:
        assert await stream.next() is None
        quiet = stream.heard_at
        for number in range(3):
            await tokens.revoke(BOT, f"j{number}", int(time.time()) + 600)
        asked = time.monotonic()
        assert await stream.next() is not None
        assert stream.heard_at == quiet
        found = 1
        while (change := await stream.next()) is not None:
            found += 1
            assert isinstance(change, TokenRevoked)
        assert found == 3
        assert stream.heard_at > asked


# Going on


@pytest.mark.gen_test
async def test_another_stream_goes_on_behind_the_last_change(
    changes: ChangeStore, tokens: TokenStore
) -> None:
    exp = int(time.time()) + 600
    async with changes.watch() as stream:
        await tokens.revoke(BOT, "before", exp)
        await heard(stream, 1)
        token = stream.token
    await tokens.revoke(BOT, "between", exp)
    async with changes.watch(token) as stream:
        await tokens.revoke(BOT, "after", exp)
        found = await heard(stream, 2)
    assert [change.jti for change in found if isinstance(change, TokenRevoked)] == ["between", "after"]


@pytest.mark.gen_test
async def test_a_token_that_mongodb_does_not_know_is_a_loss(changes: ChangeStore) -> None:
    with pytest.raises(StreamLost):
        await first_of(changes, {"_data": "8200000000000000"})


@pytest.mark.parametrize("collection", ["oauth_clients", "revoked_tokens"])
@pytest.mark.gen_test
async def test_a_collection_that_is_dropped_is_a_loss(
    changes: ChangeStore, engine_resources: Resources, collection: str
) -> None:
    await engine_resources.database[collection].insert_one({"_id": "x"})
    async with changes.watch() as stream:
        await engine_resources.database.drop_collection(collection)
        with pytest.raises(StreamLost, match="drop"):
            await heard(stream, 2)


@pytest.mark.gen_test
async def test_a_silence_that_was_too_long_is_a_loss(engine_resources: Resources, tokens: TokenStore) -> None:
    changes = ChangeStore(engine_resources, max_silence=0.1)
    async with changes.watch() as stream:
        with pytest.raises(StreamLost, match="silent"):
            await stream.next()  # a quarter of a second
    changes = ChangeStore(engine_resources, max_silence=2)
    async with changes.watch() as stream:
        assert await stream.next() is None
        token = stream.token
    async with changes.watch(token) as stream:
        await tokens.revoke(BOT, "j1", int(time.time()) + 600)
        await heard(stream, 1)


@pytest.mark.gen_test
async def test_who_is_in_the_stream_when_it_ends_is_not_disturbed(changes: ChangeStore) -> None:
    async with changes.watch() as stream:
        asking = asyncio.create_task(stream.next())
        await asyncio.sleep(0.02)
        assert stream.is_asking
        asking.cancel()
    assert stream.is_asking  # the driver's thread is in it still, so it was left to it
    async with changes.watch() as stream:
        await heard(stream, 0)
        assert not stream.is_asking


@pytest.mark.gen_test
async def test_without_mongodb(without_mongodb: Resources) -> None:
    with pytest.raises(ServiceUnavailable):
        async with ChangeStore(without_mongodb).watch():
            raise AssertionError


def test_an_event_is_told_as_what_it_changed() -> None:
    """What an engine of ours cannot be made to send."""
    event: dict[str, Any] = {
        "operationType": "update",
        "ns": {"coll": "oauth_clients"},
        "documentKey": {"_id": "d1"},
        "clusterTime": Timestamp(7, 3),
        "updateDescription": {"updatedFields": {"version": 4, "name": "x"}},
        "fullDocument": None,
    }
    assert _change(event) == ClientChanged((7, 3), "d1", None, 4)
    for operation in ("drop", "rename", "dropDatabase", "invalidate"):
        with pytest.raises(StreamLost, match=operation):
            _change({"operationType": operation})
