"""SharedSnapshots: what each worker knows, where all workers can read it and where its end leaves it.

It is memory, made by the supervisor before it forks, so that there is no file: nothing to clean up, nothing
left over after a ``kill -9``, and nobody else who could read or write it. Each worker has two halves there
and writes them in turn: if it dies while it writes one, the other one holds what it had written before.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from typing import NamedTuple

__all__ = ["SharedSnapshots", "Written"]

_SIZE = 512 * 1024  # of a half; memory is taken when it is written to
_HEADER = struct.Struct("<QdI")  # number, time and length of what follows
_CHECKSUM = struct.Struct("<I")  # CRC-32 of both
_OVERHEAD = _HEADER.size + _CHECKSUM.size


class Written(NamedTuple):
    """A snapshot as a worker wrote it, the how manieth of its place, and ``at`` what `time.monotonic`."""

    number: int
    at: float
    snapshot: bytes


class SharedSnapshots:
    """Places for the snapshots of so many ``workers``, each of at most ``size`` bytes."""

    def __init__(self, workers: int, *, size: int = _SIZE) -> None:
        self.workers = workers
        self._size = size
        self._memory = mmap.mmap(-1, workers * 2 * size)

    def write(self, worker: int, snapshot: bytes) -> None:
        """Replace the snapshot of a worker; `ValueError` if it is too long."""
        if len(snapshot) > self._size - _OVERHEAD:
            raise ValueError(f"a snapshot of {len(snapshot)} bytes is longer than its place")
        last = self.read(worker)
        number = 1 if last is None else last.number + 1
        written = _HEADER.pack(number, time.monotonic(), len(snapshot)) + snapshot
        written = _CHECKSUM.pack(zlib.crc32(written)) + written
        start = self._start(worker, number)
        self._memory[start : start + len(written)] = written

    def read(self, worker: int) -> Written | None:
        """The last snapshot that a worker has written whole, whether it lives or not."""
        halves = [self._read(self._start(worker, half)) for half in (0, 1)]
        return max(filter(None, halves), default=None)

    def _start(self, worker: int, number: int) -> int:
        return (2 * worker + number % 2) * self._size

    def _read(self, start: int) -> Written | None:
        (checksum,) = _CHECKSUM.unpack_from(self._memory, start)
        number, at, length = _HEADER.unpack_from(self._memory, start + _CHECKSUM.size)
        end = start + min(_OVERHEAD + length, self._size)
        written = self._memory[start + _CHECKSUM.size : end]
        sound = number and zlib.crc32(written) == checksum
        return Written(number, at, written[_HEADER.size :]) if sound else None
