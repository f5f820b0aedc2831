"""The collection, on the embedded engine: written once however often it is tried, found by every filter."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from station.audit import Actor, AuditFilter, AuditStore, Event
from station.errors import Reason

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

    from station.app import Application

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
FULL = Event(
    action="client.changed",
    actor=Actor("key", "0a1b2c3d", "192.0.2.1", "r1"),
    target="bot",
    client_id="bot",
    outcome="refused",
    reason=Reason("conflict", "it is taken", "choose another"),
    before={"scopes": ["a"]},
    after={"scopes": []},
    detail={"status": 409},
    time=NOON,
    id="e1",
)


@pytest.fixture
def store(io_loop: IOLoop, app: Application) -> AuditStore:
    """A store without what Station itself has done at its start."""
    io_loop.run_sync(lambda: app.resources.database["audit_events"].delete_many({}))
    return AuditStore(app.resources, timedelta(days=30))


@pytest.mark.gen_test
async def test_an_event_comes_back_as_it_was(store: AuditStore) -> None:
    bare = Event(action="x", actor=Actor("system"), time=NOON + timedelta(hours=1), id="e2")
    await store.insert([FULL, bare])
    assert await store.find(AuditFilter(), limit=10) == [FULL, bare]


@pytest.mark.gen_test
async def test_writing_again_changes_nothing(store: AuditStore) -> None:
    await store.insert([FULL])
    other = dataclasses.replace(FULL, id="e2")
    await store.insert([dataclasses.replace(FULL, outcome="ok"), other])
    found = await store.find(AuditFilter(), limit=10)
    assert sorted((event.id, event.outcome) for event in found) == [("e1", "refused"), ("e2", "refused")]


@pytest.mark.gen_test
async def test_an_end_takes_the_place_of_the_beginning(store: AuditStore) -> None:
    await store.insert([dataclasses.replace(FULL, outcome="begun", reason=None)])
    await store.finish(FULL)
    await store.finish(FULL)
    assert await store.find(AuditFilter(), limit=10) == [FULL]


@pytest.mark.gen_test
async def test_counts_add_up(store: AuditStore) -> None:
    counted = Event(action="token.issued", client_id="bot", time=NOON, id="token.issued:bot:1", count=3)
    assert not await store.add([counted])
    assert not await store.add([dataclasses.replace(counted, count=4)])
    assert await store.find(AuditFilter(), limit=10) == [dataclasses.replace(counted, count=7)]


@pytest.mark.gen_test
async def test_a_count_that_mongodb_rejects_is_told_apart_from_the_others(store: AuditStore) -> None:
    good = Event(action="token.issued", client_id="bot", time=NOON, id="token.issued:bot:1")
    bad = dataclasses.replace(good, id="token.issued:bot:2", detail={"secret": "x" * 17_000_000})
    assert await store.add([bad, good]) == {0: False}
    assert await store.find(AuditFilter(), limit=10) == [good]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AuditFilter(request_id="r1"), {"e1", "e2"}),
        (AuditFilter(client_id="bot"), {"e1", "e3"}),
        (AuditFilter(action="other", outcome="ok"), {"e3"}),
        (AuditFilter(outcome="refused"), {"e1", "e2"}),
        (AuditFilter(since=NOON + timedelta(minutes=1)), {"e2", "e3"}),
        (AuditFilter(client_id="bot", since=NOON + timedelta(minutes=1)), {"e3"}),
        (AuditFilter(until=NOON + timedelta(minutes=1)), {"e1", "e2"}),
        (AuditFilter(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=1)), {"e2"}),
        (AuditFilter(until=NOON + timedelta(minutes=1), skip=1), {"e1"}),
        (AuditFilter(actor="0a1b2c3d"), {"e1", "e2"}),
        (AuditFilter(actor="192.0.2.1", client_id="bot"), {"e1"}),
        (AuditFilter(request_id="none"), set()),
    ],
)
@pytest.mark.gen_test
async def test_filters(store: AuditStore, wanted: AuditFilter, found: set[str]) -> None:
    second = dataclasses.replace(FULL, id="e2", client_id="other", time=NOON + timedelta(minutes=1))
    third = Event(action="other", client_id="bot", time=NOON + timedelta(minutes=2), id="e3")
    await store.insert([FULL, second, third])
    assert {event.id for event in await store.find(wanted, limit=10)} == found
    assert [event.id for event in await store.find(wanted, limit=1)] == sorted(found)[-1:]
