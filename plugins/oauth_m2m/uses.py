"""SecretUses: when, and from where, each secret was last used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import SecretUse
from station.background import in_background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from plugins.oauth_m2m.models import AuthenticatedClient
    from plugins.oauth_m2m.stores import SecretStore

__all__ = ["SecretUses"]

_log = logging.getLogger(__name__)
_MINUTE = 60.0
_INTERVAL_SECONDS = 1.0
_MAX_NOTED = 10_000
_BATCH = 500


class SecretUses:
    """Notes the use of each secret once a minute, in the background and many in one write.

    A note that cannot be written is lost, and made again at the secret's next use. It never is a failure.
    """

    def __init__(self, store: SecretStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._waiting: list[SecretUse] = []

    def note(self, authenticated: AuthenticatedClient, *, address: str) -> None:
        """Note that a secret was used, just now and from this address."""
        client, secret, now = authenticated.client, authenticated.secret, self._clock()
        # the client may be remembered, and with it what was noted before: this process knows better
        if now - self._noted.get(secret.id, -_MINUTE) < _MINUTE:
            return
        if len(self._noted) >= _MAX_NOTED:
            self._noted.clear()
        self._noted[secret.id] = now
        self._waiting.append(SecretUse(client.client_id, secret.id, datetime.now(UTC), address))

    @contextlib.asynccontextmanager
    async def noting(self) -> AsyncIterator[None]:
        """Write notes every second until the context ends, and then what is left."""
        try:
            async with in_background(self._keep_flushing()):
                yield
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        while batch := self._waiting[:_BATCH]:
            del self._waiting[:_BATCH]
            try:
                await self._store.note_uses(batch)
            except Exception as error:
                _log.warning("the last use of %d secrets was not noted: %s", len(batch), type(error).__name__)
                for use in batch:
                    self._noted.pop(use.secret_id, None)
                return

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            await self.flush()
