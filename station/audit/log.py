"""AuditLog: records events, and delivers them to the log and to plugins."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import time
import weakref
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from station.addresses import throttle_key
from station.audit.models import Actor, Event, event_json
from station.errors import Reason, ResponseError, ServiceUnavailable, ValidationFailed
from station.logging import request_id_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from station.audit.models import Outcome
    from station.audit.store import AuditFilter, AuditStore

__all__ = ["AuditLog", "Change", "Sink", "refusal_reason"]

Sink = Callable[[Sequence[Event]], Awaitable[object]]
"""What a plugin gets events by: awaited with a batch of them, at most twice a second."""

_log = logging.getLogger(__name__)
_events_log = logging.getLogger("station.audit")
_INTERVAL_SECONDS = 0.5
_SINK_SECONDS = 5.0
_MAX_QUEUE = 10_000
_BATCH = 1000
_MAX_ADDRESSES = 10_000
_MAX_BECAUSE = 300  # a description may name whatever fields were sent
_REFUSALS_PER_ADDRESS = 30
_ELSEWHERE = "*"  # the address of refusals beyond the addresses that are told apart


@dataclasses.dataclass(slots=True)
class Change:
    """What a change turned out to be: filled in while it is made."""

    target: str
    client_id: str = ""
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    detail: Mapping[str, object] = dataclasses.field(default_factory=dict)


class _Tally(NamedTuple):
    """What is counted together: all fields equal, within one minute.

    A tuple because one is made and hashed for every token: that takes a third of a dataclass's time.
    """

    action: str
    outcome: Outcome
    client_id: str
    address: str
    detail: tuple[tuple[str, str], ...]
    minute: int

    def event(self, count: int) -> Event:
        """The event whose document the count is added to: every process finds it by its id."""
        named = [self.action, self.client_id, self.address, *(value for _, value in self.detail)]
        return Event(
            id=":".join([*named, str(self.minute)]),
            action=self.action,
            actor=Actor("client", self.client_id) if self.client_id else Actor("anonymous", "", self.address),
            client_id=self.client_id,
            outcome=self.outcome,
            detail=dict(self.detail),
            count=count,
            time=datetime.fromtimestamp(self.minute * 60, UTC),
        )


class AuditLog:
    """Records the events of one application.

    Changes are written at once. Refusals and counts are queued and written every ``interval`` seconds; of
    the refusals of one address (IPv6: of one /64) the first ``per_address`` in a minute are kept whole and
    the rest counted; beyond ``max_addresses`` in a minute all addresses are as one. Between `running`'s start
    and end all of them go to the log and to the sinks as well.
    """

    def __init__(
        self,
        store: AuditStore,
        *,
        interval: float = _INTERVAL_SECONDS,
        per_address: int = _REFUSALS_PER_ADDRESS,
        max_addresses: int = _MAX_ADDRESSES,
        sink_seconds: float = _SINK_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._interval = interval
        self._per_address = per_address
        self._max_addresses = max_addresses
        self._sink_seconds = sink_seconds
        self._clock = clock
        self._refused: deque[Event] = deque()
        self._unfinished: deque[Event] = deque()
        self._undelivered: deque[Event] = deque(maxlen=_MAX_QUEUE)
        self._tallies: Counter[_Tally] = Counter()
        self._minute = 0
        self._refusals: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._recorded: weakref.WeakSet[ResponseError] = weakref.WeakSet()
        self._watchers: list[Callable[[Event], object]] = []
        self._flushing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def change(
        self,
        action: str,
        *,
        target: str,
        client_id: str = "",
        before: Mapping[str, object] | None = None,
    ) -> AsyncIterator[Change]:
        """Record a change round the code that makes it.

        The event is in MongoDB, by a majority, before the block runs: `ServiceUnavailable`, and nothing is
        changed, if it cannot be. How the block ends is written after it. If that fails the answer stays what
        it is, since the change is made; the end is written as soon as MongoDB answers, and until then the
        event says ``begun``.
        """
        begun = Event(action=action, target=target, client_id=client_id, outcome="begun", before=before)
        await self._store.insert([begun])
        change = Change(target, client_id, before)
        try:
            yield change
        except Exception as error:
            if isinstance(error, ResponseError):
                self._recorded.add(error)
            await self._finish(_failed(begun, change, error))
            raise
        except asyncio.CancelledError as error:
            # no time to write: the next flush does
            self._unfinished.append(_failed(begun, change, error))
            raise
        await self._finish(_ended(begun, change, "ok"))

    def has_recorded(self, error: ResponseError) -> bool:
        """Whether this error ended a change, whose event tells it already."""
        return error in self._recorded

    def watch_refusals(self, watcher: Callable[[Event], object]) -> None:
        """Call ``watcher`` with every refusal from now on, those that are only counted as well.

        The request that is refused waits for it, so it may take microseconds and must wait for nobody.
        """
        self._watchers.append(watcher)

    def refuse(self, event: Event) -> None:
        """Record a refusal: queued, or only counted for an address that is refused too often."""
        for watcher in self._watchers:
            try:
                watcher(event)
            except Exception:
                _log.exception("a watcher of refusals failed")
        minute = self._current_minute()
        address = throttle_key(event.actor.address)
        if address not in self._refusals and len(self._refusals) >= self._max_addresses:
            address = _ELSEWHERE
        self._refusals[address] += 1
        if self._refusals[address] > self._per_address or len(self._refused) >= _MAX_QUEUE:
            self._tally(_Tally("refusals.counted", "refused", "", address, (), minute))
            return
        self._refused.append(event)
        self._deliver_later(event)

    def count(self, action: str, *, client_id: str, **detail: str) -> None:
        """Count something that a client did, by the minute and by ``detail``."""
        self._tally(_Tally(action, "ok", client_id, "", tuple(detail.items()), self._current_minute()))

    async def find(self, wanted: AuditFilter, *, limit: int) -> list[Event]:
        """The latest events that are written and match, oldest first."""
        return await self._store.find(wanted, limit=limit)

    async def flush(self) -> None:
        """Write what is queued. It stays queued while MongoDB is away; what MongoDB rejects is lost."""
        async with self._flushing:  # two at once would take the same events
            self._tell_lost()
            try:
                await self._write_all()
            except ServiceUnavailable:
                _log.warning("the audit waits for MongoDB, with %d refusals queued", len(self._refused))

    async def _write_all(self) -> None:
        while self._unfinished:
            await self._write(self._unfinished[0], self._store.finish)
            self._unfinished.popleft()
        while batch := list(itertools.islice(self._refused, _BATCH)):
            await self._insert(batch)
            for _ in batch:
                self._refused.popleft()
        tallies = list(self._tallies)
        for start in range(0, len(tallies), _BATCH):
            await self._add(tallies[start : start + _BATCH])

    async def _insert(self, batch: Sequence[Event]) -> None:
        """Write a batch, one by one if that fails: one bad event must not keep the others."""
        try:
            await self._store.insert(batch)
        except ServiceUnavailable:
            raise
        except Exception:
            for event in batch:
                await self._write(event, lambda one: self._store.insert([one]))

    async def _write(self, event: Event, write: Callable[[Event], Awaitable[None]]) -> None:
        try:
            await write(event)
        except ServiceUnavailable:
            raise
        except Exception as error:
            # its words quote the document
            _log.error("MongoDB rejects the event %s %s: %s", event.action, event.id, type(error).__name__)

    async def _add(self, tallies: Sequence[_Tally]) -> None:
        counted = [tally.event(self._tallies.pop(tally)) for tally in tallies]
        try:
            failed = await self._store.add(counted)
        except ServiceUnavailable:
            for tally, event in zip(tallies, counted, strict=True):
                self._tallies[tally] += event.count
            raise
        for place, (tally, event) in enumerate(zip(tallies, counted, strict=True)):
            if failed.get(place):
                self._tallies[tally] += event.count
            elif place in failed:
                _log.error("MongoDB rejects the count %s", event.action)
            else:
                self._deliver_later(event)

    @contextlib.asynccontextmanager
    async def running(self, sinks: Mapping[str, Sequence[Sink]]) -> AsyncIterator[None]:
        """Write and deliver until the block ends, and then whatever is left.

        ``sinks`` are the plugins', by plugin name. A sink that fails, or takes over ``sink_seconds``, loses
        that batch, which is logged; nothing and nobody else notices.
        """

        async def deliver() -> None:
            await self._deliver(sinks)

        ending = asyncio.Event()
        tasks = [asyncio.create_task(self._repeat(work, ending)) for work in (self.flush, deliver)]
        try:
            yield
        finally:
            ending.set()
            await asyncio.wait(tasks)
            await deliver()  # what the last flush has counted

    async def _repeat(self, work: Callable[[], Awaitable[None]], ending: asyncio.Event) -> None:
        """Do the work at every interval, and a last time when all ends: it is never cut off half done."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), self._interval)
            last = ending.is_set()
            try:
                await work()
            except (Exception, asyncio.CancelledError):  # a sink's own; this task is never cancelled
                _log.exception("the audit stumbled")
            if last:
                return

    async def _finish(self, event: Event) -> None:
        self._deliver_later(event)
        try:
            await self._store.finish(event)
        except Exception as error:  # the change is made: nothing takes the place of its answer
            reason = type(error).__name__
            _log.warning("the end of %s %s is not written yet: %s", event.action, event.id, reason)
            self._unfinished.append(event)

    async def _deliver(self, sinks: Mapping[str, Sequence[Sink]]) -> None:
        events = list(self._undelivered)
        self._undelivered.clear()
        if not events:
            return
        for event in events:
            request_id_context.set(event.actor.request_id or "-")
            _events_log.info("%s", _line(event), extra={"audit": event_json(event)})
        each = [self._give(name, sink, events) for name, own in sinks.items() for sink in own]
        await asyncio.gather(*each)

    async def _give(self, name: str, sink: Sink, events: Sequence[Event]) -> None:
        try:
            await asyncio.wait_for(sink(events), self._sink_seconds)
        except (Exception, asyncio.CancelledError) as error:
            # its words may hold anything; a cancellation is of something that the sink awaited
            _log.error("an audit sink of %s failed: %s", name, type(error).__name__)

    def _tally(self, tally: _Tally) -> None:
        if tally in self._tallies or len(self._tallies) < _MAX_QUEUE:
            self._tallies[tally] += 1
        else:
            self._lost["counts"] += 1

    def _deliver_later(self, event: Event) -> None:
        if len(self._undelivered) == _MAX_QUEUE:
            self._lost["deliveries"] += 1  # the oldest makes room
        self._undelivered.append(event)

    def _tell_lost(self) -> None:
        for kind, number in self._lost.items():
            _log.warning("the audit lost %d %s: more than %d waited", number, kind, _MAX_QUEUE)
        self._lost.clear()

    def _current_minute(self) -> int:
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._refusals.clear()
        return minute


