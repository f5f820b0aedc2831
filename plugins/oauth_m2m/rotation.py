"""SecretService: the secrets of a client, replaced with overlap.

A secret is added while the old one still works, clients move over, the old one ends. All secrets of a client
share one salt and cost, so that a guess against five costs what a guess against one does.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import ClientSecret, new_generation
from plugins.oauth_m2m.secret_format import generate_secret
from station import clock
from station.errors import Conflict, NotFound, PreconditionFailed
from station.passwords import parse_hash

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from plugins.oauth_m2m.mirror import Propagation
    from plugins.oauth_m2m.models import Client, SecretAddition
    from plugins.oauth_m2m.stores import ClientStore, SecretStore
    from station.audit import AuditLog
    from station.passwords import PasswordHasher

__all__ = ["MAX_LIVE_SECRETS", "SecretService"]

MAX_LIVE_SECRETS = 5
_ATTEMPTS = 20  # of a change, while others change the client


class SecretService:
    """Adds and ends the secrets of clients.

    Every change is conditional on the client as it was read and is tried again when the client has changed,
    so that of two admins who end a secret at once none leaves a client without.
    """

    def __init__(
        self,
        clients: ClientStore,
        store: SecretStore,
        *,
        propagation: Propagation,
        hasher: PasswordHasher,
        audit: AuditLog,
    ) -> None:
        self._clients = clients
        self._store = store
        self._propagation = propagation
        self._hasher = hasher
        self._audit = audit

    async def add(
        self, client_id: str, addition: SecretAddition, *, versions: Collection[int] | None = None
    ) -> tuple[ClientSecret, str | None]:
        """Add a secret; returns it, and its text if Station generated it. It is stored by then.

        Raises `NotFound`, and `Conflict` for a sixth live secret and for one that the client has already.
        Where ``versions`` are given, a client that has none of them is left alone: `PreconditionFailed`.
        """
        generated = None if addition.client_secret else generate_secret()
        plain = (addition.client_secret or generated or "").encode()
        async with self._audit.change("secret.added", target=client_id, client_id=client_id) as change:
            for _ in range(_ATTEMPTS):
                client, now = await self._clients.get(client_id), clock.now()
                if versions is not None and client.version not in versions:
                    raise PreconditionFailed(f"The client {client_id} has changed; look at it again.")
                if ended := [secret.id for secret in client.secrets if not secret.is_live(now)]:
                    # they leave first, and what is left of the client goes on
                    left = await self._store.remove(client, ended, at=now)
                    if left is None:
                        continue
                    client, versions = left, None if versions is None else {left.version}
                added = await self._add(client, plain, addition, now)
                if added is not None:
                    # nothing may fail from here on: the others may have ended, and nobody has this one
                    secret, changed = added
                    change.target = secret.id
                    change.before, change.after = client.audited(), changed.audited()
                    change.detail = (await self._propagation.client_changed(changed)).audited()
                    return secret, generated
            raise _busy(client_id)

    async def end(
        self, client_id: str, secret_id: str, *, force: bool = False, revoke_tokens: bool = False
    ) -> None:
        """End a secret at once; ``revoke_tokens`` ends all live tokens of the client in the same step.

        Raises `NotFound`, and `Conflict` for the last live secret unless ``force`` says to go on.
        """
        async with self._audit.change("secret.ended", target=secret_id, client_id=client_id) as change:
            change.detail = {"tokens_revoked": revoke_tokens}
            generation = new_generation() if revoke_tokens else None
            for _ in range(_ATTEMPTS):
                client = await self._clients.get(client_id)
                now = clock.now()
                _check_end(client, secret_id, now, force=force)
                changed = await self._store.remove(client, [secret_id], at=now, generation=generation)
                if changed is not None:
                    change.before, change.after = client.audited(), changed.audited()
                    confirmation = await self._propagation.client_changed(changed)
                    change.detail = {"tokens_revoked": revoke_tokens, **confirmation.audited()}
                    return
            raise _busy(client_id)

    async def _add(
        self, client: Client, plain: bytes, addition: SecretAddition, now: datetime
    ) -> tuple[ClientSecret, Client] | None:
        """Add to the client as it was read: the secret and the client now; None if it changed meanwhile."""
        ends_at = addition.others_end(now)
        live = [secret for secret in client.secrets if secret.is_live(now)]
        ending = [
            dataclasses.replace(secret, expires_at=ends_at)
            for secret in live
            if ends_at is not None and secret.is_live(ends_at)
        ]
        staying = live if ends_at is None or ends_at > now else []
        if len(staying) >= MAX_LIVE_SECRETS:
            raise Conflict(
                f"The client has {MAX_LIVE_SECRETS} live secrets, which is the most; end one first."
            )
        salt, stored = await self._hash(plain, live)
        if any(secret.hash == stored for secret in live):
            raise Conflict("The client has this secret already; choose another.")
        secret = ClientSecret(uuid.uuid4().hex, stored, created_at=now, expires_at=addition.expires_at)
        changed = await self._store.add(client, secret, salt=salt, ends=ending)
        return None if changed is None else (secret, changed)

    async def _hash(self, plain: bytes, live: list[ClientSecret]) -> tuple[str, str]:
        """Salt and hash, the salt and cost being those of the live secrets if there are any."""
        if not live:
            salt = self._hasher.new_salt()
            return salt, await self._hasher.hash(plain, salt=salt)
        like = parse_hash(live[0].hash)
        if like.raw:
            raise Conflict(
                "The client's secret was imported and takes no other beside it until it has been used once; "
                "end it with force, or let the client get a token first."
            )
        return like.salt, await self._hasher.hash(plain, salt=like.salt, cost=like.cost)


def _check_end(client: Client, secret_id: str, now: datetime, *, force: bool) -> None:
    live = {secret.id for secret in client.secrets if secret.is_live(now)}
    if all(secret.id != secret_id for secret in client.secrets):
        raise NotFound(f"The client {client.client_id} has no secret with the id {secret_id}.")
    if live == {secret_id} and not force:
        raise Conflict(
            "This is the client's last live secret, and without one it gets no tokens; add another first, or "
            "end it with force=true."
        )


def _busy(client_id: str) -> Conflict:
    return Conflict(f"The client {client_id} is being changed by others all the time; try again.")
