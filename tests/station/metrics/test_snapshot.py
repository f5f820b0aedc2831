from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Metric

from station.metrics.families import counter, gauge, histogram, info
from station.metrics.histogram import Histogram
from station.metrics.snapshot import Snapshot, merge, summed


def snapshot(worker: int, *families: Metric) -> Snapshot:
    taken = Snapshot()
    for family in families:
        taken.take(family, worker)
    return taken


def numbers(taken: Snapshot) -> dict[str, float]:
    """Every sample, written as people write it."""
    return {
        f"{name}{{{','.join(f'{label}={word}' for label, word in labels)}}}": value
        for family in taken.families.values()
        for (name, labels), value in family.samples.items()
    }


def test_what_grows_is_added_up_and_what_is_so_now_is_each_workers_own() -> None:
    waits = Histogram((1,))
    waits.observe(0.5)
    families = (
        counter("served", "S.", {"a": 2}, labels=("kind",)),
        histogram("wait", "W.", waits),
        gauge("queue", "Q.", 7),
        info("build", "B.", {"version": "1"}),
    )
    both = merge([snapshot(0, *families), snapshot(1, *families)])
    assert numbers(both) == {
        "served_total{kind=a}": 4,
        "wait_bucket{le=1.0}": 2,
        "wait_bucket{le=+Inf}": 2,
        "wait_count{}": 2,
        "wait_sum{}": 1,
        "queue{worker=0}": 7,
        "queue{worker=1}": 7,
        "build_info{version=1}": 1,
    }


def test_two_collectors_share_a_family() -> None:
    taken = snapshot(
        0,
        gauge("threads", "T.", {"people": 1}, labels=("pool",)),
        gauge("threads", "T.", {"clients": 2}, labels=("pool",)),
        counter("threads", "Another type.", 3),
    )
    assert numbers(taken) == {"threads{pool=people,worker=0}": 1, "threads{pool=clients,worker=0}": 2}


def test_a_snapshot_travels_whole() -> None:
    taken = snapshot(0, counter("served", "S.", {'a"\n': 2}, labels=("kind",)), gauge("lag", "L.", math.inf))
    again = Snapshot.decode(taken.encode())
    assert again.families == taken.families
    assert [metric.samples for metric in again.collect()] == [metric.samples for metric in taken.collect()]


def test_of_a_worker_that_ended_stays_what_grows() -> None:
    taken = snapshot(0, counter("served", "S.", 2), gauge("queue", "Q.", 7), info("build", "B.", {"v": "1"}))
    assert numbers(summed(taken)) == {"served_total{}": 2}


def test_the_time_at_which_a_counter_was_made_is_left_out() -> None:
    made = Counter("launches", "Launches.", registry=CollectorRegistry())
    made.inc(3)
    assert numbers(snapshot(0, *made.collect())) == {"launches_total{}": 3}


def test_adding_leaves_what_is_added_alone() -> None:
    one, other = snapshot(0, counter("served", "S.", 1)), snapshot(1, counter("served", "S.", 2))
    merge([one, other])
    assert numbers(one) == {"served_total{}": 1}