def refusal_reason(error: ResponseError) -> Reason:
    """The reason that a refusal carries, or what its answer tells the client."""
    because = error.description.rstrip(".") or HTTPStatus(error.status).phrase
    if isinstance(error, ValidationFailed):
        because = "the request has invalid fields"  # not which: people paste secrets where names belong
    return error.reason or Reason(error.code, because[:_MAX_BECAUSE])


def _ended(begun: Event, change: Change, outcome: Outcome, reason: Reason | None = None) -> Event:
    return dataclasses.replace(
        begun,
        target=change.target,
        client_id=change.client_id,
        outcome=outcome,
        reason=reason,
        before=change.before,
        after=change.after,
        detail=change.detail,
    )


def _failed(begun: Event, change: Change, error: BaseException) -> Event:
    if isinstance(error, ResponseError) and error.status < 500:
        return _ended(begun, change, "refused", refusal_reason(error))
    return _ended(begun, change, "failed", Reason("error", f"it ended in {type(error).__name__}"))


def _line(event: Event) -> str:
    actor = f"{event.actor.kind} {event.actor.id}".strip()
    words = [event.action, event.outcome, event.target or event.client_id or "-", "by", actor]
    words += [f"({event.reason.code})"] if event.reason else []
    words += [f"x{event.count}"] if event.count > 1 else []
    return " ".join(words)
