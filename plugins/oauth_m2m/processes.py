"""Processes: which processes serve, and how each of them is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Process
from station import __version__
from station.background import in_background
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.oauth_m2m.mirror import Follower
    from plugins.oauth_m2m.stores import ProcessStore
    from station.app import Application
    from station.passwords import PasswordHasher

__all__ = ["Processes"]

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 2.0


class Processes:
    """Says every other second how this process is, and knows what the others said.

    That is for people to look at: what decides whether a change has come to all is
    `plugins.oauth_m2m.mirror.Propagation`.
    """

    def __init__(
        self, store: ProcessStore, app: Application, *, follower: Follower, hasher: PasswordHasher
    ) -> None:
        self._store = store
        self._app = app
        self._follower = follower
        self._pool = hasher.pool
        self._id = uuid.uuid4().hex
        self._started_at = datetime.now(UTC)

    @property
    def this(self) -> Process:
        """What there is to say of this process, now."""
        pool = self._pool
        return Process(
            id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            worker=self._app.worker.number,
            version=__version__,
            started_at=self._started_at,
            position=self._follower.position,
            silence=max(0.0, self._follower.lag),
            bcrypt_threads=pool.workers,
            bcrypt_running=pool.running,
            bcrypt_waiting=pool.waiting,
            bcrypt_places=pool.queue_size,
            throttled=dict(self._app.throttle.refusals),
        )

    async def all(self) -> list[Process]:
        """All that serve, this one as it is now; `ServiceUnavailable` if Redis, which knows, is away."""
        this = self.this
        return [this if process.id == this.id else process for process in await self._store.list()]

    async def versions(self) -> tuple[str, str]:
        """The versions of MongoDB and Redis."""
        return await self._store.versions()

    @contextlib.asynccontextmanager
    async def announcing(self, *, serving: bool) -> AsyncIterator[None]:
        """Say how this process is for as long as the context is open."""
        if not serving:
            yield
            return
        try:
            async with in_background(self._keep_saying()):
                yield
        finally:
            with contextlib.suppress(ServiceUnavailable):
                await self._store.leave(self._id)

    async def _keep_saying(self) -> None:
        while True:
            try:
                await self._store.say(self.this)
            except ServiceUnavailable:
                _log.debug("Redis is away: this process says nothing of itself")
            except Exception:
                _log.exception("this process could not say how it is")
            await asyncio.sleep(_INTERVAL_SECONDS)
