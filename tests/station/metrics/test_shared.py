from __future__ import annotations

import os
import signal
import time

import pytest

from station.metrics.shared import SharedSnapshots


def test_what_a_worker_wrote_last_is_read() -> None:
    shared = SharedSnapshots(2, size=1024)
    assert shared.read(0) is None
    before = time.monotonic()
    shared.write(0, b"first")
    shared.write(1, b"another")
    for number in range(5):
        shared.write(0, b"%d" % number)
    written = shared.read(0)
    assert written is not None
    assert (written.number, written.snapshot) == (6, b"4")
    assert before <= written.at <= time.monotonic()
    other = shared.read(1)
    assert other is not None
    assert other.snapshot == b"another"


def test_a_worker_writes_where_others_read_and_its_end_changes_nothing() -> None:
    shared = SharedSnapshots(2, size=1024)
    pid = os.fork()
    if pid == 0:
        shared.write(1, b"from a worker")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    written = shared.read(1)
    assert written is not None
    assert written.snapshot == b"from a worker"


@pytest.mark.parametrize("torn", range(24 + len("second")))
def test_a_snapshot_that_was_not_written_whole_is_none(torn: int) -> None:
    shared = SharedSnapshots(1, size=1024)
    shared.write(0, b"first")
    shared.write(0, b"second")
    start = shared._start(0, 2)
    shared._memory[start + torn] ^= 0xFF
    written = shared.read(0)
    assert written is not None
    assert written.snapshot == b"first"


def test_what_is_too_long_is_refused_and_the_last_one_stays() -> None:
    shared = SharedSnapshots(1, size=64)
    shared.write(0, b"x" * 40)
    with pytest.raises(ValueError, match="41 bytes"):
        shared.write(0, b"y" * 41)
    written = shared.read(0)
    assert written is not None
    assert written.snapshot == b"x" * 40
