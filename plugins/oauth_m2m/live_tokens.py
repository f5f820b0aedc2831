"""LiveTokenService: the live tokens of a client, as an admin sees and ends them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import new_generation
from station.errors import NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from plugins.oauth_m2m.mirror import Propagation
    from plugins.oauth_m2m.models import Client, Confirmation, TokenPage
    from plugins.oauth_m2m.stores import ClientStore, TokenStore
    from station.audit import AuditLog

__all__ = ["LiveTokenService"]


class LiveTokenService:
    """Lists and ends the live tokens of clients; every method raises `NotFound` for an unknown client."""

    def __init__(
        self, clients: ClientStore, tokens: TokenStore, *, propagation: Propagation, audit: AuditLog
    ) -> None:
        self._clients = clients
        self._tokens = tokens
        self._propagation = propagation
        self._audit = audit

    async def list(self, client_id: str, *, limit: int, after: str | None = None) -> TokenPage:
        """A page of live tokens, those that live longest first, behind the last of the page ``after``."""
        return await self._tokens.list(await self._clients.get(client_id), limit=limit, after=after)

    async def count(self, client_id: str) -> int | None:
        """How many there are; None while Redis, which knows, is away."""
        return await self._count(await self._clients.get(client_id))

    async def revoke(self, client_id: str, jti: str) -> Confirmation:
        """End one token; `NotFound` for one that the client does not have, or has no more."""
        async with self._audit.change("token.revoked", target=jti, client_id=client_id) as change:
            client = await self._clients.get(client_id)
            exp = await self._tokens.expiry(client, jti)
            if exp is None:
                raise NotFound(f"The client {client_id} has no live token with the id {jti}.")
            await self._tokens.revoke(client, jti, exp)
            confirmation = await self._propagation.token_revoked(jti)
            change.detail = confirmation.audited()
            await self._tokens.blacklist(client, jti, exp)
        return confirmation

    async def revoke_all(self, client_id: str) -> tuple[int | None, Confirmation]:
        """End all tokens that were issued before, in one step whatever their number, and return that number.

        The client gets a new generation: its next token works, however soon it is issued. Redis is asked only
        to count, and None says that it did not answer.
        """
        async with self._audit.change("tokens.revoked", target=client_id, client_id=client_id) as change:
            ended = await self._count(await self._clients.get(client_id))
            changes = {"generation": new_generation(), "updated_at": datetime.now(UTC)}
            before, after = await self._clients.update(client_id, changes, None)
            change.before, change.after = before.audited(), after.audited()
            confirmation = await self._propagation.client_changed(after)
            tokens = "unknown" if ended is None else ended
            change.detail = {"tokens": tokens, **confirmation.audited()}
        return ended, confirmation

    async def _count(self, client: Client) -> int | None:
        try:
            return await self._tokens.count(client)
        except ServiceUnavailable:
            return None
