from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.stores import NodeStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources


@pytest.fixture(params=["resources", "engine_resources"])
def stored(request: pytest.FixtureRequest) -> Resources:
    resources: Resources = request.getfixturevalue(request.param)
    return resources


@pytest.mark.gen_test
async def test_each_process_says_how_far_it_has_come(stored: Resources) -> None:
    one, two = NodeStore(stored), NodeStore(stored)
    assert await one.positions() == {}
    await one.announce("n1", (0, 0))
    await two.announce("n2", (1_767_225_600, 7))
    await one.announce("n1", (1_767_225_601, 12))
    for store in (one, two):
        assert await store.positions() == {"n1": (1_767_225_601, 12), "n2": (1_767_225_600, 7)}


@pytest.mark.gen_test
async def test_it_learns_whether_it_was_known(stored: Resources) -> None:
    store = NodeStore(stored)
    assert [await store.announce("n1", (place, 0)) for place in range(3)] == [False, True, True]
    await stored.redis.delete("oauth-node:n1", "oauth-nodes")
    assert await store.announce("n1", (3, 0)) is False


@pytest.mark.gen_test
async def test_who_ends_is_gone_at_once(stored: Resources) -> None:
    store = NodeStore(stored)
    await store.announce("n1", (1, 1))
    await store.announce("n2", (1, 1))
    await store.leave("n1")
    await store.leave("n3")  # was never there
    assert await store.positions() == {"n2": (1, 1)}
    assert await stored.redis.smembers("oauth-nodes") == {b"n2"}


@pytest.mark.gen_test
async def test_who_is_silent_for_three_seconds_does_not_live(stored: Resources) -> None:
    store = NodeStore(stored)
    await store.announce("n1", (1, 1))
    await store.announce("n2", (2, 2))
    assert store.LIFE_SECONDS == 3
    assert 2500 < await stored.redis.pttl("oauth-node:n1") <= 3000
    await stored.redis.pexpire("oauth-node:n1", 0)  # as if they had passed
    assert await store.positions() == {"n2": (2, 2)}
    assert await stored.redis.smembers("oauth-nodes") == {b"n2"}  # the dead leave the set
    await store.announce("n1", (3, 3))  # it was only slow
    assert await store.positions() == {"n1": (3, 3), "n2": (2, 2)}


@pytest.mark.gen_test
async def test_without_redis(resources: Resources, redis_server: FakeServer) -> None:
    redis_server.connected = False
    store = NodeStore(resources)
    for work in (store.announce("n1", (1, 1)), store.positions(), store.leave("n1")):
        with pytest.raises(ServiceUnavailable):
            await work
