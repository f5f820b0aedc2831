from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from fleet.migrations import MIGRATIONS
from fleet.models import Bot
from fleet.stores import FleetStore
from mongomock_motor import AsyncMongoMockClient

from station.errors import Conflict
from station.resources import Resources


class Network:
    """A collection as a network shows it: before each call, others get their turn."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            return await getattr(self._collection, name)(*arguments)

        return call


async def put_at_once(*names: str, turns_apart: int = 0) -> list[object]:
    """Put bots into an empty fleet of two at the same time; what each put returned or raised."""
    database: Any = AsyncMongoMockClient()["station"]
    await MIGRATIONS[0].up(database)
    collections: Any = {"fleet_bots": Network(database["fleet_bots"])}
    store = FleetStore(Resources(collections, FakeAsyncRedis()), size=2)

    async def put(name: str, turns: int) -> bool:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await store.put(Bot(name, "idle", "1.0", "captain", datetime.now(UTC)))

    puts = (put(name, number * turns_apart) for number, name in enumerate(names))
    return await asyncio.gather(*puts, return_exceptions=True)


@pytest.mark.gen_test
async def test_bots_that_join_at_once_never_outgrow_the_fleet() -> None:
    outcomes = await put_at_once("a", "b", "c", "d", "e")
    assert outcomes.count(True) == 2
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3


@pytest.mark.gen_test
@pytest.mark.parametrize("turns_apart", [0, 1])
async def test_a_bot_that_joins_twice_at_once_is_one_bot(turns_apart: int) -> None:
    assert await put_at_once("a", "a", turns_apart=turns_apart) == [True, False]
