from __future__ import annotations

import os

import pytest

from station.workers import Worker, parse_workers


@pytest.mark.parametrize("value", ["3", 3, " 3 "])
def test_a_number_of_workers(value: object) -> None:
    assert parse_workers(value) == 3


def test_auto_is_one_for_each_core() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert parse_workers("auto") == cores


@pytest.mark.parametrize("value", ["0", "-1", "257", "many", "", True, 1.5, None])
def test_what_is_no_number_of_workers(value: object) -> None:
    with pytest.raises(ValueError, match=r"^be a whole number from 1 to 256, or auto$"):
        parse_workers(value)


def test_a_process_that_serves_alone_is_worker_0() -> None:
    assert Worker() == Worker(number=0, supervisor_pid=None)
