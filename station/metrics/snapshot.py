"""Snapshots: what collectors say at one moment, in a form that can be added up.

What only grows, counters and histograms, is added up over the workers. What is so now is each worker's own:
it gets the label ``worker``, the worker's number, so that there are no more of them than workers, however
often these are replaced.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from prometheus_client import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Family", "Snapshot", "merge", "summed"]

_SUMMED = frozenset({"counter", "histogram", "summary"})
_THE_SAME_EVERYWHERE = "info"
_CREATED = "_created"  # a time for each series, which no sum has

Sample = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample, and its labels."""


@dataclasses.dataclass(slots=True)
class Family:
    """A family of samples."""

    name: str
    documentation: str
    type: str
    samples: dict[Sample, float]

    @property
    def is_summed(self) -> bool:
        """Whether the workers' are added up."""
        return self.type in _SUMMED


class Snapshot:
    """Families by name, in order."""

    def __init__(self, families: Iterable[Family] = ()) -> None:
        self.families = {family.name: family for family in families}

    def take(self, metric: Metric, worker: int) -> None:
        """Add what a collector of this worker said; of two families of one name and two types the first."""
        samples = {
            (sample.name, tuple(sample.labels.items())): sample.value
            for sample in metric.samples
            if not sample.name.endswith(_CREATED)
        }
        family = Family(metric.name, metric.documentation, metric.type, samples)
        if not family.is_summed and family.type != _THE_SAME_EVERYWHERE:
            own = ("worker", str(worker))
            family.samples = {(name, (*labels, own)): value for (name, labels), value in samples.items()}
        self.add(family)

    def add(self, family: Family) -> None:
        """Add a family to what is known of it."""
        known = self.families.get(family.name)
        if known is None:
            self.families[family.name] = dataclasses.replace(family, samples=dict(family.samples))
        elif known.type == family.type:
            for sample, value in family.samples.items():
                more = known.samples.get(sample, 0.0) if family.is_summed else 0.0
                known.samples[sample] = more + value

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client writes it."""
        for family in self.families.values():
            metric = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric

    def encode(self) -> bytes:
        """As other processes read it; `decode` reads it."""
        families = [
            [
                one.name,
                one.documentation,
                one.type,
                [[*sample, value] for sample, value in one.samples.items()],
            ]
            for one in self.families.values()
        ]
        return json.dumps(families, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Snapshot:
        """What `encode` wrote."""
        return cls(
            Family(
                name,
                documentation,
                kind,
                {
                    (sample, tuple((label, word) for label, word in labels)): value
                    for sample, labels, value in samples
                },
            )
            for name, documentation, kind, samples in json.loads(encoded)
        )


def summed(snapshot: Snapshot) -> Snapshot:
    """Of a snapshot what goes on growing when its worker has ended."""
    return Snapshot(family for family in snapshot.families.values() if family.is_summed)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """All of them as one."""
    merged = Snapshot()
    for snapshot in snapshots:
        for family in snapshot.families.values():
            merged.add(family)
    return merged
