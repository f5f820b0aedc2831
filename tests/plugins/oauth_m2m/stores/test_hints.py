from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.stores import HintStore
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources


@pytest.mark.gen_test
async def test_one_of_many_claims_a_hint_until_it_expires(resources: Resources) -> None:
    one, other = HintStore(resources), HintStore(resources)
    assert await one.claim("bot", seconds=3600)
    assert not await other.claim("bot", seconds=3600)
    assert await other.claim("bot-2", seconds=3600)
    assert 3590 < await resources.redis.ttl("oauth-hint:bot") <= 3600
    await resources.redis.delete("oauth-hint:bot")
    assert await other.claim("bot", seconds=3600)


@pytest.mark.gen_test
async def test_a_redis_that_is_away_is_service_unavailable(
    resources: Resources, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    with pytest.raises(ServiceUnavailable):
        await HintStore(resources).claim("bot", seconds=1)
