"""ClientAuthenticator: whose secret was presented (RFC 6749 2.3.1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.models import AuthenticatedClient
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.credentials import ClientCredentials
    from plugins.oauth_m2m.memory import SecretMemory
    from plugins.oauth_m2m.mirror import ClientCache, Follower
    from plugins.oauth_m2m.models import Client, ClientSecret
    from plugins.oauth_m2m.stores import ClientStore
    from station.errors import Reason
    from station.passwords import PasswordHasher, Verified
    from station.throttle import Admission

__all__ = ["ClientAuthenticator"]


class ClientAuthenticator:
    """Authenticates clients by their secrets.

    A secret that was right lately is remembered. Every other costs bcrypt, in the same way whether the client
    is unknown, disabled, or has another secret.
    """

    def __init__(
        self,
        store: ClientStore,
        clients: ClientCache,
        follower: Follower,
        *,
        memory: SecretMemory,
        hasher: PasswordHasher,
    ) -> None:
        self._store = store
        self._clients = clients
        self._follower = follower
        self._memory = memory
        self._hasher = hasher
        self._flights: dict[tuple[object, ...], asyncio.Task[Verified | None]] = {}
        self._rehashing: set[str] = set()

    async def authenticate(
        self, credentials: ClientCredentials, *, admission: Admission, source: str = ""
    ) -> AuthenticatedClient:
        """Return the client whose live secret was presented, and which it was.

        Unknown, disabled, expired and wrong are one `InvalidClient` after the same bcrypt work, which
        depends on the request alone: without a live secret the hasher works on a dummy. ``admission`` is
        settled before that; a remembered secret leaves it to the caller, so that it costs no round trip.
        ``source`` is the address that bcrypt is done for: a flood from one keeps no other waiting.
        """
        await self._follower.catch_up()
        client_id, candidates = credentials.client_id, credentials.secrets
        now = datetime.now(UTC)
        if remembered := self._remembered(self._clients.peek(client_id), candidates, now):
            return remembered
        # who is refused anyway costs no read: a flood would make everybody else wait for MongoDB
        await admission.settled()
        self._hasher.check(source)
        # read by everybody who gets this far: a client that is in memory must not be told from an unknown one
        client = await self._clients.read(client_id)
        if remembered := self._remembered(client, candidates, now):
            return remembered
        live, ended = ((), ()) if client is None else _secrets(client, now)
        recalled = await self._memory.recall(client_id, candidates, live)
        if client is not None and recalled is not None:
            return AuthenticatedClient(client, recalled)
        secrets = (*live, *ended)
        hashes = [secret.hash for secret in secrets]
        verified = await self._verify(credentials, hashes, len(live), source)
        if client is None:
            raise InvalidClient(reasons.unknown(client_id))
        if verified is None or verified.ended:
            raise InvalidClient(_why_not(client, live, secrets[verified.hash] if verified else None))
        secret, plain = live[verified.hash], candidates[verified.candidate]
        if verified.outdated and len(live) == 1 and secret.id not in self._rehashing:
            await self._rehash(client, secret, plain)
        else:
            await self._memory.remember(client_id, plain, secret)
        return AuthenticatedClient(client, secret)

    def _remembered(
        self, client: Client | None, candidates: Sequence[bytes], now: datetime
    ) -> AuthenticatedClient | None:
        if client is None:
            return None
        secret = self._memory.find(client.client_id, candidates, client.live_secrets(now))
        return None if secret is None else AuthenticatedClient(client, secret)

    async def _verify(
        self, credentials: ClientCredentials, hashes: Sequence[str], live: int, source: str
    ) -> Verified | None:
        """What bcrypt says of the candidates; requests that ask the same at the same time share one."""
        asked = (credentials.client_id, credentials.secrets, *hashes, live)
        flight = self._flights.get(asked)
        if flight is None:
            ended = range(live, len(hashes))
            verifying = self._hasher.verify(credentials.secrets, hashes, ended=ended, source=source)
            flight = asyncio.create_task(verifying)
            self._flights[asked] = flight
            flight.add_done_callback(lambda landed: self._land(asked, landed))
        # shielded: one request that ends must not take the answer from the others
        return await asyncio.shield(flight)

    def _land(self, asked: tuple[object, ...], landed: asyncio.Task[Verified | None]) -> None:
        del self._flights[asked]
        if not landed.cancelled():
            landed.exception()  # each request that waits for it gets it; there may be none left

    async def _rehash(self, client: Client, secret: ClientSecret, plain: bytes) -> None:
        """Move a client's only live secret to the configured cost; if the pool is full, another time."""
        self._rehashing.add(secret.id)  # those who shared the bcrypt that found it outdated need not
        salt = self._hasher.new_salt()
        try:
            stored = await self._hasher.hash(plain, salt=salt)
            await self._store.replace_hash(client, secret, salt=salt, new_hash=stored)
        except ServiceUnavailable:
            return
        finally:
            self._rehashing.discard(secret.id)


def _secrets(client: Client, now: datetime) -> tuple[tuple[ClientSecret, ...], tuple[ClientSecret, ...]]:
    """The live secrets, and those that have ended and that the same bcrypt checks: the operator is told."""
    live = client.live_secrets(now)
    if len(live) == len(client.secrets):
        return live, ()
    ended = [secret for secret in client.secrets if client.is_active and not secret.is_live(now)]
    return live, tuple(secret for secret in ended if client.salt in secret.hash)


def _why_not(client: Client, live: Sequence[ClientSecret], ended: ClientSecret | None) -> Reason:
    if not client.is_active:
        return reasons.inactive(client.client_id)
    if ended is not None:
        return reasons.expired_secret(client.client_id, ended.id)
    return reasons.wrong_secret(client.client_id) if live else reasons.expired_secret(client.client_id)
