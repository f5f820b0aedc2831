from __future__ import annotations

import asyncio
import re

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from station.errors import ServiceUnavailable, TooManyRequests
from station.throttle import Limit, Throttle, _redis_key, _refusal

TWO = Limit(window_ms=60_000, limit=2)
KEY = b"throttle:login:203.0.113.9"


@pytest.mark.gen_test
async def test_the_hit_beyond_the_limit_is_refused() -> None:
    throttle = Throttle(FakeAsyncRedis())
    for _ in range(2):
        await throttle.hit("login", "203.0.113.9", TWO)
    with pytest.raises(TooManyRequests) as refused:
        await throttle.hit("login", "203.0.113.9", TWO)
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    await throttle.hit("login", "203.0.113.10", TWO)
    await throttle.hit("register", "203.0.113.9", TWO)


@pytest.mark.gen_test
async def test_hits_at_the_same_time_are_all_counted() -> None:
    throttle = Throttle(FakeAsyncRedis())
    hits = (throttle.hit("login", "203.0.113.9", TWO) for _ in range(10))
    outcomes = await asyncio.gather(*hits, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 2


@pytest.mark.gen_test
async def test_the_window_is_fixed_and_ends() -> None:
    redis = FakeAsyncRedis()
    throttle = Throttle(redis)
    await throttle.hit("login", "203.0.113.9", TWO)
    await redis.pexpire(KEY, 20_000)
    await throttle.hit("login", "203.0.113.9", TWO)
    assert await redis.pttl(KEY) <= 20_000  # a hit does not prolong it
    with pytest.raises(TooManyRequests) as refused:
        await throttle.hit("login", "203.0.113.9", TWO)
    assert int(refused.value.headers["Retry-After"]) <= 20
    await redis.pexpire(KEY, 1)
    await asyncio.sleep(0.01)
    await throttle.hit("login", "203.0.113.9", TWO)


@pytest.mark.parametrize(
    ("expires_in_ms", "retry_after"),
    [(-2, "1"), (0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (60_000, "60")],
)
def test_retry_after_is_whole_seconds_rounded_up(expires_in_ms: int, retry_after: str) -> None:
    assert _refusal(expires_in_ms).headers == {"Retry-After": retry_after}


@pytest.mark.gen_test
async def test_check_counts_nothing_and_count_refuses_nothing() -> None:
    redis = FakeAsyncRedis()
    throttle = Throttle(redis)
    for _ in range(5):
        await throttle.check("login", "203.0.113.9", TWO)
    assert await redis.keys() == []
    await throttle.count("login", "203.0.113.9", TWO)
    await throttle.check("login", "203.0.113.9", TWO)
    await throttle.count("login", "203.0.113.9", TWO)
    with pytest.raises(TooManyRequests):  # the limit is reached: nothing more may fail
        await throttle.check("login", "203.0.113.9", TWO)
    await throttle.count("login", "203.0.113.9", TWO)
    assert await redis.get(KEY) == b"3"


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["hit", "check", "count"])
async def test_a_count_left_without_expiry_gets_one(method: str) -> None:
    redis = FakeAsyncRedis()
    await redis.set(KEY, 1)
    await getattr(Throttle(redis), method)("login", "203.0.113.9", TWO)
    assert 0 < await redis.pttl(KEY) <= 60_000


@pytest.mark.gen_test
async def test_a_refused_check_heals_too() -> None:
    redis = FakeAsyncRedis()
    await redis.set(KEY, 100)
    with pytest.raises(TooManyRequests):
        await Throttle(redis).check("login", "203.0.113.9", TWO)
    assert 0 < await redis.pttl(KEY) <= 60_000


@pytest.mark.gen_test
async def test_a_limit_of_zero_is_off() -> None:
    server = FakeServer()
    server.connected = False  # nobody asks
    throttle = Throttle(FakeAsyncRedis(server=server))
    off = Limit(window_ms=60_000, limit=0)
    await throttle.hit("login", "203.0.113.9", off)
    await throttle.check("login", "203.0.113.9", off)
    await throttle.count("login", "203.0.113.9", off)


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["hit", "check", "count"])
async def test_without_redis_nothing_passes(method: str) -> None:
    server = FakeServer()
    server.connected = False
    with pytest.raises(ServiceUnavailable) as refused:
        await getattr(Throttle(FakeAsyncRedis(server=server)), method)("login", "203.0.113.9", TWO)
    assert refused.value.headers["Retry-After"] == "1"


@pytest.mark.gen_test
async def test_any_text_can_be_counted() -> None:
    redis = FakeAsyncRedis()
    throttle = Throttle(redis)
    for key in ("", "{slot}", "\ud800", "a b\r\n", "x" * 100_000):
        await throttle.hit("token", key, TWO)
    assert len(await redis.keys()) == 5


@given(key=st.text(st.characters(), max_size=300))
def test_a_stored_key_is_short_plain_and_without_braces(key: str) -> None:
    assert re.fullmatch(r"throttle:token:[A-Za-z0-9@+._:/=-]{1,200}", _redis_key("token", key))


def test_a_readable_key_stays_readable() -> None:
    assert _redis_key("token", "2001:db8::/64:station-bot") == "throttle:token:2001:db8::/64:station-bot"


def test_no_plain_key_equals_a_hashed_one() -> None:
    hashed = _redis_key("token", "{").removeprefix("throttle:token:")
    assert _redis_key("token", hashed) != _redis_key("token", "{")
