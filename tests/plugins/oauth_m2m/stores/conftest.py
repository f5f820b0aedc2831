"""MongoDB and Redis as fakes, and each of them away."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def resources(redis_server: FakeServer) -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis(server=redis_server))


@pytest.fixture
def without_mongodb(resources: Resources) -> Iterator[Resources]:
    """The same Redis beside a MongoDB that does not answer."""
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    yield dataclasses.replace(resources, database=nowhere["station"])
    nowhere.close()
