"""What must not happen to the audit, and what the audit must not do to others, when something breaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient
from pymongo.errors import BulkWriteError, WriteConcernError

from station.audit import AuditFilter, AuditLog, AuditStore, Event
from station.errors import ServiceUnavailable
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoMajority:
    """A collection whose writes reach no majority, as pymongo tells it."""

    async def insert_many(self, documents: list[dict[str, Any]], *, ordered: bool) -> None:
        errors = [{"code": 64, "errmsg": "waiting for replication timed out"}]
        raise BulkWriteError({"writeErrors": [], "writeConcernErrors": errors})


class Broken(AuditStore):
    """A store that takes the beginning of an event and no end of it, while ``steps_down``."""

    steps_down = True

    async def finish(self, event: Event) -> None:
        if self.steps_down:
            raise WriteConcernError("interrupted at shutdown", 11600)
        await super().finish(event)


@pytest.fixture
def resources() -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())


@pytest.mark.gen_test
async def test_an_event_without_a_majority_stops_the_change() -> None:
    database: Any = {"audit_events": NoMajority()}
    log = AuditLog(AuditStore(Resources(database, FakeAsyncRedis()), timedelta(days=1)))
    made = False
    with pytest.raises(ServiceUnavailable):
        async with log.change("client.deleted", target="station-bot"):
            made = True
    assert not made


@pytest.mark.gen_test
async def test_an_end_that_cannot_be_written_takes_no_answers_place(resources: Resources) -> None:
    store = Broken(resources, timedelta(days=1))
    log = AuditLog(store)
    async with log.change("secret.added", target="station-bot"):
        pass
    store.steps_down = False
    await log.flush()
    [event] = await log.find(AuditFilter(action="secret.added"), limit=9)
    assert event.outcome == "ok"


@pytest.mark.gen_test
async def test_a_change_that_is_cut_off_does_not_stay_begun(resources: Resources) -> None:
    log = AuditLog(AuditStore(resources, timedelta(days=1)))
    inside = asyncio.Event()

    async def work() -> None:
        async with log.change("keys.rotated", target="keyring"):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await log.flush()
    [event] = await log.find(AuditFilter(action="keys.rotated"), limit=9)
    assert event.outcome == "failed"


@pytest.mark.gen_test
async def test_a_sink_that_is_cancelled_ends_no_delivery(resources: Resources) -> None:
    """It may await something of its own that somebody cancels."""
    log = AuditLog(AuditStore(resources, timedelta(days=1)), interval=0.01)
    delivered: list[str] = []
    first = asyncio.Event()

    async def sink(events: Sequence[Event]) -> None:
        if not first.is_set():
            first.set()
            raise asyncio.CancelledError
        delivered.extend(event.target for event in events)

    async with log.running({"sinks": [sink]}):
        async with log.change("client.registered", target="one"):
            pass
        await first.wait()
        async with log.change("client.registered", target="two"):
            pass
    assert delivered == ["two"]
