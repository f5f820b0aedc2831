"""Usage on the engines: the fake of MongoDB does not know every bulk write."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from plugins.oauth_m2m.models import Client
from plugins.oauth_m2m.stores import UsageStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.resources import Resources

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)


class MakeClient(Protocol):
    """Make a client of this id, which is not stored."""

    def __call__(self, client_id: str = "station-bot", *, token_ttl: int | None = None) -> Client: ...


@pytest.fixture
def make_client() -> MakeClient:
    """See `MakeClient`."""

    def make(client_id: str = "station-bot", *, token_ttl: int | None = None) -> Client:
        return Client(
            id="",
            client_id=client_id,
            name="",
            salt="",
            secrets=(),
            scopes=("bot:api",),
            is_active=True,
            token_ttl=token_ttl,
            generation="g1",
            version=1,
            created_at=NOON,
            updated_at=NOON,
        )

    return make


@pytest.fixture
def resources(engine_resources: Resources) -> Resources:
    """The engines in place of the fakes."""
    return engine_resources


@pytest.fixture
def without_mongodb(resources: Resources) -> Iterator[Resources]:
    """The same Redis beside a MongoDB that does not answer."""
    nowhere: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20
    )
    yield dataclasses.replace(resources, database=nowhere["station"])
    nowhere.close()


@pytest.fixture
def store(resources: Resources) -> UsageStore:
    """What two processes may share."""
    return UsageStore(resources, retention=timedelta(days=30))
