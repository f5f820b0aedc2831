"""Propagation: how a change comes to all processes, and how it is known that it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Confirmation
from station.background import in_background
from station.errors import ServiceUnavailable
from station.metrics import Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.oauth_m2m.mirror.clients import ClientCache
    from plugins.oauth_m2m.mirror.follower import ChangeKey, Follower
    from plugins.oauth_m2m.mirror.revocations import RevokedTokens
    from plugins.oauth_m2m.models import Change, Client, Position
    from plugins.oauth_m2m.stores import NodeStore

__all__ = ["KINDS", "OUTCOMES", "Propagation"]

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 0.25
_ASK_EVERY_SECONDS = 0.005
_HEARTBEAT_SECONDS = 1.0

TOKEN_REVOKED, CLIENT_CHANGED, CLIENT_DELETED = KINDS = ("token_revoked", "client_changed", "client_deleted")
CONFIRMED, PENDING, UNKNOWN = OUTCOMES = ("confirmed", "pending", "unknown")


class Propagation:
    """Applies what this process has changed, and waits until the others have applied it too.

    Each process that serves says in Redis how far it has followed MongoDB. A change has come to all when all
    that live are past it. That takes milliseconds; after a quarter of a second the answer goes out with the
    number of those that are missing. They learn of it by the same stream, or refuse once they are stale.

    ``outcomes`` counts changes by kind and by what became of them, ``durations`` are the seconds that they
    took, and ``unannounced`` is how often Redis did not hear how far this process is.
    """

    def __init__(
        self, follower: Follower, nodes: NodeStore, *, clients: ClientCache, revoked: RevokedTokens
    ) -> None:
        self._follower = follower
        self._nodes = nodes
        self._clients = clients
        self._revoked = revoked
        self._node = uuid.uuid4().hex
        self._news = asyncio.Event()
        self._serving = False
        self._announced = False
        self._others_known_at = float("-inf")
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.durations = Histogram()
        self.unannounced = 0
        follower.watch(self._changed)

    async def client_changed(self, client: Client) -> Confirmation:
        """A client is as given now: changed by this process."""
        self._clients.put(client)
        return await self._confirmed(CLIENT_CHANGED, ("client", client.id, client.version))

    async def client_deleted(self, client: Client) -> Confirmation:
        """A client was deleted by this process."""
        self._clients.drop(client.id)
        return await self._confirmed(CLIENT_DELETED, ("client", client.id, None))

    async def token_revoked(self, jti: str) -> Confirmation:
        """A token was revoked by this process."""
        self._revoked.add(jti)
        return await self._confirmed(TOKEN_REVOKED, ("revocation", jti, None))

    @contextlib.asynccontextmanager
    async def announcing(self, *, serving: bool) -> AsyncIterator[None]:
        """Say how far this process has come, whenever it has come further, and that it lives."""
        if not serving:
            yield
            return
        self._serving = True
        await self._announce()
        try:
            async with in_background(self._keep_announcing()):
                try:
                    yield
                finally:
                    self._serving = False  # in case the cancellation is lost, as libraries may do
        finally:
            with contextlib.suppress(ServiceUnavailable):
                await self._nodes.leave(self._node)

    async def _confirmed(self, kind: str, key: ChangeKey) -> Confirmation:
        began = time.monotonic()
        confirmation = await self._ask(key)
        self.durations.observe(time.monotonic() - began)
        pending = confirmation.pending
        self.outcomes[kind, UNKNOWN if pending is None else PENDING if pending else CONFIRMED] += 1
        return confirmation

    async def _ask(self, key: ChangeKey) -> Confirmation:
        # this process applies the change already, whatever the stream says
        position: Position | None = None
        others: dict[str, Position] | None = None
        with contextlib.suppress(TimeoutError, ServiceUnavailable):
            async with asyncio.timeout(_PATIENCE_SECONDS) as patience:
                others = await self._others()
                if others:
                    position = await self._follower.applied(key)
                    # asked as well, because libraries may lose a cancellation
                    while _missing(others, position) and not patience.expired():
                        await asyncio.sleep(_ASK_EVERY_SECONDS)
                        others = await self._others()
        own = 1 if self._serving else 0
        if others is None:
            return Confirmation(own, None)
        pending = len(others) if position is None else _missing(others, position)
        return Confirmation(own + len(others) - pending, pending)

    async def _others(self) -> dict[str, Position]:
        """How far the others have come; `ServiceUnavailable` if Redis may not know them all."""
        nodes = await self._nodes.positions()
        forgotten = nodes.pop(self._node, None) is None and self._serving
        if forgotten or time.monotonic() < self._others_known_at:
            raise ServiceUnavailable("Redis has lost its data, and others may not have come back to it.")
        return nodes

    def _changed(self, _change: Change | None) -> None:
        self._news.set()

    async def _keep_announcing(self) -> None:
        while self._serving:
            # not wait_for: before Python 3.12 it can lose a cancellation
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await self._news.wait()
            self._news.clear()
            await self._announce()

    async def _announce(self) -> None:
        # who comes back must know what was confirmed without it, before it is waited for again
        if self._follower.is_left_out:
            return
        asked_at = time.monotonic()
        try:
            known = await self._nodes.announce(self._node, self._follower.position)
        except Exception as error:  # nothing ends the announcing
            self.unannounced += 1
            _log.debug("this process was not announced: %s", type(error).__name__)
            return
        self._follower.counted_until(asked_at + self._nodes.LIFE_SECONDS)
        if self._announced and not known:
            self._others_known_at = asked_at + self._nodes.LIFE_SECONDS
        self._announced = True


def _missing(nodes: dict[str, Position], position: Position) -> int:
    return sum(place < position for place in nodes.values())
