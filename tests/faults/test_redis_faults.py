"""The one Redis is stopped, frozen, emptied, restarted or slow while clients hammer two Stations.

Nothing is issued meanwhile, what lives is let in, and ending all tokens of a client works: MongoDB is the
truth. What was revoked stays so when Redis has lost everything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import redis.asyncio
from nodes import Fleet, fleet_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from leaks import Leaks
    from traffic import Exchange

BOUND = 2.0
PAUSE = 2.5  # longer than a command waits for Redis


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, leaks: Leaks) -> Iterator[Fleet]:
    with fleet_of(2, tmp_path_factory.mktemp("redis-faults"), leaks, bound=BOUND) as running:
        yield running


def statuses(exchanges: Iterable[Exchange], *kinds: str) -> Counter[int]:
    return Counter(one.status for one in exchanges if one.kind in kinds)


async def check_outage(fleet: Fleet, exchanges: list[Exchange]) -> None:
    """What Redis is not needed for goes on, and nothing else."""
    assert set(statuses(exchanges, "token")) == {503}
    assert set(statuses(exchanges, "register")) == {201}
    assert set(statuses(exchanges, "get")) <= {200, 401}
    assert statuses(exchanges, "get")[200]


@pytest.mark.parametrize("how", ["stop", "kill", "pause"])
@pytest.mark.gen_test
async def test_redis_is_away(fleet: Fleet, how: str) -> None:
    async with fleet.hammered() as hammer:
        if how == "pause":
            fleet.redis.pause()
        else:
            await getattr(fleet.redis, how)()
        exchanges, ended = await asyncio.gather(
            hammer.goes_on(PAUSE), hammer.end_one(fleet.urls[0], of_all=True)
        )
        await check_outage(fleet, exchanges)
        assert (ended.status, ended.body["revoked"], ended.body["pending"]) == (200, None, None)
        if how == "pause":
            fleet.redis.resume()
        else:
            await fleet.redis.start()
        await hammer.recovers()


@pytest.mark.gen_test
async def test_redis_loses_everything_while_it_runs(fleet: Fleet) -> None:
    async with fleet.hammered() as hammer:
        for station in fleet.urls:
            assert (await hammer.end_one(station, of_all=False)).status == 200
        async with redis.asyncio.Redis.from_url(fleet.redis.url) as client:
            await client.flushall()
        hammer.emptied()
        await hammer.recovers()


@pytest.mark.gen_test
async def test_nobody_claims_that_all_know_who_have_not_come_back_to_an_emptied_redis(fleet: Fleet) -> None:
    """No clients but one: every change would bring the processes back at once."""
    async with fleet.quiet() as hammer, redis.asyncio.Redis.from_url(fleet.redis.url) as client:
        for station in fleet.urls * 2:
            await client.flushall()
            hammer.emptied()
            ended = await hammer.end_one(station, of_all=True)
            assert (ended.status, ended.body["pending"]) == (200, None)
        await hammer.all_are_known(2)


@pytest.mark.gen_test
async def test_redis_starts_again_without_its_data(fleet: Fleet) -> None:
    async with fleet.hammered() as hammer:
        await fleet.redis.kill()
        fleet.redis.forget()
        hammer.emptied()
        await fleet.redis.start()
        await hammer.recovers()
        await hammer.all_are_known(2)


@pytest.mark.gen_test
async def test_redis_is_slow(fleet: Fleet) -> None:
    async with fleet.hammered() as hammer, redis.asyncio.Redis.from_url(fleet.redis.url) as client:
        before = len(hammer.traffic.exchanges)
        for milliseconds in (300, 600, 300):  # less than a command waits for it
            await client.client_pause(milliseconds)
            await client.ping()
        assert set(statuses(hammer.traffic.exchanges[before:], "token")) == {200}
        await client.client_pause(2300)  # more: what is written then has failed already
        await client.ping()
        await hammer.recovers()
