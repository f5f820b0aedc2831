from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from station.metrics.families import counter, gauge
from station.metrics.service import Metrics
from station.metrics.shared import SharedSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric


class Counting:
    def __init__(self, number: int = 0, queue: int = 0) -> None:
        self.number = number
        self.queue = queue

    def collect(self) -> Iterator[Metric]:
        yield counter("served", "Served.", self.number)
        yield gauge("queue", "Queue.", self.queue)


class Failing:
    def collect(self) -> Iterator[Metric]:
        yield counter("half", "Half of it.", 1)
        raise LookupError("a collector's own")


async def told(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Every sample by name and worker."""
    text, media_type = await metrics.exposition("")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, sample.labels.get("worker", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def until_told(
    metrics: Metrics, done: Callable[[dict[tuple[str, str], float]], bool]
) -> dict[tuple[str, str], float]:
    """What is told once it is so."""
    async with asyncio.timeout(10):
        while True:
            found = await told(metrics)
            if done(found):
                return found
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_one_process_tells_what_is_so_when_it_is_asked() -> None:
    counting = Counting(3, 1)
    async with Metrics({"fleet": [counting]}).publishing() as metrics:
        assert await told(metrics) == {("served_total", ""): 3, ("queue", "0"): 1}
        counting.number, counting.queue = 4, 0
        assert await told(metrics) == {("served_total", ""): 4, ("queue", "0"): 0}


@pytest.mark.parametrize("asked", [0, 1])
@pytest.mark.gen_test
async def test_any_worker_tells_for_all(asked: int) -> None:
    shared = SharedSnapshots(2)
    workers = [Metrics({"fleet": [Counting(3, n)]}, worker=n, shared=shared) for n in (0, 1)]
    async with workers[0].publishing(), workers[1].publishing():
        expected = {("served_total", ""): 6, ("queue", "0"): 0, ("queue", "1"): 1}
        assert await told(workers[asked]) == expected


@pytest.mark.gen_test
async def test_what_a_worker_counts_is_told_by_the_others_soon() -> None:
    shared, counting = SharedSnapshots(2), Counting(1)
    one = Metrics({"fleet": [counting]}, worker=0, shared=shared, interval=0.01)
    other = Metrics({}, worker=1, shared=shared)
    async with one.publishing(), other.publishing():
        counting.number = 5
        await until_told(other, lambda found: found["served_total", ""] == 5)


@pytest.mark.gen_test
async def test_a_worker_goes_on_counting_where_the_one_before_it_was() -> None:
    shared, counting = SharedSnapshots(2), Counting(10, 4)
    async with Metrics({"fleet": [counting]}, worker=0, shared=shared).publishing():
        counting.number = 11  # written when it ends
    async with Metrics({"fleet": [Counting(2, 1)]}, worker=0, shared=shared).publishing() as second:
        assert await told(second) == {("served_total", ""): 13, ("queue", "0"): 1}
    async with Metrics({"fleet": [Counting(1, 0)]}, worker=0, shared=shared).publishing() as third:
        assert await told(third) == {("served_total", ""): 14, ("queue", "0"): 0}
    async with Metrics({}, worker=0, shared=shared).publishing() as without_the_plugin:
        assert await told(without_the_plugin) == {("served_total", ""): 14}


@pytest.mark.gen_test
async def test_of_a_worker_that_writes_no_more_only_what_it_counted_is_told() -> None:
    shared = SharedSnapshots(2)
    async with Metrics({"fleet": [Counting(3, 9)]}, worker=0, shared=shared).publishing():
        pass
    asked = Metrics({"fleet": [Counting(4, 1)]}, worker=1, shared=shared, life=0.05)
    async with asked.publishing():
        found = await until_told(asked, lambda found: ("queue", "0") not in found)
    assert found == {("served_total", ""): 7, ("queue", "1"): 1}


@pytest.mark.gen_test
async def test_a_collector_that_fails_is_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Metrics({"bad": [Failing()], "fleet": [Counting(3)]}).publishing() as metrics:
        for _ in range(3):
            assert await told(metrics) == {("served_total", ""): 3, ("queue", "0"): 0}
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "a collector of the plugin bad failed, and is left out"


@pytest.mark.gen_test
async def test_a_snapshot_without_room_is_logged_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = SharedSnapshots(1, size=64)
    metrics = Metrics({"fleet": [Counting(3)]}, worker=0, shared=shared, interval=0.01)
    async with metrics.publishing():
        assert await told(metrics) == {}
    [record] = caplog.records
    assert record.getMessage() == "the metrics of this worker cannot be written"
    assert "longer than its place" in str(record.exc_info)
