"""UsageCounter: what clients do in this process, counted by client and period."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import UsageKey
from station.background import in_background
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from plugins.oauth_m2m.mirror import ClientCache
    from plugins.oauth_m2m.stores import ClientStore, UsageStore
    from station.audit import Event

__all__ = ["UsageCounter"]

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 5.0
_MAX_CLIENTS = 10_000
_MAX_CLAIMED = 1000
_BATCH = 200  # takes a millisecond to prepare
_EVERYBODY = ""
_REFUSALS = {f"{endpoint}.refused": endpoint for endpoint in ("token", "bearer", "introspect", "revoke")}
_ODD = re.compile(r"[^a-z0-9_-]")
_MAX_REASON = 40


class UsageCounter:
    """Counts in memory, and adds to the store every five seconds what has come together.

    A call costs the request one entry of a dictionary. What is issued comes from the audit, which counts it
    already (`note_issued` is one of its sinks), and so do refusals (`note_refusal`). A refused request may
    claim to come from anybody: it is counted for a client only if that is registered, and otherwise for all
    of them together. No more than ``max_clients`` are told apart at once.
    """

    def __init__(
        self,
        store: UsageStore,
        clients: ClientCache,
        registered: ClientStore,
        *,
        max_clients: int = _MAX_CLIENTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clients = clients
        self._registered = registered
        self._max_clients = max_clients
        self._clock = clock
        self._calls: dict[str, int] = {}
        self._introspections: dict[str, int] = {}
        self._claimed: dict[UsageKey, Counter[str]] = {}
        self._waiting: dict[UsageKey, Counter[str]] = {}
        self._flushing = asyncio.Lock()

    def called(self, client_id: str) -> None:
        """A protected handler has accepted a token of this client."""
        self._count(self._calls, client_id)

    def introspected(self, client_id: str) -> None:
        """A resource server heard that a token of this client is active."""
        self._count(self._introspections, client_id)

    def note_refusal(self, event: Event) -> None:
        """A request was refused (called by the audit, for each of them)."""
        endpoint = _REFUSALS.get(event.action)
        if endpoint is None or event.reason is None:
            return
        reason = _ODD.sub("_", event.reason.code[:_MAX_REASON].lower())  # it becomes the name of a field
        at, field = int(event.time.timestamp()), f"refused.{endpoint}.{reason}"
        self._add(_EVERYBODY, at, field, 1)
        if not event.client_id:
            return
        if self._clients.peek(event.client_id) is not None:
            self._add(event.client_id, at, field, 1)
        elif (key := self._key(event.client_id, at)) in self._claimed or len(self._claimed) < _MAX_CLAIMED:
            self._claimed.setdefault(key, Counter())[field] += 1

    async def note_issued(self, events: Sequence[Event]) -> None:
        """Tokens were issued (called by the audit, as one of its sinks)."""
        for event in events:
            if event.action == "token.issued":
                at = int(event.time.timestamp())
                self._add(_EVERYBODY, at, "issued", event.count)
                self._add(event.client_id, at, "issued", event.count)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Write every five seconds until the context ends, and then what is left."""
        try:
            async with in_background(self._keep_flushing()):
                yield
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; while MongoDB is away it waits."""
        async with self._flushing:
            await self._take("calls", self._calls)
            await self._take("introspections", self._introspections)
            try:
                await self._believe()
                keys = list(self._waiting)
                for start in range(0, len(keys), _BATCH):
                    await self._write(keys[start : start + _BATCH])
            except ServiceUnavailable as error:
                _log.warning("the usage of clients waits for MongoDB (%s)", error.description)

    def _count(self, counted: dict[str, int], client_id: str) -> None:
        number = counted.get(client_id, 0)
        if number or len(counted) < self._max_clients:
            counted[client_id] = number + 1

    async def _take(self, field: str, counted: dict[str, int]) -> None:
        taken, now = list(counted.items()), int(self._clock())
        counted.clear()
        self._add(_EVERYBODY, now, field, sum(number for _, number in taken))
        for start in range(0, len(taken), _BATCH):
            for client_id, number in taken[start : start + _BATCH]:
                self._add(client_id, now, field, number)
            await asyncio.sleep(0)  # a request may be waiting

    async def _believe(self) -> None:
        """Count the refusals of those clients that turn out to be registered."""
        claimed, self._claimed = self._claimed, {}
        ids = {key.client_id for key in claimed}
        known = {client.client_id for client in await self._registered.find_many(ids)} if ids else ids
        for key, counted in claimed.items():
            if key.client_id in known:
                for field, number in counted.items():
                    self._add(key.client_id, key.at, field, number)

    async def _write(self, keys: Sequence[UsageKey]) -> None:
        batch = {key: self._waiting.pop(key) for key in keys}
        try:
            await self._store.add(batch)
        except ServiceUnavailable:
            for key, counted in batch.items():
                self._waiting.setdefault(key, Counter()).update(counted)
            raise

    def _add(self, client_id: str, at: int, field: str, number: int) -> None:
        key = self._key(client_id, at)
        has_place = len(self._waiting) < self._max_clients or client_id == _EVERYBODY
        if number and (has_place or key in self._waiting):
            self._waiting.setdefault(key, Counter())[field] += number

    def _key(self, client_id: str, at: int) -> UsageKey:
        step = self._store.FIVE_MINUTES
        return UsageKey(client_id, at // step * step)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                await self.flush()
            except Exception:
                _log.exception("the usage of clients was not written")
