from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError

from station.errors import ServiceUnavailable
from station.pipeline import TurnPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tornado.ioloop import IOLoop

    from station.embedded import Endpoints
    from station.pipeline import Turn

KEY = "throttle:login:203.0.113.9"
WINDOW = 60_000


class Recorder:
    """What was sent: one entry a round trip."""

    trips: list[tuple[Any, ...]]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.trips.append(args)
        return await super().execute_command(*args, **options)  # type: ignore[misc] # of the class mixed in


class RecordedFake(Recorder, FakeAsyncRedis):  # type: ignore[misc] # redis-py declares a method twice
    """A fake that is recorded."""


class RecordedRedis(Recorder, Redis):  # type: ignore[misc] # redis-py declares a method twice
    """A real client that is recorded."""


class GatedRedis(FakeAsyncRedis):
    """Answers a round trip when the test opens its gate, or breaks it off; ``gates`` are those under way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gates: list[asyncio.Future[None]] = []

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # fakeredis


class Cluster(RedisCluster):
    """A cluster of one fake: it is asked for pipelines and nothing else."""

    def __init__(self, behind: FakeAsyncRedis) -> None:
        self.behind = behind
        self.pipelines = 0

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        assert not transaction  # the keys of a transaction must be in one slot
        self.pipelines += 1
        return self.behind.pipeline(transaction=False)


class AheadLoop(asyncio.SelectorEventLoop):
    """A loop whose clock a test can put ahead, so that it need not wait."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def counted(pipeline: TurnPipeline, key: str = KEY) -> int:
    """One request that counts a hit."""
    turn = pipeline.turn()
    hit = turn.count(key, window_ms=WINDOW)
    await turn.flushed()
    return hit.hits


