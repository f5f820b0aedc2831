"""Metrics: asks the collectors of this process, and tells for all workers.

prometheus_client has a mode for several processes, which was looked at. Its counters live in files, at 1 to 2
us for each that counts; it knows no collectors, so that what is so now (a queue, a lag) would have to be
written down whenever it changes; files of dead processes stay for ever; and an environment variable decides
what it does when it is imported.

Here each worker writes down what its collectors say, twice a second and whenever it is asked, and whoever is
asked adds up what all have written (`station.metrics.shared`). A worker that takes the place of a dead one
goes on counting where that one was: no counter ever falls. What a worker that is killed has counted since it
last wrote, in half a second at most, is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder

from station.background import in_background
from station.metrics.snapshot import Snapshot, merge, summed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from prometheus_client.registry import Collector

    from station.metrics.shared import SharedSnapshots

__all__ = ["Metrics"]

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 0.5
_LIFE_SECONDS = 3.0


class Metrics:
    """The metrics of one application; ``shared`` is where its workers are, None for one process alone.

    ``collectors`` are those of the plugins, by plugin name. One that fails is left out, and logged once. A
    worker writes every ``interval`` seconds; of one that has not for ``life`` seconds there is no queue and
    no lag, only what it had counted.
    """

    def __init__(
        self,
        collectors: Mapping[str, Sequence[Collector]],
        *,
        worker: int = 0,
        shared: SharedSnapshots | None = None,
        interval: float = _INTERVAL_SECONDS,
        life: float = _LIFE_SECONDS,
    ) -> None:
        self._collectors = collectors
        self._worker = worker
        self._shared = shared
        self._interval = interval
        self._life = life
        self._failing = False
        self._published = 0
        self._failed: set[Collector] = set()
        before = shared.read(worker) if shared is not None else None
        self._before = Snapshot() if before is None else summed(Snapshot.decode(before.snapshot))

    @contextlib.asynccontextmanager
    async def publishing(self) -> AsyncIterator[Metrics]:
        """Write down what this worker knows for as long as the context is open, and a last time."""
        if self._shared is None:
            yield self
            return
        self._publish()
        async with in_background(self._keep_publishing()):
            yield self
        self._publish()

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """What all workers know, and its media type: the format that suits the header Accept best."""
        encode, media_type = choose_encoder(accept)
        if self._shared is None:
            snapshot = self._take()
            return await asyncio.to_thread(encode, snapshot), media_type
        # Own numbers are told as they are written: told later by somebody else, they must not be less.
        self._publish()
        shared, life = self._shared, self._life
        return await asyncio.to_thread(lambda: encode(_all(shared, life))), media_type

    async def _keep_publishing(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            snapshot, published = self._take(), self._published
            await asyncio.sleep(0)  # to take it and to write it is a millisecond
            if self._published == published:  # else newer numbers are told already
                self._publish(snapshot)

    def _publish(self, snapshot: Snapshot | None = None) -> None:
        assert self._shared is not None  # noqa: S101 - there is somebody to tell
        self._published += 1
        try:
            self._shared.write(self._worker, (snapshot or self._take()).encode())
        except Exception:
            if not self._failing:
                _log.exception("the metrics of this worker cannot be written")
            self._failing = True
        else:
            self._failing = False

    def _take(self) -> Snapshot:
        snapshot = Snapshot()
        for plugin, collectors in self._collectors.items():
            for collector in collectors:
                try:
                    families = list(collector.collect())
                except Exception:
                    if collector not in self._failed:
                        self._failed.add(collector)
                        _log.exception("a collector of the plugin %s failed, and is left out", plugin)
                    continue
                for family in families:
                    snapshot.take(family, self._worker)
        for before in self._before.families.values():
            snapshot.add(before)
        return snapshot


def _all(shared: SharedSnapshots, life: float) -> Snapshot:
    """What all workers have written; of one that writes no more, what does not pass with it."""
    found = []
    for worker in range(shared.workers):
        if (written := shared.read(worker)) is not None:
            snapshot = Snapshot.decode(written.snapshot)
            alive = time.monotonic() - written.at < life
            found.append(snapshot if alive else summed(snapshot))
    return merge(found)
