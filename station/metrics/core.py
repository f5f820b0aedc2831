"""What the core itself tells Prometheus, and collectors that plugins may use for what the core gave them."""

from __future__ import annotations

import platform
import time
from collections import Counter
from typing import TYPE_CHECKING, get_args

import tornado
from prometheus_client import ProcessCollector

from station import __version__
from station.config import ThrottleName
from station.metrics.families import counter, gauge, histogram, info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    from station.app import Application
    from station.audit import Event
    from station.fair_pool import FairPool

__all__ = ["BcryptCollector", "CoreCollector", "Seldom", "process_collector"]

_MAX_REASONS = 500
_OTHER = ("other", "other")
_PROCESS_SECONDS = 5.0


class CoreCollector:
    """Requests, refusals, throttles, round trips to Redis, and connections of ``app``."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._refusals: Counter[tuple[str, ...]] = Counter()
        app.audit.watch_refusals(self._note_refusal)

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        app, pipeline = self._app, self._app.resources.pipeline
        versions = {
            "version": __version__,
            "python_version": platform.python_version(),
            "tornado_version": tornado.version,
        }
        yield info("station_build", "What runs.", versions)
        yield counter(
            "station_http_requests",
            "Requests that were answered.",
            dict(app.requests.counts()),
            labels=("route", "method", "status"),
        )
        yield histogram(
            "station_http_request_duration_seconds",
            "Seconds until a request was answered whole; streams are left out.",
            app.requests.durations(),
            labels=("route", "method"),
        )
        yield counter(
            "station_refusals",
            "Refusals by the action and the reason that the audit knows.",
            dict(self._refusals),
            labels=("action", "reason"),
        )
        yield counter(
            "station_throttle_refusals",
            "Requests that a throttle refused.",
            dict.fromkeys(get_args(ThrottleName), 0) | dict(app.throttle.refusals),
            labels=("throttle",),
        )
        yield histogram(
            "station_redis_turn_duration_seconds",
            "Seconds until Redis had acknowledged what a turn of the loop asked of it.",
            pipeline.durations,
        )
        yield histogram(
            "station_redis_turn_commands", "Commands that travelled to Redis together.", pipeline.sizes
        )
        yield counter(
            "station_redis_turn_failures",
            "Turns that Redis has not acknowledged; their requests were answered 503.",
            pipeline.failures,
        )
        yield gauge(
            "station_long_lived_connections",
            "WebSockets and streamed answers that are open.",
            len(app.connections),
        )

    def _note_refusal(self, event: Event) -> None:
        """Count a refusal: actions and reasons are constants of the code; beyond 500 they are as one."""
        key = (event.action, event.reason.code if event.reason else "")
        if key not in self._refusals and len(self._refusals) >= _MAX_REASONS:
            key = _OTHER
        self._refusals[key] += 1


class BcryptCollector:
    """The threads that bcrypt runs in: those of the `station.passwords.PasswordHasher` called ``name``."""

    def __init__(self, name: str, pool: FairPool) -> None:
        self._name = name
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        pool, labels = self._pool, ("pool",)
        gauges = {
            "station_bcrypt_threads": ("Threads that bcrypt may run in.", pool.workers),
            "station_bcrypt_threads_busy": ("Threads that run bcrypt.", pool.running),
            "station_bcrypt_queue_length": ("Secrets and passwords that wait for bcrypt.", pool.waiting),
            "station_bcrypt_queue_limit": ("How many may wait.", pool.queue_size),
        }
        for name, (documentation, number) in gauges.items():
            yield gauge(name, documentation, {self._name: number}, labels=labels)
        yield counter(
            "station_bcrypt_refused",
            "Secrets and passwords that found no place in the queue; their requests were answered 503.",
            {self._name: pool.refused},
            labels=labels,
        )
        yield counter(
            "station_bcrypt_busy_seconds",
            "Seconds that threads have run bcrypt.",
            {self._name: pool.busy_seconds},
            labels=labels,
        )
        yield histogram(
            "station_bcrypt_wait_seconds",
            "Seconds that a secret or password waited for a thread.",
            {(self._name,): pool.waits},
            labels=labels,
        )


class Seldom:
    """What another collector says, which is asked every few ``seconds`` because it takes its time."""

    def __init__(self, collector: Collector, seconds: float) -> None:
        self._collector = collector
        self._seconds = seconds
        self._asked_at = float("-inf")
        self._said: Sequence[Metric] = ()

    def collect(self) -> Sequence[Metric]:
        """What it said last."""
        now = time.monotonic()
        if now - self._asked_at >= self._seconds:
            self._said = list(self._collector.collect())
            self._asked_at = now
        return self._said


def process_collector() -> Collector:
    """Memory, CPU and file descriptors, which are counted one by one."""
    return Seldom(ProcessCollector(registry=None), _PROCESS_SECONDS)
