from __future__ import annotations

import pytest
from prometheus_client import Metric, generate_latest

from station.metrics import Histogram
from station.metrics.families import counter, gauge, histogram, info


class Says:
    def __init__(self, family: Metric) -> None:
        self.family = family

    def collect(self) -> list[Metric]:
        return [self.family]


def text(family: Metric) -> list[str]:
    """What Prometheus reads, without the comments."""
    return [line for line in generate_latest(Says(family)).decode().splitlines() if line[0] != "#"]


def test_a_family_of_one_number() -> None:
    assert text(counter("fleet_launches", "Launches.", 3)) == ["fleet_launches_total 3.0"]
    assert text(gauge("fleet_bots", "Bots.", 2)) == ["fleet_bots 2.0"]
    assert text(info("fleet_build", "Build.", {"version": "1"})) == ['fleet_build_info{version="1"} 1.0']


def test_a_family_with_labels() -> None:
    assert text(counter("x", "X.", {"a": 1, "b": 2}, labels=("kind",))) == [
        'x_total{kind="a"} 1.0',
        'x_total{kind="b"} 2.0',
    ]
    assert text(gauge("x", "X.", {("a", "ok"): 1}, labels=("kind", "how"))) == ['x{how="ok",kind="a"} 1.0']


def test_values_without_their_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        counter("x", "X.", {("a", "b"): 1}, labels=("kind",))


def test_a_histogram_adds_up_its_buckets() -> None:
    waits = Histogram((0.5, 1))
    for seconds in (0.25, 0.75, 3):
        waits.observe(seconds)
    assert text(histogram("wait_seconds", "Waits.", waits)) == [
        'wait_seconds_bucket{le="0.5"} 1.0',
        'wait_seconds_bucket{le="1.0"} 2.0',
        'wait_seconds_bucket{le="+Inf"} 3.0',
        "wait_seconds_count 3.0",
        "wait_seconds_sum 4.0",
    ]
    [first, *_] = text(histogram("wait_seconds", "Waits.", {("a",): waits}, labels=("pool",)))
    assert first == 'wait_seconds_bucket{le="0.5",pool="a"} 1.0'
