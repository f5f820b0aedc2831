"""How much is measured, and for how long."""

from __future__ import annotations

import dataclasses

__all__ = ["FULL", "QUICK", "Scale"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Every count and every limit of time, in seconds, of one run."""

    rounds: int  # of measurements in turns
    seconds: int  # of each of them
    flat_rounds: int
    revocations: int
    issuances: int  # over which memory may not grow
    longest_growth: int
    known_clients: int  # whose first requests follow a restart
    full_caches: int  # clients and tokens that fill every cache, which keep 10,000
    clients: tuple[int, ...]  # registered, for flatness
    tokens: tuple[int, ...]  # live, for flatness
    longest_fill: int
    guesses: int  # of each kind of refusal


FULL = Scale(
    rounds=15,
    seconds=1,
    flat_rounds=4,
    revocations=200,
    issuances=500_000,
    longest_growth=480,
    known_clients=1_000,
    full_caches=10_000,
    clients=(10, 1_000, 100_000),
    tokens=(1_000, 10_000, 100_000),
    longest_fill=60,
    guesses=15,
)

QUICK = Scale(
    rounds=3,
    seconds=1,
    flat_rounds=3,
    revocations=30,
    issuances=20_000,
    longest_growth=20,
    known_clients=100,
    full_caches=1_000,
    clients=(10, 1_000, 10_000),
    tokens=(1_000, 10_000),
    longest_fill=10,
    guesses=3,
)
