"""TokenService: issue, verify and revoke access tokens (RFC 9068 JWTs)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.config import MAX_TOKEN_TTL
from plugins.oauth_m2m.errors import InvalidGrant, InvalidToken, UnsupportedTokenType
from plugins.oauth_m2m.extensions import Extensions, Issuance
from plugins.oauth_m2m.models import ClientToken, IssuedToken, TokenRecord
from plugins.oauth_m2m.scope import format_scope

if TYPE_CHECKING:
    from plugins.oauth_m2m.keyring import Key, Keyring
    from plugins.oauth_m2m.models import Client
    from plugins.oauth_m2m.stores import ClientStore, TokenStore
    from station.audit import AuditLog

__all__ = ["TokenService"]

_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 4
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
# Whatever odd headers, or odd claims of a right signature, do to the library: the token is invalid.
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)
_MAX_CLOCK_SKEW = 60  # seconds that iat may lie in the future


class TokenService:
    """Tokens for one ``issuer`` and ``audience``, signed and verified with the keys of ``keyring``."""

    def __init__(
        self,
        clients: ClientStore,
        tokens: TokenStore,
        *,
        keyring: Keyring,
        audit: AuditLog,
        extensions: Extensions | None = None,
        issuer: str,
        audience: str,
        ttl: int,
    ) -> None:
        self._clients = clients
        self._tokens = tokens
        self._keyring = keyring
        self._audit = audit
        self._extensions = extensions or Extensions()
        self._issuer = issuer
        self._audience = audience
        self._ttl = ttl

    async def issue(
        self, client: Client, scopes: tuple[str, ...], *, address: str, user_agent: str, secret_id: str = ""
    ) -> IssuedToken:
        """Issue a token for ``scopes``; it is returned only once its record is acknowledged."""
        key = self._keyring.signer()
        iat = int(time.time())
        ttl = client.token_ttl or self._ttl
        jti = uuid.uuid4().hex
        issuance = Issuance(client, scopes, address, user_agent)
        await self._extensions.check(issuance)
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
        await self._extensions.add_claims(claims, issuance)
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
        await self._tokens.record(client, record)
        self._audit.count("token.issued", client_id=client.client_id, secret=secret_id)
        return IssuedToken(access_token=_sign(claims, key), expires_in=ttl, scopes=scopes, jti=jti)

    async def verify(self, token: str) -> ClientToken:
        """Return what a valid token says; `InvalidToken` for every other (RFC 9068 4).

        Signature and claims first, then the live client record, then the revocations. The scopes are
        those granted that the client still holds.
        """
        claims = await self._decode(token)
        client = await self._clients.find(claims["client_id"])
        if client is None:
            raise InvalidToken(reasons.deleted(claims["client_id"]))
        if not client.is_active:
            raise InvalidToken(reasons.inactive(client.client_id))
        if claims["gen"] != client.generation:
            raise InvalidToken(reasons.generation(client.client_id, client.updated_at))
        if await self._tokens.is_revoked(claims["jti"]):
            raise InvalidToken(reasons.revoked(client.client_id))
        return ClientToken(
            sub=claims["sub"],
            client_id=client.client_id,
            scopes=frozenset(claims["scopes"]) & frozenset(client.scopes),
            jti=claims["jti"],
            iat=claims["iat"],
            exp=claims["exp"],
        )

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
            claims = await self._decode(token)
        except InvalidToken:
            if _is_of_another_kind(token):
                raise UnsupportedTokenType("Only access tokens of clients are revoked here.") from None
            return
        if claims["client_id"] != client.client_id:
            reason = reasons.not_granted(claims["client_id"])
            raise InvalidGrant("The token was issued to another client.", reason=reason)
        jti = claims["jti"]
        async with self._audit.change("token.revoked", target=jti, client_id=client.client_id):
            await self._tokens.revoke(client, jti, claims["exp"])

    async def _decode(self, token: str) -> dict[str, Any]:
        """The claims of a token that we signed and that is in force; `InvalidToken` for every other."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except _UNREADABLE as error:
            raise InvalidToken from error
        for key in await self._keyring.find(kid):
            try:
                decoded = jwt.decode_complete(
                    token,
                    key.material,
                    algorithms=[key.alg],
                    audience=self._audience,
                    issuer=self._issuer,
                    options={"require": ["aud", *_CLAIMS], "verify_iat": False, "verify_nbf": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError as error:
                raise InvalidToken(reasons.expired_token()) from error
            except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
                raise InvalidToken(reasons.foreign()) from error
            except _UNREADABLE as error:
                raise InvalidToken from error
            return _checked(decoded["header"], decoded["payload"])
        raise InvalidToken(reasons.forged())


def _sign(claims: dict[str, object], key: Key) -> str:
    headers = {"typ": "at+jwt"} if key.kid is None else {"typ": "at+jwt", "kid": key.kid}
    return jwt.encode(claims, key.material, algorithm=key.alg, headers=headers)


def _is_of_another_kind(token: str) -> bool:
    """Whether the header, be it forged, names a type of JWT that is not ours (RFC 8725 3.11)."""
    try:
        typ = str(jwt.get_unverified_header(token).get("typ")).lower()
    except _UNREADABLE:
        return False
    return typ.endswith("+jwt") and typ not in _TYPES


def _checked(header: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """Check what PyJWT leaves open: typ, foreign header members, types, agreement of claims, iat and nbf."""
    latest = time.time() + _MAX_CLOCK_SKEW
    not_before = claims.get("nbf", 0)
    sound = (
        header.keys() <= {"alg", "typ", "kid"}  # kid chose the key (RFC 8725 3.10)
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
        raise InvalidToken(reasons.malformed_claims())
    return claims
