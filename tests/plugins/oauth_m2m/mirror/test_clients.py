from __future__ import annotations

import asyncio
import dataclasses
import gc
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.mirror import ClientCache
from plugins.oauth_m2m.stores import ClientStore
from station.errors import ServiceUnavailable
from tests.plugins.oauth_m2m.conftest import BOT

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from plugins.oauth_m2m.models import Client


def version(number: int, **changes: Any) -> Client:
    return dataclasses.replace(BOT, version=number, **changes)


class Store(ClientStore):
    """Holds clients by id, and answers a read, with what it held when asked, once its gate is open."""

    def __init__(self, *clients: Client) -> None:
        self.held = {client.client_id: client for client in clients}
        self.gates: list[asyncio.Future[None]] = []
        self.reads: list[str] = []
        self.slow = False

    async def find(self, client_id: str) -> Client | None:
        self.reads.append(client_id)
        found = self.held.get(client_id)
        if self.slow:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            await gate
        return found


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


async def begun(work: Awaitable[Client | None]) -> asyncio.Future[Client | None]:
    """Begin a read, until it waits for the store."""
    task = asyncio.ensure_future(work)
    for _ in range(3):
        await asyncio.sleep(0)
    return task


@pytest.fixture
def store() -> Store:
    return Store(BOT)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(store: Store, clock: Clock) -> ClientCache:
    return ClientCache(store, size=3, clock=clock)


@pytest.mark.gen_test
async def test_a_client_is_read_once_a_minute(cache: ClientCache, store: Store, clock: Clock) -> None:
    assert cache.peek("station-bot") is None
    for seconds, reads in ((0, 1), (59.9, 1), (60, 2), (119.9, 2), (120.1, 3)):
        clock.time = 1000 + seconds
        assert await cache.find("station-bot") is BOT
        assert cache.peek("station-bot") is BOT
        assert len(store.reads) == reads
    clock.time += 60
    assert cache.peek("station-bot") is None


@pytest.mark.gen_test
async def test_to_read_is_to_ask_the_store_whatever_is_in_memory(cache: ClientCache, store: Store) -> None:
    await cache.find("station-bot")
    store.held["station-bot"] = changed = version(2)
    assert await cache.find("station-bot") is BOT
    assert await cache.read("station-bot") is changed
    assert cache.peek("station-bot") is changed


@pytest.mark.gen_test
async def test_nobody_is_remembered_as_unknown(cache: ClientCache, store: Store) -> None:
    for _ in range(3):
        assert await cache.find("another-bot") is None
    assert store.reads == ["another-bot"] * 3
    store.held["another-bot"] = another = version(1, id="d2", client_id="another-bot")
    assert await cache.find("another-bot") is another
    del store.held["another-bot"]
    cache.drop("d2")
    assert await cache.find("another-bot") is None


# One flight


@pytest.mark.gen_test
async def test_simultaneous_readers_share_one_read(cache: ClientCache, store: Store) -> None:
    store.slow = True
    readers = [await begun(cache.find("station-bot")) for _ in range(5)]
    readers += [await begun(cache.read("station-bot"))]
    [gate] = store.gates
    gate.set_result(None)
    assert await asyncio.gather(*readers) == [BOT] * 6
    assert cache.peek("station-bot") is BOT
    assert cache._reads == {}


@pytest.mark.gen_test
async def test_a_reader_that_gives_up_takes_nothing_from_the_others(cache: ClientCache, store: Store) -> None:
    store.slow = True
    first, second = await begun(cache.find("station-bot")), await begun(cache.find("station-bot"))
    first.cancel()
    await begun(asyncio.sleep(0, None))
    store.gates[0].set_result(None)
    assert await second is BOT
    assert first.cancelled()
    assert len(store.reads) == 1


@pytest.mark.gen_test
async def test_a_failure_is_everybodys_who_waits_and_nobodys_later(cache: ClientCache, store: Store) -> None:
    store.slow = True
    readers = [await begun(cache.find("station-bot")) for _ in range(2)]
    store.gates[0].set_exception(ServiceUnavailable("away"))
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 2
    store.slow = False
    assert await cache.find("station-bot") is BOT


@pytest.mark.gen_test
async def test_a_failure_that_nobody_waits_for_is_not_reported(cache: ClientCache, store: Store) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    store.slow = True
    reader = await begun(cache.find("station-bot"))
    reader.cancel()
    await begun(asyncio.sleep(0, None))
    store.gates.pop().set_exception(ServiceUnavailable("away"))
    await begun(asyncio.sleep(0, None))
    assert cache._reads == {}
    del reader
    gc.collect()
    assert reported == []


# The race of a read with a change


@pytest.mark.parametrize("change", ["put", "drop", "clear"])
@pytest.mark.parametrize("last", ["the old read", "the new read"])
@pytest.mark.gen_test
async def test_a_read_that_a_change_overtook_is_neither_kept_nor_joined(
    cache: ClientCache, store: Store, change: str, last: str
) -> None:
    store.slow = True
    early = await begun(cache.find("station-bot"))
    store.held["station-bot"] = changed = version(2, is_active=False)
    if change == "put":
        cache.put(changed)
    elif change == "drop":
        cache.drop("d1")  # which client this is, nobody knows here: it is being read
    else:
        cache.clear()
    late = await begun(cache.find("station-bot"))
    assert len(store.gates) == 2
    for gate in store.gates if last == "the new read" else reversed(store.gates):
        gate.set_result(None)
        await begun(asyncio.sleep(0, None))
    assert await late is changed
    assert await early is BOT
    assert cache.peek("station-bot") is changed
    assert cache._reads == {}


