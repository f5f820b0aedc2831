"""The audit as a plugin of the core: its indexes, and ``station audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, DESCENDING

from station import hookimpl
from station.migrations import Migration

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []


async def _create(database: Any) -> None:
    events = database["audit_events"]
    await events.create_index("expires_at", expireAfterSeconds=0, name="expires_at")
    await events.create_index("request_id", sparse=True, name="request_id")
    await events.create_index([("client_id", ASCENDING), ("time", DESCENDING)], name="client_id_time")
    await events.create_index([("time", DESCENDING)], name="time")


async def _drop(database: Any) -> None:
    await database["audit_events"].drop_indexes()


@hookimpl
def station_migrations() -> Sequence[Migration]:
    """The indexes of ``audit_events``."""
    return [Migration("0001_audit_events", "Events are found by request, client and time.", _create, _drop)]
