"""A clock that a test sets, and MongoDB and Redis as fakes."""

from __future__ import annotations

import dataclasses

import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient

from station.resources import Resources


@dataclasses.dataclass
class Clock:
    """Tells the time that it was set to."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resources() -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())