async def until(condition: Callable[[], object]) -> None:
    """Let others run until this is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was")


def script_of(redis: Recorder) -> list[str]:
    """The commands that the only round trip since carried, in order, and their keys."""
    [(name, _, count, *arguments)] = redis.trips
    assert name == "EVALSHA"
    keys, [commands] = arguments[:count], arguments[count:]
    return [f"{command[0]} {key}" for key, command in zip(keys, json.loads(commands), strict=True)]


@pytest.fixture(params=["fake", "engine"])
def redis(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[RecordedFake | RecordedRedis]:
    """Redis as a fake, and the embedded engine; the script of a turn is known to both."""
    if request.param == "fake":
        client: Any = RecordedFake()
    else:
        endpoints: Endpoints = request.getfixturevalue("engines")
        client = RecordedRedis.from_url(endpoints.redis_url)
    client.trips = []

    async def warm() -> None:
        await client.flushdb()
        await counted(TurnPipeline(client), "warm")
        await client.flushdb()
        client.trips.clear()

    async def close() -> None:
        await client.flushdb()
        await client.aclose()

    io_loop.run_sync(warm)
    yield client
    io_loop.run_sync(close)


@pytest.mark.gen_test
async def test_a_turn_is_one_round_trip_for_all_that_it_asks(redis: RecordedRedis) -> None:
    pipeline = TurnPipeline(redis)

    async def request(number: int) -> int:
        turn = pipeline.turn()
        one, all_of_them = turn.count(f"one:{number}", window_ms=WINDOW), turn.count("all", window_ms=WINDOW)
        turn.set(f"record:{number}", str(number), seconds=60)
        turn.add("index", f"m{number}", score=number, seconds=120)
        found = turn.get("nothing")
        await turn.flushed()
        assert (one.hits, found.value) == (1, None)
        return all_of_them.hits

    assert await asyncio.gather(*map(request, range(20))) == list(range(1, 21))
    commands = script_of(redis)
    # one INCRBY, one ZADD and one GET for what twenty have asked alike
    assert [commands.count(one) for one in ("INCRBY all", "ZADD index", "GET nothing")] == [1, 1, 1]
    assert len(commands) == 2 * 21 + 20 + 1 + 2
    assert await redis.get("record:7") == b"7"
    assert 58 <= await redis.ttl("record:7") <= 60
    assert await redis.zcard("index") == 20
    assert 118 <= await redis.ttl("index") <= 120


@pytest.mark.gen_test
async def test_hits_are_numbered_from_what_was_counted_before(redis: RecordedRedis) -> None:
    await redis.set(KEY, 10)
    pipeline = TurnPipeline(redis)
    keys = [KEY, "other", KEY, KEY, "other"]
    assert await asyncio.gather(*(counted(pipeline, key) for key in keys)) == [11, 1, 12, 13, 2]
    assert await redis.get(KEY) == b"13"


@pytest.mark.gen_test
async def test_of_several_pipelines_at_once_every_hit_has_a_number_of_its_own(redis: RecordedRedis) -> None:
    pipelines = [TurnPipeline(redis) for _ in range(3)]
    found: list[int] = []
    for _ in range(5):
        found += await asyncio.gather(*(counted(pipeline) for pipeline in pipelines * 7))
    assert sorted(found) == list(range(1, 3 * 7 * 5 + 1))


@pytest.mark.gen_test
async def test_a_window_is_fixed_and_one_without_end_gets_one(redis: RecordedRedis) -> None:
    pipeline = TurnPipeline(redis)
    await redis.set(KEY, 1)
    await counted(pipeline)
    assert 0 < await redis.pttl(KEY) <= WINDOW
    await redis.pexpire(KEY, 20_000)
    await counted(pipeline)
    assert 0 < await redis.pttl(KEY) <= 20_000


@pytest.mark.gen_test
async def test_an_index_lives_as_long_as_it_is_asked_to_and_loses_what_has_expired(
    redis: RecordedRedis,
) -> None:
    await redis.zadd("index", {"old": 99, "now": 100, "later": 101})
    turn = TurnPipeline(redis).turn()
    turn.add("index", "one", score=160, seconds=90)
    turn.add("index", "two", score=150, seconds=60, now=100)
    turn.add("index", "two", score=155, seconds=60)
    await turn.flushed()
    assert await redis.zrange("index", 0, -1, withscores=True) == [
        (b"later", 101.0),
        (b"two", 155.0),
        (b"one", 160.0),
    ]
    assert 60 < await redis.ttl("index") <= 90


@pytest.mark.gen_test
async def test_what_is_read_is_there_when_the_turn_is_flushed(redis: RecordedRedis) -> None:
    await redis.set("a", b"\x00\xff")
    redis.trips.clear()
    turn = TurnPipeline(redis).turn()
    found, same, missing = turn.get("a"), turn.get("a"), turn.get("b")
    last = turn.get("a")
    await turn.flushed()
    assert (found.value, same.value, missing.value, last.value) == (
        b"\x00\xff",
        b"\x00\xff",
        None,
        b"\x00\xff",
    )
    assert script_of(redis) == ["GET a", "GET b"]


@pytest.mark.gen_test
async def test_a_turn_takes_nothing_once_it_has_left(redis: RecordedRedis) -> None:
    pipeline = TurnPipeline(redis)
    turn = pipeline.turn()
    assert pipeline.turn() is turn
    turn.count(KEY, window_ms=WINDOW)
    await turn.flushed()
    assert pipeline.turn() is not turn
    late: list[Callable[[Turn], object]] = [
        lambda late: late.count(KEY, window_ms=WINDOW),
        lambda late: late.get(KEY),
        lambda late: late.set(KEY, "1", seconds=60),
        lambda late: late.add(KEY, "1", score=1, seconds=1),
    ]
    for ask in late:
        with pytest.raises(RuntimeError, match="this turn is over"):
            ask(turn)
    await turn.flushed()  # who asks again learns the same


@pytest.mark.gen_test
async def test_what_nobody_waits_for_is_sent_all_the_same(redis: RecordedRedis) -> None:
    turn = TurnPipeline(redis).turn()
    hit = turn.count(KEY, window_ms=WINDOW)
    await until(lambda: redis.trips)
    while not hit.hits:  # noqa: ASYNC110 - the answer of a real engine comes by its socket
        await asyncio.sleep(0.001)
    await turn.flushed()
    assert len(redis.trips) == 1


@pytest.mark.gen_test
async def test_a_full_turn_is_split(redis: RecordedRedis) -> None:
    pipeline = TurnPipeline(redis)
    assert sorted(await asyncio.gather(*(counted(pipeline) for _ in range(600)))) == list(range(1, 601))
    amounts = [json.loads(trip[-1])[0][1] for trip in redis.trips]
    assert amounts == [256, 256, 88]


@pytest.mark.gen_test
async def test_a_server_that_has_lost_the_script_is_told_it_again(redis: RecordedRedis) -> None:
    pipeline = TurnPipeline(redis)
    await redis.script_flush()
    assert await asyncio.gather(*(counted(pipeline) for _ in range(3))) == [1, 2, 3]


@pytest.mark.gen_test
async def test_a_turn_takes_nothing_while_it_is_under_way() -> None:
    redis = GatedRedis()
    turn = TurnPipeline(redis).turn()
    turn.count(KEY, window_ms=WINDOW)
    await until(lambda: redis.gates)
    with pytest.raises(RuntimeError, match="this turn is over"):
        turn.count(KEY, window_ms=WINDOW)  # it would be lost
    redis.gates[0].set_exception(RedisConnectionError("reset by peer"))
    with pytest.raises(ServiceUnavailable):
        await turn.flushed()


# What goes wrong


@pytest.mark.gen_test
async def test_exactly_the_requests_of_a_turn_that_failed_fail() -> None:
    server = FakeServer()
    await counted(TurnPipeline(FakeAsyncRedis(server=server)))  # the script is known
    redis = GatedRedis(server=server)
    pipeline = TurnPipeline(redis)
    turns = []
    for number in range(2):
        turns.append([asyncio.create_task(counted(pipeline, f"turn:{number}")) for _ in range(3)])
        await until(lambda: len(redis.gates) == len(turns))
    turns.append([asyncio.create_task(counted(pipeline, "turn:2"))])
    broken, whole = redis.gates
    broken.set_exception(RedisConnectionError("reset by peer"))
    outcomes = await asyncio.gather(*turns[0], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 3
    assert not any(task.done() for task in turns[1] + turns[2])
    whole.set_result(None)
    assert await asyncio.gather(*turns[1]) == [1, 2, 3]
    redis.gates[2].set_result(None)
    assert await asyncio.gather(*turns[2]) == [1]


@pytest.mark.gen_test
async def test_a_turn_that_failed_has_failed_for_whoever_asks_later() -> None:
    server = FakeServer()
    server.connected = False
    turn = TurnPipeline(FakeAsyncRedis(server=server)).turn()
    turn.count(KEY, window_ms=WINDOW)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable) as refused:
            await turn.flushed()
        assert isinstance(refused.value.__cause__, RedisConnectionError)
        server.connected = True


@pytest.mark.gen_test
async def test_one_command_that_redis_refuses_fails_its_turn_and_no_other() -> None:
    redis = FakeAsyncRedis()
    await redis.set("index", "not a sorted set")
    pipeline = TurnPipeline(redis)
    turn = pipeline.turn()
    turn.add("index", "one", score=1, seconds=60)
    with pytest.raises(ServiceUnavailable):
        await turn.flushed()
    assert await counted(pipeline) == 1


@pytest.mark.gen_test
async def test_nobody_hangs_because_of_a_fault_in_the_program() -> None:
    class Faulty(FakeAsyncRedis):
        async def execute_command(self, *_args: Any, **_options: Any) -> Any:
            raise ValueError("a bug")

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    pipeline = TurnPipeline(Faulty())
    for _ in range(5):  # more than may be under way at once
        with pytest.raises(ServiceUnavailable):
            await asyncio.wait_for(counted(pipeline), 1)
    await until(lambda: len(reported) == 5)
    assert {str(context["exception"]) for context in reported} == {"a bug"}


@pytest.mark.gen_test
async def test_a_request_that_ends_harms_no_other() -> None:
    server = FakeServer()
    await counted(TurnPipeline(FakeAsyncRedis(server=server)), "warm")
    redis = GatedRedis(server=server)
    pipeline = TurnPipeline(redis)
    early, one, late, two = (asyncio.create_task(counted(pipeline)) for _ in range(4))
    asyncio.get_running_loop().call_soon(early.cancel)  # its command is in the turn, which has not left
    await until(lambda: redis.gates)
    late.cancel()
    await until(late.done)
    redis.gates[0].set_result(None)
    assert [await one, await two] == [2, 4]
    assert early.cancelled()
    assert late.cancelled()
    again = asyncio.create_task(counted(pipeline))
    await until(lambda: len(redis.gates) == 2)
    redis.gates[1].set_result(None)
    assert await again == 5


@pytest.mark.gen_test
async def test_while_two_are_under_way_the_next_one_collects() -> None:
    server = FakeServer()
    await counted(TurnPipeline(FakeAsyncRedis(server=server)), "warm")
    redis = GatedRedis(server=server)
    pipeline = TurnPipeline(redis)
    tasks = []
    for number in range(1, 11):
        tasks.append(asyncio.create_task(counted(pipeline)))
        await until(lambda: len(redis.gates) == min(number, 2))  # noqa: B023 - called at once
        await asyncio.sleep(0)
    redis.gates[1].set_result(None)
    await until(lambda: len(redis.gates) == 3)
    assert await tasks[1] == 1
    for gate in (redis.gates[2], redis.gates[0]):
        gate.set_result(None)
    assert await asyncio.gather(*tasks[2:]) == list(range(2, 10))
    assert await tasks[0] == 10
    assert len(redis.gates) == 3


def ahead(test: Callable[[AheadLoop], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop whose clock it can put ahead."""
    with asyncio.Runner(loop_factory=AheadLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, AheadLoop)
        runner.run(test(loop))


