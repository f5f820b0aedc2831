"""TokenCodec: claims to JWT and back (RFC 7519, RFC 9068)."""

from __future__ import annotations

import base64
import hmac
import time
from typing import TYPE_CHECKING, Any

import jwt
import orjson

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.config import HS256, MAX_TOKEN_TTL
from plugins.oauth_m2m.errors import InvalidToken
from plugins.oauth_m2m.scope import format_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.keyring import Key, Keyring

__all__ = ["TokenCodec", "is_of_another_kind"]

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


class TokenCodec:
    """Signs with the active key of ``keyring``; reads what any of its keys has signed for ``audience``."""

    def __init__(self, keyring: Keyring, *, issuer: str, audience: str) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self._audience = audience
        self._signer: _Signer | None = None

    def encode(self, claims: Mapping[str, object]) -> str:
        """The token that says ``claims``; `ServiceUnavailable` while there is no key that signs."""
        key = self._keyring.signer()
        signer = self._signer
        if signer is None or signer.key is not key:
            signer = self._signer = _Signer(key)
        return signer.sign(claims)

    async def decode(self, token: str) -> dict[str, Any]:
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
                raise InvalidToken(reasons.expired_token(_client_of(token))) from error
            except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
                raise InvalidToken(reasons.foreign()) from error
            except _UNREADABLE as error:
                raise InvalidToken from error
            return _checked(decoded["header"], decoded["payload"])
        raise InvalidToken(reasons.forged())


class _Signer:
    """One key, prepared: PyJWT prepares key and header for every token, which takes as long as signing."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._algorithm = jwt.get_algorithm_by_name(key.alg)
        self._material = self._algorithm.prepare_key(key.material)
        self._hmac = hmac.new(self._material, digestmod="sha256") if key.alg == HS256 else None
        header = {"alg": key.alg, "typ": "at+jwt"} | ({} if key.kid is None else {"kid": key.kid})
        self._header = _segment(header) + b"."

    def sign(self, claims: Mapping[str, object]) -> str:
        """JWS Compact Serialization (RFC 7515 7.1)."""
        signed = self._header + _segment(claims)
        if self._hmac is None:
            signature = self._algorithm.sign(signed, self._material)
        else:
            begun = self._hmac.copy()
            begun.update(signed)
            signature = begun.digest()
        return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def _client_of(token: str) -> str:
    """The client of a token whose signature is ours, whatever else is wrong with it."""
    client_id = jwt.decode(token, options={"verify_signature": False}).get("client_id")
    return client_id if isinstance(client_id, str) and client_id.isascii() else ""


def is_of_another_kind(token: str) -> bool:
    """Whether the header, be it forged, names a type of JWT that is not ours (RFC 8725 3.11)."""
    try:
        typ = str(jwt.get_unverified_header(token).get("typ")).lower()
    except _UNREADABLE:
        return False
    return typ.endswith("+jwt") and typ not in _TYPES


def _segment(document: Mapping[str, object]) -> bytes:
    return base64.urlsafe_b64encode(orjson.dumps(document)).rstrip(b"=")


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
