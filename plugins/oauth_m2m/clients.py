"""ClientService: register, authenticate, disable and enable clients."""

from __future__ import annotations

import contextlib
import secrets
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.models import Client, ClientSecret
from station.errors import ServiceUnavailable, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.credentials import ClientCredentials
    from plugins.oauth_m2m.models import Registration
    from plugins.oauth_m2m.stores import ClientStore
    from station.passwords import PasswordHasher

__all__ = ["ClientService"]


class ClientService:
    """What may be done with clients; ``catalogue`` is the closed set of scopes, None while it is open."""

    def __init__(
        self, store: ClientStore, hasher: PasswordHasher, catalogue: Mapping[str, str] | None
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._catalogue = catalogue

    async def register(self, registration: Registration) -> tuple[Client, str | None]:
        """Register a client; returns it, and its secret if Station generated one.

        Raises `ValidationFailed` for scopes outside a closed catalogue and `Conflict` for a taken id.
        """
        self._check_catalogue(registration.scopes)
        generated = None if registration.client_secret else secrets.token_urlsafe(32)
        secret = registration.client_secret or generated or ""
        salt = self._hasher.new_salt()
        # the hash comes before the insert: nothing is stored when the pool is full
        stored = await self._hasher.hash(secret.encode(), salt=salt)
        now = _now()
        client = await self._store.insert(
            Client(
                id="",
                client_id=registration.client_id,
                name=registration.name,
                salt=salt,
                secrets=(ClientSecret(id=uuid.uuid4().hex, hash=stored, created_at=now),),
                scopes=registration.scopes,
                is_active=True,
                token_ttl=registration.token_ttl,
                generation=_new_generation(),
                version=1,
                created_at=now,
                updated_at=now,
            )
        )
        return client, generated

    async def authenticate(self, credentials: ClientCredentials) -> Client:
        """Return the client whose live secret was presented (RFC 6749 2.3.1).

        Unknown, disabled, expired and wrong are one `InvalidClient` after the same bcrypt work, which
        depends on the request alone: without a live secret the hasher works on a dummy.
        """
        client = await self._store.find(credentials.client_id)
        live = () if client is None else client.live_secrets(_now())
        verified = await self._hasher.verify(credentials.secrets, [secret.hash for secret in live])
        if client is None or verified is None:
            raise InvalidClient
        if verified.outdated and len(live) == 1:
            await self._rehash(client, live[0], credentials.secrets[verified.candidate])
        return client

    async def get(self, client_id: str) -> Client:
        """The client of this id; `NotFound` if there is none."""
        return await self._store.get(client_id)

    async def list(self) -> list[Client]:
        """All clients by id."""
        return await self._store.list()

    async def set_active(self, client_id: str, *, is_active: bool) -> Client:
        """Enable or disable a client; disabling ends its live tokens for good. `NotFound` if unknown."""
        generation = None if is_active else _new_generation()
        return await self._store.set_active(client_id, is_active=is_active, generation=generation)

    def _check_catalogue(self, scopes: tuple[str, ...]) -> None:
        if self._catalogue is not None and (unknown := [s for s in scopes if s not in self._catalogue]):
            raise ValidationFailed({"scopes": [f"{scope} is not in the catalogue." for scope in unknown]})

    async def _rehash(self, client: Client, secret: ClientSecret, plain: bytes) -> None:
        """Move a client's only live secret to the configured cost; if the pool is full, another time."""
        salt = self._hasher.new_salt()
        with contextlib.suppress(ServiceUnavailable):
            stored = await self._hasher.hash(plain, salt=salt)
            await self._store.replace_hash(client, secret, salt=salt, new_hash=stored)


def _now() -> datetime:
    # MongoDB keeps milliseconds: what is answered now must equal what is read later
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _new_generation() -> str:
    return secrets.token_urlsafe(16)
