"""FairPool: a few threads, a bounded queue, and nobody who asks a lot keeps the others waiting.

::

    pool = FairPool(2, queue_size=64, name="bcrypt")
    job = pool.submit(work, source="203.0.113.9")     # a concurrent.futures.Future
    pool.close()

Sources take turns: the next job to run is the oldest of the source that has waited longest for its turn. So
whoever comes while another source fills the queue waits for the jobs that run, and not for the queue.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from station.metrics import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FairPool", "PoolFull"]

T = TypeVar("T")


class PoolFull(Exception):
    """There is no place for another job, or none for another one of this source."""


class FairPool:
    """``workers`` threads, and ``queue_size`` more jobs that wait.

    A source may have half of the waiting places; what names none shares one turn and may have all of them.
    ``waits`` are the seconds that jobs have waited for a thread, ``busy_seconds`` what threads have worked in
    all, and ``refused`` is how many jobs found no place.
    """

    def __init__(
        self, workers: int, *, queue_size: int, name: str, initializer: Callable[[], None] | None = None
    ) -> None:
        self.workers = workers
        self.queue_size = queue_size
        self.waits = Histogram()
        self.busy_seconds = 0.0
        self.refused = 0
        self._running = 0
        self._places = workers + queue_size
        self._share = workers + queue_size // 2
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[Future[Any], Callable[[], Any], float]]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=initializer)

    @property
    def running(self) -> int:
        """How many jobs run."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def check(self, source: str = "") -> None:
        """`PoolFull` if there is no place for another job of this source now."""
        if self._taken.total() >= self._places or (source and self._taken[source] >= self._share):
            self.refused += 1
            raise PoolFull

    def submit(self, work: Callable[[], T], *, source: str = "") -> Future[T]:
        """Run ``work`` when its turn comes; `PoolFull` at once if there is no place.

        A job that is cancelled while it waits gives its place back; `RuntimeError` when the pool is closed.
        """
        job: Future[T] = Future()
        with self._lock:
            self.check(source)
            self._threads.submit(self._run_next)  # first: it may be closed
            self._taken[source] += 1
            self._waiting.setdefault(source, deque()).append((job, work, time.monotonic()))
        job.add_done_callback(lambda _: self._leave(source))
        return job

    def close(self) -> None:
        """End the threads after the jobs they are at; jobs that still wait are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = [job for jobs in self._waiting.values() for job, *_ in jobs]
            self._waiting.clear()
        for job in waiting:
            job.cancel()

    def _leave(self, source: str) -> None:
        with self._lock:
            self._taken[source] -= 1
            if not self._taken[source]:
                del self._taken[source]

    def _run_next(self) -> None:
        """Run one job: there is a call of this for each that waits."""
        with self._lock:
            if not self._waiting:
                return  # closed
            source = next(iter(self._waiting))
            jobs = self._waiting.pop(source)
            job, work, since = jobs.popleft()
            if jobs:
                self._waiting[source] = jobs  # behind the others
        if not job.set_running_or_notify_cancel():
            return
        began = self._begin(since)
        try:
            result = work()
        except BaseException as error:  # the caller gets it, as from any executor
            self._end(began)
            job.set_exception(error)
        else:
            self._end(began)
            job.set_result(result)

    def _begin(self, since: float) -> float:
        now = time.monotonic()
        with self._lock:
            self.waits.observe(now - since)
            self._running += 1
        return now

    def _end(self, began: float) -> None:
        with self._lock:
            self._running -= 1
            self.busy_seconds += time.monotonic() - began
