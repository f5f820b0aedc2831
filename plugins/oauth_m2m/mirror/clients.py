"""ClientCache: the clients that are in use, in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import ClientStore

__all__ = ["ClientCache"]

_SECONDS = 60.0


class ClientCache:
    """Keeps up to ``size`` clients of ``store`` for a minute, and drops what it is told has changed.

    Nobody is remembered as unknown. Simultaneous readers of one client share one read. ``hits`` and
    ``misses`` count how often a client that was asked for was in memory, or not.
    """

    def __init__(self, store: ClientStore, *, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._size = size
        self._clock = clock
        self._kept: dict[str, tuple[Client, float]] = {}
        self._client_ids: dict[str, str] = {}
        self._reads: dict[str, asyncio.Task[Client | None]] = {}
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, client_id: str) -> Client | None:
        """The client of this id, or None; it is as it was when nothing newer had been heard of."""
        return self.peek(client_id) or await self.read(client_id)

    def peek(self, client_id: str) -> Client | None:
        """The client of this id if it is in memory."""
        client = self._fresh(client_id)
        if client is None:
            self.misses += 1
        else:
            self.hits += 1
        return client

    async def read(self, client_id: str) -> Client | None:
        """The client of this id, or None, read from the store whatever is in memory."""
        reading = self._reads.get(client_id)
        if reading is None:
            reading = self._reads[client_id] = asyncio.create_task(self._read(client_id))
            reading.add_done_callback(_retrieve)
        # shielded: one reader that gives up must not take the answer from the others
        return await asyncio.shield(reading)

    def put(self, client: Client) -> None:
        """Take a client as it is now, unless something newer is known."""
        self._overtake(client.client_id)
        if self._client_ids.get(client.id, client.client_id) != client.client_id:
            self.drop(client.id)  # somebody renamed it by hand
        kept = self._kept.get(client.client_id)
        if kept is None:
            return  # nobody asks for it
        if kept[0].id != client.id:
            self.drop(kept[0].id)  # deleted and registered again: which of the two is older, MongoDB knows
        elif client.version >= kept[0].version:
            self._keep(client)

    def drop(self, document_id: str) -> None:
        """Forget the client whose document has this id: it is gone, or has changed."""
        # its client id may be known to nobody here, while it is being read
        self._reads.clear()
        client_id = self._client_ids.pop(document_id, None)
        if client_id is not None:
            self._kept.pop(client_id, None)

    def clear(self) -> None:
        """Forget everything: changes may have been missed."""
        self._reads.clear()
        self._kept.clear()
        self._client_ids.clear()

    def _fresh(self, client_id: str) -> Client | None:
        kept = self._kept.get(client_id)
        return kept[0] if kept is not None and kept[1] > self._clock() else None

    async def _read(self, client_id: str) -> Client | None:
        this = asyncio.current_task()
        try:
            client = await self._store.find(client_id)
            if client is not None and self._reads.get(client_id) is this:
                known = self._fresh(client_id)
                if known is not None and known.id == client.id and known.version > client.version:
                    return known  # a primary that was replaced, and has not noticed, told what was
                self._keep(client)
        finally:
            if self._reads.get(client_id) is this:
                del self._reads[client_id]
        return client

    def _overtake(self, client_id: str) -> None:
        """What is being read may be older than what was just heard: it is not kept, nor joined any more."""
        self._reads.pop(client_id, None)

    def _keep(self, client: Client) -> None:
        before = self._kept.pop(client.client_id, None)
        if before is not None:
            self._client_ids.pop(before[0].id, None)
        elif len(self._kept) >= self._size:
            oldest = next(iter(self._kept))
            self._client_ids.pop(self._kept.pop(oldest)[0].id, None)
        self._kept[client.client_id] = client, self._clock() + _SECONDS
        self._client_ids[client.id] = client.client_id


def _retrieve(reading: asyncio.Task[Client | None]) -> None:
    """A failure that nobody waits for any more is nobody's."""
    if not reading.cancelled():
        reading.exception()
