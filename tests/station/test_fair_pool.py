from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, wait
from typing import TYPE_CHECKING

import pytest

from station.fair_pool import FairPool, PoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 10


@pytest.fixture
def pool() -> Iterator[FairPool]:
    pool = FairPool(1, queue_size=6, name="fair")
    yield pool
    pool.close()


class Work:
    """Jobs that write down in which order they ran; the first one holds the thread until it is let go."""

    def __init__(self, pool: FairPool) -> None:
        self.order: list[str] = []
        self.go_on = threading.Event()
        begun = threading.Event()

        def hold() -> None:
            begun.set()
            assert self.go_on.wait(PATIENCE)

        self.held = pool.submit(hold)
        assert begun.wait(PATIENCE)

    def named(self, name: str) -> Callable[[], None]:
        return lambda: self.order.append(name)


def test_sources_take_turns(pool: FairPool) -> None:
    work = Work(pool)
    jobs = [pool.submit(work.named(f"flood {number}"), source="flood") for number in range(3)]
    jobs += [pool.submit(work.named(name), source=name) for name in ("right", "another")]
    jobs.append(pool.submit(work.named("right again"), source="right"))
    work.go_on.set()
    wait(jobs, PATIENCE)
    assert work.order == ["flood 0", "right", "another", "flood 1", "right again", "flood 2"]


def test_one_source_leaves_places_to_the_others(pool: FairPool) -> None:
    work = Work(pool)
    flood = [pool.submit(work.named("flood"), source="flood") for _ in range(4)]  # the thread's, half of six
    with pytest.raises(PoolFull):
        pool.submit(work.named("flood"), source="flood")
    others = [pool.submit(work.named("other"), source=str(number)) for number in range(2)]
    with pytest.raises(PoolFull):
        pool.submit(work.named("other"), source="late")
    work.go_on.set()
    wait([*flood, *others], PATIENCE)
    assert pool.submit(lambda: "places are free again", source="flood").result(PATIENCE)


def test_what_names_no_source_may_have_all_places(pool: FairPool) -> None:
    work = Work(pool)
    jobs = [pool.submit(work.named("mine")) for _ in range(6)]
    with pytest.raises(PoolFull):
        pool.submit(work.named("mine"))
    work.go_on.set()
    assert not wait(jobs, PATIENCE).not_done


def test_a_job_that_is_cancelled_gives_its_place_back(pool: FairPool) -> None:
    work = Work(pool)
    jobs: list[Future[None]] = [pool.submit(work.named("mine")) for _ in range(6)]
    assert jobs[0].cancel()
    jobs.append(pool.submit(work.named("in its place")))
    work.go_on.set()
    wait(jobs, PATIENCE)
    assert work.order == ["mine"] * 5 + ["in its place"]


def test_a_failure_is_the_callers(pool: FairPool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(PATIENCE)
    assert pool.submit(lambda: "goes on").result(PATIENCE)


def test_closing_cancels_what_waits(pool: FairPool) -> None:
    work = Work(pool)
    waiting = pool.submit(work.named("too late"), source="somebody")
    pool.close()
    work.go_on.set()
    work.held.result(PATIENCE)
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)
    with pytest.raises(RuntimeError):
        pool.submit(work.named("closed"))
    assert work.order == []
