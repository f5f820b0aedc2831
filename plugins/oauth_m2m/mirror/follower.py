"""Follower: keeps the memory of this process in step with MongoDB, and says when it is not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Change, ClientChanged, KeysChanged, TokenRevoked
from plugins.oauth_m2m.stores import StreamLost
from station.background import in_background
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plugins.oauth_m2m.keyring import Keyring
    from plugins.oauth_m2m.mirror.clients import ClientCache
    from plugins.oauth_m2m.mirror.revocations import RevokedTokens
    from plugins.oauth_m2m.models import Position
    from plugins.oauth_m2m.stores import ChangeStore, ChangeStream, TokenStore

__all__ = ["ChangeKey", "Follower", "Watcher"]

_log = logging.getLogger(__name__)
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_MAX_APPLIED = 10_000
_CATCH_UP_SECONDS = 1.5
_POLL_SECONDS = 0.02

ChangeKey = tuple[str, str, int | None]
"""A change that somebody may wait for: of what kind, of which document, to which version."""

Watcher = Callable[[Change | None], None]
"""Is told each change that was applied, and None when changes may have been missed."""


class Follower:
    """Applies every change to the caches, in order, for as long as `following` is open.

    ``max_staleness`` is how many seconds MongoDB may be silent before `check` refuses. ``interruptions``
    counts how often the change stream broke off.
    """

    def __init__(
        self,
        changes: ChangeStore,
        tokens: TokenStore,
        *,
        clients: ClientCache,
        revoked: RevokedTokens,
        keyring: Keyring,
        max_staleness: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes = changes
        self._tokens = tokens
        self._clients = clients
        self._revoked = revoked
        self._keyring = keyring
        self.max_staleness = max_staleness
        self.interruptions = 0
        self._clock = clock
        self._heard_at = float("-inf")
        self._counted_until = float("inf")
        self._resume_after: Mapping[str, object] | None = None
        self._applied: dict[ChangeKey, Position] = {}
        self._awaited: dict[ChangeKey, set[asyncio.Future[Position]]] = {}
        self._watchers: list[Watcher] = []
        self.position: Position = (0, 0)

    @property
    def lag(self) -> float:
        """For how many seconds nothing was heard of MongoDB."""
        return self._clock() - self._heard_at

    @property
    def is_left_out(self) -> bool:
        """Whether others count this process no more, and it has not heard MongoDB since.

        They may have said that a revocation has come to all, and this process does not know of it.
        """
        return self._heard_at < self._counted_until < self._clock()

    def check(self) -> None:
        """`ServiceUnavailable` if MongoDB may know of revocations that this process does not."""
        if self.lag > self.max_staleness or self.is_left_out:
            raise ServiceUnavailable("Station cannot tell now which tokens are revoked; try again later.")

    async def catch_up(self) -> None:
        """As `check`, with a moment's patience for a process that is left out.

        It hears MongoDB several times a second.
        """
        if self.is_left_out:
            await self._counted_again()
        self.check()

    def counted_until(self, moment: float) -> None:
        """Until this moment (by the clock) others count this process among those that must know a change."""
        self._counted_until = moment

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of every change from now on; see `Watcher`."""
        self._watchers.append(watcher)

    async def applied(self, key: ChangeKey) -> Position:
        """Wait until this process has applied a change, and return where in the order it stands."""
        if key in self._applied:
            return self._applied[key]
        waiting: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(key, set()).add(waiting)
        try:
            return await waiting
        finally:
            self._forget(key, waiting)

    @contextlib.asynccontextmanager
    async def following(self, *, serving: bool) -> AsyncIterator[None]:
        """Follow MongoDB. When ``serving``, everything is known before the context opens."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with in_background(self._follow(opened, load=serving)):
            await opened
            yield

    async def _counted_again(self) -> None:
        deadline = self._clock() + _CATCH_UP_SECONDS
        while self.is_left_out and self._clock() < deadline:  # noqa: ASYNC110 - time alone ends it, too
            await asyncio.sleep(_POLL_SECONDS)

    async def _follow(self, opened: asyncio.Future[None], *, load: bool) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                async with self._changes.watch(self._resume_after) as stream:
                    opened_at = self._clock()
                    if self._resume_after is None and load:
                        await self._load()
                    self._resume_after = stream.token
                    if not opened.done():
                        self._heard_at = opened_at
                        opened.set_result(None)
                    pause = _SHORTEST_PAUSE
                    await self._apply_all(stream)
            except StreamLost as error:
                if not opened.done():  # MongoDB does not let us follow it at all
                    opened.set_exception(error)
                    return
                _log.warning("the change stream cannot go on (%s): everything is read again", error)
                self._resume_after = None
            except Exception as error:
                if not opened.done():
                    opened.set_exception(error)
                    return
                _log.warning("the change stream broke off: %s", type(error).__name__)
            self.interruptions += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _load(self) -> None:
        """Read what the stream does not tell, because it happened before."""
        self._clients.clear()
        await self._keyring.refresh()
        with self._revoked.reloading() as revoked:
            async for jtis in self._tokens.revoked():
                revoked.update(jtis)
        self._tell(None)

    async def _apply_all(self, stream: ChangeStream) -> None:
        while True:
            change = await stream.next()
            if change is not None:
                self._apply(change)
                self._resume_after = stream.token
            self._heard_at = max(self._heard_at, stream.heard_at)

    def _apply(self, change: Change) -> None:
        match change:
            case ClientChanged(position, document_id, client, version):
                if client is None:
                    self._clients.drop(document_id)
                else:
                    self._clients.put(client)
                key: ChangeKey = ("client", document_id, version)
            case TokenRevoked(position, jti, forgotten):
                if forgotten:
                    self._revoked.discard(jti)
                else:
                    self._revoked.add(jti)
                key = ("revocation", jti, None)
            case KeysChanged(position, keys, version):
                if keys is not None:
                    self._keyring.use(keys)
                key = ("keys", "", version)
        self.position = max(self.position, position)
        self._note(key, position)
        self._tell(change)

    def _note(self, key: ChangeKey, position: Position) -> None:
        if len(self._applied) >= _MAX_APPLIED:
            del self._applied[next(iter(self._applied))]
        self._applied[key] = position
        for waiting in self._awaited.pop(key, ()):
            if not waiting.done():
                waiting.set_result(position)

    def _forget(self, key: ChangeKey, waiting: asyncio.Future[Position]) -> None:
        """Nobody waits for this any more: the change may never come, if it changed nothing."""
        if still := self._awaited.get(key):
            still.discard(waiting)
            if not still:
                del self._awaited[key]

    def _tell(self, change: Change | None) -> None:
        for watcher in self._watchers:
            try:
                watcher(change)
            except Exception:
                _log.exception("a watcher of changes failed")
