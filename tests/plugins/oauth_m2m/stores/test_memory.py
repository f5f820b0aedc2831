from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.stores import MemoryStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(params=["resources", "engine_resources"])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    return MemoryStore(request.getfixturevalue(request.param))


@pytest.mark.gen_test
async def test_the_first_that_is_remembered_is_found(store: MemoryStore) -> None:
    assert await store.find([A, B]) is None
    await store.remember(B, seconds=60)
    assert await store.find([A, B, C]) == 1
    await store.remember(A, seconds=60)
    assert await store.find([C, A, B, A]) == 1
    assert await store.find([C]) is None


@pytest.mark.gen_test
async def test_it_is_forgotten_in_time(store: MemoryStore) -> None:
    redis = store._resources.redis
    await store.remember(A, seconds=60)
    assert 57 < await redis.ttl(f"oauth-verified:{A}") <= 60
    await redis.pexpire(f"oauth-verified:{A}", 0)  # as if they had passed
    assert await store.find([A]) is None


@pytest.mark.gen_test
async def test_simultaneous_questions_have_answers_of_their_own(store: MemoryStore) -> None:
    await store.remember(B, seconds=60)
    asked = [[A, B], [B], [A, C], [C, A, B]]
    assert await asyncio.gather(*map(store.find, asked)) == [1, 0, None, 2]


@pytest.mark.gen_test
async def test_without_redis(resources: Resources, redis_server: FakeServer) -> None:
    redis_server.connected = False
    store = MemoryStore(resources)
    with pytest.raises(ServiceUnavailable):
        await store.find([A])
    with pytest.raises(ServiceUnavailable):
        await store.remember(A, seconds=60)
