"""Changes before they are made, refusals in batches, counts by the minute, and whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis
from motor.motor_asyncio import AsyncIOMotorClient

from station.audit import Actor, AuditFilter, AuditLog, AuditStore, Event, acting, refusal_reason
from station.errors import Conflict, Reason, ServiceUnavailable, ValidationFailed
from station.resources import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from tornado.ioloop import IOLoop

    from station.embedded import Endpoints

MINUTE = 29_000_000 * 60.0


class Store(AuditStore):
    """A store that can be away, and rejects the events of one target or action."""

    away = False
    rejected = ""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources, timedelta(days=30))
        self.inserted = asyncio.Event()

    async def insert(self, events: Sequence[Event]) -> None:
        self._answer(*events)
        await super().insert(events)
        self.inserted.set()

    async def finish(self, event: Event) -> None:
        self._answer(event)
        await super().finish(event)

    async def add(self, events: Sequence[Event]) -> Mapping[int, bool]:
        self._answer()
        rejected = [place for place, event in enumerate(events) if event.action == self.rejected]
        taken = [event for event in events if event.action != self.rejected]
        assert not await super().add(taken)
        return dict.fromkeys(rejected, False)

    def _answer(self, *events: Event) -> None:
        if self.away:
            raise ServiceUnavailable("MongoDB is away.")
        if self.rejected and any(self.rejected in {event.action, event.target} for event in events):
            raise ValueError("a secret")


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = MINUTE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(io_loop: IOLoop, engines: Endpoints) -> Iterator[Store]:
    mongodb: Any = AsyncIOMotorClient(engines.mongodb_uri, tz_aware=True)
    name = f"test_{uuid.uuid4().hex}"
    yield Store(Resources(mongodb[name], FakeAsyncRedis()))
    io_loop.run_sync(lambda: mongodb.drop_database(name))
    mongodb.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit(store: Store, clock: Clock) -> AuditLog:
    return AuditLog(store, interval=0.01, per_address=3, clock=clock)


def refusal(address: str = "192.0.2.1", code: str = "wrong_secret") -> Event:
    reason = Reason(code, "it was wrong")
    return Event(
        action="token.refused", actor=Actor("anonymous", "", address), outcome="refused", reason=reason
    )


async def stored(audit: AuditLog, **wanted: str) -> list[Event]:
    return await audit.find(AuditFilter(**wanted), limit=1000)  # type: ignore[arg-type] # since is left out


@pytest.mark.gen_test
@pytest.mark.row("G7")
async def test_a_change_is_written_before_it_is_made_and_again_when_it_is_done(audit: AuditLog) -> None:
    with acting(Actor("key", "0a1b2c3d", "192.0.2.7", "request-1")):
        async with audit.change("client.disabled", target="bot", client_id="bot") as change:
            [begun] = await stored(audit)
            assert (begun.action, begun.outcome, begun.client_id) == ("client.disabled", "begun", "bot")
            change.before, change.after = {"is_active": True}, {"is_active": False}
            change.detail = {"secret": "s1"}
    [done] = await stored(audit)
    assert (done.id, done.time, done.outcome) == (begun.id, begun.time, "ok")
    assert done.actor == Actor("key", "0a1b2c3d", "192.0.2.7", "request-1")
    assert (done.before, done.after, done.detail) == (
        {"is_active": True},
        {"is_active": False},
        {"secret": "s1"},
    )


@pytest.mark.gen_test
async def test_without_the_audit_nothing_is_changed(audit: AuditLog, store: Store) -> None:
    store.away, made = True, False
    with pytest.raises(ServiceUnavailable):
        async with audit.change("client.disabled", target="bot"):
            made = True
    assert not made


@pytest.mark.gen_test
async def test_a_change_that_is_refused_says_why(audit: AuditLog) -> None:
    with pytest.raises(Conflict):
        async with audit.change("client.registered", target="bot"):
            raise Conflict("A client with the id bot is registered already.")
    [event] = await stored(audit)
    assert event.outcome == "refused"
    assert event.reason == Reason("conflict", "A client with the id bot is registered already")


@pytest.mark.gen_test
async def test_a_change_that_fails_says_that_it_may_have_taken_effect(audit: AuditLog) -> None:
    with pytest.raises(ZeroDivisionError):
        async with audit.change("client.registered", target="bot"):
            raise ZeroDivisionError("a secret")
    [event] = await stored(audit)
    assert event.outcome == "failed"
    assert event.reason == Reason("error", "it ended in ZeroDivisionError")


@pytest.mark.gen_test
async def test_a_change_whose_process_dies_stays_begun(audit: AuditLog) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with audit.change("client.registered", target="bot"):
            raise asyncio.CancelledError
    assert [event.outcome for event in await stored(audit)] == ["begun"]


@pytest.mark.gen_test
async def test_the_end_of_a_change_that_mongodb_did_not_take_is_written_later(
    audit: AuditLog, store: Store
) -> None:
    async with audit.change("client.registered", target="bot") as change:
        store.away = True
        change.after = {"scopes": ["bot:api"]}
    await audit.flush()
    assert [event.outcome for event in await stored(audit)] == ["begun"]
    store.away = False
    await audit.flush()
    [event] = await stored(audit)
    assert (event.outcome, event.after) == ("ok", {"scopes": ["bot:api"]})


@pytest.mark.gen_test
async def test_refusals_are_written_in_batches_and_survive_an_outage(audit: AuditLog, store: Store) -> None:
    audit.refuse(refusal())
    assert await stored(audit) == []
    store.away = True
    await audit.flush()
    store.away = False
    audit.refuse(refusal(code="inactive"))
    await audit.flush()
    codes = {event.reason.code for event in await stored(audit) if event.reason}
    assert codes == {"wrong_secret", "inactive"}


@pytest.mark.gen_test
async def test_two_flushes_at_once_write_everything_once(audit: AuditLog) -> None:
    for _ in range(3):
        audit.refuse(refusal())
        audit.count("token.issued", client_id="bot")
    await asyncio.gather(audit.flush(), audit.flush())
    assert len(await stored(audit, action="token.refused")) == 3
    assert [event.count for event in await stored(audit, action="token.issued")] == [3]


@pytest.mark.gen_test
async def test_beyond_the_cap_of_an_address_refusals_are_only_counted(audit: AuditLog, clock: Clock) -> None:
    for _ in range(10):
        audit.refuse(refusal())
        audit.refuse(refusal("2001:db8::1"))
        audit.refuse(refusal("2001:db8::2"))  # one /64 with the former
    audit.refuse(refusal("192.0.2.2"))
    await audit.flush()
    whole = await stored(audit, action="token.refused")
    assert len(whole) == 3 + 3 + 1
    counted = {event.actor.address: event.count for event in await stored(audit, action="refusals.counted")}
    assert counted == {"192.0.2.1": 7, "2001:db8::/64": 17}

    clock.now += 60  # a new minute, a new cap
    audit.refuse(refusal())
    await audit.flush()
    assert len(await stored(audit, action="token.refused")) == 8


@pytest.mark.gen_test
async def test_watchers_see_every_refusal_those_that_are_only_counted_too(
    audit: AuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def fail(_event: Event) -> None:
        raise ValueError

    audit.watch_refusals(fail)
    audit.watch_refusals(lambda event: seen.append(event.id))
    refused = [refusal() for _ in range(5)]  # of which three are kept whole
    for event in refused:
        audit.refuse(event)
    assert seen == [event.id for event in refused]
    assert {record.message for record in caplog.records} == {"a watcher of refusals failed"}
    await audit.flush()
    assert len(await stored(audit)) == 4


@pytest.mark.gen_test
async def test_addresses_beyond_those_told_apart_are_counted_together(store: Store, clock: Clock) -> None:
    audit = AuditLog(store, per_address=1, max_addresses=2, clock=clock)
    for number in range(6):
        audit.refuse(refusal(f"192.0.2.{number}"))
    await audit.flush()
    assert len(await stored(audit, action="token.refused")) == 3
    [counted] = await stored(audit, action="refusals.counted")
    assert (counted.actor.address, counted.count) == ("*", 3)


@pytest.mark.gen_test
async def test_what_is_counted_adds_up_over_flushes_and_processes(store: Store, clock: Clock) -> None:
    processes = AuditLog(store, clock=clock), AuditLog(store, clock=clock)
    for audit in processes:
        for _ in range(3):
            audit.count("token.issued", client_id="bot", secret="s1")
            await audit.flush()
        audit.count("token.issued", client_id="bot", secret="s2")
        await audit.flush()
    clock.now += 60
    audit.count("token.issued", client_id="bot", secret="s1")
    await audit.flush()
    events = await stored(audit, client_id="bot")
    assert sorted((event.detail["secret"], event.count) for event in events) == [
        ("s1", 1),
        ("s1", 6),
        ("s2", 2),
    ]
    assert {event.actor for event in events} == {Actor("client", "bot")}
    assert {event.time.second for event in events} == {0}


@pytest.mark.gen_test
async def test_counts_survive_an_outage(audit: AuditLog, store: Store) -> None:
    store.away = True
    for client_id in ("bot", "other", "bot"):
        audit.count("token.issued", client_id=client_id)
        await audit.flush()
    store.away = False
    await audit.flush()
    assert {event.client_id: event.count for event in await stored(audit)} == {"bot": 2, "other": 1}


@pytest.mark.gen_test
async def test_what_mongodb_rejects_does_not_keep_the_others(
    audit: AuditLog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for target in ("/a", "/bad", "/b"):
        audit.refuse(dataclasses.replace(refusal(), target=target))
    store.rejected = "/bad"
    await audit.flush()
    store.rejected = ""
    await audit.flush()
    assert {event.target for event in await stored(audit)} == {"/a", "/b"}
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "ValueError" in record.message
    assert "secret" not in record.message.replace("token.refused", "")


@pytest.mark.gen_test
async def test_a_count_that_mongodb_rejects_does_not_keep_the_others(
    audit: AuditLog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.rejected = "bad.counted"
    audit.count("bad.counted", client_id="bot")
    audit.count("token.issued", client_id="bot")
    await audit.flush()
    store.rejected = ""
    await audit.flush()
    assert [event.action for event in await stored(audit)] == ["token.issued"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.gen_test
async def test_what_is_lost_is_logged_once_a_flush(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(store, per_address=20_000, clock=clock)
    store.away = True
    for number in range(10_003):
        audit.count("token.issued", client_id=f"bot-{number}")
    async with contextlib.AsyncExitStack() as changes:
        store.away = False
        change = await changes.enter_async_context(audit.change("client.changed", target="bot"))
        store.away = True
        for _ in range(10_000):
            audit.refuse(refusal())
        change.after = {"name": "The bot"}
    caplog.clear()
    await audit.flush()
    lost = [record.message for record in caplog.records if "lost" in record.message]
    assert lost == [
        "the audit lost 3 counts: more than 10000 waited",
        "the audit lost 1 deliveries: more than 10000 waited",
    ]
    caplog.clear()
    await audit.flush()
    assert not [record for record in caplog.records if "lost" in record.message]


def test_a_refusal_without_a_reason_is_told_in_the_words_of_its_answer() -> None:
    assert refusal_reason(Conflict("It is there already.")) == Reason("conflict", "It is there already")
    assert refusal_reason(Conflict()) == Reason("conflict", "Conflict")
    assert len(refusal_reason(Conflict("x" * 5000)).because) == 300
    pasted = ValidationFailed({"a secret where a name belongs": ["Unknown field."]})
    assert refusal_reason(pasted) == Reason("validation-failed", "the request has invalid fields")


class Sink:
    """Keeps what it is given, and fails or hangs if told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.events: list[Event] = []
        self._fails = fails

    async def __call__(self, events: Sequence[Event]) -> None:
        if self._fails:
            raise ZeroDivisionError("a secret")
        self.events += events


