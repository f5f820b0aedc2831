"""ClientService: register, find, change and delete clients."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from plugins.oauth_m2m.hashes import imported_secrets
from plugins.oauth_m2m.models import Client, ClientQuery, ClientSecret, new_generation
from plugins.oauth_m2m.secret_format import generate_secret
from station import clock
from station.errors import ValidationFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from plugins.oauth_m2m.mirror import Propagation
    from plugins.oauth_m2m.models import ClientChange, ClientPage, Confirmation, Registration
    from plugins.oauth_m2m.stores import ClientStore
    from station.audit import AuditLog, Change
    from station.passwords import PasswordHasher

__all__ = ["ClientService"]

_PAGE = 200


class ClientService:
    """What may be done with clients; ``catalogue`` is the closed set of scopes, None while it is open.

    Where ``versions`` are given, a client that has none of them is left alone: `PreconditionFailed`.
    """

    def __init__(
        self,
        store: ClientStore,
        *,
        propagation: Propagation,
        hasher: PasswordHasher,
        catalogue: Mapping[str, str] | None,
        audit: AuditLog,
    ) -> None:
        self._audit = audit
        self._store = store
        self._propagation = propagation
        self._hasher = hasher
        self._catalogue = catalogue

    async def register(self, registration: Registration) -> tuple[Client, str | None]:
        """Register a client; returns it, and its secret if Station generated one.

        Raises `ValidationFailed` for scopes outside a closed catalogue and `Conflict` for a taken id.
        """
        await self._check_catalogue("client.registered", registration.client_id, registration.scopes)
        generated = None if registration.client_secret else generate_secret()
        secret = registration.client_secret or generated or ""
        salt = self._hasher.new_salt()
        # the hash comes before the insert: nothing is stored when the pool is full
        stored = await self._hasher.hash(secret.encode(), salt=salt)
        made = ClientSecret(id=uuid.uuid4().hex, hash=stored, created_at=clock.now())
        return await self._insert(registration, salt, (made,)), generated

    async def import_client(self, registration: Registration, hashes: Sequence[str]) -> Client:
        """Register a client whose secrets are known by their ``hashes`` alone; raises as `register` does.

        `ValidationFailed` for hashes that cannot be imported as well.
        """
        await self._check_catalogue("client.registered", registration.client_id, registration.scopes)
        return await self._insert(registration, *self._imported(hashes))

    async def get(self, client_id: str) -> Client:
        """The client of this id; `NotFound` if there is none."""
        return await self._store.get(client_id)

    async def list(self, query: ClientQuery) -> ClientPage:
        """A page of the clients that match ``query``."""
        return await self._store.list(query)

    async def all(self) -> AsyncIterator[Client]:
        """Every client by id, read page by page."""
        page = await self._store.list(query := ClientQuery(limit=_PAGE))
        while True:
            for client in page.clients:
                yield client
            if page.last is None:
                return
            page = await self._store.list(dataclasses.replace(query, after=page.last))

    async def change(
        self, client_id: str, change: ClientChange, *, versions: Collection[int] | None = None
    ) -> tuple[Client, Confirmation]:
        """Change a client in one step and return it as it is then, and which processes know.

        Disabling it ends its live tokens for good; a scope that it loses, its live tokens lose at once.
        Raises `NotFound`, and `ValidationFailed` for scopes outside a closed catalogue or hashes that cannot
        be imported.
        """
        await self._check_catalogue(_action(change), client_id, change.get("scopes", ()))
        changes: dict[str, object] = {**change, "updated_at": clock.now()}
        if hashes := change.get("secret_hashes"):
            del changes["secret_hashes"]
            changes["salt"], changes["secrets"] = self._imported(hashes)
        if change.get("is_active") is False:
            changes["generation"] = new_generation()
        async with self._change(_action(change), client_id) as event:
            before, after = await self._store.update(client_id, changes, versions)
            event.before, event.after = before.audited(), after.audited()
            confirmation = await self._propagation.client_changed(after)
            event.detail = confirmation.audited()
        return after, confirmation

    async def delete(self, client_id: str, *, versions: Collection[int] | None = None) -> None:
        """Delete a client; its live tokens end, and registering its id again revives none. `NotFound`."""
        async with self._change("client.deleted", client_id) as event:
            deleted = await self._store.delete(client_id, versions)
            event.before = deleted.audited()
            event.detail = (await self._propagation.client_deleted(deleted)).audited()

    async def _insert(self, registration: Registration, salt: str, made: tuple[ClientSecret, ...]) -> Client:
        now = made[0].created_at
        new = Client(
            id="",
            client_id=registration.client_id,
            name=registration.name,
            salt=salt,
            secrets=made,
            scopes=registration.scopes,
            is_active=registration.is_active,
            token_ttl=registration.token_ttl,
            generation=new_generation(),
            version=1,
            created_at=now,
            updated_at=now,
        )
        async with self._change("client.registered", new.client_id) as change:
            client = await self._store.insert(new)
            change.after = client.audited()
        return client

    def _imported(self, hashes: Sequence[str]) -> tuple[str, tuple[ClientSecret, ...]]:
        try:
            return imported_secrets(hashes, max_cost=self._hasher.cost, now=clock.now())
        except ValueError as error:
            raise ValidationFailed({"secretHash": [f"{error}."]}) from None

    def _change(self, action: str, client_id: str) -> AbstractAsyncContextManager[Change]:
        return self._audit.change(action, target=client_id, client_id=client_id)

    async def _check_catalogue(self, action: str, client_id: str, scopes: tuple[str, ...]) -> None:
        """Refuse ``action`` for scopes outside a closed catalogue; the audit has it, as of a change."""
        if self._catalogue is not None and (unknown := [s for s in scopes if s not in self._catalogue]):
            async with self._change(action, client_id):
                raise ValidationFailed({"scopes": [f"{scope} is not in the catalogue." for scope in unknown]})


def _action(change: ClientChange) -> str:
    if "is_active" not in change:
        return "client.changed"
    return "client.enabled" if change["is_active"] else "client.disabled"
