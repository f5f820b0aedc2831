from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from station.errors import ServiceUnavailable, TooManyRequests
from station.throttle import Check, Hit, Limit, Throttle, _redis_key, _refusal

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
@pytest.mark.parametrize("method", ["hit", "count"])
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


class TestAdmission:
    """Several throttles, asked at once."""

    ONE = Limit(window_ms=60_000, limit=1)

    @pytest.mark.gen_test
    async def test_asks_all_of_a_turn_in_one_round_trip(self) -> None:
        class Counted(FakeAsyncRedis):
            trips = 0

            async def execute_command(self, *args: Any, **options: Any) -> Any:
                self.trips += 1
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # fakeredis

        redis = Counted()
        throttle = Throttle(redis)
        await throttle.hit("warm", "", TWO)  # the script is known
        redis.trips = 0
        admissions = [
            throttle.admit(Check("failure", "203.0.113.9", TWO), Hit("token", f"203.0.113.9/{number}", TWO))
            for number in range(10)
        ]
        for admission in admissions:
            await admission.settled()
        assert redis.trips == 1

    @pytest.mark.gen_test
    async def test_lets_exactly_as_many_pass_as_the_limit_says(self) -> None:
        server = FakeServer()
        doors = [Throttle(FakeAsyncRedis(server=server)) for _ in range(3)]  # three processes
        seven = Limit(window_ms=60_000, limit=7)
        outcomes: list[object] = []
        for _ in range(3):
            asked = [door.admit(Hit("token", "here", seven)) for door in doors * 3]
            outcomes += await asyncio.gather(*(one.settled() for one in asked), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [TooManyRequests] * 20
        assert outcomes.count(None) == 7

    @pytest.mark.gen_test
    async def test_counts_what_it_refuses_and_also_what_nobody_settles(self) -> None:
        redis = FakeAsyncRedis()
        throttle = Throttle(redis)
        await throttle.count("failure", "here", self.ONE)
        refused = throttle.admit(Check("failure", "here", self.ONE), Hit("token", "here", TWO))
        throttle.admit(Hit("token", "here", TWO))
        with pytest.raises(TooManyRequests):
            await refused.settled()
        assert await redis.get(b"throttle:token:here") == b"2"
        assert await redis.get(b"throttle:failure:here") == b"1"  # a check counts nothing

    @pytest.mark.gen_test
    async def test_says_what_it_said_as_often_as_it_is_asked(self) -> None:
        redis = FakeAsyncRedis()
        throttle = Throttle(redis)
        passed = throttle.admit(Hit("token", "here", self.ONE))
        refused = throttle.admit(Hit("token", "here", self.ONE))
        await passed.settled()
        await redis.pexpire(b"throttle:token:here", 20_000)
        for _ in range(2):
            await passed.settled()
            with pytest.raises(TooManyRequests) as error:
                await refused.settled()
            assert error.value.headers == {"Retry-After": "20"}
            await redis.flushall()
        assert await redis.keys() == []

    @pytest.mark.gen_test
    async def test_the_first_that_refuses_says_when_to_come_back(self) -> None:
        redis = FakeAsyncRedis()
        throttle = Throttle(redis)
        for name, window_ms in (("first", 20_000), ("second", 40_000)):
            await redis.set(f"throttle:{name}:here", 9, px=window_ms)
        questions: list[Check | Hit] = [
            Hit("passes", "here", TWO),
            Check("first", "here", TWO),
            Hit("second", "here", TWO),
        ]
        with pytest.raises(TooManyRequests) as error:
            await throttle.admit(*questions).settled()
        assert error.value.headers == {"Retry-After": "20"}

    @pytest.mark.gen_test
    async def test_what_it_asks_travels_before_it_is_waited_for(self) -> None:
        redis = FakeAsyncRedis()
        admission = Throttle(redis).admit(Hit("token", "here", self.ONE))
        while not await redis.exists(b"throttle:token:here"):  # noqa: ASYNC110 - until the turn is over
            await asyncio.sleep(0)
        await admission.settled()

    @pytest.mark.gen_test
    async def test_without_redis_nothing_passes_and_no_question_needs_none(self) -> None:
        server = FakeServer()
        server.connected = False
        throttle = Throttle(FakeAsyncRedis(server=server))
        off = Limit(window_ms=60_000, limit=0)
        await throttle.admit().settled()
        await throttle.admit(Hit("token", "here", off), Check("failure", "here", off)).settled()
        admission = throttle.admit(Hit("token", "here", off), Check("failure", "here", TWO))
        for _ in range(2):
            with pytest.raises(ServiceUnavailable):
                await admission.settled()


@pytest.mark.gen_test
async def test_what_was_full_a_moment_ago_is_unlikely_to_pass() -> None:
    redis = FakeAsyncRedis()
    throttle = Throttle(redis)
    here = Hit("login", "203.0.113.9", Limit(window_ms=60_000, limit=1))
    assert not throttle.admit(here).unlikely
    with pytest.raises(TooManyRequests):
        await throttle.admit(here).settled()
    again = throttle.admit(here)
    assert again.unlikely
    with pytest.raises(TooManyRequests) as refused:
        await again.settled()
    assert 58 <= int(refused.value.headers["Retry-After"]) <= 60
    await redis.flushall()  # somebody opened it again: what this process remembers refuses nobody
    await throttle.admit(here).settled()
