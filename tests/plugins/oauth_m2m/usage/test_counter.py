"""What is counted, for whom, and what becomes of it while MongoDB is away."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.models import Usage
from plugins.oauth_m2m.stores import UsageStore
from plugins.oauth_m2m.usage import UsageCounter
from station.audit import Actor, Event
from station.errors import Reason, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.models import UsageKey
    from station.resources import Resources
    from tests.plugins.oauth_m2m.conftest import Node
    from tests.plugins.oauth_m2m.usage.conftest import MakeClient

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
PAST = NOON + timedelta(minutes=7)
SLOT = NOON + timedelta(minutes=5)


class AwayStore(UsageStore):
    """One that may be ``away``."""

    away = False

    async def add(self, counted: Mapping[UsageKey, Mapping[str, int]]) -> None:
        if self.away:
            raise ServiceUnavailable("MongoDB is away.")
        await super().add(counted)


@pytest.fixture
def store(resources: Resources) -> AwayStore:
    return AwayStore(resources, retention=timedelta(days=30))


@pytest.fixture
def counter(store: AwayStore, node: Node) -> UsageCounter:
    return UsageCounter(store, node.cache, node.clients, clock=PAST.timestamp)


async def fine(store: UsageStore, client_id: str) -> list[Usage]:
    return await store.find(client_id, step=store.FIVE_MINUTES, since=NOON)


def refused(code: str, client_id: str = "", action: str = "token.refused") -> Event:
    actor = Actor("anonymous", address="203.0.113.9")
    return Event(
        action=action, actor=actor, client_id=client_id, outcome="refused", reason=Reason(code, ""), time=PAST
    )


def issued(client_id: str, count: int) -> Event:
    return Event(
        action="token.issued", actor=Actor("client", client_id), client_id=client_id, count=count, time=PAST
    )


@pytest.mark.gen_test
async def test_calls_and_introspections_are_counted_by_client_and_for_all(
    counter: UsageCounter, store: AwayStore
) -> None:
    for client_id in ("one", "two", "one"):
        counter.called(client_id)
    counter.introspected("two")
    await counter.flush()
    assert await fine(store, "one") == [Usage(at=SLOT, calls=2)]
    assert await fine(store, "two") == [Usage(at=SLOT, calls=1, introspections=1)]
    assert await fine(store, "") == [Usage(at=SLOT, calls=3, introspections=1)]
    assert await store.find("one", step=store.HOUR, since=NOON) == [Usage(at=NOON, calls=2)]


@pytest.mark.gen_test
async def test_several_processes_add_up(counter: UsageCounter, store: AwayStore, node: Node) -> None:
    other = UsageCounter(store, node.cache, node.clients, clock=PAST.timestamp)
    for process in (counter, other, counter):
        process.called("one")
        await process.flush()
    assert await fine(store, "one") == [Usage(at=SLOT, calls=3)]


@pytest.mark.gen_test
async def test_what_is_issued_comes_from_the_audit(counter: UsageCounter, store: AwayStore) -> None:
    ended = Event(action="client.disabled", actor=Actor("system"), client_id="one", time=PAST)
    await counter.note_issued([issued("one", 3), ended, issued("one", 2)])
    await counter.flush()
    assert await fine(store, "one") == [Usage(at=SLOT, issued=5)]
    assert await fine(store, "") == [Usage(at=SLOT, issued=5)]


@pytest.mark.gen_test
async def test_refusals_are_told_apart_by_endpoint_and_reason(
    counter: UsageCounter, store: AwayStore, node: Node, make_client: MakeClient
) -> None:
    await node.clients.insert(make_client())
    counter.note_refusal(refused("wrong_secret", "station-bot"))  # not in memory: MongoDB is asked
    await node.cache.read("station-bot")
    counter.note_refusal(refused("wrong_secret", "station-bot"))
    counter.note_refusal(refused("scope", "station-bot", "bearer.refused"))
    counter.note_refusal(refused("a.$odd Reason", "station-bot"))
    counter.note_refusal(refused("wrong", "station-bot", "login.refused"))  # none of ours
    await counter.flush()
    [usage] = await fine(store, "station-bot")
    assert usage.refused == {"token": {"wrong_secret": 2, "a__odd_reason": 1}, "bearer": {"scope": 1}}
    assert (usage.tokens_refused, usage.calls_refused) == (3, 1)


@pytest.mark.gen_test
async def test_whoever_is_not_registered_is_counted_with_all_and_leaves_no_trace(
    counter: UsageCounter, store: AwayStore, resources: Resources
) -> None:
    """Who attacks chooses client ids, and must not fill the database with them."""
    for number in range(2000):
        counter.note_refusal(refused("unknown", f"made-up-{number}"))
    await counter.flush()
    assert await fine(store, "") == [Usage(at=SLOT, refused={"token": {"unknown": 2000}})]
    assert await resources.database["client_usage"].distinct("client_id") == [""]


@pytest.mark.gen_test
async def test_what_cannot_be_written_waits(
    counter: UsageCounter, store: AwayStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = True
    counter.called("one")
    with caplog.at_level(logging.WARNING):
        await counter.flush()
    assert [record.message for record in caplog.records] == [
        "the usage of clients waits for MongoDB (MongoDB is away.)"
    ]
    counter.called("one")
    store.away = False
    await counter.flush()
    assert await fine(store, "one") == [Usage(at=SLOT, calls=2)]


@pytest.mark.gen_test
async def test_memory_is_bounded(node: Node, store: AwayStore) -> None:
    counter = UsageCounter(store, node.cache, node.clients, max_clients=20, clock=PAST.timestamp)
    for number in range(30):
        counter.called(f"client-{number}")
    counter.called("client-0")
    store.away = True
    await counter.flush()
    counter.called("one-more")
    counter.called("client-0")
    store.away = False
    await counter.flush()
    assert await fine(store, "client-0") == [Usage(at=SLOT, calls=3)]
    assert await fine(store, "client-25") == []
    assert await fine(store, "one-more") == []
    assert await fine(store, "") == [Usage(at=SLOT, calls=23)]


@pytest.mark.gen_test
async def test_what_waits_in_the_end_is_written(counter: UsageCounter, store: AwayStore) -> None:
    async with counter.counting():
        counter.called("one")
    assert await fine(store, "one") == [Usage(at=SLOT, calls=1)]
