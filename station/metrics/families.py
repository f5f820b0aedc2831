"""Families of samples, as `prometheus_client.Metric`, from plain numbers.

A family has one number, or one for each combination of the values of its ``labels``::

    counter("fleet_launches", "Bots that were launched.", service.launches)
    counter("fleet_launches", "...", {("bot-a", "ok"): 3}, labels=("kind", "outcome"))

Names follow Prometheus' conventions: they begin with the plugin's, the unit (``_seconds``, ``_bytes``) comes
last, and a counter's ``_total`` is added by itself. What may stand in a label must be few and fixed: never an
id, an address or a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from prometheus_client.utils import floatToGoString

from station.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["counter", "gauge", "histogram", "info"]

Numbers = float | Mapping[Any, float]
"""A number, or numbers by the values of labels: a tuple, or of a single label a string."""


def counter(name: str, documentation: str, numbers: Numbers, *, labels: Sequence[str] = ()) -> Metric:
    """What only grows; the workers' are added up."""
    return _family(name, documentation, "counter", numbers, labels, suffix="_total")


def gauge(name: str, documentation: str, numbers: Numbers, *, labels: Sequence[str] = ()) -> Metric:
    """What is so now; each worker has its own, with the label ``worker``."""
    return _family(name, documentation, "gauge", numbers, labels)


def info(name: str, documentation: str, labels: Mapping[str, str]) -> Metric:
    """Words, as the labels of a 1; ``_info`` is added by itself."""
    family = Metric(name, documentation, "info")
    family.add_sample(f"{name}_info", dict(labels), 1)
    return family


def histogram(
    name: str,
    documentation: str,
    histograms: Histogram | Mapping[tuple[str, ...], Histogram],
    *,
    labels: Sequence[str] = (),
) -> Metric:
    """How what was measured is distributed; the workers' are added up."""
    family = Metric(name, documentation, "histogram")
    by_values = {(): histograms} if isinstance(histograms, Histogram) else histograms
    for values, one in by_values.items():
        named = dict(zip(labels, values, strict=True))
        bounds = [*map(floatToGoString, one.bounds), "+Inf"]
        numbers = list(accumulate(one.counts))
        for bound, number in zip(bounds, numbers, strict=True):
            family.add_sample(f"{name}_bucket", {**named, "le": bound}, number)
        family.add_sample(f"{name}_count", named, numbers[-1])
        family.add_sample(f"{name}_sum", named, one.total)
    return family


def _family(
    name: str, documentation: str, kind: str, numbers: Numbers, labels: Sequence[str], suffix: str = ""
) -> Metric:
    family = Metric(name, documentation, kind)
    by_values = numbers if isinstance(numbers, Mapping) else {(): numbers}
    for values, number in by_values.items():
        each = (values,) if isinstance(values, str) else values
        family.add_sample(name + suffix, dict(zip(labels, each, strict=True)), number)
    return family
