from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.migrations import MIGRATIONS
from plugins.oauth_m2m.models import TokenRecord
from plugins.oauth_m2m.stores import TokenStore
from station.errors import ServiceUnavailable
from station.migrations import Migrator
from tests.plugins.oauth_m2m.conftest import BOT

if TYPE_CHECKING:
    from fakeredis import FakeServer

    from station.resources import Resources

KEY = "client-token:station-bot:j1"
LIVE = "client-tokens:station-bot:g1"


@pytest.fixture
def tokens(resources: Resources) -> TokenStore:
    return TokenStore(resources)


def record(jti: str = "j1", ttl: int = 60) -> TokenRecord:
    iat = int(time.time())
    return TokenRecord(jti, "station-bot", ("bot:api",), iat, iat + ttl, "203.0.113.9", "curl/8", "s1")


async def listed(tokens: TokenStore, *, limit: int) -> list[list[str]]:
    """The jtis of all pages."""
    pages, after = [], None
    while True:
        page = await tokens.list(BOT, limit=limit, after=after)
        pages.append([token.jti for token in page.tokens])
        after = page.last
        if after is None:
            return pages


async def revoked(tokens: TokenStore) -> list[str]:
    """All that are revoked."""
    return [jti async for jtis in tokens.revoked() for jti in jtis]


@pytest.mark.gen_test
async def test_a_live_token_is_recorded_until_it_expires(tokens: TokenStore, resources: Resources) -> None:
    token = record()
    await tokens.record(BOT, token)
    stored = await resources.redis.get(KEY)
    assert stored is not None
    assert json.loads(stored) == {
        "scopes": ["bot:api"],
        "issued_at": token.iat,
        "expires_at": token.exp,
        "address": "203.0.113.9",
        "user_agent": "curl/8",
        "secret": "s1",
    }
    assert 59 <= await resources.redis.ttl(KEY) <= 60
    page = await tokens.list(BOT, limit=10)
    assert (page.tokens, page.last) == ((token,), None)
    assert (await tokens.expiry(BOT, "j1"), await tokens.count(BOT)) == (token.exp, 1)


@pytest.mark.gen_test
async def test_the_index_lives_longer_than_any_token(tokens: TokenStore, resources: Resources) -> None:
    for ttl in (3600, 60):
        await tokens.record(BOT, record(f"of-{ttl}", ttl))
        assert 3600 < await resources.redis.ttl(LIVE) <= 3660


@pytest.mark.gen_test
async def test_what_has_expired_leaves_the_index_by_itself(tokens: TokenStore, resources: Resources) -> None:
    now = int(time.time())
    await resources.redis.zadd(LIVE, {"old": now - 1, "older": now - 302})
    assert (await tokens.count(BOT), await tokens.expiry(BOT, "older")) == (0, None)
    # by the clock of another process it may live still, and can be revoked
    assert await tokens.expiry(BOT, "old") == now - 1
    assert await listed(tokens, limit=10) == [[]]
    await tokens.record(BOT, record())
    assert await resources.redis.zrange(LIVE, 0, -1) == [b"old", b"j1"]


@pytest.mark.gen_test
async def test_a_clock_that_is_behind_does_not_lose_the_record(
    tokens: TokenStore, resources: Resources
) -> None:
    token = record()
    behind = dataclasses.replace(token, iat=token.iat - 300, exp=token.exp - 300)
    await tokens.record(BOT, behind)
    assert 59 <= await resources.redis.ttl(KEY) <= 60
    assert await tokens.expiry(BOT, "j1") == behind.exp


@pytest.mark.gen_test
async def test_what_has_expired_leaves_the_index_once_a_minute(
    tokens: TokenStore, resources: Resources
) -> None:
    later = record("later", 600)
    await tokens.record(BOT, record(ttl=600))
    await resources.redis.zadd(LIVE, {"old": 5})
    await tokens.record(BOT, later)
    assert await resources.redis.zcard(LIVE) == 3
    await tokens.record(BOT, dataclasses.replace(record("last", 600), iat=later.iat + 60))
    assert await resources.redis.zrange(LIVE, 0, -1) == [b"j1", b"last", b"later"]


@pytest.mark.gen_test
async def test_what_is_taken_back_was_never_there(tokens: TokenStore, resources: Resources) -> None:
    for jti in ("j1", "j2"):
        await tokens.record(BOT, record(jti))
    await tokens.withdraw(BOT, "j1")
    assert await listed(tokens, limit=10) == [["j2"]]
    assert sorted(await resources.redis.keys()) == [b"client-token:station-bot:j2", LIVE.encode()]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
@pytest.mark.gen_test
async def test_pages_hold_every_token_once_and_those_that_live_longest_come_first(
    tokens: TokenStore, limit: int
) -> None:
    for jti, ttl in [("a", 60), ("b", 300), ("c", 60), ("d", 600), ("e", 60), ("f", 61)]:
        await tokens.record(BOT, record(jti, ttl))
    pages = await listed(tokens, limit=limit)
    assert [jti for page in pages for jti in page] == ["d", "b", "f", "e", "c", "a"]
    assert all(len(page) <= limit for page in pages)


