"""TokenService: issue, verify and revoke access tokens (RFC 9068 JWTs)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt

from plugins.oauth_m2m.config import MAX_TOKEN_TTL
from plugins.oauth_m2m.errors import InvalidGrant, InvalidToken
from plugins.oauth_m2m.models import ClientToken, IssuedToken, TokenRecord
from plugins.oauth_m2m.scope import format_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import ClientStore, TokenStore

__all__ = ["TokenService"]

_ALGORITHM = "HS256"
_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 4
_HEADERS = frozenset({"alg", "typ"})
_CLAIMS: dict[str, type] = {
    "iss": str,
    "sub": str,
    "client_id": str,
    "type": str,
    "scope": str,
    "scopes": list,
    "gen": str,
    "jti": str,
    "iat": int,
    "exp": int,
}
_MAX_CLOCK_SKEW = 60  # seconds that iat may lie in the future


class TokenService:
    """Tokens for one ``issuer`` and ``audience``; ``keys`` are the signing key and those still accepted."""

    def __init__(
        self,
        clients: ClientStore,
        tokens: TokenStore,
        *,
        keys: Sequence[str],
        issuer: str,
        audience: str,
        ttl: int,
    ) -> None:
        self._clients = clients
        self._tokens = tokens
        self._keys = tuple(keys)
        self._issuer = issuer
        self._audience = audience
        self._ttl = ttl

    async def issue(
        self, client: Client, scopes: tuple[str, ...], *, address: str, user_agent: str
    ) -> IssuedToken:
        """Issue a token for ``scopes``; it is returned only once its record is acknowledged."""
        iat = int(time.time())
        ttl = client.token_ttl or self._ttl
        jti = uuid.uuid4().hex
        claims = {
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
        token = jwt.encode(claims, self._keys[0], algorithm=_ALGORITHM, headers={"typ": "at+jwt"})
        record = TokenRecord(
            jti=jti,
            client_id=client.client_id,
            scopes=scopes,
            iat=iat,
            exp=iat + ttl,
            address=address,
            user_agent=user_agent[:256],
        )
        await self._tokens.record(record)
        return IssuedToken(access_token=token, expires_in=ttl, scopes=scopes, jti=jti)

    async def verify(self, token: str) -> ClientToken:
        """Return what a valid token says; `InvalidToken` for every other (RFC 9068 4).

        Signature and claims first, then the live client record, then the revocations. The scopes are
        those granted that the client still holds.
        """
        claims = self._decode(token)
        client = await self._clients.find(claims["client_id"])
        if client is None or not client.is_active or claims["gen"] != client.generation:
            raise InvalidToken
        if await self._tokens.is_revoked(claims["jti"]):
            raise InvalidToken
        return ClientToken(
            sub=claims["sub"],
            client_id=client.client_id,
            scopes=frozenset(claims["scopes"]) & frozenset(client.scopes),
            jti=claims["jti"],
            iat=claims["iat"],
            exp=claims["exp"],
        )

    async def revoke(self, client: Client, token: str) -> None:
        """Revoke one of the client's own tokens (RFC 7009 2.1).

        What is no valid token of ours is revoked already (RFC 7009 2.2); `InvalidGrant` for the token of
        another client, which stays alive.
        """
        try:
            claims = self._decode(token)
        except InvalidToken:
            return
        if claims["client_id"] != client.client_id:
            raise InvalidGrant("The token was issued to another client.")
        await self._tokens.revoke(client.client_id, claims["jti"], claims["exp"])

    def _decode(self, token: str) -> dict[str, Any]:
        """The claims of a token that we signed and that is in force; `InvalidToken` for every other."""
        for key in self._keys:
            try:
                decoded = jwt.decode_complete(
                    token,
                    key,
                    algorithms=[_ALGORITHM],
                    audience=self._audience,
                    issuer=self._issuer,
                    options={"require": ["aud", *_CLAIMS], "verify_iat": False, "verify_nbf": False},
                )
            except jwt.InvalidSignatureError:
                continue
            # whatever odd claims of a right signature do to a library, they are an invalid token
            except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
                raise InvalidToken from error
            return _checked(decoded["header"], decoded["payload"])
        raise InvalidToken


def _checked(header: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """Check what PyJWT leaves open: typ, foreign header members, types, agreement of claims, iat and nbf."""
    latest = time.time() + _MAX_CLOCK_SKEW
    not_before = claims.get("nbf", 0)
    sound = (
        header.keys() <= _HEADERS
        and str(header.get("typ")).lower() in _TYPES
        and all(type(claims[name]) is kind for name, kind in _CLAIMS.items())
        and claims["type"] == "client"
        and claims["sub"] == claims["client_id"]
        and (claims["client_id"] + claims["jti"]).isascii()  # a lone surrogate breaks the stores' drivers
        and all(isinstance(scope, str) for scope in claims["scopes"])
        and claims["scope"] == format_scope(claims["scopes"])
        and claims["iat"] <= latest
        and claims["exp"] - claims["iat"] <= MAX_TOKEN_TTL
        and type(not_before) is int
        and not_before <= latest
    )
    if not sound:
        raise InvalidToken
    return claims
