"""A clock that a test sets."""

from __future__ import annotations

import dataclasses

import pytest


@dataclasses.dataclass
class Clock:
    """Tells the time that it was set to."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()