@contextlib.asynccontextmanager
async def running(audit: AuditLog, *sinks: Sink) -> AsyncIterator[None]:
    async with audit.running({"probe": sinks}):
        yield


@pytest.mark.gen_test
async def test_queued_events_are_written_while_it_runs(audit: AuditLog, store: Store) -> None:
    async with running(audit):
        audit.refuse(refusal())
        await asyncio.wait_for(store.inserted.wait(), 10)
        assert len(await stored(audit)) == 1


@pytest.mark.gen_test
async def test_everything_is_written_and_delivered_when_it_ends(audit: AuditLog) -> None:
    sink = Sink()
    async with running(audit, sink):
        async with audit.change("client.registered", target="bot"):
            pass
        audit.refuse(refusal())
        audit.count("token.issued", client_id="bot")
        audit.count("token.issued", client_id="bot")
    assert len(await stored(audit)) == 3
    assert {(event.action, event.count) for event in sink.events} == {
        ("client.registered", 1),
        ("token.refused", 1),
        ("token.issued", 2),
    }


@pytest.mark.gen_test
async def test_a_sink_that_fails_harms_nobody(audit: AuditLog, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    async with running(audit, Sink(fails=True), sink):
        audit.refuse(refusal())
    assert len(sink.events) == 1
    assert len(await stored(audit)) == 1
    assert "an audit sink of probe failed: ZeroDivisionError" in caplog.text
    assert "a secret" not in caplog.text


@pytest.mark.gen_test
async def test_a_sink_that_hangs_delays_nothing_that_is_written(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    asked = asyncio.Event()

    async def hang(_events: Sequence[Event]) -> None:
        asked.set()
        await asyncio.Event().wait()

    audit = AuditLog(store, interval=0.01, sink_seconds=0.5)
    async with audit.running({"probe": [hang]}):
        audit.refuse(refusal())
        await asyncio.wait_for(asked.wait(), 10)
        store.inserted.clear()
        audit.refuse(refusal())
        await asyncio.wait_for(store.inserted.wait(), 10)
        assert "TimeoutError" not in caplog.text
    assert "an audit sink of probe failed: TimeoutError" in caplog.text


@pytest.mark.gen_test
async def test_every_event_is_in_the_log(audit: AuditLog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "station.audit")
    async with running(audit):
        audit.refuse(refusal())
    [record] = [record for record in caplog.records if record.name == "station.audit"]
    assert record.getMessage() == "token.refused refused - by anonymous (wrong_secret)"
    assert vars(record)["audit"]["reason"] == "wrong_secret"
    assert vars(record)["audit"]["address"] == "192.0.2.1"
