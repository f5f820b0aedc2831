from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from station.audit import Actor, Event
from station.errors import Reason, ServiceUnavailable, TooManyRequests
from station.fair_pool import FairPool, PoolFull
from station.metrics.core import BcryptCollector, Seldom
from station.metrics.families import gauge
from station.throttle import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

PATIENCE = 10


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the words of its labels but the worker."""
    return {
        (sample.name, *(word for label, word in sorted(sample.labels.items()) if label != "worker")): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


async def told(app: Application) -> dict[tuple[str, ...], float]:
    text, _ = await app.metrics.exposition("")
    return samples(text_string_to_metric_families(text.decode()))


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, plugins=())


@pytest.fixture
def plugins() -> list[object]:
    return []


@pytest.mark.gen_test
async def test_refusals_are_told_by_action_and_reason(wire: Wire, app: Application) -> None:
    for _ in range(2):
        await wire.fetch("GET", "/auth/me")
    await wire.fetch("GET", "/metrics", headers={"x-internal-api-key": "w" * 40})
    found = {
        key[1:]: number for key, number in (await told(app)).items() if key[0] == "station_refusals_total"
    }
    assert found == {("request.refused", "unauthorized"): 2, ("admin.refused", "wrong_key"): 1}


@pytest.mark.gen_test
async def test_there_is_a_bound_to_the_reasons_of_plugins(wire: Wire, app: Application) -> None:
    for number in range(600):
        reason = Reason(f"reason-{number}", "a plugin made it up")
        app.audit.refuse(Event(action="fleet.refused", actor=Actor("anonymous"), reason=reason))
    found = [(key, number) for key, number in (await told(app)).items() if key[0] == "station_refusals_total"]
    assert len(found) == 501
    assert sum(number for _, number in found) == 600
    assert (("station_refusals_total", "other", "other"), 100) in found


@pytest.mark.gen_test
async def test_throttles_are_told_by_name(wire: Wire, app: Application) -> None:
    limit = Limit(60_000, 1)
    for key in ("somebody", "somebody", "somebody", "another"):
        try:
            await app.throttle.hit("login", key, limit)
        except TooManyRequests:
            continue
    found = await told(app)
    assert found["station_throttle_refusals_total", "login"] == 2
    assert found["station_throttle_refusals_total", "token"] == 0


@pytest.mark.gen_test
async def test_round_trips_to_redis_are_told_with_their_size(wire: Wire, app: Application) -> None:
    before = await told(app)
    turn = app.resources.pipeline.turn()
    for number in range(3):
        turn.set(f"key-{number}", "value", seconds=60)
    await turn.flushed()
    after = await told(app)

    def more(*key: str) -> float:
        return after[key] - before[key]

    assert more("station_redis_turn_commands_sum") == 3
    assert more("station_redis_turn_commands_bucket", "2.0") == 0
    assert more("station_redis_turn_commands_bucket", "5.0") == 1
    assert more("station_redis_turn_duration_seconds_count") == 1
    assert 0 < more("station_redis_turn_duration_seconds_sum") < PATIENCE
    assert more("station_redis_turn_failures_total") == 0


@pytest.mark.gen_test
async def test_round_trips_that_fail_are_told(wire: Wire, app: Application) -> None:
    turn = app.resources.pipeline.turn()
    turn.add("a-key", "member", score=1, seconds=60)
    turn.set("a-key", "of another type", seconds=60)  # which makes ZADD fail
    with pytest.raises(ServiceUnavailable):
        await turn.flushed()
    found = await told(app)
    assert found["station_redis_turn_failures_total",] == 1
    assert found["station_redis_turn_duration_seconds_count",] == 0


def test_the_pool_of_bcrypt_is_told_while_it_works() -> None:
    pool = FairPool(1, queue_size=2, name="bcrypt")
    collector = BcryptCollector("people", pool)
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    jobs = [pool.submit(hold)]
    assert begun.wait(PATIENCE)
    jobs += [pool.submit(lambda: None) for _ in range(2)]
    with pytest.raises(PoolFull):
        pool.submit(lambda: None)
    found = samples(collector.collect())
    assert found["station_bcrypt_threads", "people"] == 1
    assert found["station_bcrypt_threads_busy", "people"] == 1
    assert found["station_bcrypt_queue_length", "people"] == 2
    assert found["station_bcrypt_queue_limit", "people"] == 2
    assert found["station_bcrypt_refused_total", "people"] == 1
    assert found["station_bcrypt_wait_seconds_count", "people"] == 1
    go_on.set()
    for job in jobs:
        job.result(PATIENCE)
    found = samples(collector.collect())
    assert found["station_bcrypt_threads_busy", "people"] == 0
    assert found["station_bcrypt_queue_length", "people"] == 0
    assert found["station_bcrypt_wait_seconds_count", "people"] == 3
    assert found["station_bcrypt_busy_seconds_total", "people"] > 0
    pool.close()


class Slow:
    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        yield gauge("asked", "How often.", self.asked)


@pytest.mark.gen_test
async def test_what_takes_its_time_is_asked_seldom() -> None:
    slow = Slow()
    seldom = Seldom(slow, 0.05)
    first = seldom.collect()
    assert seldom.collect() is first
    await asyncio.sleep(0.06)
    assert samples(seldom.collect()) == {("asked",): 2}
