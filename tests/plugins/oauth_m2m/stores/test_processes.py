from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from plugins.oauth_m2m.stores import ProcessStore
from station.errors import ServiceUnavailable
from tests.plugins.oauth_m2m.conftest import PROCESS

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources

ONE = dataclasses.replace(PROCESS, id="one", host="b", worker=0)


@pytest.mark.gen_test
async def test_processes_are_found_as_they_said_until_they_leave_or_fall_silent(resources: Resources) -> None:
    store = ProcessStore(resources)
    assert await store.list() == []
    first = dataclasses.replace(ONE, id="first", host="a", worker=1)
    for process in (ONE, first, dataclasses.replace(ONE, silence=1.5)):
        await store.say(process)
    assert await store.list() == [first, dataclasses.replace(ONE, silence=1.5)]
    assert 5000 < await resources.redis.pttl("oauth-process:one") <= 6000
    await resources.redis.delete("oauth-process:one")  # it has expired
    assert await store.list() == [first]
    assert await resources.redis.smembers("oauth-processes") == {b"first"}
    await store.leave("first")
    assert await store.list() == []


@pytest.mark.gen_test
async def test_what_a_later_version_says_beside_is_not_read(resources: Resources) -> None:
    store = ProcessStore(resources)
    await store.say(ONE)
    stored: Any = await resources.redis.get("oauth-process:one")
    said = orjson.loads(stored)
    await resources.redis.set("oauth-process:one", orjson.dumps({**said, "mood": "good"}))
    assert await store.list() == [ONE]


@pytest.mark.gen_test
async def test_a_redis_that_is_away_is_service_unavailable(
    resources: Resources, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    store = ProcessStore(resources)
    for asked in (store.say(ONE), store.list(), store.leave("one")):
        with pytest.raises(ServiceUnavailable):
            await asked


@pytest.mark.gen_test
async def test_the_engines_say_which_versions_they_are(engine_resources: Resources) -> None:
    mongodb, redis = await ProcessStore(engine_resources).versions()
    assert int(mongodb.partition(".")[0]) >= 4
    assert int(redis.partition(".")[0]) >= 5