@pytest.mark.gen_test
async def test_a_page_goes_on_where_the_last_token_was_revoked_or_is_gone(
    tokens: TokenStore, resources: Resources
) -> None:
    for jti, ttl in [("a", 60), ("b", 60), ("c", 60), ("d", 600)]:
        await tokens.record(BOT, record(jti, ttl))
    first = await tokens.list(BOT, limit=2)
    assert [token.jti for token in first.tokens] == ["d", "c"]
    await tokens.revoke(BOT, "c", first.tokens[1].exp)
    await tokens.blacklist(BOT, "c", first.tokens[1].exp)
    rest = await tokens.list(BOT, limit=2, after=first.last)
    assert [token.jti for token in rest.tokens] == ["b", "a"]
    await resources.redis.delete("client-token:station-bot:b")
    assert await listed(tokens, limit=10) == [["d", "a"]]


@pytest.mark.gen_test
async def test_a_token_that_only_mongodb_knows_to_be_revoked_is_not_listed(
    tokens: TokenStore, redis_server: FakeServer
) -> None:
    token = record()
    await tokens.record(BOT, token)
    redis_server.connected = False
    await tokens.revoke(BOT, "j1", token.exp)
    with pytest.raises(ServiceUnavailable):
        await tokens.blacklist(BOT, "j1", token.exp)
    redis_server.connected = True
    assert await listed(tokens, limit=10) == [[]]


@pytest.mark.gen_test
async def test_another_generation_and_another_client_have_tokens_of_their_own(tokens: TokenStore) -> None:
    await tokens.record(BOT, record())
    for other in (
        dataclasses.replace(BOT, generation="g2"),
        dataclasses.replace(BOT, client_id="station-bot-2"),
    ):
        assert (await tokens.list(other, limit=10)).tokens == ()
        assert (await tokens.count(other), await tokens.expiry(other, "j1")) == (0, None)


@pytest.mark.gen_test
async def test_a_revoked_token_is_remembered_as_long_as_it_would_have_lived(
    tokens: TokenStore, resources: Resources
) -> None:
    token = record()
    await tokens.record(BOT, token)
    assert await revoked(tokens) == []
    for _ in range(2):  # once more changes nothing
        await tokens.revoke(BOT, "j1", token.exp)
        await tokens.blacklist(BOT, "j1", token.exp)
    assert await revoked(tokens) == ["j1"]
    assert await resources.redis.keys() == [b"blacklist:j1"]
    assert token.exp - time.time() <= await resources.redis.ttl("blacklist:j1") - 300 <= 61
    assert await tokens.expiry(BOT, "j1") is None
    [stored] = [document async for document in resources.database["revoked_tokens"].find()]
    assert stored == {
        "_id": "j1",
        "client_id": "station-bot",
        "expires_at": datetime.fromtimestamp(token.exp + 300, UTC),  # MongoDB forgets by its own clock
    }


@pytest.mark.gen_test
async def test_a_token_that_expires_meanwhile_is_revoked_without_an_error(tokens: TokenStore) -> None:
    gone = int(time.time()) - 5
    await tokens.revoke(BOT, "j1", gone)
    await tokens.blacklist(BOT, "j1", gone)
    assert await revoked(tokens) == ["j1"]


@pytest.mark.gen_test
async def test_all_revocations_that_count_are_read_a_thousand_at_a_time(
    tokens: TokenStore, resources: Resources
) -> None:
    soon, past = time.time() + 60, time.time() - 1
    await resources.database["revoked_tokens"].insert_many(
        [
            {"_id": f"j{number}", "expires_at": datetime.fromtimestamp(expires_at, UTC)}
            for number in range(2100)
            for expires_at in [past if number % 21 == 0 else soon]
        ]
    )
    batches = [batch async for batch in tokens.revoked()]
    assert [len(batch) for batch in batches] == [1000, 1000, 0]
    assert {jti for batch in batches for jti in batch} == {f"j{n}" for n in range(2100) if n % 21}


@pytest.mark.gen_test
async def test_revocations_are_forgotten_when_their_token_has_expired(resources: Resources) -> None:
    await Migrator(resources.database, {"oauth_m2m": MIGRATIONS}).up()
    indexes = await resources.database["revoked_tokens"].index_information()
    assert (indexes["expires_at"]["key"], indexes["expires_at"]["expireAfterSeconds"]) == (
        [("expires_at", 1)],
        0,
    )


@pytest.mark.gen_test
async def test_without_redis(tokens: TokenStore, redis_server: FakeServer) -> None:
    redis_server.connected = False
    calls = (
        tokens.record(BOT, record()),
        tokens.withdraw(BOT, "j1"),
        tokens.blacklist(BOT, "j1", int(time.time()) + 60),
        tokens.list(BOT, limit=10),
        tokens.count(BOT),
        tokens.expiry(BOT, "j1"),
    )
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 6
    await tokens.revoke(BOT, "j1", int(time.time()) + 60)  # MongoDB alone decides
    assert await revoked(tokens) == ["j1"]


@pytest.mark.gen_test
async def test_without_mongodb(without_mongodb: Resources) -> None:
    tokens = TokenStore(without_mongodb)
    await tokens.record(BOT, record())
    before = sorted(await without_mongodb.redis.keys())
    outcomes = await asyncio.gather(
        tokens.revoke(BOT, "j1", int(time.time()) + 60),
        revoked(tokens),
        tokens.list(BOT, limit=10),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 3
    assert sorted(await without_mongodb.redis.keys()) == before  # nothing was revoked by half
