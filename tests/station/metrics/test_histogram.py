from __future__ import annotations

from station.metrics import Histogram


def test_a_value_is_counted_under_the_lowest_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2, 5))
    for value in (0, 1, 1.5, 2, 5, 5.1, 100):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1, 2]
    assert histogram.count == 7
    assert histogram.total == 114.6


def test_what_another_one_has_observed_is_added() -> None:
    histogram, other = Histogram((1, 2)), Histogram((1, 2))
    histogram.observe(1)
    other.observe(2)
    other.observe(3)
    histogram.add(other)
    assert (histogram.counts, histogram.total) == ([1, 1, 1], 6)
    assert other.count == 2
