"""Numbers by client and period, on the engines: the fake of MongoDB does not know every bulk write."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import BulkWriteError

from plugins.oauth_m2m.models import Usage, UsageKey, UsageTotals
from plugins.oauth_m2m.stores import UsageStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from station.resources import Resources

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


def key(client_id: str, minute: int = 0) -> UsageKey:
    return UsageKey(client_id, int(NOON.timestamp()) + 60 * minute)


@pytest.fixture
def store(engine_resources: Resources) -> UsageStore:
    return UsageStore(engine_resources, retention=MONTH)


@pytest.mark.gen_test
async def test_numbers_are_added_up_and_forgotten_when_it_is_time(
    store: UsageStore, engine_resources: Resources
) -> None:
    for _ in range(2):
        await store.add({key("bot"): {"calls": 2, "refused.token.unknown": 1}, key("bot", 5): {"issued": 1}})
    first = Usage(at=NOON, calls=4, refused={"token": {"unknown": 2}})
    second = Usage(at=NOON + timedelta(minutes=5), issued=2)
    assert await store.find("bot", step=store.FIVE_MINUTES, since=NOON) == [first, second]
    assert await store.find("bot", step=store.FIVE_MINUTES, since=second.at) == [second]
    hour = Usage(at=NOON, calls=4, issued=2, refused={"token": {"unknown": 2}})
    assert await store.find("bot", step=store.HOUR, since=NOON) == [hour]
    ends = {
        (document["step"], document["expires_at"])
        async for document in engine_resources.database["client_usage"].find({"at": NOON})
    }
    fine = NOON + timedelta(days=2, minutes=5)
    assert ends == {(store.FIVE_MINUTES, fine), (store.HOUR, NOON + MONTH + timedelta(hours=1))}


@pytest.mark.gen_test
async def test_a_client_is_not_taken_for_another_whose_id_begins_alike(store: UsageStore) -> None:
    await store.add({key("bot"): {"calls": 1}, key("bot-2"): {"calls": 2}, key(""): {"calls": 3}})
    for client_id, calls in (("bot", 1), ("bot-2", 2), ("", 3), ("bo", 0)):
        found = await store.find(client_id, step=store.FIVE_MINUTES, since=NOON)
        assert sum(usage.calls for usage in found) == calls


@pytest.mark.gen_test
async def test_who_got_most_tokens_is_found(store: UsageStore) -> None:
    await store.add(
        {
            key("", 0): {"issued": 90},
            key("before", -5): {"issued": 90},
            key("busy", 0): {"issued": 10, "calls": 4},
            key("busy", 5): {"issued": 20, "introspections": 2},
            key("busy", 10): {"issued": 99, "calls": 1},  # too late to be judged, and used all the same
            key("idle", 0): {"issued": 19},
            key("some", 0): {"issued": 20},
        }
    )
    found = await store.heaviest(since=NOON, until=NOON + timedelta(minutes=10), least=20)
    assert found == [UsageTotals("busy", 30, 5, 2), UsageTotals("some", 20, 0, 0)]
    assert found[0].uses == 7


class Collection:
    """A collection to which another process adds the same documents at the same moment."""

    def __init__(self, collection: Any, races: int) -> None:
        self._collection = collection
        self.races = races

    async def bulk_write(self, writes: list[Any], *, ordered: bool) -> Any:
        if self.races:
            self.races -= 1
            await self._collection.bulk_write(writes[:1], ordered=ordered)
            errors = [{"index": 1, "code": 11000, "errmsg": "E11000 duplicate key"}]
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})
        return await self._collection.bulk_write(writes, ordered=ordered)


@pytest.mark.gen_test
async def test_a_document_that_two_processes_make_at_once_counts_both(engine_resources: Resources) -> None:
    racing = Collection(engine_resources.database["client_usage"], races=1)
    database: Any = {"client_usage": racing}
    store = UsageStore(dataclasses.replace(engine_resources, database=database), retention=MONTH)
    await store.add({key("bot"): {"calls": 2}})
    assert racing.races == 0
    found = UsageStore(engine_resources, retention=MONTH)
    assert [usage.calls for usage in await found.find("bot", step=found.FIVE_MINUTES, since=NOON)] == [2]
    assert [usage.calls for usage in await found.find("bot", step=found.HOUR, since=NOON)] == [2]


@pytest.mark.gen_test
async def test_a_mongodb_that_is_away_is_service_unavailable(without_mongodb: Resources) -> None:
    store = UsageStore(without_mongodb, retention=MONTH)
    with pytest.raises(ServiceUnavailable):
        await store.add({key("bot"): {"calls": 1}})
    with pytest.raises(ServiceUnavailable):
        await store.heaviest(since=NOON, until=NOON, least=1)