@pytest.mark.gen_test
async def test_a_client_that_was_deleted_while_it_was_read_is_not_kept(
    cache: ClientCache, store: Store
) -> None:
    store.slow = True
    early = await begun(cache.find("station-bot"))
    del store.held["station-bot"]
    cache.drop("d1")
    store.gates[0].set_result(None)
    await early
    assert cache.peek("station-bot") is None


@pytest.mark.gen_test
async def test_a_change_of_one_client_disturbs_the_read_of_no_other(cache: ClientCache, store: Store) -> None:
    store.slow = True
    early = await begun(cache.find("station-bot"))
    cache.put(version(1, id="d2", client_id="another-bot"))
    late = await begun(cache.find("station-bot"))
    [gate] = store.gates
    gate.set_result(None)
    assert (await early, await late) == (BOT, BOT)
    assert cache.peek("station-bot") is BOT


# What is heard


@pytest.mark.gen_test
async def test_versions_never_go_back(cache: ClientCache, store: Store) -> None:
    await cache.find("station-bot")
    third = version(3)
    cache.put(third)
    cache.put(version(2))
    assert cache.peek("station-bot") is third
    rehashed = version(3, salt="of another cost")
    cache.put(rehashed)
    assert cache.peek("station-bot") is rehashed


@pytest.mark.gen_test
async def test_a_primary_that_was_replaced_takes_nothing_back(
    cache: ClientCache, store: Store, clock: Clock
) -> None:
    await cache.find("station-bot")
    disabled = version(2, is_active=False)
    cache.put(disabled)
    assert await cache.read("station-bot") is disabled  # the store says what was
    assert cache.peek("station-bot") is disabled
    clock.time += 61
    assert await cache.read("station-bot") is BOT  # it was restored from a backup
    assert cache.peek("station-bot") is BOT


@pytest.mark.gen_test
async def test_a_change_is_kept_for_a_minute(cache: ClientCache, clock: Clock) -> None:
    await cache.find("station-bot")
    clock.time += 50
    cache.put(version(2))
    clock.time += 59
    found = cache.peek("station-bot")
    assert found is not None
    assert found.version == 2
    clock.time += 1
    assert cache.peek("station-bot") is None


def test_what_nobody_asks_for_is_not_kept(cache: ClientCache) -> None:
    cache.put(BOT)
    assert cache.peek("station-bot") is None
    assert (cache._kept, cache._client_ids) == ({}, {})


@pytest.mark.gen_test
async def test_who_was_registered_again_is_read_again(cache: ClientCache, store: Store) -> None:
    await cache.find("station-bot")
    store.held["station-bot"] = again = version(1, id="d2", generation="g2")
    cache.put(again)  # of the two MongoDB knows which is the older
    assert cache.peek("station-bot") is None
    assert await cache.find("station-bot") is again
    cache.put(BOT)
    assert cache.peek("station-bot") is None
    assert await cache.find("station-bot") is again


@pytest.mark.gen_test
async def test_the_end_of_one_registration_is_not_that_of_the_next(cache: ClientCache, store: Store) -> None:
    await cache.find("station-bot")
    store.held["station-bot"] = again = version(1, id="d2", generation="g2")
    await cache.read("station-bot")
    cache.drop("d1")  # heard late
    assert cache.peek("station-bot") is again
    cache.drop("d2")
    assert cache.peek("station-bot") is None


@pytest.mark.gen_test
async def test_who_was_renamed_by_hand_is_found_under_the_new_name_alone(
    cache: ClientCache, store: Store
) -> None:
    await cache.find("station-bot")
    cache.put(version(2, client_id="renamed-bot"))
    assert cache.peek("station-bot") is None
    assert (cache._kept, cache._client_ids) == ({}, {})


@pytest.mark.gen_test
async def test_dropping_who_is_not_here_harms_nobody(cache: ClientCache) -> None:
    await cache.find("station-bot")
    cache.drop("d9")
    assert cache.peek("station-bot") is BOT


@pytest.mark.gen_test
async def test_clear_forgets_everything(cache: ClientCache) -> None:
    await cache.find("station-bot")
    cache.clear()
    assert cache.peek("station-bot") is None
    assert (cache._kept, cache._client_ids) == ({}, {})


@pytest.mark.gen_test
async def test_it_is_bounded_and_the_oldest_leaves(cache: ClientCache, store: Store) -> None:
    for number in range(100):
        name = f"bot-{number}"
        store.held[name] = version(1, id=f"d{number}", client_id=name)
    for number in range(3):
        await cache.find(f"bot-{number}")
    await cache.read("bot-0")  # read again it is new
    for number in range(3, 5):
        await cache.find(f"bot-{number}")
    assert [cache.peek(f"bot-{number}") is not None for number in range(5)] == [
        True,
        False,
        False,
        True,
        True,
    ]
    for number in range(100):
        await cache.find(f"bot-{number}")
    assert (len(cache._kept), len(cache._client_ids), cache._reads) == (3, 3, {})