def test_a_redis_that_never_answers_is_given_up_after_two_seconds() -> None:
    async def test(loop: AheadLoop) -> None:
        redis = GatedRedis()
        pipeline = TurnPipeline(redis)
        requests = [asyncio.create_task(counted(pipeline)) for _ in range(3)]
        await until(lambda: redis.gates)
        loop.ahead += 1.8
        await asyncio.sleep(0.01)
        assert not any(request.done() for request in requests)
        loop.ahead += 0.3
        outcomes = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 1)
        assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
        assert {type(outcome.__cause__) for outcome in outcomes if isinstance(outcome, BaseException)} == {
            TimeoutError
        }

    ahead(test)


def test_who_waits_for_the_turns_before_waits_no_longer_either() -> None:
    async def test(loop: AheadLoop) -> None:
        redis = GatedRedis()
        pipeline = TurnPipeline(redis)
        under_way = []
        for number in (1, 2):
            under_way.append(asyncio.create_task(counted(pipeline)))
            await until(lambda: len(redis.gates) == number)  # noqa: B023 - called at once
        loop.ahead += 1
        waiting = asyncio.create_task(counted(pipeline))
        await asyncio.sleep(0.01)
        assert len(redis.gates) == 2
        loop.ahead += 1
        await asyncio.gather(*under_way, return_exceptions=True)
        await until(lambda: len(redis.gates) == 3)
        assert not waiting.done()
        loop.ahead += 1  # two seconds from its own beginning, not from when it could be sent
        with pytest.raises(ServiceUnavailable):
            await asyncio.wait_for(waiting, 0.5)

    ahead(test)


