"""HintService: names the clients that fetch a token for every call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import Hint, UsageTotals
from station.background import in_background
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import ClientStore, HintStore, UsageStore

__all__ = ["HintService"]

_log = logging.getLogger(__name__)
_HOUR = timedelta(hours=1)
_LEAST_TOKENS = 20
_LEAST_USES = 2.0
_ROUND_SECONDS = 60
_ROUND = ":round"  # which no client is called
_QUIET_SECONDS = 3600
_RECENT_SECONDS = 30.0


class HintService:
    """Looks at the last hour.

    A client is named that got 20 tokens or more, and used each less than twice on average: by calls of
    handlers, or at other resource servers that introspect them. What makes that fair:

    - Tokens of the present five minutes do not count yet, and their uses do.
    - Tokens of a short life are fetched often even by those who keep them, so a client needs twice as many as
      the hour takes.
    - Uses that Station cannot see, at resource servers that verify signatures themselves, are unknown: the
      clients that have such uses are ``excepted``.
    """

    def __init__(
        self,
        usage: UsageStore,
        claims: HintStore,
        clients: ClientStore,
        *,
        token_ttl: int,
        excepted: Collection[str] = (),
        round_seconds: float = _ROUND_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._usage = usage
        self._claims = claims
        self._clients = clients
        self._token_ttl = token_ttl
        self._excepted = frozenset(excepted)
        self._round_seconds = round_seconds
        self._clock = clock
        self._found: tuple[Hint, ...] = ()
        self._found_at = float("-inf")

    async def find(self) -> tuple[Hint, ...]:
        """The hints of all clients; those that got the most tokens first."""
        since, until = self._hour()
        found = await self._usage.heaviest(since=since, until=until, least=_LEAST_TOKENS)
        suspects = [totals for totals in found if self._is_suspect(totals)]
        clients = await self._clients.find_many([totals.client_id for totals in suspects])
        known = {client.client_id: client for client in clients}
        return tuple(
            Hint(totals.client_id, totals.issued, totals.uses)
            for totals in suspects
            if totals.client_id in known and self._is_fair(totals, known[totals.client_id])
        )

    async def recent(self) -> tuple[Hint, ...]:
        """What `find` found within the last half minute: for pages, which are shown without it if need be."""
        if time.monotonic() - self._found_at > _RECENT_SECONDS:
            self._found_at = time.monotonic()
            try:
                self._found = await self.find()
            except ServiceUnavailable:
                _log.warning("hints could not be looked for: MongoDB takes too long")
        return self._found

    async def find_of(self, client: Client) -> Hint | None:
        """The hint of one client, if there is one."""
        since, until = self._hour()
        periods = await self._usage.find(client.client_id, step=self._usage.FIVE_MINUTES, since=since)
        totals = UsageTotals(
            client.client_id,
            sum(period.issued for period in periods if period.at < until),
            sum(period.calls for period in periods),
            sum(period.introspections for period in periods),
        )
        if totals.issued < _LEAST_TOKENS or not self._is_suspect(totals):
            return None
        fair = self._is_fair(totals, client)
        return Hint(client.client_id, totals.issued, totals.uses) if fair else None

    async def warn(self) -> None:
        """Log each hint as a warning, unless any process has within the hour."""
        for hint in await self.find():
            if await self._claims.claim(hint.client_id, seconds=_QUIET_SECONDS):
                _log.warning("%s", hint)

    @contextlib.asynccontextmanager
    async def watching(self, *, serving: bool) -> AsyncIterator[None]:
        """Look once a minute, one of all processes each time, for as long as the context is open."""
        if not serving:
            yield
            return
        async with in_background(self._keep_watching()):
            yield

    def _hour(self) -> tuple[datetime, datetime]:
        """The twelve periods before the present one."""
        step = self._usage.FIVE_MINUTES
        until = datetime.fromtimestamp(int(self._clock().timestamp()) // step * step, UTC)
        return until - _HOUR, until

    def _is_suspect(self, totals: UsageTotals) -> bool:
        return totals.client_id not in self._excepted and totals.uses < _LEAST_USES * totals.issued

    def _is_fair(self, totals: UsageTotals, client: Client) -> bool:
        needed = _HOUR.total_seconds() / (client.token_ttl or self._token_ttl)
        return totals.issued >= 2 * needed

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(self._round_seconds)
            try:
                if await self._claims.claim(_ROUND, seconds=max(1, int(self._round_seconds * 0.9))):
                    await self.warn()
            except ServiceUnavailable:
                _log.debug("no hints are looked for while a store is away")
            except Exception:
                _log.exception("hints could not be looked for")
