"""TokenService: issue, verify and revoke access tokens (RFC 9068 JWTs)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.errors import InvalidGrant, InvalidToken, UnsupportedTokenType
from plugins.oauth_m2m.extensions import Extensions, Issuance
from plugins.oauth_m2m.models import ClientToken, IssuedToken, TokenRecord
from plugins.oauth_m2m.scope import format_scope
from plugins.oauth_m2m.tokens.codec import TokenCodec, is_of_another_kind
from plugins.oauth_m2m.tokens.verified import VerifiedTokens
from station.errors import ResponseError

if TYPE_CHECKING:
    from plugins.oauth_m2m.keyring import Keyring
    from plugins.oauth_m2m.mirror import ClientCache, Follower, Propagation, RevokedTokens
    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import TokenStore
    from station.audit import AuditLog
    from station.throttle import Admission

__all__ = ["TokenService"]


class TokenService:
    """Tokens for one ``issuer`` and ``audience``, signed and verified with the keys of ``keyring``.

    ``clients``, ``revoked`` and ``follower`` are what this process knows of MongoDB; while it may know too
    little, `issue` and `verify` raise `ServiceUnavailable`. ``issued`` counts what was issued, and
    ``verified`` are the tokens that are remembered.
    """

    def __init__(
        self,
        tokens: TokenStore,
        *,
        clients: ClientCache,
        revoked: RevokedTokens,
        follower: Follower,
        propagation: Propagation,
        keyring: Keyring,
        audit: AuditLog,
        extensions: Extensions | None = None,
        issuer: str,
        audience: str,
        ttl: int,
        remembered: int,
    ) -> None:
        self._tokens = tokens
        self._clients = clients
        self._revoked = revoked
        self._follower = follower
        self._propagation = propagation
        self._keyring = keyring
        self._codec = TokenCodec(keyring, issuer=issuer, audience=audience)
        self.verified = VerifiedTokens(remembered)
        self.issued = 0
        self._audit = audit
        self._extensions = extensions or Extensions()
        self._issuer = issuer
        self._audience = audience
        self._ttl = ttl

    async def issue(
        self,
        client: Client,
        scopes: tuple[str, ...],
        *,
        admission: Admission,
        address: str,
        user_agent: str,
        secret_id: str = "",
    ) -> IssuedToken:
        """Issue a token for ``scopes``; it is returned only once its record is acknowledged.

        The record travels with the counters of ``admission``, which is settled then; of a token that a
        throttle refuses nothing stays.
        """
        if admission.unlikely:
            await admission.settled()
        iat = int(time.time())
        ttl = client.token_ttl or self._ttl
        jti = os.urandom(16).hex()
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": client.client_id,
            "client_id": client.client_id,
            "type": "client",
            "scopes": scopes,
            "scope": format_scope(scopes),
            "gen": client.generation,
            "jti": jti,
            "iat": iat,
            "exp": iat + ttl,
        }
        if self._extensions:
            await self._extensions.decide(claims, Issuance(client, scopes, address, user_agent))
        record = TokenRecord(
            jti=jti,
            client_id=client.client_id,
            scopes=scopes,
            iat=iat,
            exp=iat + ttl,
            address=address,
            user_agent=user_agent[:256],
            secret_id=secret_id,
        )
        access_token = self._codec.encode(claims)
        await self._tokens.record(client, record)
        try:
            await admission.settled()
        except ResponseError:
            await self._tokens.withdraw(client, jti)
            raise
        self.issued += 1
        self._audit.count("token.issued", client_id=client.client_id, secret=secret_id)
        return IssuedToken(access_token=access_token, expires_in=ttl, scopes=scopes, jti=jti)

    async def verify(self, token: str) -> ClientToken:
        """Return what a valid token says; `InvalidToken` for every other (RFC 9068 4).

        Signature and claims first, which are remembered for a minute; then, for every request, the live
        client record and the revocations, both in memory. The scopes are those granted that the client still
        holds.
        """
        await self._follower.catch_up()
        known = self.verified.find(token, self._keyring)
        if known is None:
            claims = await self._codec.decode(token)
            known = self.verified.keep(token, claims, self._keyring)
        elif known.exp <= time.time():
            raise InvalidToken(reasons.expired_token(known.client_id))
        client = self._clients.peek(known.client_id)
        if client is None:
            client = await self._clients.read(known.client_id)
            self._follower.check()  # the process may have been stopped while it waited
        if client is None:
            raise InvalidToken(reasons.deleted(known.client_id))
        if not client.is_active:
            raise InvalidToken(reasons.inactive(client.client_id))
        if known.gen != client.generation:
            raise InvalidToken(reasons.generation(client.client_id, client.updated_at))
        if known.jti in self._revoked:
            raise InvalidToken(reasons.revoked(client.client_id))
        return known.as_held_by(client)

    def describe(self, token: ClientToken) -> dict[str, object]:
        """What introspection says of a valid token (RFC 7662 2.2)."""
        return {
            "active": True,
            "scope": format_scope(sorted(token.scopes)),
            "client_id": token.client_id,
            "token_type": "Bearer",
            "exp": token.exp,
            "iat": token.iat,
            "sub": token.sub,
            "aud": self._audience,
            "iss": self._issuer,
            "jti": token.jti,
        }

    async def revoke(self, client: Client, token: str) -> None:
        """Revoke one of the client's own tokens (RFC 7009 2.1).

        What is no valid token of ours is revoked already (RFC 7009 2.2). Raises `InvalidGrant` for the token
        of another client, which stays alive, and `UnsupportedTokenType` for a JWT that says it is no access
        token, such as a user's. If Redis does not hear of it the answer is `ServiceUnavailable`, though the
        token is dead: the client tries again.
        """
        try:
            claims = await self._codec.decode(token)
        except InvalidToken:
            if is_of_another_kind(token):
                raise UnsupportedTokenType("Only access tokens of clients are revoked here.") from None
            return
        if claims["client_id"] != client.client_id:
            reason = reasons.not_granted(claims["client_id"])
            raise InvalidGrant("The token was issued to another client.", reason=reason)
        jti = claims["jti"]
        async with self._audit.change("token.revoked", target=jti, client_id=client.client_id) as change:
            await self._tokens.revoke(client, jti, claims["exp"])
            change.detail = (await self._propagation.token_revoked(jti)).audited()
            await self._tokens.blacklist(client, jti, claims["exp"])
