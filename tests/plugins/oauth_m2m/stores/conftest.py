"""A MongoDB that is away."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.resources import Resources


@pytest.fixture
def without_mongodb(resources: Resources) -> Iterator[Resources]:
    """The same Redis beside a MongoDB that does not answer."""
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    yield dataclasses.replace(resources, database=nowhere["station"])
    nowhere.close()