# Clusters


@pytest.mark.gen_test
async def test_a_cluster_gets_a_pipeline_since_a_script_is_for_one_slot() -> None:
    behind = FakeAsyncRedis()
    cluster = Cluster(behind)
    pipeline = TurnPipeline(cluster)

    async def request() -> int:
        turn = pipeline.turn()
        hit, read = turn.count(KEY, window_ms=WINDOW), turn.get("known")
        turn.set("record", "1", seconds=60)
        turn.add("index", "one", score=7, seconds=60, now=6)
        await turn.flushed()
        assert read.value == b"yes"
        return hit.hits

    await behind.set("known", "yes")
    assert [*await asyncio.gather(*(request() for _ in range(20)))] == list(range(1, 21))
    assert cluster.pipelines == 1
    assert (await behind.get(KEY), await behind.get("record")) == (b"20", b"1")
    assert 0 < await behind.pttl(KEY) <= WINDOW
    assert await behind.zrange("index", 0, -1, withscores=True) == [(b"one", 7.0)]


@pytest.mark.gen_test
async def test_a_cluster_that_is_away_fails_the_turn() -> None:
    server = FakeServer()
    server.connected = False
    with pytest.raises(ServiceUnavailable):
        await counted(TurnPipeline(Cluster(FakeAsyncRedis(server=server))))
